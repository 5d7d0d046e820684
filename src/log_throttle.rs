//! Keeps one kind of log line from flooding: at most one in a while, with the number of those it stands for.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct LogThrottle {
    interval: Duration,
    last: Option<Instant>,
    kept: u64,
}

impl LogThrottle {
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, last: None, kept: 0 }
    }

    /// Whether to say it now, and if so how many were kept back since the last time.
    pub fn speak(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < self.interval) {
            self.kept += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_others_are_counted() {
        let (mut quiet, start) = (LogThrottle::new(Duration::from_secs(10)), Instant::now());
        assert_eq!(quiet.speak(start), Some(0));
        for second in 1..10 {
            assert_eq!(quiet.speak(start + Duration::from_secs(second)), None);
        }
        assert_eq!(quiet.speak(start + Duration::from_secs(10)), Some(9));
        assert_eq!(quiet.speak(start + Duration::from_secs(30)), Some(0));
    }
}
