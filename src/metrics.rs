//! Counters and gauges for Prometheus, in the OpenMetrics text form.
//!
//! What operations ask for first: is anything waiting, for how long, does the destination answer, does anything die, and
//! how long does a commit take. Labels are few and chosen by configuration (listener names), never by what a sender
//! writes, so the number of series is bounded.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    pub queue: Queue,
    pub delivery: Delivery,
    pub journal: Journal,
}

/// What waits.
#[derive(Debug, Default)]
pub struct Queue {
    /// Messages to be delivered, those under way included.
    pub waiting: Gauge,
    /// Messages that were tried and are put off.
    pub retrying: Gauge,
    /// Messages given up, waiting for a person.
    pub dead: Gauge,
    /// Dead letters that hold back the later messages of their patient.
    pub holding: Gauge,
    /// Damage that nobody has acknowledged.
    pub damage: Gauge,
    /// 1 while a person has stopped deliveries.
    pub paused: Gauge,
    /// How long the oldest of those waiting has been here; 0 when nothing waits.
    pub oldest_seconds: Gauge<f64, AtomicU64>,
}

/// What became of attempts.
#[derive(Debug)]
pub struct Delivery {
    attempts: Family<[(&'static str, &'static str); 1], Counter>,
    seconds: Histogram,
    pub under_way: Gauge,
    /// 1 while the destination answers, 0 while it is down or held.
    pub destination_up: Gauge,
    /// 1 while it is held: it refuses us, or something else stands there, and a person has to mend that.
    pub destination_held: Gauge,
    foreign_answers: Family<[(&'static str, String); 2], Counter>,
    application_acks: Family<[(&'static str, &'static str); 1], Counter>,
    pub mapping_seconds: Histogram,
    /// Values that went out changed or not at all, by the mapping's own account.
    pub mapping_warnings: Counter,
    /// Messages of which no Bundle could be made.
    pub mapping_failures: Counter,
    /// Clinical messages about a visit that the destination did not know, sent again as admin-notify.
    pub promotions: Counter,
}

/// How the journal writes.
#[derive(Debug)]
pub struct Journal {
    commit_seconds: Histogram,
    commit_messages: Histogram,
    commit_failures: Counter,
}

/// One value with its labels, for [`Metrics::collect`].
#[derive(Debug, Clone)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("stoker");
        let queue = Queue::register(registry.sub_registry_with_prefix("queue"));
        let delivery = Delivery::register(&mut registry);
        let journal = Journal::register(registry.sub_registry_with_prefix("journal"));
        Self { registry: Mutex::new(registry), queue, delivery, journal }
    }

    /// Adds a metric whose values somebody else counts: `ask` is called for each scrape, and has to be quick.
    pub fn collect(
        &self,
        name: &'static str,
        help: &'static str,
        kind: MetricKind,
        ask: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        let asked = Box::new(Observed { name, help, kind, ask: Box::new(ask) });
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register_collector(asked);
    }

    /// The text for `GET /metrics`, `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner)).ok();
        text
    }
}

/// `GET /metrics`, which every process that serves HTTP has beside its own routes.
pub fn routes(metrics: Arc<Metrics>) -> Router {
    let text = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    Router::new().route("/metrics", get(move || async move { (text, metrics.encode()) }))
}

/// From half a millisecond to a minute.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 3.0, 11))
}

impl Queue {
    fn register(registry: &mut Registry) -> Self {
        let queue = Self::default();
        registry.register("messages", "Messages to be delivered", queue.waiting.clone());
        registry.register("retrying", "Messages put off after a failure", queue.retrying.clone());
        registry.register("dead", "Messages given up, waiting for a person", queue.dead.clone());
        registry.register("damage", "Damage of the journal that nobody has acknowledged yet", queue.damage.clone());
        registry.register("holding", "Dead letters that hold back later messages", queue.holding.clone());
        registry.register("paused", "Whether a person has paused deliveries", queue.paused.clone());
        registry.register("oldest_seconds", "Age of the oldest message to be delivered", queue.oldest_seconds.clone());
        queue
    }
}

impl Delivery {
    fn register(registry: &mut Registry) -> Self {
        let delivery = Self {
            attempts: Family::default(),
            seconds: seconds(),
            under_way: Gauge::default(),
            destination_up: Gauge::default(),
            destination_held: Gauge::default(),
            foreign_answers: Family::default(),
            application_acks: Family::default(),
            mapping_seconds: Histogram::new(exponential_buckets(0.000_01, 4.0, 9)),
            mapping_warnings: Counter::default(),
            mapping_failures: Counter::default(),
            promotions: Counter::default(),
        };
        delivery.destination_up.set(1);
        let r = registry;
        r.register("deliveries", "Attempts to deliver, by outcome", delivery.attempts.clone());
        r.register("delivery_seconds", "From the request to the whole answer", delivery.seconds.clone());
        r.register("deliveries_under_way", "Requests without an answer yet", delivery.under_way.clone());
        r.register("destination_up", "Whether the destination takes messages", delivery.destination_up.clone());
        r.register(
            "destination_held",
            "Whether a person has to mend the destination",
            delivery.destination_held.clone(),
        );
        r.register("foreign_answers", "Answers that no FHIR endpoint gives", delivery.foreign_answers.clone());
        r.register("application_acks", "Outcomes owed to senders", delivery.application_acks.clone());
        r.register("mapping_seconds", "From the message to its Bundle", delivery.mapping_seconds.clone());
        r.register("mapping_warnings", "Values not mapped as they were sent", delivery.mapping_warnings.clone());
        r.register("promotions", "Clinical messages sent as admin-notify", delivery.promotions.clone());
        r.register("mapping_failures", "Messages without a Bundle", delivery.mapping_failures.clone());
        delivery
    }

    /// An answer that no FHIR endpoint gives. A status has three digits and `content` is one of a few words, so that a
    /// stranger makes a bounded number of series.
    pub fn foreign_answer(&self, status: u16, content: &'static str) {
        self.foreign_answers.get_or_create(&[("status", status.to_string()), ("content", content.to_owned())]).inc();
    }

    /// An outcome that a sender was to be told: `told`, `unwanted` (it asks for errors only, say) or `given_up`.
    pub fn application_ack(&self, outcome: &'static str) {
        self.application_acks.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// One attempt: `outcome` is one of `delivered`, `accepted`, `retry`, `doubtful`, `dead` and `hold`.
    pub fn attempt(&self, outcome: &'static str, took: Duration) {
        self.attempts.get_or_create(&[("outcome", outcome)]).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}

impl Journal {
    fn register(registry: &mut Registry) -> Self {
        let journal = Self {
            commit_seconds: seconds(),
            commit_messages: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            commit_failures: Counter::default(),
        };
        registry.register("commit_seconds", "Duration of a commit, synced", journal.commit_seconds.clone());
        registry.register(
            "commit_writes",
            "Messages and outcomes that share a commit",
            journal.commit_messages.clone(),
        );
        registry.register("commit_failures", "Commits that failed", journal.commit_failures.clone());
        journal
    }

    pub fn commit(&self, writes: usize, took: Duration, failed: bool) {
        if failed {
            self.commit_failures.inc();
        }
        self.commit_seconds.observe(took.as_secs_f64());
        self.commit_messages.observe(writes as f64);
    }
}

struct Observed {
    name: &'static str,
    help: &'static str,
    kind: MetricKind,
    ask: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let kind = match self.kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for sample in (self.ask)() {
            let labels: Vec<_> = sample.labels.iter().map(|(key, value)| (*key, value.as_str())).collect();
            self.encode_value(metric.encode_family(&labels.as_slice())?, sample.value)?;
        }
        Ok(())
    }
}

impl Observed {
    fn encode_value(&self, encoder: MetricEncoder<'_>, value: u64) -> fmt::Result {
        match self.kind {
            MetricKind::Counter => ConstCounter::new(value).encode(encoder),
            MetricKind::Gauge => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new();
        metrics.queue.waiting.set(7);
        metrics.queue.oldest_seconds.set(1.5);
        metrics.delivery.attempt("delivered", Duration::from_millis(2));
        metrics.delivery.attempt("retry", Duration::from_millis(2));
        metrics.journal.commit(64, Duration::from_millis(1), false);
        let text = metrics.encode();
        for line in [
            "stoker_queue_messages 7",
            "stoker_queue_oldest_seconds 1.5",
            "stoker_deliveries_total{outcome=\"delivered\"} 1",
            "stoker_delivery_seconds_count 2",
            "stoker_destination_up 1",
            "stoker_journal_commit_writes_sum 64.0",
            "stoker_journal_commit_failures_total 0",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn others_counts_are_asked_for_at_each_scrape() {
        let metrics = Metrics::new();
        let count = std::sync::Arc::new(AtomicU64::new(3));
        let asked = count.clone();
        metrics.collect("messages", "Messages by verdict", MetricKind::Counter, move || {
            let value = asked.load(std::sync::atomic::Ordering::Relaxed);
            vec![Sample { labels: vec![("listener", "adt \"1\"".into())], value }]
        });
        let line = |n| format!("stoker_messages_total{{listener=\"adt \\\"1\\\"\"}} {n}\n");
        assert!(metrics.encode().contains(&line(3)), "{}", metrics.encode());
        count.store(4, std::sync::atomic::Ordering::Relaxed);
        assert!(metrics.encode().contains(&line(4)));
    }
}
