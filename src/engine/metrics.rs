//! Feeds the metrics from those who know: the listeners' counters, the journal's commits, the queue on disk.

use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;

use crate::journal::{Backlog, Journal};
use crate::log_throttle::{LogThrottle, throttled};
use crate::metrics::{MetricKind, Metrics, Sample};
use crate::mllp::{Counters, Intake};

/// How often the queue on disk is counted.
const INTERVAL: Duration = Duration::from_secs(5);

type Ask = fn(&Counters) -> Vec<(&'static str, u64)>;

/// The metrics outlive the engine and must not keep its journal open, so they hold the listeners weakly.
pub(super) fn listeners(metrics: &Metrics, intakes: &[Weak<Intake>]) {
    let add = |name, help, kind, label: &'static str, ask: Ask| {
        let intakes = intakes.to_vec();
        metrics.collect(name, help, kind, move || {
            intakes.iter().filter_map(Weak::upgrade).flat_map(|intake| samples(&intake, label, ask)).collect()
        });
    };
    add("messages", "Messages received, by what became of them", MetricKind::Counter, "verdict", |c| {
        vec![
            ("accepted", c.accepted.get()),
            ("skipped", c.skipped.get()),
            ("refused", c.refused.get()),
            ("duplicate", c.duplicates.get()),
            ("unstored", c.unstored.get()),
        ]
    });
    add("received_bytes", "Bytes of messages received", MetricKind::Counter, "", |c| vec![("", c.bytes.get())]);
    add("messages_unkept", "Refused input that was counted and not kept", MetricKind::Counter, "", |c| {
        vec![("", c.unkept.get())]
    });
    add("connections", "Connections open now", MetricKind::Gauge, "", |c| vec![("", c.connections())]);
    add("connections_refused", "Connections closed at the door", MetricKind::Counter, "", |c| {
        vec![("", c.connections_refused.get())]
    });
    add("transport_faults", "Faults of framing and connections", MetricKind::Counter, "fault", |c| {
        vec![
            ("oversize", c.oversize.get()),
            ("partial", c.partial.get()),
            ("noise_bytes", c.noise_bytes.get()),
            ("frame_timeout", c.frame_timeouts.get()),
            ("write_timeout", c.write_timeouts.get()),
            ("tls_handshake", c.handshake_faults.get()),
            ("reused_control_id", c.reused_control_ids.get()),
        ]
    });
}

fn samples(intake: &Intake, label: &'static str, ask: Ask) -> Vec<Sample> {
    let listener = || ("listener", intake.config().name.clone());
    let sample = |(name, value): (&'static str, u64)| {
        let labels = if label.is_empty() { vec![listener()] } else { vec![listener(), (label, name.to_owned())] };
        Sample { labels, value }
    };
    ask(intake.counters()).into_iter().map(sample).collect()
}

pub(super) fn commits(metrics: &Arc<Metrics>, journal: &Journal) {
    let metrics = metrics.clone();
    journal.observe(move |commit| {
        metrics.journal.commit(commit.messages + commit.records, commit.took, commit.failed);
    });
}

/// Counts the queue from time to time, for as long as it is let.
pub(super) async fn backlog(metrics: Arc<Metrics>, journal: Journal) {
    let faults = LogThrottle::minutely();
    loop {
        match journal.backlog().await {
            Ok(backlog) => show(&metrics, &backlog),
            Err(error) => throttled!(error, faults, %error, "the queue cannot be counted"),
        }
        if let Ok((alarms, _)) = journal.alarms(0).await {
            metrics.queue.damage.set(i64::try_from(alarms).unwrap_or(i64::MAX));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn show(metrics: &Metrics, backlog: &Backlog) {
    let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    metrics.queue.waiting.set(gauge(backlog.waiting));
    metrics.queue.retrying.set(gauge(backlog.retrying));
    metrics.queue.dead.set(gauge(backlog.dead));
    let age = backlog.oldest.map_or(0.0, |oldest| Timestamp::now().duration_since(oldest).as_secs_f64());
    metrics.queue.oldest_seconds.set(age.max(0.0));
}
