//! Long runs against a release build: `tests/soak/run --minutes 30`, `--kills 50`, `--backlog 1000000`.
//!
//! An hour of a hospital's worst day, judged as the tests judge a few seconds of it: nothing that was acknowledged is
//! lost, out of order, or applied twice. Memory, backlog and files are written down as it goes.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a run that cannot go on has failed, and tells what it does"
)]

mod audit;
mod chaos;
mod curve;
#[allow(dead_code, reason = "the fault tests use the rest")]
mod load;
#[allow(dead_code, reason = "the tests use the rest")]
mod rig;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::time::sleep;

use audit::audit;
use chaos::{Dice, kill_in_turn};
use curve::Curve;
use load::Load;
use rig::{Part, Rig};

#[derive(Debug, Parser)]
#[command(about = "Runs engine and mailbox for a long time under load, kills and outages, and judges the outcome")]
struct Options {
    /// Load for so long, with a kill -9 of the engine and outages of the mailbox
    #[arg(long, value_name = "N", group = "what")]
    minutes: Option<u64>,
    /// So many rounds of kill -9 of the engine, the mailbox and both in turn, at random points under load
    #[arg(long, value_name = "N", group = "what")]
    kills: Option<usize>,
    /// Lets so many messages wait for a mailbox that is down, then brings it back
    #[arg(long, value_name = "N", group = "what")]
    backlog: Option<u64>,
    /// Messages a second
    #[arg(long, default_value_t = 500)]
    rate: u32,
    #[arg(long, default_value_t = 16)]
    senders: usize,
    #[arg(long, default_value_t = 2_000)]
    patients: usize,
    /// Seconds between two kill -9 of the engine; 0: none
    #[arg(long, default_value_t = 60)]
    kill_every: u64,
    /// Seconds between two outages of the mailbox; 0: none
    #[arg(long, default_value_t = 300)]
    outage_every: u64,
    /// Seconds that an outage lasts
    #[arg(long, default_value_t = 30)]
    outage: u64,
    /// For the data, the log and curve.csv; must be empty
    #[arg(long, default_value = "target/soak")]
    folder: PathBuf,
    #[arg(long, default_value = "target/release/stoker")]
    stoker: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rustls::crypto::ring::default_provider().install_default().ok();
    std::fs::create_dir_all(&options.folder).unwrap();
    assert!(std::fs::read_dir(&options.folder).unwrap().next().is_none(), "{:?} is not empty", options.folder);
    let mut rig = Rig::new(&options.stoker, &options.folder, &options.folder);
    rig.start(Part::Mailbox);
    rig.start(Part::Engine);
    let mut curve = Curve::new(&options.folder.join("curve.csv"));
    let acked = match (options.minutes, options.kills, options.backlog) {
        (_, Some(rounds), _) => kills(&options, &mut rig, rounds).await,
        (_, _, Some(count)) => backlog(&options, &mut rig, &mut curve, count).await,
        (minutes, ..) => soak(&options, &mut rig, &mut curve, minutes.unwrap_or(30)).await,
    };
    println!("the load has ended; waiting for the backlog, then looking at every patient");
    let began = Instant::now();
    let verdict = audit(&rig, &acked, Duration::from_secs(3_600)).await;
    print!("{}", curve.summary());
    match verdict {
        Ok(total) => {
            let took = began.elapsed().as_secs_f64();
            println!("{total} acknowledged, all delivered, in order, applied once (looked at in {took:.0} s)");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            println!("FAILED\n{wrong}\nsee {}", options.folder.join("log").display());
            ExitCode::FAILURE
        }
    }
}

async fn soak(options: &Options, rig: &mut Rig, curve: &mut Curve, minutes: u64) -> Vec<u32> {
    let load = Load::start(rig.mllp, options.patients, options.senders, Some(options.rate));
    let (mut kills, mut outages) = (0, 0);
    let mut down_until = None;
    for second in 1..=minutes * 60 {
        sleep(Duration::from_secs(1)).await;
        if options.kill_every > 0 && second % options.kill_every == 0 {
            rig.kill(Part::Engine);
            rig.start(Part::Engine);
            kills += 1;
        }
        if options.outage_every > 0 && second % options.outage_every == 0 && second < minutes * 60 {
            rig.kill(Part::Mailbox);
            down_until = Some(second + options.outage);
            outages += 1;
        }
        if down_until.is_some_and(|until| second >= until) {
            rig.start(Part::Mailbox);
            down_until = None;
        }
        if second % 5 == 0 {
            curve.note(rig, load.acked(), load.slowest());
        }
    }
    if down_until.is_some() {
        rig.start(Part::Mailbox);
    }
    println!(
        "{minutes} minutes at {} a second, {kills} kills of the engine, {outages} outages of the mailbox",
        options.rate
    );
    load.stop().await
}

async fn kills(options: &Options, rig: &mut Rig, rounds: usize) -> Vec<u32> {
    let load = Load::start(rig.mllp, options.patients, options.senders, Some(options.rate));
    let seed = u64::from(std::process::id());
    println!("{rounds} rounds, seed {seed}");
    kill_in_turn(rig, &mut Dice::new(seed), rounds, |_| {}).await;
    load.stop().await
}

async fn backlog(options: &Options, rig: &mut Rig, curve: &mut Curve, count: u64) -> Vec<u32> {
    rig.kill(Part::Mailbox);
    let patients = options.patients.max(usize::try_from(count / 20).unwrap());
    let load = Load::start(rig.mllp, patients, options.senders.max(32), None);
    let began = Instant::now();
    while load.acked() < count {
        sleep(Duration::from_secs(5)).await;
        curve.note(rig, load.acked(), load.slowest());
    }
    let acked = load.stop().await;
    let taken = began.elapsed().as_secs_f64();
    let total: u64 = acked.iter().map(|&count| u64::from(count)).sum();
    println!(
        "{total} messages taken in {taken:.0} s, {:.0} a second; a kill -9, and the mailbox comes back",
        total as f64 / taken
    );
    rig.kill(Part::Engine);
    rig.start(Part::Engine);
    rig.start(Part::Mailbox);
    let began = Instant::now();
    while curve.note(rig, total, Duration::ZERO) > 0 {
        sleep(Duration::from_secs(5)).await;
    }
    let taken = began.elapsed().as_secs_f64();
    println!("delivered in {taken:.0} s, {:.0} a second", total as f64 / taken);
    acked
}
