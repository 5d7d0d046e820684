//! `stoker explain FILE | head`: whoever reads what a command writes may go before it ends.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::process::{Daemon, text};
use super::{FREE_PORTS, program, stoker_in, write};

fn sample(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name).display().to_string()
}

#[test]
fn every_command_ends_quietly_when_nobody_reads_its_stdout() {
    let daemon = Daemon::start("");
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "bad.toml", "[mailbox]\ndepth_limit = 0\n");
    write(folder.path(), "site/resources/patient.toml", "drop = [\"gender\"]\n");
    let message = sample("A01-admit-fjordvik.hl7");
    let (config, mllp, base) = (daemon.file("config.toml"), daemon.mllp.to_string(), daemon.base());
    let commands: &[&[&str]] = &[
        &["explain", &message],
        &["explain", "--format", "json", &message],
        &["convert", &message],
        &["convert", "--report", &message],
        &["coverage", "--segment", "PID"],
        &["coverage", "--guide"],
        &["diff", "--mappings", "site", &message],
        &["check"],
        &["check", "--config", "bad.toml"],
        &["send", &message, "--to", &mllp],
        &["queue", "--config", &config],
        &["queue", "list", "--json", "--config", &config],
        &["queue", "show", "1", "--config", &config],
        &["queue", "export", "--all", "--config", &config],
        &["queue", "log", "--config", &config],
        &["verify", "--config", &config],
        &["replay", "--to", &base, &message],
        &["--help"],
    ];
    for args in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let out =
            program(folder.path(), args).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let out = out.wait_with_output().unwrap();
        let said = text(&out.stderr);
        assert!(!said.contains("panicked") && !said.contains("ipe"), "{args:?}: {said}");
        assert!(matches!(out.status.code(), Some(0 | 1 | 141)), "{args:?}: {:?} {said}", out.status);
    }
}

#[test]
fn a_command_does_its_work_when_nobody_reads_its_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    write(folder.path(), "bad.hl7", "no message\n");
    let message = sample("A01-admit-fjordvik.hl7");
    let mut out = program(folder.path(), &["convert", "bad.hl7", &message]);
    let out = out.stdin(Stdio::null()).stderr(writer).stdout(Stdio::piped());
    let out = out.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("\"resourceType\":\"Bundle\""), "{}", text(&out.stdout));
}

#[test]
fn a_daemon_goes_on_when_nobody_reads_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let mllp = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    write(
        folder.path(),
        "config.toml",
        &FREE_PORTS.replace("[[listener]]\nbind = \"127.0.0.1:0\"", &format!("[[listener]]\nbind = \"{mllp}\"")),
    );
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut child = program(folder.path(), &["serve", "--config", "config.toml"])
        .env("STOKER_LOG", "debug")
        .stdin(Stdio::null())
        .stderr(writer)
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    while !text(&said).contains("listening") {
        let mut some = [0; 256];
        let n = reader.read(&mut some).unwrap();
        assert!(n > 0, "{}", text(&said));
        said.extend(&some[..n]);
    }
    drop(reader);
    let sent = stoker_in(
        folder.path(),
        &["send", &sample("A01-admit-fjordvik.hl7"), "--to", &mllp.to_string(), "--timeout", "10s"],
    );
    assert!(text(&sent.stdout).contains("\tAA\t"), "{} {}", text(&sent.stdout), text(&sent.stderr));
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let list = text(
            &stoker_in(folder.path(), &["queue", "list", "--status", "delivered", "--config", "config.toml"]).stdout,
        );
        if list.contains("delivered") {
            break;
        }
        assert!(Instant::now() < until, "not delivered: {list}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// What a daemon writes to a terminal until it listens.
fn log_on_a_terminal(no_color: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "config.toml", FREE_PORTS);
    let terminal = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
    rustix::pty::grantpt(&terminal).unwrap();
    rustix::pty::unlockpt(&terminal).unwrap();
    let name = rustix::pty::ptsname(&terminal, Vec::new()).unwrap();
    let end = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = program(folder.path(), &["serve", "--config", "config.toml"]);
    match no_color {
        Some(value) => command.env("NO_COLOR", value),
        None => command.env_remove("NO_COLOR"),
    };
    let mut child = command.stdin(Stdio::null()).stderr(end).spawn().unwrap();
    let mut said = Vec::new();
    let mut reading = File::from(terminal);
    while !text(&said).contains("listening") {
        let mut some = [0; 256];
        let n = reading.read(&mut some).unwrap();
        said.extend(&some[..n]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    text(&said)
}

#[test]
fn a_log_on_a_terminal_has_colours_unless_no_color_is_set() {
    assert!(log_on_a_terminal(None).contains('\u{1b}'));
    assert!(log_on_a_terminal(Some("")).contains('\u{1b}'));
    let plain = log_on_a_terminal(Some("1"));
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
}
