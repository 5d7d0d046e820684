//! How much is kept of what cannot be taken. To make it costs a peer next to nothing, and it has no right to our disk.
//!
//! The first of each kind from each peer is kept in full, and further ones as long as the peer's allowance lasts: a small one for
//! what is no message, a large one for refused messages, which somebody may want to look at. What goes beyond is answered as ever
//! and counted. The count is no secret: the journal gets a row that says how many more there were and from when to when, after a
//! minute, and then at growing intervals up to an hour for as long as it goes on. A crash loses the count of the last interval;
//! nothing that is counted only was ever acknowledged as taken.
//!
//! So many peers are told apart; those beyond share one allowance, and nothing of theirs is a first.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;

use crate::mllp::ack;
use crate::mllp::validator::Decision;
use crate::mllp::wire::utf16::Readable;

/// What is refused, or taken and good for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    EmptyFrame,
    NoHeader,
    Noise,
    Partial,
    /// A message outside a frame.
    Unframed,
    Oversize,
    /// An acknowledgement, sent to us as a message.
    Acknowledgement,
    /// The segments around the messages of a batch.
    Envelope,
    /// A message that can be read and is not taken.
    Message,
}

impl RefusalKind {
    /// What of refused input it is; `None` for what is taken.
    pub fn of(message: &Readable, decision: &Decision) -> Option<Self> {
        match (message.header(), decision) {
            (Err(_), _) if message.raw.trim_ascii().is_empty() => Some(Self::EmptyFrame),
            (Err(_), _) => Some(Self::NoHeader),
            (Ok(header), Decision::Skip { .. }) => ack::is_ack(&header).then_some(Self::Acknowledgement),
            (Ok(_), Decision::Refuse(_)) => Some(Self::Message),
            (Ok(_), Decision::Accept { .. }) => None,
        }
    }

    /// For a person: `12 more` of them.
    pub fn plural(self) -> &'static str {
        match self {
            Self::EmptyFrame => "empty frames",
            Self::NoHeader => "frames without a readable MSH",
            Self::Noise => "pieces outside any frame",
            Self::Partial => "frames that broke off",
            Self::Unframed => "messages outside a frame",
            Self::Oversize => "frames over max_frame",
            Self::Acknowledgement => "acknowledgements sent as messages",
            Self::Envelope => "envelopes of batches",
            Self::Message => "refused messages",
        }
    }

    /// Whether it can be made without knowing how a message looks.
    fn is_garbage(self) -> bool {
        !matches!(self, Self::Message | Self::Envelope | Self::Oversize)
    }
}

/// Peers that are told apart.
const PEERS: usize = 256;

/// A peer of which nothing was refused for so long is not remembered.
const REMEMBERED: Duration = Duration::from_hours(24);

/// From the first that is only counted to the row that says so, and the longest there is between two such rows.
const INTERVAL: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(1));

/// How much of the latest one stands in the row that counts it.
const SAMPLE: usize = 256;

/// What a peer may have kept at once, and what comes back of it each hour.
struct Limits {
    rows: f64,
    bytes: f64,
    hourly_rows: f64,
    hourly_bytes: f64,
}

/// Enough to see what it is.
const GARBAGE: Limits = Limits { rows: 20.0, bytes: 256e3, hourly_rows: 60.0, hourly_bytes: 256e3 };

/// Enough for a feed whose every message is refused to be looked at.
const MESSAGES: Limits = Limits { rows: 2_000.0, bytes: 32e6, hourly_rows: 3_600.0, hourly_bytes: 16e6 };

/// All peers of a listener together: so many times what one may.
const TOGETHER: f64 = 4.0;

/// What one listener refuses.
#[derive(Debug, Default)]
pub struct Refusals {
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    peers: HashMap<IpAddr, PeerRefusals>,
    /// Of peers beyond those that are told apart.
    others: PeerRefusals,
    together: Allowances,
}

#[derive(Debug, Default)]
struct PeerRefusals {
    latest: Option<Instant>,
    allowances: Allowances,
    kinds: HashMap<RefusalKind, Tally>,
}

/// Of one kind, from one peer.
#[derive(Debug, Default)]
struct Tally {
    counted: Option<Counted>,
    /// When the next row is due, if there is something to say, and the interval after that.
    due: Option<(Instant, Duration)>,
}

/// Those that were not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub count: u64,
    pub bytes: u64,
    pub since: Timestamp,
    pub until: Timestamp,
    /// The beginning of the latest.
    pub sample: Bytes,
}

/// A row that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedRefusals {
    /// `None` for those that are not told apart.
    pub peer: Option<IpAddr>,
    pub kind: RefusalKind,
    pub counted: Counted,
}

impl CountedRefusals {
    /// `1204 more frames without a readable MSH from 192.0.2.7 between … and …, 5 kB in all: counted and not kept`
    pub fn reason(&self) -> String {
        let Counted { count, bytes, since, until, .. } = &self.counted;
        let from = match self.peer {
            Some(peer) => format!("{peer}"),
            None => format!("peers beyond the {PEERS} that are told apart"),
        };
        let what = self.kind.plural();
        format!(
            "{count} more {what} from {from} between {since:.0} and {until:.0}, {bytes} bytes in all: counted and not kept"
        )
    }
}

impl Refusals {
    /// Whether this one is to be kept; else it has been counted.
    pub fn keeps(&self, peer: IpAddr, kind: RefusalKind, raw: &[u8]) -> bool {
        self.keeps_at(Instant::now(), peer, kind, raw)
    }

    fn keeps_at(&self, now: Instant, peer: IpAddr, kind: RefusalKind, raw: &[u8]) -> bool {
        let mut ledger = self.lock();
        let Ledger { peers, others, together } = &mut *ledger;
        let peer = peer.to_canonical();
        if peers.len() >= PEERS && !peers.contains_key(&peer) {
            peers.retain(|_, of_peer| of_peer.is_remembered(now));
        }
        let told_apart = peers.len() < PEERS || peers.contains_key(&peer);
        let of_peer = if told_apart { peers.entry(peer).or_default() } else { others };
        of_peer.latest = Some(now);
        let first = told_apart && !of_peer.kinds.contains_key(&kind);
        let tally = of_peer.kinds.entry(kind).or_default();
        let allowed =
            of_peer.allowances.allow(now, kind, raw.len(), 1.0) && together.allow(now, kind, raw.len(), TOGETHER);
        if !first && !allowed {
            tally.count(now, raw);
        }
        first || allowed
    }

    /// What has been counted and is to be said now; `all` of it when nothing more will come.
    pub fn due(&self, all: bool) -> Vec<CountedRefusals> {
        self.due_at(Instant::now(), all)
    }

    fn due_at(&self, now: Instant, all: bool) -> Vec<CountedRefusals> {
        let mut ledger = self.lock();
        let Ledger { peers, others, .. } = &mut *ledger;
        let told_apart = peers.iter_mut().map(|(peer, of_peer)| (Some(*peer), of_peer));
        let mut due = Vec::new();
        for (peer, of_peer) in told_apart.chain([(None, others)]) {
            for (kind, tally) in &mut of_peer.kinds {
                due.extend(tally.take(now, all).map(|counted| CountedRefusals { peer, kind: *kind, counted }));
            }
        }
        due
    }

    /// What could not be said is said next time.
    pub fn put_back(&self, refusals: CountedRefusals) {
        let CountedRefusals { peer, kind, counted } = refusals;
        let mut ledger = self.lock();
        let Ledger { peers, others, .. } = &mut *ledger;
        let of_peer = match peer {
            Some(peer) => peers.entry(peer).or_default(),
            None => others,
        };
        of_peer.kinds.entry(kind).or_default().put_back(counted);
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PeerRefusals {
    fn is_remembered(&self, now: Instant) -> bool {
        self.kinds.values().any(|tally| tally.counted.is_some())
            || self.latest.is_some_and(|latest| now.saturating_duration_since(latest) < REMEMBERED)
    }
}

impl Tally {
    fn count(&mut self, now: Instant, raw: &[u8]) {
        let at = Timestamp::now();
        let sample = Bytes::copy_from_slice(&raw[..raw.len().min(SAMPLE)]);
        self.put_back(Counted { count: 1, bytes: raw.len() as u64, since: at, until: at, sample });
        self.due.get_or_insert((now + INTERVAL.0, INTERVAL.0 * 2));
    }

    fn put_back(&mut self, other: Counted) {
        match &mut self.counted {
            Some(counted) => {
                counted.count += other.count;
                counted.bytes += other.bytes;
                counted.since = counted.since.min(other.since);
                if other.until >= counted.until {
                    counted.until = other.until;
                    counted.sample = other.sample;
                }
            }
            None => self.counted = Some(other),
        }
    }

    fn take(&mut self, now: Instant, all: bool) -> Option<Counted> {
        let (due, interval) = self.due?;
        if now < due && !all {
            return None;
        }
        let counted = self.counted.take();
        // After an interval in which nothing was counted it begins anew.
        self.due = counted.is_some().then(|| (now + interval, (interval * 2).min(INTERVAL.1)));
        counted
    }
}

#[derive(Debug, Default)]
struct Allowances {
    garbage: Allowance,
    messages: Allowance,
}

impl Allowances {
    fn allow(&mut self, now: Instant, kind: RefusalKind, bytes: usize, times: f64) -> bool {
        match kind.is_garbage() {
            true => self.garbage.allow(now, &GARBAGE, bytes, times),
            false => self.messages.allow(now, &MESSAGES, bytes, times),
        }
    }
}

/// A token bucket of rows and one of bytes.
#[derive(Debug, Default)]
struct Allowance {
    spent_rows: f64,
    spent_bytes: f64,
    at: Option<Instant>,
}

impl Allowance {
    fn allow(&mut self, now: Instant, limits: &Limits, bytes: usize, times: f64) -> bool {
        let hours = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64() / 3_600.0);
        self.at = Some(now);
        self.spent_rows = (self.spent_rows - hours * limits.hourly_rows * times).max(0.0);
        self.spent_bytes = (self.spent_bytes - hours * limits.hourly_bytes * times).max(0.0);
        let (rows, bytes) = (self.spent_rows + 1.0, self.spent_bytes + bytes as f64);
        if rows > limits.rows * times || bytes > limits.bytes * times {
            return false;
        }
        (self.spent_rows, self.spent_bytes) = (rows, bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn kept(refusals: &Refusals, now: Instant, kind: RefusalKind, raw: &[u8], times: usize) -> usize {
        (0..times).filter(|_| refusals.keeps_at(now, PEER, kind, raw)).count()
    }

    #[test]
    fn a_million_empty_frames_are_a_few_rows_and_one_that_counts_them() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!(kept(&refusals, start, RefusalKind::EmptyFrame, b"", 1_000_000), 20);
        assert_eq!(refusals.due_at(start + Duration::from_secs(59), false), []);
        let due = refusals.due_at(start + Duration::from_secs(60), false);
        assert_eq!((due.len(), due[0].counted.count, due[0].peer), (1, 999_980, Some(PEER)));
        let reason = due[0].reason();
        assert!(reason.starts_with("999980 more empty frames from 192.0.2.7 between 20"), "{reason}");
        assert!(reason.ends_with("0 bytes in all: counted and not kept"), "{reason}");
        assert_eq!(refusals.due_at(start + Duration::from_secs(60), true), []);
    }

    #[test]
    fn the_first_of_each_kind_is_kept_in_full_however_long() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let long = vec![b'x'; 1 << 20];
        assert_eq!(kept(&refusals, start, RefusalKind::NoHeader, &long, 10), 1);
        assert_eq!(kept(&refusals, start, RefusalKind::Partial, &long, 10), 1);
        let due = refusals.due_at(start, true);
        assert_eq!(due.iter().map(|due| (due.counted.count, due.counted.bytes)).collect::<Vec<_>>(), [(9, 9 << 20); 2]);
        assert!(due.iter().all(|due| due.counted.sample.len() == SAMPLE));
    }

    #[test]
    fn the_rows_that_count_come_ever_more_seldom() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let rows = (0..86_400).filter(|second| {
            let now = start + Duration::from_secs(*second);
            kept(&refusals, now, RefusalKind::Noise, b"x", 100);
            !refusals.due_at(now, false).is_empty()
        });
        assert_eq!(rows.count(), 6 + 22);
    }

    #[test]
    fn what_could_not_be_said_is_said_with_the_next() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        kept(&refusals, start, RefusalKind::EmptyFrame, b"", 30);
        let due = refusals.due_at(start, true).remove(0);
        kept(&refusals, start, RefusalKind::EmptyFrame, b"", 5);
        refusals.put_back(due.clone());
        let next = refusals.due_at(start, true).remove(0);
        assert_eq!((next.counted.count, next.counted.since), (15, due.counted.since));
    }

    #[test]
    fn peers_without_number_are_kept_in_bounds_together() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let peers = (0..10_000_u32).map(|n| IpAddr::from(std::net::Ipv4Addr::from(0x0A00_0000 + n)));
        let kept = peers.filter(|peer| refusals.keeps_at(start, *peer, RefusalKind::EmptyFrame, b"")).count();
        assert_eq!(kept, PEERS);
        let due = refusals.due_at(start, true);
        assert_eq!((due.len(), due[0].peer, due[0].counted.count), (1, None, 10_000 - PEERS as u64));
        assert!(due[0].reason().contains("from peers beyond the 256"), "{}", due[0].reason());
        let later = start + REMEMBERED;
        assert!(refusals.keeps_at(later, PEER, RefusalKind::EmptyFrame, b""), "the old ones are forgotten");
        assert!(refusals.lock().peers.len() < PEERS);
    }

    #[test]
    fn refused_messages_of_an_afternoon_are_all_kept() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let message = vec![b'x'; 1_000];
        let kept: usize = (0..14_400)
            .map(|second| kept(&refusals, start + Duration::from_secs(second), RefusalKind::Message, &message, 1))
            .sum();
        assert_eq!(kept, 14_400);
    }
}
