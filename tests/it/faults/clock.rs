//! A wall clock that is set back by a day: waits must not become days, and nothing may be taken for old.

use std::path::Path;
use std::time::{Duration, Instant};

use stoker::journal::Reader;

use super::audit::audit;
use super::load::Load;
use super::rig::{Part, Rig};
use super::{PATIENCE, program, shim};

/// Both parts with a clock that `set_back` changes.
fn with_a_clock(folder: &Path) -> Rig {
    crate::process::http();
    std::fs::write(folder.join("clock"), "0\n").unwrap();
    let mut rig = Rig::new(program(), folder, folder);
    shim::install(&mut rig, folder);
    rig.set("SHIM_CLOCK", &folder.join("clock"));
    rig.start(Part::Mailbox);
    rig.start(Part::Engine);
    rig
}

fn set_back(rig: &Rig) {
    std::fs::write(rig.folder.join("clock"), "-86400\n").unwrap();
}

/// The wall clock as the processes see it, by the time of the last line in their log.
fn says_yesterday(rig: &Rig) -> bool {
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    rig.log().contains(&yesterday.strftime("%Y-%m-%dT").to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_back_a_day_delays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = with_a_clock(folder.path());
    let load = Load::start(rig.mllp, 20, 4, Some(200));
    load.until_acked(200, PATIENCE).await.unwrap();
    set_back(&rig);
    load.until_acked(load.acked() + 200, PATIENCE).await.unwrap();
    let acked = load.stop().await;
    audit(&rig, &acked, Duration::from_secs(20)).await.unwrap_or_else(|wrong| panic!("{wrong}\n{}", rig.log()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_off_before_the_clock_was_set_back_is_not_put_off_for_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = with_a_clock(folder.path());
    rig.kill(Part::Mailbox);
    let load = Load::start(rig.mllp, 20, 4, Some(200));
    load.until_acked(300, PATIENCE).await.unwrap();
    let until = Instant::now() + PATIENCE;
    while Reader::open(&rig.journal).unwrap().backlog().unwrap().retrying == 0 {
        assert!(Instant::now() < until, "nothing was put off: {}", rig.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let acked = load.stop().await;
    set_back(&rig);
    rig.kill(Part::Engine);
    rig.start(Part::Engine);
    let until = Instant::now() + PATIENCE;
    while !says_yesterday(&rig) {
        assert!(Instant::now() < until, "the clock was not set back: {}", rig.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.start(Part::Mailbox);
    audit(&rig, &acked, PATIENCE).await.unwrap_or_else(|wrong| panic!("{wrong}\n{}", rig.log()));
}
