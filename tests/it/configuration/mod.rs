//! The configuration as a tired person meets it: what is wrong is said at once and in full, paths mean the same from
//! everywhere, and no upgrade or slip of the pen begins a second journal.

mod docs;
mod findings;
mod overlays;
mod paths;
mod reader_gone;
mod signals;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::process::text;

/// Runs a command of the program in a folder, with nothing of this environment's that it would listen to.
fn stoker_in(folder: &Path, args: &[&str]) -> Output {
    program(folder, args).stdin(Stdio::null()).output().unwrap()
}

fn program(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stoker"));
    command.args(args).current_dir(folder).env_remove("STOKER_LOG").env_remove("STOKER_CONFIG");
    command
}

/// Runs `serve` until its log has a line with these words, or it ends; then ends it. Gives its log.
fn serve_until(folder: &Path, args: &[&str], words: &str) -> String {
    let log = folder.join("serve.log");
    let file = std::fs::File::create(&log).unwrap();
    let mut child = program(folder, &[&["serve"], args].concat()).stderr(file).stdin(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let said = std::fs::read_to_string(&log).unwrap();
        if said.contains(words) || child.try_wait().unwrap().is_some() || Instant::now() > until {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).stderr(Stdio::null()).status().unwrap();
    child.wait().unwrap();
    std::fs::read_to_string(log).unwrap()
}

/// Keys that let a daemon start beside others: free ports for everything.
const FREE_PORTS: &str =
    "[http]\nbind = \"127.0.0.1:0\"\n[[listener]]\nbind = \"127.0.0.1:0\"\n[journal]\nmin_free = \"0B\"\n";

fn both(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn write(folder: &Path, name: &str, content: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}
