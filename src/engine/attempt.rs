//! One attempt at one message: read, map, send, write down what came of it.
//!
//! An attempt ends only when the journal knows its outcome. Should the journal not be able to write for a while, the
//! attempt waits for it, and so its lanes wait too; a message whose delivery is not written down would be sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, Semaphore};

use super::destination::circuit::DestinationSignal;
use super::destination::doubt::{Doubts, Verdict};
use super::mapper::{Mappable, MappedAtLength, Mapper};
use super::operator;
use super::rules::{SiteRules, unconfigured};
use crate::journal::{Journal, Progress, Record, Seq, StoreError, Work};
use crate::log_throttle::{LogThrottle, throttled};
use crate::mapping::{CLINICAL, Context, ConvertError, Converted, Plan};
use crate::metrics::Metrics;
use crate::outbound::{Client, Delivery, Outcome, Retry, backoff};

/// How long to wait when the journal can neither be read nor written.
const PAUSE: Duration = Duration::from_secs(1);

static UNREADABLE: LogThrottle = LogThrottle::minutely();
static CHANGED: LogThrottle = LogThrottle::minutely();
static LOST: LogThrottle = LogThrottle::minutely();
static UNWRITTEN: LogThrottle = LogThrottle::minutely();
/// Why a message is not sent that is not what arrived.
const DAMAGED: &str = "its bytes in the journal are not those that arrived: the disk has changed them; let its source send it \
                       again, and check the disk (stoker verify)";

/// Stands before the destination's words in the journal.
const PROMOTED: &str = "sent as admin-notify, because the destination did not know the visit";

/// What to do where something else than a FHIR server answers.
const WRONG_ADDRESS: &str = "check destination.url, and what stands between";

/// What all attempts share.
pub struct Attempts {
    pub journal: Journal,
    pub client: Client,
    pub mapper: Mapper,
    /// A place for each message that may be on its way to the destination.
    pub sending: Semaphore,
    pub plan: Arc<ArcSwap<Plan>>,
    pub rules: SiteRules,
    pub retry: Retry,
    /// Whether a clinical-notify about an unknown visit is sent as admin-notify.
    pub promote: bool,
    /// Rung when there is something to be told.
    pub bell: Arc<Notify>,
    pub metrics: Arc<Metrics>,
    /// Whether the destination takes messages, as the worker sees it. While it does not, no message grows too old.
    pub up: AtomicBool,
    pub doubts: Doubts,
}

/// What an attempt came to.
#[derive(Debug)]
pub struct Attempt {
    pub ending: AttemptEnd,
    /// What it says about the destination; `None` when nothing was sent.
    pub signal: Option<DestinationSignal>,
}

#[derive(Debug)]
pub enum AttemptEnd {
    /// Out of the queue.
    Done,
    /// It takes long to map: to be run again [at length](Attempts::run_at_length).
    Long,
    /// To be tried again then.
    Later(Instant),
    /// Given up: out of the queue, and a person should know.
    Dead { reason: String },
}

impl Attempt {
    fn unsent(ending: AttemptEnd) -> Self {
        Self { ending, signal: None }
    }
}

impl Attempts {
    /// `probe`: it is sent to see whether the destination is back.
    pub async fn run(&self, seq: Seq, probe: bool) -> Attempt {
        let (work, plan) = match self.begin(seq, probe).await {
            Ok(begun) => begun,
            Err(attempt) => return attempt,
        };
        let message = match self.mappable(&work, false, None) {
            Ok(message) => message,
            Err(reason) => return self.bury_unsent(&work, reason, &plan).await,
        };
        let began = Instant::now();
        let mapped = match self.mapper.briefly(&plan, &message) {
            // A person may have given it a larger budget, which is looked for where there is time.
            None | Some(Err(ConvertError::OverBudget { .. })) => return Attempt::unsent(AttemptEnd::Long),
            Some(mapped) => mapped,
        };
        match self.count(began, mapped.map_err(|error| error.to_string())) {
            Ok(converted) => self.send(&work, converted, &plan).await,
            Err(reason) => self.bury_unsent(&work, reason, &plan).await,
        }
    }

    /// The same for a message that takes long to map.
    pub async fn run_at_length(&self, seq: Seq, probe: bool) -> Attempt {
        let (work, plan) = match self.begin(seq, probe).await {
            Ok(begun) => begun,
            Err(attempt) => return attempt,
        };
        let MappedAtLength { converted, place } = self.map_at_length(&work, &plan, false).await;
        let attempt = match converted {
            Ok(converted) => self.send(&work, converted, &plan).await,
            Err(reason) => self.bury_unsent(&work, reason, &plan).await,
        };
        drop(place);
        attempt
    }

    /// The message and the plan of an attempt, unless there is nothing to do for it now.
    async fn begin(&self, seq: Seq, probe: bool) -> Result<(Work, Arc<Plan>), Attempt> {
        if probe && let Some(said) = self.doubts.still(&self.client).await {
            let reason = format!("GET metadata: {said}; {WRONG_ADDRESS}");
            let ending = AttemptEnd::Later(Instant::now());
            return Err(Attempt { ending, signal: Some(DestinationSignal::Refused(reason)) });
        }
        let work = match self.journal.work(vec![seq]).await {
            Ok(mut found) => found.pop(),
            Err(error) => {
                throttled!(error, UNREADABLE, seq, %error, "a message cannot be read; trying again");
                return Err(Attempt::unsent(AttemptEnd::Later(Instant::now() + PAUSE)));
            }
        };
        // Delivered, skipped or discarded in the meantime.
        let work = work.ok_or(Attempt::unsent(AttemptEnd::Done))?;
        if let Some(until) = self.still_put_off(&work) {
            return Err(Attempt::unsent(AttemptEnd::Later(until)));
        }
        let plan = self.plan.load_full();
        if !work.intact {
            throttled!(error, CHANGED, seq, "{DAMAGED}");
            return Err(self.bury_unsent(&work, DAMAGED.to_owned(), &plan).await);
        }
        Ok((work, plan))
    }

    /// Put off before a restart: the rest of the wait. A rest that is longer than any wait means that the clock has been
    /// set back since, and then nobody knows how long it has been.
    fn still_put_off(&self, work: &Work) -> Option<Instant> {
        let left = Duration::try_from(work.due?.duration_since(Timestamp::now())).ok()?;
        (!left.is_zero() && left <= self.retry.max).then(|| Instant::now() + left)
    }

    fn mappable(&self, work: &Work, promoted: bool, budget: Option<u64>) -> Result<Mappable, String> {
        let context = self.rules.context(&work.listener).ok_or_else(|| unconfigured(&work.listener))?;
        let context = Context { received: Some(work.received), promoted, budget, ..context };
        Ok(Mappable { raw: work.raw.clone(), parsed: work.parsed.clone(), context })
    }

    /// Maps a message on a thread of its own, with the budget that a person gave it.
    async fn map_at_length(&self, work: &Work, plan: &Arc<Plan>, promoted: bool) -> MappedAtLength {
        let budget = operator::budget(&self.journal, work.seq).await;
        let message = match self.mappable(work, promoted, budget) {
            Ok(message) => message,
            Err(reason) => return MappedAtLength { converted: Err(reason), place: None },
        };
        let began = Instant::now();
        let mapped = self.mapper.at_length(plan.clone(), message, work.seq.to_string()).await;
        MappedAtLength { converted: self.count(began, mapped.converted), ..mapped }
    }

    async fn map_promoted(&self, work: &Work, plan: &Arc<Plan>) -> Result<Converted, String> {
        match self.mapper.briefly(plan, &self.mappable(work, true, None)?) {
            Some(mapped) => mapped.map_err(|error| error.to_string()),
            None => self.map_at_length(work, plan, true).await.converted,
        }
    }

    fn count(&self, began: Instant, converted: Result<Converted, String>) -> Result<Converted, String> {
        self.metrics.delivery.mapping_seconds.observe(began.elapsed().as_secs_f64());
        let converted = converted?;
        self.metrics.delivery.mapping_warnings.inc_by(converted.warnings.len() as u64);
        Ok(converted)
    }

    async fn bury_unsent(&self, work: &Work, reason: String, plan: &Plan) -> Attempt {
        self.metrics.delivery.mapping_failures.inc();
        let progress = Progress::Dead { reason: reason.clone() };
        let mut record = Record::decision(work.seq, Timestamp::now(), progress);
        record.plan = Some(plan.hash.as_str().into());
        record.owes = self.owes(work);
        self.write_down(record).await;
        Attempt::unsent(AttemptEnd::Dead { reason })
    }

    async fn send(&self, work: &Work, converted: Converted, plan: &Arc<Plan>) -> Attempt {
        let mut bundle_id = converted.bundle_id;
        let clinical = converted.fhir_event == CLINICAL;
        let mut delivery = self.deliver(work.seq, converted).await;
        if self.promote
            && clinical
            && delivery.unknown
            && let Ok(promoted) = self.map_promoted(work, plan).await
        {
            self.metrics.delivery.promotions.inc();
            bundle_id = promoted.bundle_id;
            delivery = self.deliver(work.seq, promoted).await;
            let said = delivery.detail.map(|said| format!("; {said}")).unwrap_or_default();
            delivery.detail = Some(format!("{PROMOTED}{said}"));
        }
        self.weigh(work, &mut delivery).await;
        let (progress, ending) = self.judge(work, &delivery);
        let owes = !matches!(ending, AttemptEnd::Later(_)) && self.owes(work);
        self.write_down(Record {
            seq: work.seq,
            at: Timestamp::now(),
            progress,
            sent: true,
            detail: delivery.detail,
            plan: Some(plan.hash.as_str().into()),
            bundle: Some(bundle_id),
            owes,
        })
        .await;
        Attempt { ending, signal: Some(signal(delivery.outcome)) }
    }

    async fn deliver(&self, seq: Seq, converted: Converted) -> Delivery {
        let place = self.sending.acquire().await;
        self.metrics.delivery.under_way.inc();
        let delivery = self.client.deliver(converted.body).await;
        self.metrics.delivery.under_way.dec();
        drop(place);
        self.metrics.delivery.attempt(name(&delivery.outcome), delivery.took);
        tracing::debug!(seq, outcome = ?delivery.outcome, took = ?delivery.took, "attempt");
        delivery
    }

    /// Decides what an answer means that no FHIR endpoint gives, as far as that is known.
    async fn weigh(&self, work: &Work, delivery: &mut Delivery) {
        let judged = delivery.fhir && matches!(delivery.outcome, Outcome::Dead { .. });
        if judged || matches!(delivery.outcome, Outcome::Delivered | Outcome::Accepted { .. }) {
            let now = Instant::now();
            self.doubts.answered(work.seq, now.checked_sub(delivery.took).unwrap_or(now));
            return;
        }
        let Outcome::Doubtful { reason, last } = &delivery.outcome else { return };
        self.metrics.delivery.foreign_answer(delivery.status.unwrap_or_default(), delivery.media.as_str());
        let verdict = self.doubts.weigh(&self.client, work.seq, *last).await;
        if let Some(more) = self.doubts.speak() {
            tracing::warn!(
                seq = work.seq,
                reason,
                more,
                ?verdict,
                "the destination's answer is not that of a FHIR endpoint"
            );
        }
        delivery.outcome = match verdict {
            Verdict::Message => Outcome::Dead { reason: format!("{reason}; the destination takes other messages") },
            Verdict::Destination(why) => Outcome::Hold { reason: format!("{reason}; {why}; {WRONG_ADDRESS}") },
            Verdict::Open => return,
        };
    }

    /// Whether the sender wants an acknowledgement of the outcome.
    fn owes(&self, work: &Work) -> bool {
        self.rules.owes(&work.listener, &work.raw)
    }

    fn judge(&self, work: &Work, delivery: &Delivery) -> (Progress, AttemptEnd) {
        let dead = |reason: String| (Progress::Dead { reason: reason.clone() }, AttemptEnd::Dead { reason });
        let (after, reason) = match &delivery.outcome {
            Outcome::Delivered => return (Progress::Delivered, AttemptEnd::Done),
            Outcome::Dead { reason } => return dead(reason.clone()),
            Outcome::Hold { reason } | Outcome::Doubtful { reason, .. } => (None, reason),
            Outcome::Retry { after, reason } | Outcome::Accepted { after, reason } => (*after, reason),
        };
        let now = Timestamp::now();
        if self.too_old(work, now) {
            return dead(format!("{reason}; given up after {} attempts", work.attempts + 1));
        }
        let wait = backoff::wait(&self.retry, after, work.attempts + 1, work.seq.cast_unsigned());
        let due = now.checked_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO)).unwrap_or(now);
        (Progress::Retry { due, reason: reason.clone() }, AttemptEnd::Later(Instant::now() + wait))
    }

    fn too_old(&self, work: &Work, now: Timestamp) -> bool {
        let age = work.tried.map(|first| now.duration_since(first));
        let age = age.and_then(|age| Duration::try_from(age).ok());
        self.up.load(Ordering::Relaxed) && age.is_some_and(|age| age >= self.retry.max_age)
    }

    /// After a panic of ours: the message must not hold its lanes for ever.
    pub async fn bury_after_panic(&self, seq: Seq) -> Attempt {
        let reason = "internal fault: the attempt broke off; please report it".to_owned();
        let mut record = Record::decision(seq, Timestamp::now(), Progress::Dead { reason: reason.clone() });
        record.owes = self.owes_for(seq).await;
        self.write_down(record).await;
        Attempt::unsent(AttemptEnd::Dead { reason })
    }

    /// As [`Self::owes`], of a message that nobody has in hand any more.
    async fn owes_for(&self, seq: Seq) -> bool {
        while self.rules.answers_anybody() {
            match operator::owes(&self.journal, &self.rules, seq).await {
                Ok(owes) => return owes,
                Err(error) => tracing::debug!(seq, %error, "it cannot be read who is to be told; trying again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        false
    }

    async fn write_down(&self, record: Record) {
        let mut failed = false;
        while let Err(error) = self.journal.record(record.clone()).await {
            if matches!(error, StoreError::Unknown(_) | StoreError::Closed) {
                throttled!(error, LOST, seq = record.seq, %error, "an outcome is lost");
                return;
            }
            if !std::mem::replace(&mut failed, true) {
                throttled!(error, UNWRITTEN, seq = record.seq, %error, "an outcome cannot be written down; trying again");
            }
            tokio::time::sleep(PAUSE).await;
        }
        if record.owes {
            self.bell.notify_one();
        }
    }
}

fn signal(outcome: Outcome) -> DestinationSignal {
    match outcome {
        Outcome::Delivered | Outcome::Dead { .. } | Outcome::Accepted { .. } => DestinationSignal::Answered,
        Outcome::Retry { reason, .. } => DestinationSignal::Failed(reason),
        Outcome::Doubtful { reason, .. } => DestinationSignal::Doubted(reason),
        Outcome::Hold { reason } => DestinationSignal::Refused(reason),
    }
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Accepted { .. } => "accepted",
        Outcome::Retry { .. } => "retry",
        Outcome::Dead { .. } => "dead",
        Outcome::Doubtful { .. } => "doubtful",
        Outcome::Hold { .. } => "hold",
    }
}
