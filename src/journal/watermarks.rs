//! How far the journal has come: what is in the log, in the tables, and safe in the tables.
//!
//! Three positions, each behind the one before. The thread that writes the log moves the first, the one that files moves
//! the others; readers wait for the second, so that they see what was stored before they asked. Whoever waits sleeps until
//! something has moved, and the thread that files until somebody is in a hurry: nobody looks again and again.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

#[derive(Debug)]
pub struct Watermarks {
    synced: AtomicU64,
    filed: watch::Sender<Filed>,
    settled: AtomicU64,
    /// Bytes of the log that are in the tables, since the start.
    filed_bytes: AtomicU64,
    /// Bytes of the file that are in use, where somebody wants to know.
    used: AtomicU64,
    /// Held by those who move the second or third position while they tell it, and by those who block until they moved
    /// while they look.
    turn: Mutex<()>,
    moved: Condvar,
    calls: Mutex<Calls>,
    called: Condvar,
}

/// What the thread that files is to know while it waits.
#[derive(Debug, Default)]
struct Calls {
    /// Nothing more will be written to the log.
    closing: bool,
    /// Somebody waits for what is not in the tables yet.
    urgent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Filed {
    position: u64,
    /// The tables cannot be written at the moment.
    failing: bool,
}

impl Watermarks {
    pub fn new(position: u64) -> Self {
        let (filed, _) = watch::channel(Filed { position, failing: false });
        Self {
            synced: AtomicU64::new(position),
            filed,
            settled: AtomicU64::new(position),
            filed_bytes: AtomicU64::new(0),
            used: AtomicU64::new(0),
            turn: Mutex::default(),
            moved: Condvar::new(),
            calls: Mutex::default(),
            called: Condvar::new(),
        }
    }

    pub fn sync(&self, position: u64) {
        self.synced.store(position, Ordering::Release);
    }

    pub fn file(&self, position: u64, bytes: u64) {
        self.filed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.filed.send_replace(Filed { position, failing: false });
        self.tell();
    }

    pub fn fail(&self) {
        self.filed.send_modify(|filed| filed.failing = true);
        self.tell();
    }

    /// Whether the tables cannot be written at the moment.
    pub fn is_failing(&self) -> bool {
        self.filed.borrow().failing
    }

    pub fn settle(&self, position: u64) {
        self.settled.store(position, Ordering::Release);
        self.tell();
    }

    /// Wakes those who block. With the turn in hand, so that none of them is between looking and falling asleep.
    fn tell(&self) {
        drop(self.turn());
        self.moved.notify_all();
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
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
        self.calls().closing = true;
        self.called.notify_all();
    }

    pub fn is_closing(&self) -> bool {
        self.calls().closing
    }

    /// The tables are to be brought up now.
    pub fn hurry(&self) {
        self.calls().urgent = true;
        self.called.notify_all();
    }

    /// For at most so long, or until somebody is in a hurry.
    pub fn wait_for_urgency(&self, limit: Duration) {
        drop(self.called.wait_timeout_while(self.calls(), limit, |calls| !calls.urgent && !calls.closing));
    }

    /// For at most so long, or until the journal is closed.
    pub fn wait_for_closing(&self, limit: Duration) {
        drop(self.called.wait_timeout_while(self.calls(), limit, |calls| !calls.closing));
    }

    /// What is asked for from now on may come too late for the filing that begins.
    pub fn begin(&self) {
        self.calls().urgent = false;
    }

    /// Until everything that is in the log now is in the tables. Where they cannot be written nobody waits for it, and
    /// the answer is `false`.
    pub async fn caught_up(&self) -> bool {
        let wanted = self.synced.load(Ordering::Acquire);
        if self.filed() >= wanted {
            return true;
        }
        let mut filed = self.filed.subscribe();
        loop {
            let now = *filed.borrow_and_update();
            if now.position >= wanted || now.failing {
                return now.position >= wanted;
            }
            self.hurry(); // each time: what moved may have begun before this was asked
            if filed.changed().await.is_err() {
                return false;
            }
        }
    }

    /// As [`Self::caught_up`], on a thread that may block.
    pub fn block_until_caught_up(&self) {
        let wanted = self.synced.load(Ordering::Acquire);
        let mut turn = self.turn();
        while !self.reached(wanted) {
            self.hurry();
            turn = self.moved.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn reached(&self, wanted: u64) -> bool {
        let filed = self.filed.borrow();
        filed.position >= wanted || filed.failing
    }

    /// Until a part of the log is not needed any more. This is how a disk that cannot follow slows the senders down.
    pub fn wait_until_settled(&self, position: u64) -> io::Result<()> {
        let mut turn = self.turn();
        while self.settled() < position {
            self.hurry();
            if self.filed.borrow().failing {
                return Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    "the log is used up, and its journal cannot be written",
                ));
            }
            turn = self.moved.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Instant;

    use super::*;

    /// Longer than any of this takes.
    const LONG: Duration = Duration::from_secs(30);

    /// Waits on a thread of its own; what that came to arrives when it came.
    fn waiting<T: Send + 'static>(
        marks: &Arc<Watermarks>,
        wait: impl FnOnce(&Watermarks) -> T + Send + 'static,
    ) -> Receiver<T> {
        let (done, waited) = channel();
        let marks = Arc::clone(marks);
        std::thread::spawn(move || done.send(wait(&marks)));
        waited
    }

    #[test]
    fn who_waits_for_the_tables_hurries_the_filing_and_is_woken_by_it() {
        let marks = Arc::new(Watermarks::new(0));
        marks.sync(2);
        let waited = waiting(&marks, Watermarks::block_until_caught_up);
        marks.wait_for_urgency(LONG);
        marks.begin();
        marks.file(1, 0); // begun before it was asked for
        marks.wait_for_urgency(LONG);
        marks.file(2, 0);
        waited.recv_timeout(LONG).unwrap();
    }

    #[test]
    fn who_waits_for_a_part_of_the_log_is_woken_when_it_is_free_and_when_it_will_not_be() {
        let marks = Arc::new(Watermarks::new(0));
        let waited = waiting(&marks, |marks| marks.wait_until_settled(5).is_ok());
        marks.wait_for_urgency(LONG);
        marks.settle(5);
        assert!(waited.recv_timeout(LONG).unwrap());
        marks.begin();
        let waited = waiting(&marks, |marks| marks.wait_until_settled(6).is_ok());
        marks.wait_for_urgency(LONG);
        marks.fail();
        assert!(!waited.recv_timeout(LONG).unwrap());
    }

    #[test]
    fn the_filing_thread_does_not_sleep_through_the_end() {
        let marks = Arc::new(Watermarks::new(0));
        let began = Instant::now();
        let waited = waiting(&marks, |marks| {
            marks.wait_for_urgency(LONG * 2);
            marks.wait_for_closing(LONG * 2);
        });
        marks.close();
        waited.recv_timeout(LONG).unwrap();
        assert!(marks.is_closing() && began.elapsed() < LONG);
    }
}
