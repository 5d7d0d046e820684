//! The places for connections: how many there are in all and for each peer, and who gives way when they are taken.
//!
//! A new connection always gets in. Where its peer has all that are for it, or all are taken, the connection that has been
//! idle the longest is closed for it. Where all of them are at work the newcomer gets one of a few reserved places,
//! in which only what must always be answered is (health, metrics, admin), once and shortly; the oldest
//! of these gives way to the next. So nobody can keep others out by holding connections, and their number stays bounded.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::progress::{Overdue, Progress};
use crate::http::limits::ConnectionLimits;
use crate::metrics::{MetricKind, Metrics, Sample};

/// Places beyond the limit, for what must always be answered.
const RESERVED: usize = 32;

#[derive(Debug)]
pub struct Places {
    limits: ConnectionLimits,
    taken: Mutex<Taken>,
    closed: ClosedCounts,
}

/// Connections that were closed before their peers wanted it.
#[derive(Debug, Default)]
struct ClosedCounts {
    displaced: AtomicU64,
    header: AtomicU64,
    body: AtomicU64,
    answer: AtomicU64,
    idle: AtomicU64,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// By number, so the oldest first.
    ordinary: BTreeMap<u64, Holder>,
    reserved: BTreeMap<u64, Holder>,
    of_peer: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Holder {
    peer: IpAddr,
    progress: Arc<Progress>,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
    pub progress: Arc<Progress>,
    /// Beyond the limit: only what must always be answered is.
    pub reserved: bool,
    /// Another connection was closed for it.
    pub displaced: bool,
}

impl Places {
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default(), closed: ClosedCounts::default() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn take(self: &Arc<Self>, peer: IpAddr) -> Place {
        let peer = peer.to_canonical();
        let progress = Arc::new(Progress::new());
        let mut taken = self.taken();
        let number = taken.next;
        taken.next += 1;
        let full_for_peer = taken.of_peer.get(&peer).is_some_and(|held| *held >= self.limits.of_one_peer());
        let full = full_for_peer || taken.ordinary.len() >= self.limits.most();
        let mut displaced = full && taken.give_way(|holder| !full_for_peer || holder.peer == peer);
        let reserved = full && !displaced;
        let holder = Holder { peer, progress: Arc::clone(&progress) };
        if reserved {
            if taken.reserved.len() >= RESERVED
                && let Some((_, oldest)) = taken.reserved.pop_first()
            {
                oldest.progress.cut.cancel();
                displaced = true;
            }
            taken.reserved.insert(number, holder);
        } else {
            taken.ordinary.insert(number, holder);
            *taken.of_peer.entry(peer).or_default() += 1;
        }
        drop(taken);
        if displaced {
            self.closed.displaced.fetch_add(1, Ordering::Relaxed);
        }
        Place { places: Arc::clone(self), number, progress, reserved, displaced }
    }

    /// Closes the connection that has been idle the longest, when there is one.
    pub fn make_room(&self) -> bool {
        self.taken().give_way(|_| true)
    }

    /// Closes those whose peers take too long, and tells each.
    pub fn sweep(&self, now: Instant, mut tell: impl FnMut(IpAddr, Overdue)) {
        let taken = self.taken();
        for holder in taken.ordinary.values().chain(taken.reserved.values()) {
            if let Some(overdue) = holder.progress.overdue(&self.limits.timeouts, now)
                && !holder.progress.cut.is_cancelled()
            {
                holder.progress.cut.cancel();
                self.closed.of(overdue).fetch_add(1, Ordering::Relaxed);
                tell(holder.peer, overdue);
            }
        }
    }

    pub fn cut_all(&self) {
        let taken = self.taken();
        taken.ordinary.values().chain(taken.reserved.values()).for_each(|holder| holder.progress.cut.cancel());
    }

    /// Shows in `metrics` what is open, and what was closed and why.
    pub fn observe(self: &Arc<Self>, metrics: &Metrics) {
        let sample = |labels, value| Sample { labels, value };
        let places = Arc::clone(self);
        let open = move || vec![sample(Vec::new(), places.held() as u64)];
        metrics.collect("http_connections", "HTTP connections that are open", MetricKind::Gauge, open);
        let places = Arc::clone(self);
        let closed = move || {
            let counts = places.closed.all();
            counts.map(|(why, count)| sample(vec![("why", why.to_owned())], count.load(Ordering::Relaxed))).into()
        };
        let help = "HTTP connections closed for new ones (displaced), or because the peer took too long";
        metrics.collect("http_connections_closed", help, MetricKind::Counter, closed);
    }

    /// Connections that are open.
    pub fn held(&self) -> usize {
        let taken = self.taken();
        taken.ordinary.len() + taken.reserved.len()
    }
}

impl ClosedCounts {
    fn of(&self, overdue: Overdue) -> &AtomicU64 {
        match overdue {
            Overdue::Header => &self.header,
            Overdue::Body => &self.body,
            Overdue::Answer => &self.answer,
            Overdue::Idle => &self.idle,
        }
    }

    fn all(&self) -> [(&'static str, &AtomicU64); 5] {
        let overdue = [Overdue::Header, Overdue::Body, Overdue::Answer, Overdue::Idle];
        let [header, body, answer, idle] = overdue.map(|overdue| (overdue.as_str(), self.of(overdue)));
        [("displaced", &self.displaced), header, body, answer, idle]
    }
}

impl Taken {
    /// Closes the most dispensable of those that `may` go: whether there was one.
    fn give_way(&mut self, may: impl Fn(&Holder) -> bool) -> bool {
        let now = Instant::now();
        let candidates = self.ordinary.iter().filter(|(_, holder)| may(holder));
        let dispensable = candidates.filter_map(|(number, holder)| Some((holder.progress.dispensable(now)?, *number)));
        let Some((_, number)) = dispensable.min() else { return false };
        if let Some(holder) = self.remove(number) {
            holder.progress.cut.cancel();
        }
        true
    }

    fn remove(&mut self, number: u64) -> Option<Holder> {
        let holder = self.ordinary.remove(&number)?;
        if let Some(held) = self.of_peer.get_mut(&holder.peer) {
            *held -= 1;
            if *held == 0 {
                self.of_peer.remove(&holder.peer);
            }
        }
        Some(holder)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if taken.remove(self.number).is_none() {
            taken.reserved.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::limits::Timeouts;

    fn places(most: usize, per_peer: usize) -> Arc<Places> {
        Places::new(ConnectionLimits { most, per_peer, timeouts: Timeouts::default() })
    }

    fn from(places: &Arc<Places>, last: u8) -> Place {
        places.take(IpAddr::from([10, 0, 0, last]))
    }

    fn is_cut(place: &Place) -> bool {
        place.progress.cut.is_cancelled()
    }

    #[test]
    fn the_longest_idle_gives_way_and_those_at_work_do_not() {
        let places = places(3, 0);
        let (working, idle, later) = (from(&places, 1), from(&places, 2), from(&places, 3));
        working.progress.works();
        let new = from(&places, 4);
        assert!(is_cut(&idle) && !is_cut(&working) && !is_cut(&later) && !new.reserved && new.displaced);
        assert_eq!(places.held(), 3);
    }

    #[test]
    fn a_peer_with_its_share_closes_its_own_and_nobody_elses() {
        let places = places(10, 2);
        let (other, first, second) = (from(&places, 9), from(&places, 1), from(&places, 1));
        let third = from(&places, 1);
        assert!(is_cut(&first) && !is_cut(&second) && !is_cut(&other) && !third.reserved);
        second.progress.works();
        third.progress.works();
        assert!(from(&places, 1).reserved, "its own are at work, and others' are not touched");
        assert!(!is_cut(&other) && !from(&places, 2).reserved);
    }

    #[test]
    fn where_all_are_at_work_there_are_reserved_places_for_the_newest() {
        let places = places(2, 0);
        let working = [from(&places, 1), from(&places, 2)];
        working.iter().for_each(|place| place.progress.works());
        let beyond: Vec<_> = (0..RESERVED + 5).map(|_| from(&places, 3)).collect();
        assert!(beyond.iter().all(|place| place.reserved) && !working.iter().any(is_cut));
        assert_eq!(beyond.iter().filter(|place| is_cut(place)).count(), 5);
        assert!(beyond[..5].iter().all(is_cut) && places.held() == 2 + RESERVED);
    }

    #[test]
    fn nothing_is_kept_of_those_who_have_left() {
        let places = places(2, 1);
        for last in 0..=255 {
            drop(from(&places, last));
        }
        drop([from(&places, 1), from(&places, 1), from(&places, 2), from(&places, 3)]);
        let taken = places.taken();
        assert!(taken.of_peer.is_empty() && taken.ordinary.is_empty() && taken.reserved.is_empty());
    }
}
