//! What a long run costs, over time: a CSV to draw, and a summary to read.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use stoker::journal::Reader;

use super::rig::{Part, Rig};

pub struct Curve {
    file: File,
    began: Instant,
    points: Vec<Point>,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    seconds: u64,
    engine: u64,
    mailbox: u64,
    waiting: u64,
    slowest: Duration,
}

impl Curve {
    pub fn new(path: &Path) -> Self {
        let mut file = File::create(path).unwrap();
        let columns =
            "seconds,acknowledged,waiting,engine_rss_mib,mailbox_rss_mib,journal_mib,mailbox_db_mib,slowest_ack_ms";
        writeln!(file, "{columns}").unwrap();
        Self { file, began: Instant::now(), points: Vec::new() }
    }

    /// One line; gives how many messages wait. A process that is down has no memory.
    pub fn note(&mut self, rig: &Rig, acked: u64, slowest: Duration) -> u64 {
        let waiting = Reader::open(&rig.journal).unwrap().backlog().unwrap().waiting;
        let point = Point {
            seconds: self.began.elapsed().as_secs(),
            engine: rig.memory(Part::Engine).unwrap_or(0),
            mailbox: rig.memory(Part::Mailbox).unwrap_or(0),
            waiting,
            slowest,
        };
        self.points.push(point);
        writeln!(
            self.file,
            "{},{acked},{waiting},{:.1},{:.1},{:.1},{:.1},{}",
            point.seconds,
            mib(point.engine),
            mib(point.mailbox),
            mib(size(&rig.journal)),
            mib(size(&rig.data())),
            slowest.as_millis(),
        )
        .unwrap();
        waiting
    }

    /// A line for each twelfth of the run, with the largest values in it; nothing where nothing was noted.
    pub fn summary(&self) -> String {
        if self.points.is_empty() {
            return String::new();
        }
        let mut text = String::from("  until s  engine MiB  mailbox MiB    waiting  slowest ack ms\n");
        for part in self.points.chunks(self.points.len().div_ceil(12)) {
            let most = |of: fn(&Point) -> u64| part.iter().map(of).max().unwrap_or(0);
            text.push_str(&format!(
                "{:>9} {:>11.1} {:>12.1} {:>10} {:>15}\n",
                most(|point| point.seconds),
                mib(most(|point| point.engine)),
                mib(most(|point| point.mailbox)),
                most(|point| point.waiting),
                most(|point| u64::try_from(point.slowest.as_millis()).unwrap_or(u64::MAX)),
            ));
        }
        text
    }
}

/// A database and its log.
fn size(path: &Path) -> u64 {
    let of = |path: &Path| std::fs::metadata(path).map_or(0, |data| data.len());
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    of(path) + of(Path::new(&log))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
