//! Disks: what survives a power cut, and what happens when nothing more can be written.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::audit::audit;
use super::chaos::Dice;
use super::load::Load;
use super::rig::{Part, Rig};
use super::{PATIENCE, program, shim};

/// Puts in place of the data what a disk holds after a power cut: only what was synced.
fn cut_power(data: &Path, synced: &Path) -> u64 {
    let mut lost = 0;
    for file in files(data) {
        let kept = synced.join(file.file_name().unwrap());
        lost += u64::from(std::fs::read(&file).unwrap() != std::fs::read(kept).unwrap_or_default());
        std::fs::remove_file(&file).unwrap();
    }
    for file in files(synced).into_iter().filter(|file| !file.file_name().unwrap().to_string_lossy().starts_with('.')) {
        std::fs::copy(&file, data.join(file.file_name().unwrap())).unwrap();
    }
    lost
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_everything_acknowledged_is_there_and_nothing_is_applied_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (data, synced, tools) = (folder.path().join("data"), folder.path().join("synced"), folder.path().join("tools"));
    [&data, &synced, &tools].iter().for_each(|path| std::fs::create_dir(path).unwrap());
    crate::process::http();
    let mut rig = Rig::new(program(), &tools, &data);
    let settings = std::fs::read_to_string(rig.config()).unwrap();
    let mailbox = data.join("mailbox.db");
    std::fs::write(rig.config(), settings.replace(&rig.data().display().to_string(), &mailbox.display().to_string()))
        .unwrap();
    shim::install(&mut rig, &tools);
    rig.set("SHIM_DATA", &data);
    rig.set("SHIM_SYNCED", &synced);
    rig.start(Part::Mailbox);
    rig.start(Part::Engine);
    let load = Load::start(rig.mllp, 40, 8, Some(300));
    let mut dice = Dice::new(u64::from(std::process::id()));
    let mut lost = 0;
    for _ in 0..3 {
        let more = dice.millis(150, 400).as_millis() as u64; // the moment of the cut, by messages
        until_acked(&load, load.acked() + more, &rig).await;
        rig.kill(Part::Engine);
        rig.kill(Part::Mailbox);
        lost += cut_power(&data, &synced);
        rig.start(Part::Mailbox);
        rig.start(Part::Engine);
    }
    let acked = load.stop().await;
    let total = audit(&rig, &acked, PATIENCE).await.unwrap_or_else(|wrong| panic!("{wrong}\n{}", rig.log()));
    assert!(total > 60 && lost > 0, "{total} messages, {lost} files that the cut changed");
}

/// A small file system in memory, unmounted in the end. `None` where this user may not mount.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        mount(&["-t", "tmpfs", "-o", size, "tmpfs"], &at).then_some(Self(at))
    }

    fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], &self.0));
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    Command::new("mount").args(arguments).arg(at).output().is_ok_and(|done| done.status.success())
}

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}

/// Waits until nothing has been acknowledged for a while.
async fn until_nothing_is_taken(load: &Load, rig: &Rig) {
    let until = Instant::now() + PATIENCE;
    let mut before = u64::MAX;
    while load.acked() != before || before == 0 {
        assert!(Instant::now() < until, "there is always room: {}", rig.log());
        before = load.acked();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
}

/// Fills the journal's disk, makes room with `mend`, and sees that all goes on without a restart.
async fn fills_up(rig: &Rig, mend: impl FnOnce()) {
    let load = Load::start(rig.mllp, 40, 8, None);
    goes_on_again(rig, load, mend).await;
}

/// Waits until the journal takes nothing, mends what is wrong with it, and sees that all goes on without a restart.
async fn goes_on_again(rig: &Rig, load: Load, mend: impl FnOnce()) {
    until_nothing_is_taken(&load, rig).await;
    assert!(rig.log().contains("message not stored, and so not acknowledged"), "{}", rig.log());
    let before = load.acked();
    mend();
    until_acked(&load, before + 200, rig).await;
    let acked = load.stop().await;
    audit(rig, &acked, PATIENCE).await.unwrap_or_else(|wrong| panic!("{wrong}\n{}", rig.log()));
}

async fn until_acked(load: &Load, count: u64, rig: &Rig) {
    load.until_acked(count, PATIENCE).await.unwrap_or_else(|wrong| panic!("{wrong}: {}", rig.log()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_takes_no_message_and_loses_none_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Small::mount(folder.path().join("small"), "size=6m") else {
        eprintln!("this user may not mount a small disk; the test with a file that may not grow stands in");
        return;
    };
    crate::process::http();
    let mut rig = Rig::new(program(), folder.path(), &disk.0);
    rig.start(Part::Mailbox);
    rig.start(Part::Engine);
    fills_up(&rig, || disk.remount("size=200m")).await;
    drop(rig);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_may_not_grow_takes_no_message_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    crate::process::http();
    let mut rig = Rig::new(program(), folder.path(), folder.path());
    rig.start(Part::Mailbox);
    // Blocks of 512 bytes; without the trap the system would end a process that writes beyond.
    let limited = "trap '' XFSZ; ulimit -S -f 6000; exec \"$0\" \"$@\"";
    let command = [vec!["sh".into(), "-c".into(), limited.into()], rig.command(Part::Engine)].concat();
    rig.start_as(Part::Engine, &command);
    let engine = rig.pid(Part::Engine).unwrap().to_string();
    fills_up(&rig, || {
        let raised = Command::new("prlimit").args(["--pid", &engine, "--fsize=unlimited:unlimited"]).status().unwrap();
        assert!(raised.success());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_on_a_read_only_disk_is_named_and_nothing_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    std::fs::create_dir(&journal).unwrap();
    let disk = Small::mount(journal.clone(), "size=64m");
    let mut rig = Rig::new(program(), folder.path(), &journal);
    rig.start(Part::Mailbox);
    rig.start(Part::Engine);
    rig.kill(Part::Engine);
    match &disk {
        Some(disk) => disk.remount("ro"),
        None => files(&journal).iter().chain([&journal]).for_each(|path| {
            let mut permissions = std::fs::metadata(path).unwrap().permissions();
            permissions.set_readonly(true);
            std::fs::set_permissions(path, permissions).unwrap();
        }),
    }
    let command = rig.command(Part::Engine);
    let ended = Command::new(&command[0]).args(&command[1..]).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("journal.db cannot be written"), "{said}");
    assert!(std::net::TcpStream::connect(rig.mllp).is_err());
    drop(rig);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_whose_disk_becomes_read_only_under_load_takes_nothing_and_goes_on_when_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, flag) = (folder.path().join("journal"), folder.path().join("read-only"));
    std::fs::create_dir(&journal).unwrap();
    crate::process::http();
    let mut rig = Rig::new(program(), folder.path(), &journal);
    shim::install(&mut rig, folder.path());
    rig.set("SHIM_DATA", &journal);
    rig.set("SHIM_READ_ONLY", &flag);
    rig.start(Part::Mailbox);
    rig.start(Part::Engine);
    let load = Load::start(rig.mllp, 40, 8, None);
    until_acked(&load, 100, &rig).await;
    std::fs::write(&flag, "").unwrap();
    goes_on_again(&rig, load, || std::fs::remove_file(&flag).unwrap()).await;
}
