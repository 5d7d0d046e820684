//! Whom a connection waits for, and since when: what its stream and its bodies note, and those who cut it ask.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::http::limits::Timeouts;

/// Who sends, or takes, at least one byte in this time is not quiet.
const QUIET: Duration = Duration::from_secs(1);

/// Where one connection is.
#[derive(Debug)]
pub struct Progress {
    state: Mutex<State>,
    /// The connection is to be closed now, whatever it does.
    pub cut: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The TLS handshake, which has a limit of its own.
    Greeting,
    Head,
    Body,
    /// We are at work, and the peer waits.
    Working,
    /// `true`: all of the answer is handed over, and some of it may still have to be written.
    Answering(bool),
    Idle,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// When the peer last sent something of a body.
    moved: Instant,
    /// Since when the peer takes nothing of what is to be written.
    blocked: Option<Instant>,
}

/// What a peer took too long for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    Header,
    Body,
    Answer,
    Idle,
}

impl Overdue {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Body => "body",
            Self::Answer => "answer",
            Self::Idle => "idle",
        }
    }
}

/// Which connection is given up first, when one must be: the lowest. First those on which nothing is under way, then those
/// whose peer has stopped in the midst of something; of each, who has been so the longest.
pub type Dispensable = (bool, Instant);

impl Progress {
    pub fn new() -> Self {
        let now = Instant::now();
        let state = State { phase: Phase::Greeting, since: now, moved: now, blocked: None };
        Self { state: Mutex::new(state), cut: CancellationToken::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        let now = Instant::now();
        let mut state = self.state();
        (state.phase, state.since, state.moved) = (phase, now, now);
    }

    pub fn greeted(&self) {
        self.enter(Phase::Head);
    }

    pub fn awaits_body(&self) {
        self.enter(Phase::Body);
    }

    pub fn works(&self) {
        self.enter(Phase::Working);
    }

    /// The whole body is here, or nobody wants more of it.
    pub fn body_ended(&self) {
        let mut state = self.state();
        if state.phase == Phase::Body {
            (state.phase, state.since) = (Phase::Working, Instant::now());
        }
    }

    pub fn answers(&self) {
        self.enter(Phase::Answering(false));
    }

    /// All of the answer is handed over.
    pub fn answered(&self) {
        let mut state = self.state();
        if state.phase == Phase::Answering(false) {
            state.phase = Phase::Answering(true);
        }
    }

    /// The peer sent something.
    pub fn received(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            (state.phase, state.since) = (Phase::Head, Instant::now());
        }
    }

    /// The peer sent something of a body.
    pub fn body_moved(&self) {
        self.state().moved = Instant::now();
    }

    /// The peer takes nothing at the moment.
    pub fn blocked(&self) {
        self.state().blocked.get_or_insert_with(Instant::now);
    }

    /// The peer took something.
    pub fn taken(&self) {
        self.state().blocked = None;
    }

    /// The peer took everything that was written.
    pub fn flushed(&self) {
        let mut state = self.state();
        state.blocked = None;
        if state.phase == Phase::Answering(true) {
            (state.phase, state.since) = (Phase::Idle, Instant::now());
        }
    }

    /// What the peer has taken too long for at `now`, if anything.
    pub fn overdue(&self, limits: &Timeouts, now: Instant) -> Option<Overdue> {
        let state = self.state();
        let over = |since: Instant, limit: Duration| now.saturating_duration_since(since) > limit;
        if state.blocked.is_some_and(|since| over(since, limits.stall)) {
            return Some(Overdue::Answer);
        }
        let (late, what) = match state.phase {
            Phase::Greeting | Phase::Working => return None,
            Phase::Head => (over(state.since, limits.header), Overdue::Header),
            Phase::Body => (over(state.moved, limits.stall) || over(state.since, limits.body), Overdue::Body),
            Phase::Answering(_) => (over(state.since, limits.answer), Overdue::Answer),
            Phase::Idle => (over(state.since, limits.idle), Overdue::Idle),
        };
        late.then_some(what)
    }

    /// Whether it may be closed for another one, and how soon before others. `None` while we are at work for it, or while
    /// its peer sends or takes.
    pub fn dispensable(&self, now: Instant) -> Option<Dispensable> {
        let state = self.state();
        let stopped = |since: Instant| (now.saturating_duration_since(since) > QUIET).then_some((true, since));
        match (state.phase, state.blocked) {
            (Phase::Greeting | Phase::Head | Phase::Idle, _) => Some((false, state.since)),
            (Phase::Body, _) => stopped(state.moved),
            (Phase::Answering(_), Some(since)) => stopped(since),
            (Phase::Answering(_) | Phase::Working, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Timeouts {
        let seconds = Duration::from_secs;
        Timeouts { header: seconds(1), body: seconds(10), stall: seconds(2), answer: seconds(20), idle: seconds(5) }
    }

    /// What is overdue so many seconds from now.
    fn after(progress: &Progress, seconds: u64) -> Option<Overdue> {
        progress.overdue(&limits(), Instant::now() + Duration::from_secs(seconds))
    }

    #[test]
    fn each_phase_has_its_limit_and_our_own_work_has_none() {
        let progress = Progress::new();
        assert_eq!(after(&progress, 100), None, "a handshake is limited where it is made");
        progress.greeted();
        assert_eq!((after(&progress, 0), after(&progress, 2)), (None, Some(Overdue::Header)));
        progress.awaits_body();
        assert_eq!((after(&progress, 1), after(&progress, 3)), (None, Some(Overdue::Body)));
        progress.works();
        assert_eq!(after(&progress, 3600), None);
        progress.answers();
        progress.blocked();
        assert_eq!((after(&progress, 1), after(&progress, 3)), (None, Some(Overdue::Answer)));
        progress.taken();
        assert_eq!((after(&progress, 3), after(&progress, 21)), (None, Some(Overdue::Answer)));
        progress.answered();
        assert_eq!(after(&progress, 6), None, "it is not idle while something is to be written");
        progress.flushed();
        assert_eq!((after(&progress, 4), after(&progress, 6)), (None, Some(Overdue::Idle)));
        progress.received();
        assert_eq!(after(&progress, 2), Some(Overdue::Header));
    }

    #[test]
    fn a_flush_in_the_midst_of_an_answer_ends_it_not() {
        let progress = Progress::new();
        progress.answers();
        progress.flushed();
        assert_eq!(after(&progress, 6), None);
    }

    #[test]
    fn a_connection_that_works_is_never_dispensable_and_an_idle_one_goes_before_a_stalled_one() {
        let (idle, stalled, working) = (Progress::new(), Progress::new(), Progress::new());
        stalled.awaits_body();
        working.works();
        let later = Instant::now() + QUIET * 2;
        assert_eq!(working.dispensable(later), None);
        assert_eq!(stalled.dispensable(Instant::now()), None, "it may just be sending");
        assert!(idle.dispensable(later).unwrap() < stalled.dispensable(later).unwrap());
    }
}
