//! Builds `shim.c`, which stands between a process and the system.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::rig::Rig;

/// Builds it into `folder` with the C compiler that SQLite was built with, and lets `rig` start with it.
pub fn install(rig: &mut Rig, folder: &Path) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/faults/shim.c");
    let library: PathBuf = folder.join("shim.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-pthread", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    rig.set("LD_PRELOAD", &library);
}
