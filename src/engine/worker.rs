//! The one task that owns the queue: takes in what is new, starts what may go, and puts away what is done.
//!
//! Attempts run as tasks of their own, at most `parallel` at a time; each holds a ticket of the queue, and the ticket
//! comes back however the attempt ends, by a panic too. The worker itself never waits for IO, and not for a mapping: a
//! message that takes long to map gives its place to others and waits in a row of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::attempt::{Attempt, AttemptEnd, Attempts};
use super::control::{Control, ControlRequest, DeliveryState, WaitReason};
use super::dead_letters::{DeadLetter, DeadLetters};
use super::destination::circuit::{Allowed, Circuit, CircuitChange, DestinationSignal};
use super::queue::{Lanes, Ticket};
use super::under_way::{UnderWay, wake_at};
use crate::journal::{Feed, News, Seq};
use crate::log_throttle::{LogThrottle, OutageLog, throttled};

/// How many pages of the feed may wait for the worker.
const PAGES: usize = 2;

pub struct Worker {
    attempts: Arc<Attempts>,
    lanes: Lanes,
    circuit: Circuit,
    under_way: UnderWay<Sent, Attempt>,
    parallel: usize,
    /// What takes long to map, and waits for its turn to be. It holds its lanes, and takes no place of others.
    long: VecDeque<Ticket>,
    window: usize,
    log: WorkerLog,
    /// Whether dead letters hold back what comes after them.
    hold: bool,
    dead_letters: DeadLetters,
    questions: mpsc::Receiver<ControlRequest>,
    paused: bool,
}

/// What is told of at most once a minute.
#[derive(Default)]
struct WorkerLog {
    dead: LogThrottle,
    panics: LogThrottle,
    outage: OutageLog,
    held: OutageLog,
}

/// What an attempt that is under way holds.
struct Sent {
    ticket: Ticket,
    probe: bool,
    long: bool,
}

impl Worker {
    /// `parallel` attempts at a time; at most `window` messages in memory, the others wait in the journal. With `hold`
    /// dead letters hold back the later messages of their patient.
    #[must_use]
    pub fn new(attempts: Arc<Attempts>, parallel: usize, window: usize, hold: bool) -> (Self, Control) {
        let (control, questions) = Control::new(attempts.rules.clone());
        let worker = Self {
            circuit: Circuit::new(&attempts.retry),
            attempts,
            lanes: Lanes::default(),
            under_way: UnderWay::default(),
            parallel: parallel.max(1),
            long: VecDeque::new(),
            window: window.max(1),
            log: WorkerLog::default(),
            hold,
            dead_letters: DeadLetters::default(),
            questions,
            paused: false,
        };
        (worker, control)
    }

    /// The same, delivering nothing until it is told to go on.
    #[must_use]
    pub fn paused(mut self) -> Self {
        self.pause(true);
        self
    }

    fn pause(&mut self, pause: bool) {
        self.attempts.metrics.queue.paused.set(i64::from(pause));
        self.paused = pause;
    }

    /// Delivers until `shutdown`, then gives what is under way up to `grace` to end.
    pub async fn run(mut self, feed: Feed, shutdown: CancellationToken, grace: Duration) {
        let (pages, mut news) = mpsc::channel(PAGES);
        let feed = if self.hold { feed.with_dead_letters() } else { feed };
        let reading = AbortOnDropHandle::new(tokio::spawn(read(feed, pages)));
        while !shutdown.is_cancelled() {
            let wake = self.start();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some((sent, ended)) = self.under_way.ended() => self.settle(sent, ended),
                Some(news) = news.recv(), if self.lanes.len() < self.window => self.admit(news),
                Some(question) = self.questions.recv() => self.answer(question),
                () = wake_at(wake) => {}
            }
        }
        drop(reading);
        self.drain(grace).await;
    }

    fn admit(&mut self, news: News) {
        for dead in news.dead {
            self.dead_letters.expect(dead.seq);
            self.lanes.push(dead.seq, &dead.lanes);
        }
        for queued in news.queued {
            match self.dead_letters.release(queued.seq) {
                DeadLetter::Held(ticket) => self.lanes.delay(ticket, Instant::now()),
                DeadLetter::Behind => {}
                DeadLetter::No => self.lanes.push(queued.seq, &queued.lanes),
            }
        }
        for seq in news.hurried {
            self.lanes.hurry(seq);
        }
        for seq in news.discarded {
            match self.dead_letters.release(seq) {
                DeadLetter::Held(ticket) => self.lanes.done(ticket),
                DeadLetter::Behind => {} // its attempt will find that there is nothing to do
                DeadLetter::No => drop(self.lanes.hurry(seq)),
            }
        }
        self.count_letters();
    }

    fn count_letters(&self) {
        self.attempts.metrics.queue.holding.set(i64::try_from(self.dead_letters.len()).unwrap_or(i64::MAX));
    }

    /// Starts what may go; answers when to look again if nothing happens before.
    fn start(&mut self) -> Option<Instant> {
        while !self.paused {
            let now = Instant::now();
            let probe = match self.circuit.allows(now) {
                Allowed::All => false,
                Allowed::One => true,
                Allowed::NoneUntil(when) => return when,
            };
            let long = self.under_way.held().filter(|sent| sent.long).count();
            if long < self.parallel.div_ceil(2) // beside the others, and fewer
                && let Some(ticket) = self.long.pop_front()
            {
                self.begin(ticket, probe, true);
                continue;
            }
            if self.under_way.len() - long >= self.parallel {
                return None;
            }
            let fresh = probe && self.circuit.wants_a_fresh_probe();
            let next = if fresh { self.lanes.next_fresh(now) } else { self.lanes.next(now) };
            let Some(ticket) = next else { return self.lanes.wakes() };
            let Some(ticket) = self.dead_letters.keep(ticket) else { continue };
            self.begin(ticket, probe, false);
        }
        None
    }

    fn begin(&mut self, ticket: Ticket, probe: bool, long: bool) {
        if probe {
            self.circuit.probe();
        }
        let (attempts, seq) = (self.attempts.clone(), ticket.seq);
        self.under_way.start(Sent { ticket, probe, long }, async move {
            if long { attempts.run_at_length(seq, probe).await } else { attempts.run(seq, probe).await }
        });
    }

    fn settle(&mut self, sent: Sent, ended: Result<Attempt, JoinError>) {
        match ended {
            Ok(attempt) => self.put_away(sent, attempt),
            Err(_) => {
                throttled!(error, self.log.panics, seq = sent.ticket.seq, "an attempt panicked: this is a bug");
                let (attempts, seq) = (self.attempts.clone(), sent.ticket.seq);
                self.under_way.start(sent, async move { attempts.bury_after_panic(seq).await });
            }
        }
    }

    fn put_away(&mut self, sent: Sent, attempt: Attempt) {
        self.hear(sent.probe, attempt.signal);
        match attempt.ending {
            AttemptEnd::Done => self.lanes.done(sent.ticket),
            AttemptEnd::Long => self.long.push_back(sent.ticket),
            AttemptEnd::Later(until) => self.lanes.delay(sent.ticket, until),
            AttemptEnd::Dead { reason } => self.bury(sent.ticket, &reason),
        }
    }

    fn bury(&mut self, ticket: Ticket, reason: &str) {
        let seq = ticket.seq;
        if !self.hold {
            throttled!(warn, self.log.dead, seq, reason, "message given up");
            return self.lanes.done(ticket);
        }
        let behind = self.lanes.behind(&ticket);
        throttled!(
            warn,
            self.log.dead,
            seq,
            reason,
            behind,
            "message given up; the later ones of its patient wait for a person"
        );
        self.dead_letters.hold(ticket);
        self.count_letters();
    }

    fn hear(&mut self, probe: bool, signal: Option<DestinationSignal>) {
        match signal {
            Some(signal) => {
                if let Some(change) = self.circuit.note(signal, Instant::now()) {
                    self.tell(change);
                } else if let Some(outage) = self.circuit.outage() {
                    self.tell_outage(outage.held, &outage.reason); // where it was left out of the log when it began
                }
            }
            None if probe => self.circuit.probe_came_to_nothing(),
            None => {}
        }
        self.attempts.metrics.delivery.destination_held.set(i64::from(self.circuit.is_held()));
    }

    /// One line when it goes, one when it comes back.
    fn tell(&self, change: CircuitChange) {
        let waiting = self.lanes.len();
        let up = matches!(change, CircuitChange::CameBack { .. });
        self.attempts.up.store(up, Ordering::Relaxed);
        self.attempts.metrics.delivery.destination_up.set(i64::from(up));
        match change {
            CircuitChange::WentDown { held, reason } => self.tell_outage(held, &reason),
            CircuitChange::CameBack { after } => {
                if self.log.outage.over() | self.log.held.over() {
                    let after = after.as_secs_f64();
                    tracing::info!(waiting, "the destination takes messages again, after {after:.1} s");
                }
            }
        }
    }

    fn tell_outage(&self, held: bool, reason: &str) {
        let waiting = self.lanes.len();
        if held {
            throttled!(
                error,
                self.log.held,
                reason,
                waiting,
                "the destination is held; nothing is delivered until this is mended"
            );
        } else {
            throttled!(
                error,
                self.log.outage,
                reason,
                waiting,
                "the destination is down; messages wait in the journal"
            );
        }
    }

    /// Whoever asked may have gone away.
    fn answer(&mut self, question: ControlRequest) {
        match question {
            ControlRequest::State(answer) => drop(answer.send(self.state())),
            ControlRequest::Why(seq, answer) => drop(answer.send(self.why(seq))),
            ControlRequest::Hurry(seqs) => {
                for seq in seqs {
                    self.lanes.hurry(seq); // not put off: it is looked at in its turn anyway
                }
            }
            ControlRequest::Pause(pause) => {
                if self.paused != pause {
                    tracing::warn!(waiting = self.lanes.len(), "deliveries {}", if pause { "paused" } else { "go on" });
                }
                self.pause(pause);
            }
        }
    }

    fn state(&self) -> DeliveryState {
        DeliveryState {
            queued: self.lanes.len(),
            under_way: self.under_way.len(),
            put_off: self.lanes.delayed(),
            holding: self.dead_letters.len(),
            paused: self.paused,
            outage: self.circuit.outage(),
        }
    }

    fn why(&self, seq: Seq) -> WaitReason {
        let mut begun = self.under_way.held().map(|sent| &sent.ticket).chain(&self.long);
        if begun.any(|ticket| ticket.seq == seq) {
            return WaitReason::UnderWay;
        }
        if self.dead_letters.contains(seq) {
            return WaitReason::GivenUp;
        }
        let before = self.lanes.before(seq);
        let dead_letters: Vec<Seq> =
            before.iter().copied().filter(|&before| self.dead_letters.contains(before)).collect();
        if !dead_letters.is_empty() {
            return WaitReason::HeldBy(dead_letters);
        }
        let due = self.lanes.due(seq);
        if !before.is_empty() {
            return WaitReason::Behind(before);
        }
        if due.is_none() && !self.lanes.is_ready(seq) {
            return WaitReason::NotQueued;
        }
        match (self.paused, self.circuit.outage(), due) {
            (true, ..) => WaitReason::Paused,
            (_, Some(outage), _) => WaitReason::Outage(outage),
            (_, _, Some(due)) => WaitReason::PutOff { after: due.saturating_duration_since(Instant::now()) },
            _ => WaitReason::Next,
        }
    }

    async fn drain(&mut self, grace: Duration) {
        if self.under_way.is_empty() {
            return;
        }
        tracing::info!(messages = %self.names(), "waiting up to {grace:?} for deliveries under way");
        let ended = tokio::time::timeout(grace, async {
            while let Some((sent, ended)) = self.under_way.ended().await {
                self.settle(sent, ended);
            }
        });
        if ended.await.is_err() {
            tracing::warn!(messages = %self.names(), "not waited for any longer; these will be sent again after the start");
            let mapping = self.attempts.mapper.under_way();
            if !mapping.is_empty() {
                let mapping = mapping.join(", ");
                tracing::warn!(messages = mapping, "these are still being mapped; their threads are left behind");
            }
            self.under_way.abort_all();
        }
    }

    /// `17, 18, 21 and 5 more`
    fn names(&self) -> String {
        let mut seqs: Vec<Seq> = self.under_way.held().map(|sent| sent.ticket.seq).collect();
        seqs.sort_unstable();
        let named: Vec<String> = seqs.iter().take(10).map(ToString::to_string).collect();
        match seqs.len() - named.len() {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }
}

/// Reads ahead of the worker, in a task of its own: a read that is begun is not dropped because something else happened.
async fn read(mut feed: Feed, pages: mpsc::Sender<News>) {
    let faults = LogThrottle::minutely();
    loop {
        match feed.next().await {
            Ok(Some(news)) => {
                if pages.send(news).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                throttled!(error, faults, %error, "the queue cannot be read; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
