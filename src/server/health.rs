//! Whether the daemon would acknowledge a message now, and what a person should look at although it would.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::embedded::EmbeddedMailbox;
use crate::engine::Listening;
use crate::http::health::{HealthReason, Readiness};
use crate::journal::Journal;
use crate::metrics::Metrics;

/// What is asked.
#[derive(Clone)]
pub struct DaemonHealth {
    pub journal: Journal,
    pub listening: Listening,
    pub mailbox: Option<EmbeddedMailbox>,
    pub metrics: Arc<Metrics>,
    pub stopping: CancellationToken,
}

impl DaemonHealth {
    pub async fn readiness(self) -> Readiness {
        let mut found = Readiness::default();
        if self.stopping.is_cancelled() {
            found.reasons.push(HealthReason::new("process", "it is stopping"));
        }
        let closed = self.listening.closed();
        found.reasons.extend(closed.map(|name| HealthReason::new("listener", format!("'{name}' does not listen"))));
        self.ask_journal(&mut found).await;
        self.look_downstream(&mut found);
        if let Some(mailbox) = &self.mailbox {
            // Messages are received and kept whatever becomes of the mailbox.
            let Readiness { reasons, warnings } = mailbox.readiness().await;
            found.warnings.extend(reasons.into_iter().chain(warnings));
        }
        found
    }

    async fn ask_journal(&self, found: &mut Readiness) {
        let journal = self.journal.clone();
        match tokio::task::spawn_blocking(move || journal.health()).await {
            Ok(health) => {
                found.reasons.extend(health.refuses.into_iter().map(|(what, why)| HealthReason::new(what, why)));
                found.warnings.extend(health.warns.into_iter().map(|why| HealthReason::new("journal", why)));
            }
            Err(error) => found.reasons.push(HealthReason::new("journal", error.to_string())),
        }
    }

    /// Deliveries may wait: what was acknowledged is kept.
    fn look_downstream(&self, found: &mut Readiness) {
        let (delivery, queue) = (&self.metrics.delivery, &self.metrics.queue);
        if delivery.destination_up.get() == 0 {
            let why = "it takes no messages; they are kept, and stoker queue says why";
            found.warnings.push(HealthReason::new("destination", why));
        }
        if queue.paused.get() != 0 {
            found.warnings.push(HealthReason::new("destination", "a person has paused deliveries; see stoker queue"));
        }
        let dead = queue.dead.get();
        if dead > 0 {
            let why = format!("messages given up and waiting for a person: {dead}; see stoker queue");
            found.warnings.push(HealthReason::new("queue", why));
        }
    }
}
