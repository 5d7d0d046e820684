//! Ten minutes of a hospital while everything that ever stopped it is done to it at once: `tests/soak/attack/run`.
//!
//! One `stoker serve` with its own mailbox takes good messages at a rate. Beside them a process of foes ([`foes`]) does its
//! worst from other addresses. Once a second the daemon is looked at ([`watch`]); at the end everything is held against
//! limits ([`verdict`]), and the exit code is 0 where all of them hold.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a run that cannot go on has failed, and tells what it does"
)]

mod ask;
mod foes;
mod verdict;
mod watch;

#[allow(dead_code, reason = "the soak uses the rest")]
#[path = "../audit.rs"]
mod audit;
#[allow(dead_code, reason = "the soak uses the rest")]
#[path = "../load.rs"]
mod load;
#[allow(dead_code, reason = "the soak uses the rest")]
#[path = "../rig.rs"]
mod rig;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use rustix::process::{Resource, getrlimit, setrlimit};

use audit::wrong_visits;
use foes::{ATTACKS, Foes, is_chosen};
use load::{Feed, Load};
use rig::{Part, Rig};
use verdict::{Answers, Outcome};
use watch::Watch;

#[derive(Debug, Parser)]
#[command(about = "Attacks a daemon in every known way while it takes good messages, and judges what that did to it")]
struct Options {
    #[command(subcommand)]
    role: Option<Role>,
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Attacks by name, or what their names begin with: a1,d12; `none` for none
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Good messages a second
    #[arg(long, default_value_t = 200)]
    rate: u32,
    #[arg(long, default_value_t = 16)]
    senders: usize,
    #[arg(long, default_value_t = 400)]
    patients: usize,
    /// For the data, the log and curve.csv; must be empty
    #[arg(long, default_value = "target/attack")]
    folder: PathBuf,
    #[arg(long, default_value = "target/release/stoker")]
    stoker: PathBuf,
    /// Prints what each attack does
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The attacks alone, until stdin ends; started by the run itself
    #[command(hide = true)]
    Foes(Foes),
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rustls::crypto::ring::default_provider().install_default().ok();
    allow_open_files();
    match options.role {
        Some(Role::Foes(foes)) => {
            foes::run(foes).await;
            ExitCode::SUCCESS
        }
        None if options.list => {
            ATTACKS.iter().for_each(|(attack, what)| println!("{attack:<16} {what}"));
            ExitCode::SUCCESS
        }
        None => attack(&options).await,
    }
}

fn allow_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// How long what was acknowledged may take to be in the mailbox when load and attacks have ended.
const BACKLOG: Duration = Duration::from_secs(120);

/// How long the daemon may take to end, before it is killed.
const LONGEST_END: Duration = Duration::from_secs(90);

async fn attack(options: &Options) -> ExitCode {
    std::fs::create_dir_all(&options.folder).unwrap();
    assert!(std::fs::read_dir(&options.folder).unwrap().next().is_none(), "{:?} is not empty", options.folder);
    let mut rig = Rig::whole(&options.stoker, &options.folder);
    rig.start(Part::Engine);
    let mut watch = Watch::new(&rig, &options.stoker);
    for (attack, what) in ATTACKS.iter().filter(|(attack, _)| is_chosen(&options.only, attack)) {
        println!("{attack:<16} {what}");
    }
    let load = Load::of(Feed {
        to: rig.mllp,
        patients: options.patients,
        senders: options.senders,
        per_second: Some(options.rate),
        from: [1, 1, 1, 2].map(|last| IpAddr::from(Ipv4Addr::new(127, 0, 0, last))).into(),
        // Who is connected before the attack begins would not notice that nobody else gets in.
        renew: Some(100),
    });
    let foes = start_foes(options, &rig, 0);
    let began = Instant::now();
    watch.for_a_time(&rig, &load, Duration::from_secs_f64(options.minutes * 60.0)).await;
    let due = (began.elapsed().as_secs_f64() * f64::from(options.rate)) as u64;
    let sent = load.end(Duration::from_secs(30)).await;
    let mut answers = Answers::default();
    answers.read(&end_foes(foes));
    let ended = Instant::now();
    let applied = applied(&rig, &sent.acked, BACKLOG).await;
    let backlog = ended.elapsed();
    // Both before the process ends: with it go its memory and its log's last words.
    let (grown, peak) = (watch.grown(&rig), watch.peak(&rig));
    let (cpu, lines) = (watch.cpu(&rig), rig.log().lines().count());
    let foes = start_foes(options, &rig, 1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let stopped = rig.terminate(Part::Engine, LONGEST_END);
    drop(end_foes(foes));
    let outcome = Outcome { due, sent, applied, backlog, grown, peak, cpu, lines, stopped, answers, watch };
    print!("{outcome}");
    if outcome.holds() {
        return ExitCode::SUCCESS;
    }
    println!("FAILED; see {}", options.folder.join("log").display());
    ExitCode::FAILURE
}

/// Waits until the mailbox shows every message that was acknowledged, in order and once. The journal cannot be asked: it has
/// the foes' messages too.
async fn applied(rig: &Rig, acked: &[u32], patience: Duration) -> Result<u64, String> {
    let until = Instant::now() + patience;
    loop {
        let wrong = wrong_visits(rig, acked).await;
        if wrong.is_empty() {
            return Ok(acked.iter().map(|&count| u64::from(count)).sum());
        }
        if Instant::now() > until {
            return Err(wrong.join("\n"));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// In a process of their own, which gives way to the daemon and the good senders: other machines have processors of theirs.
fn start_foes(options: &Options, rig: &Rig, round: u64) -> Child {
    let journal = std::fs::canonicalize(&rig.journal).unwrap_or_else(|_| rig.journal.clone());
    let mut command = Command::new("nice");
    command.args(["-n", "10"]).arg(std::env::current_exe().unwrap()).arg("foes");
    command.args(["--mllp", &rig.mllp.to_string(), "--http", &rig.http.to_string(), "--round", &round.to_string()]);
    command.arg("--journal").arg(journal);
    if !options.only.is_empty() {
        command.args(["--only", &options.only.join(",")]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// What they were answered.
fn end_foes(mut foes: Child) -> String {
    drop(foes.stdin.take());
    let mut answers = String::new();
    foes.stdout.take().unwrap().read_to_string(&mut answers).unwrap();
    foes.wait().unwrap();
    answers
}
