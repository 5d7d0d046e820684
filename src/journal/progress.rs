//! How far the journal has come: what is in the log, in the tables, and safe in the tables.
//!
//! Three positions, each behind the one before. The thread that writes the log moves the first, the one that files moves
//! the others; readers wait for the second, so that they see what was stored before they asked.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

#[derive(Debug)]
pub struct Positions {
    synced: AtomicU64,
    filed: watch::Sender<Filed>,
    settled: AtomicU64,
    /// Bytes of the log that are in the tables, since the start.
    filed_bytes: AtomicU64,
    /// Bytes of the file that are in use, where somebody wants to know.
    used: AtomicU64,
    closing: AtomicBool,
    /// Somebody waits for what is not in the tables yet.
    urgent: AtomicBool,
    /// For threads that may block: told whenever one of the above has moved.
    turn: Mutex<()>,
    moved: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Filed {
    position: u64,
    /// The tables cannot be written at the moment.
    failing: bool,
}

impl Positions {
    pub fn new(position: u64) -> Self {
        let (filed, _) = watch::channel(Filed { position, failing: false });
        Self {
            synced: AtomicU64::new(position),
            filed,
            settled: AtomicU64::new(position),
            filed_bytes: AtomicU64::new(0),
            used: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            turn: Mutex::new(()),
            moved: Condvar::new(),
        }
    }

    pub fn sync(&self, position: u64) {
        self.synced.store(position, Ordering::Release);
    }

    pub fn file(&self, position: u64, bytes: u64) {
        self.filed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.filed.send_replace(Filed { position, failing: false });
        self.wake();
    }

    pub fn fail(&self) {
        self.filed.send_modify(|filed| filed.failing = true);
        self.wake();
    }

    pub fn settle(&self, position: u64) {
        self.settled.store(position, Ordering::Release);
        self.wake();
    }

    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    pub fn filed(&self) -> u64 {
        self.filed.borrow().position
    }

    pub fn filed_bytes(&self) -> u64 {
        self.filed_bytes.load(Ordering::Relaxed)
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub fn use_bytes(&self, used: u64) {
        self.used.store(used, Ordering::Relaxed);
    }

    /// Nothing more will be written to the log.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake();
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The tables are to be brought up now.
    pub fn hurry(&self) {
        if !self.urgent.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    pub fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Acquire) || self.is_closing()
    }

    /// What is asked for from now on may come too late for the filing that begins.
    pub fn begin(&self) {
        self.urgent.store(false, Ordering::Release);
    }

    /// Until everything that is in the log now is in the tables. Where they cannot be written nobody waits for it, and
    /// the answer is `false`.
    pub async fn caught_up(&self) -> bool {
        let wanted = self.synced.load(Ordering::Acquire);
        if self.filed() >= wanted {
            return true;
        }
        self.hurry();
        let mut filed = self.filed.subscribe();
        let reached = filed.wait_for(|filed| filed.position >= wanted || filed.failing).await;
        reached.is_ok_and(|filed| filed.position >= wanted)
    }

    /// As [`Self::caught_up`], on a thread that may block.
    pub fn block_until_caught_up(&self) {
        let wanted = self.synced.load(Ordering::Acquire);
        while !self.reached(wanted) {
            self.hurry();
            self.wait_until(None, || self.reached(wanted) || !self.is_urgent());
        }
    }

    fn reached(&self, wanted: u64) -> bool {
        let filed = self.filed.borrow();
        filed.position >= wanted || filed.failing
    }

    /// Until a part of the log is not needed any more. This is how a disk that cannot follow slows the senders down.
    pub fn wait_until_settled(&self, position: u64) -> io::Result<()> {
        while self.settled() < position {
            if self.filed.borrow().failing {
                return Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    "the log is used up, and its journal cannot be written",
                ));
            }
            self.hurry();
            self.wait_until(None, || self.settled() >= position || self.filed.borrow().failing || !self.is_urgent());
        }
        Ok(())
    }

    /// Until the tables are to be brought up now, or until `then`.
    pub fn wait_for_urgency(&self, then: Instant) {
        self.wait_until(Some(then), || self.is_urgent());
    }

    /// Until nothing more will be written to the log, or until `then`.
    pub fn wait_for_closing(&self, then: Instant) {
        self.wait_until(Some(then), || self.is_closing());
    }

    /// Who moves something wakes those who wait for it, so the condition is looked at once for each move.
    fn wait_until(&self, then: Option<Instant>, reached: impl Fn() -> bool) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        while !reached() {
            let left = then.map_or(LONG, |then| then.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return;
            }
            turn = self.moved.wait_timeout(turn, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The lock is taken so that nobody stands between looking and waiting.
    fn wake(&self) {
        drop(self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }
}

/// Nothing is looked at for longer than this, woken or not.
const LONG: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_waits_for_the_tables_is_woken_by_the_filing() {
        let positions = Arc::new(Positions::new(0));
        positions.sync(3);
        let filer = std::thread::spawn({
            let positions = Arc::clone(&positions);
            move || {
                positions.wait_for_urgency(Instant::now() + Duration::from_secs(60));
                positions.begin();
                positions.file(3, 100);
            }
        });
        let started = Instant::now();
        positions.block_until_caught_up();
        filer.join().unwrap();
        assert_eq!(positions.filed(), 3);
        assert!(started.elapsed() < LONG, "it was woken, not found out");
    }

    #[test]
    fn nobody_waits_for_tables_that_cannot_be_written() {
        let positions = Arc::new(Positions::new(0));
        positions.sync(1);
        let filer = std::thread::spawn({
            let positions = Arc::clone(&positions);
            move || {
                positions.wait_for_urgency(Instant::now() + Duration::from_secs(60));
                positions.fail();
            }
        });
        positions.block_until_caught_up();
        assert!(positions.wait_until_settled(1).is_err());
        filer.join().unwrap();
    }

    #[test]
    fn a_pause_ends_when_the_journal_is_closed() {
        let positions = Arc::new(Positions::new(0));
        let waiting = std::thread::spawn({
            let positions = Arc::clone(&positions);
            move || positions.wait_for_closing(Instant::now() + Duration::from_secs(60))
        });
        positions.close();
        waiting.join().unwrap();
    }
}
