//! One log line in place of a flood: the first at once, then one a minute with how many were left out.
//!
//! Everything that a peer, a disk or a destination can make happen again and again is told through this, by one throttle for each
//! cause. With the level at `debug` every one is told.
//!
//! ```ignore
//! static FAULTS: LogThrottle = LogThrottle::minutely();
//! throttled!(warn, FAULTS, %error, "the file cannot be read; trying again");
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct LogThrottle {
    interval: Duration,
    state: Mutex<ThrottleState>,
}

#[derive(Debug)]
struct ThrottleState {
    last: Option<Instant>,
    left_out: u64,
}

impl LogThrottle {
    #[must_use]
    pub const fn minutely() -> Self {
        Self::new(INTERVAL)
    }

    const fn new(interval: Duration) -> Self {
        Self { interval, state: Mutex::new(ThrottleState { last: None, left_out: 0 }) }
    }

    /// Whether to say it now, and if so how many were left out since the last time.
    pub fn speak(&self) -> Option<u64> {
        self.speak_at(Instant::now())
    }

    fn speak_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < self.interval) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self::minutely()
    }
}

/// What goes wrong and comes right again: one line when it does, and at most one such pair a minute. The last line is true a
/// minute later at the most, as long as the fault is heard of again and again.
#[derive(Debug, Default)]
pub struct OutageLog {
    throttle: LogThrottle,
    told: AtomicBool,
}

impl OutageLog {
    /// To be asked at every fault: whether this outage is to be told of now, and how many were left out.
    pub fn speak(&self) -> Option<u64> {
        if self.told.load(Ordering::Relaxed) {
            return None;
        }
        let left_out = self.throttle.speak()?;
        (!self.told.swap(true, Ordering::Relaxed)).then_some(left_out)
    }

    /// Whether it is to be told that it is over: where its beginning was.
    pub fn over(&self) -> bool {
        self.told.load(Ordering::Relaxed) && self.told.swap(false, Ordering::Relaxed)
    }
}

/// An event of this level where its throttle lets it, with `more` for those that were left out; else one of level `debug`.
macro_rules! throttled {
    ($level:ident, $throttle:expr, $($event:tt)+) => {
        match $throttle.speak() {
            Some(0) => tracing::$level!($($event)+),
            Some(more) => tracing::$level!(more, $($event)+),
            None => tracing::debug!($($event)+),
        }
    };
}

pub(crate) use throttled;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_others_are_counted() {
        let (quiet, start) = (LogThrottle::minutely(), Instant::now());
        assert_eq!(quiet.speak_at(start), Some(0));
        for second in 1..60 {
            assert_eq!(quiet.speak_at(start + Duration::from_secs(second)), None);
        }
        assert_eq!(quiet.speak_at(start + Duration::from_secs(60)), Some(59));
        assert_eq!(quiet.speak_at(start + Duration::from_secs(180)), Some(0));
    }

    #[test]
    fn an_outage_is_told_once_and_its_end_where_its_beginning_was() {
        let log = OutageLog::default();
        assert!(!log.over());
        assert_eq!((log.speak(), log.speak()), (Some(0), None));
        assert!(log.over() && !log.over());
        assert_eq!(log.speak(), None, "it flaps within the minute");
        assert!(!log.over(), "what was not told to begin is not told to end");
    }
}
