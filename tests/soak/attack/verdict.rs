//! What must hold, as a table: what was found, its limit, and whether it holds.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::foes::mllp::KEPT;
use super::load::Sent;
use super::watch::{Asked, PROMPT, Watch, mib};

const P99: Duration = Duration::from_millis(500);
const MEMORY: u64 = 300 << 20;
const LOG_LINES: usize = 200;

/// What SIGTERM may take: the time for what is under way (`queue.drain`), and some for the rest.
const GRACE: Duration = Duration::from_secs(25);

/// What the data may grow by. The files of the log and of WALs are there whatever comes; a good message is kept in the
/// journal and, as Bundle, versions and answer, in the mailbox. A foe's message that was taken is kept likewise: FHIR says
/// in ten bytes what v2 says in one, but not of one long value. Nothing else may make it grow: not what was refused, and not
/// what is no message.
const DISK: u64 = 256 << 20;
const DISK_PER_MESSAGE: u64 = 8 << 10;
const DISK_PER_BYTE_TAKEN: u64 = 12;
const DISK_PER_BYTE_OF_ONE_VALUE: u64 = 3;

/// What the foes were answered: by attack and answer, how often.
#[derive(Debug, Default)]
pub struct Answers(BTreeMap<String, BTreeMap<String, u64>>);

impl Answers {
    pub fn read(&mut self, lines: &str) {
        for line in lines.lines() {
            let mut fields = line.split('\t').map(str::to_owned);
            if let (Some(attack), Some(what), Some(count)) = (fields.next(), fields.next(), fields.next()) {
                self.0.entry(attack).or_default().insert(what, count.parse().unwrap());
            }
        }
    }

    fn count(&self, attack: &str, is_meant: impl Fn(&str) -> bool) -> u64 {
        let answers = self.0.iter().filter(|(name, _)| name.starts_with(attack)).flat_map(|(_, answers)| answers);
        answers.filter(|(what, _)| is_meant(what)).map(|(_, count)| count).sum()
    }
}

pub struct Outcome {
    /// Good messages that were to be sent by then.
    pub due: u64,
    pub sent: Sent,
    /// What the mailbox shows of the good messages.
    pub applied: Result<u64, String>,
    /// How long that took after the attacks ended.
    pub backlog: Duration,
    /// Bytes.
    pub grown: u64,
    pub peak: u64,
    /// Processor time, and in how long.
    pub cpu: (Duration, Duration),
    pub lines: usize,
    /// How long SIGTERM took under attack, and whether the process ended well.
    pub stopped: Option<(Duration, bool)>,
    pub answers: Answers,
    pub watch: Watch,
}

struct Finding {
    what: &'static str,
    found: String,
    limit: String,
    holds: bool,
}

fn finding(what: &'static str, found: impl Display, limit: impl Display, holds: bool) -> Finding {
    Finding { what, found: found.to_string(), limit: limit.to_string(), holds }
}

impl Outcome {
    pub fn holds(&self) -> bool {
        self.findings().iter().all(|finding| finding.holds)
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = self.good_messages();
        findings.extend(self.costs());
        findings.extend(self.doors());
        findings
    }

    fn good_messages(&self) -> Vec<Finding> {
        let acked: u64 = self.sent.acked.iter().map(|&count| u64::from(count)).sum();
        // Each sender may be between two messages when it is told to end.
        let all = self.due.saturating_sub(self.due / 100).saturating_sub(64);
        let refused = match &self.sent.refusal {
            Some(refusal) => format!("{}: {refusal}", self.sent.refused),
            None => "0".to_owned(),
        };
        let applied = match &self.applied {
            Ok(count) => format!("{count}, {:.1?} after the end", self.backlog),
            Err(wrong) => format!("not all: {}", wrong.lines().next().unwrap_or_default()),
        };
        let (p50, p99, longest) = (self.delay(0.5), self.delay(0.99), self.delay(1.0));
        vec![
            finding("good messages acknowledged", acked, format!("{} due", self.due), acked >= all),
            finding("sent again", self.sent.again, 0, self.sent.again == 0),
            finding("refused", refused, 0, self.sent.refused == 0),
            finding("due to ack, p50", ms(p50), "", true),
            finding("due to ack, p99", ms(p99), ms(Some(P99)), p99.is_some_and(|p99| p99 < P99)),
            finding("due to ack, longest", ms(longest), "", true),
            finding("delivered in order, once", applied, "all", self.applied.is_ok()),
        ]
    }

    /// Messages that were due and never acknowledged took longer than any other.
    fn delay(&self, share: f64) -> Option<Duration> {
        let of = self.sent.delays.len().max(usize::try_from(self.due).unwrap());
        let at = ((of as f64 * share).ceil() as usize).saturating_sub(1);
        match self.sent.delays.get(at) {
            None if share >= 1.0 => self.sent.delays.last().copied(),
            delay => delay.copied(),
        }
    }

    fn costs(&self) -> Vec<Finding> {
        let acked: u64 = self.sent.acked.iter().map(|&count| u64::from(count)).sum();
        let taken = self.answers.count("", |what| what == KEPT);
        let of_one_value = self.answers.count("d12-frames", |what| what == KEPT);
        let disk = DISK
            + acked * DISK_PER_MESSAGE
            + (taken - of_one_value) * DISK_PER_BYTE_TAKEN
            + of_one_value * DISK_PER_BYTE_OF_ONE_VALUE;
        let (cpu, time) = self.cpu;
        let stopped = match self.stopped {
            Some((took, true)) => format!("{took:.1?}"),
            Some((took, false)) => format!("{took:.1?}, and not well"),
            None => "never".to_owned(),
        };
        let in_time = self.stopped.is_some_and(|(took, well)| well && took < GRACE);
        let share = 100.0 * cpu.as_secs_f64() / time.as_secs_f64();
        let size = |bytes| format!("{:.0} MiB", mib(bytes));
        vec![
            finding("memory, peak", size(self.peak), size(MEMORY), self.peak < MEMORY),
            finding("processor", format!("{share:.0} % of one"), "", true),
            finding("lines of log", self.lines, LOG_LINES, self.lines < LOG_LINES),
            finding("data grew by", size(self.grown), size(disk), self.grown < disk),
            finding("SIGTERM under attack", stopped, format!("{GRACE:?}"), in_time),
        ]
    }

    fn doors(&self) -> Vec<Finding> {
        let ok = |what: &str| what.rsplit(' ').next().is_some_and(|status| status.starts_with('2'));
        let orders = self.answers.count("c9-admin", ok);
        let foreign = self.answers.count("c9-foreign", ok);
        let failures =
            self.answers.count("c6-search", |what| what.rsplit(' ').next().is_some_and(|s| s.starts_with('5')));
        let twice = self.answers.count("c6-search", |what| what.starts_with("a destination twice") && ok(what));
        vec![
            asked("health", &self.watch.health),
            asked("orders of a person", &self.watch.orders),
            finding("taken without a secret", orders, 0, orders == 0),
            finding("taken of foreign pages", foreign, 0, foreign == 0),
            finding("searches answered 5xx", failures, 0, failures == 0),
            finding("a destination twice taken", twice, 0, twice == 0),
        ]
    }
}

fn asked(what: &'static str, asked: &Asked) -> Finding {
    let found = match &asked.instead {
        None => format!("{} times, slowest {}", asked.times, ms(Some(asked.slowest))),
        Some(instead) => format!("{} of {} not: {instead}", asked.failed, asked.times),
    };
    finding(what, found, format!("each within {PROMPT:?}"), asked.failed == 0)
}

fn ms(time: Option<Duration>) -> String {
    time.map_or("never".to_owned(), |time| format!("{} ms", time.as_millis()))
}

impl Display for Outcome {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (attack, answers) in &self.answers.0 {
            let answers: Vec<String> = answers.iter().map(|(what, count)| format!("{what} {count}")).collect();
            writeln!(out, "{attack:<16} {}", answers.join(", "))?;
        }
        writeln!(out)?;
        for Finding { what, found, limit, holds } in self.findings() {
            let mark = if holds { "" } else { "  BROKEN" };
            writeln!(out, "{what:<28} {found:<34} {limit}{mark}")?;
        }
        if let Err(wrong) = &self.applied {
            writeln!(out, "{wrong}")?;
        }
        Ok(())
    }
}
