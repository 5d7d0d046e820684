//! Those who attack, in a process of their own: what they do costs the good senders' process nothing, and their share of
//! the processor comes last.
//!
//! Each attack has the number of what it once broke, and loopback addresses that no good sender has. What the foes were
//! answered goes to stdout when stdin is closed, a line for each: attack, what, count.

mod http;
mod inputs;
pub mod mllp;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use clap::Args;
use tokio::task::JoinSet;

/// The attacks, and what each does.
pub const ATTACKS: [(&str, &str); 13] = [
    ("a1-repetitions", "A01 of 212 KB with 18,000 repetitions of PV1-7, two at once every 10 s"),
    ("a1-groups", "A40 of 240 KB with 4,500 groups, two at once every 10 s"),
    ("a2-obx", "A01 of 0.8 MB with 30,000 OBX, four at once every 20 s"),
    ("a2-entries", "Bundles of 14 MB with 40,000 entries, two at once every 60 s"),
    ("c6-search", "3,000 identifiers, repeated parameters: 4 a second"),
    ("c9-admin", "orders to the queue without a secret, every 2 s"),
    ("c9-foreign", "foreign Host and Origin, every 2 s"),
    ("d11-idle", "520 idle HTTP connections of 4 addresses: silent, half a header, half a body"),
    ("d11-pages", "6 slow readers of pages of 1,000 Bundles"),
    ("d12-frames", "40 MLLP peers with two frames of 16 MB each, at 0.5 MB/s"),
    ("d12-connections", "300 MLLP connections of one address"),
    ("d13-empty", "0B 1C, 1 MB/s"),
    ("d13-garbage", "bytes that are no MLLP, and frames that are no HL7, 0.3 MB/s"),
];

/// Whom they attack, with what.
#[derive(Debug, Clone, Args)]
pub struct Foes {
    #[arg(long)]
    pub mllp: SocketAddr,
    #[arg(long)]
    pub http: SocketAddr,
    /// The daemon's journal as it names it itself
    #[arg(long)]
    pub journal: String,
    /// Names of attacks, or what they begin with
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Told apart from another run on the same data by this
    #[arg(long, default_value_t = 0)]
    pub round: u64,
}

/// Whether an attack is among those that were chosen: all are where none is.
pub fn is_chosen(only: &[String], attack: &str) -> bool {
    only.is_empty() || only.iter().any(|name| attack.starts_with(name.as_str()))
}

/// What the foes were answered.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<(&'static str, String), u64>>>);

impl Tally {
    pub fn add(&self, attack: &'static str, what: impl Into<String>, count: u64) {
        *self.0.lock().unwrap().entry((attack, what.into())).or_default() += count;
    }
}

/// The 127.0.0.x of an attacker.
fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// Until stdin ends.
pub async fn run(foes: Foes) {
    let (tally, mut tasks) = (Tally::default(), JoinSet::new());
    for (attack, _) in ATTACKS {
        if is_chosen(&foes.only, attack) {
            start(attack, &foes, &tally, &mut tasks);
        }
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()).ok()).await.unwrap();
    drop(tasks);
    for ((attack, what), count) in &*tally.0.lock().unwrap() {
        println!("{attack}\t{what}\t{count}");
    }
}

fn start(attack: &'static str, foes: &Foes, tally: &Tally, tasks: &mut JoinSet<()>) {
    let (foes, tally) = (foes.clone(), tally.clone());
    match attack {
        "a1-repetitions" => mllp::volleys(tasks, attack, &foes, tally, 2, 10, |name| inputs::repetitions(name, 18_000)),
        "a1-groups" => mllp::volleys(tasks, attack, &foes, tally, 2, 10, |name| inputs::groups(name, 4_500)),
        "a2-obx" => mllp::volleys(tasks, attack, &foes, tally, 4, 20, |name| inputs::observations(name, 30_000)),
        "a2-entries" => http::bundles(tasks, attack, &foes, &tally),
        "c6-search" => drop(tasks.spawn(http::searches(attack, foes, tally))),
        "c9-admin" => drop(tasks.spawn(http::orders(attack, foes, tally))),
        "c9-foreign" => drop(tasks.spawn(http::foreign(attack, foes, tally))),
        "d11-idle" => http::idle(tasks, attack, &foes, &tally),
        "d11-pages" => http::pages(tasks, attack, &foes, &tally),
        "d12-frames" => mllp::frames(tasks, attack, &foes, &tally),
        "d12-connections" => mllp::connections(tasks, attack, &foes, &tally),
        "d13-empty" => drop(tasks.spawn(mllp::empty(attack, foes, tally))),
        "d13-garbage" => mllp::garbage(tasks, attack, &foes, &tally),
        _ => unreachable!("every attack is started by its name"),
    }
}
