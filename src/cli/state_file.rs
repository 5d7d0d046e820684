//! Where a command that can be interrupted keeps how far it is.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

/// Puts a state on disk, whole or not at all: also when the power goes, the file has this one or the one before.
pub fn write(path: &Path, state: &impl Serialize) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(serde_json::to_string(state)?.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_state_takes_the_place_of_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("far.state");
        write(&path, &["one"]).unwrap();
        write(&path, &["two", "three"]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"["two","three"]"#);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write(&folder.path().join("missing/far.state"), &["four"]).is_err());
    }
}
