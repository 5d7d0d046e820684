//! Application acknowledgements that are sent when the outcome is known (HL7 v2.5.1 ch. 2.9.3, steps 3 and 4).
//!
//! What is owed stands in the journal from the moment the outcome does, and is taken out when it has been said. It goes to
//! the listener's return address, or on a connection from the address that the message came from: the same one while it
//! is open, else the next one that is opened. After a crash one may be said twice, never not at all; one that nobody
//! was there to hear for three days is given up. What is given up is counted, and the log says why: no sender is left without
//! a word in silence.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, oneshot};

use crate::journal::{Journal, Owed, Progress, ReadError, Record, Seq, Status};
use crate::log_throttle::{LogThrottle, throttled};
use crate::metrics::Metrics;
use crate::mllp::{Client, Intake};

/// How often those are tried again that nobody was there to hear.
const INTERVAL: Duration = Duration::from_secs(2);

/// How many are read at once.
const PAGE: usize = 256;

const GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(72);

/// How long the return address, or a connection that has it, may take.
const PATIENCE: Duration = Duration::from_secs(10);

static UNTOLD: LogThrottle = LogThrottle::minutely();
static UNREADABLE: LogThrottle = LogThrottle::minutely();

pub(super) struct ApplicationAcks {
    pub journal: Journal,
    /// The listeners that answer later.
    pub intakes: Vec<Arc<Intake>>,
    /// Rung when an outcome is in the journal.
    pub bell: Arc<Notify>,
    pub metrics: Arc<Metrics>,
}

/// What a sender is told whose message a person has discarded. Who did it and why is for this side only.
const DISCARDED: &str = "a person has discarded the message: it is not delivered";

impl ApplicationAcks {
    /// For as long as it is let. Where no listener answers later any more, what is owed from before is given up, and that is all.
    pub async fn run(self) {
        loop {
            if let Err(error) = self.round().await {
                throttled!(
                    error,
                    UNREADABLE,
                    %error,
                    "the application acknowledgements that are owed cannot be read; trying again"
                );
            } else if self.intakes.is_empty() {
                return;
            }
            tokio::select! {
                () = self.bell.notified() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    async fn round(&self) -> Result<(), ReadError> {
        let mut clients: Vec<Option<Client>> = self.intakes.iter().map(|_| None).collect();
        let mut absent = HashSet::new();
        let mut after = 0;
        while self.intakes.is_empty() || self.intakes.iter().any(|intake| intake.hears()) {
            let page = self.journal.owed(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            let mut said = Vec::new();
            for owed in &page {
                let one = self.one(owed, &mut clients, &mut absent).await;
                if let Said::Never(why) = one {
                    let (seq, listener) = (owed.seq, &owed.listener);
                    throttled!(warn, UNTOLD, seq, listener, why, "a sender is not told the outcome of its message");
                }
                said.push((owed.seq, one));
            }
            join_all(said.into_iter().map(|(seq, said)| self.settle(seq, said))).await;
        }
        Ok(())
    }

    async fn one(&self, owed: &Owed, clients: &mut [Option<Client>], absent: &mut HashSet<(usize, String)>) -> Said {
        let Some(at) = self.intakes.iter().position(|intake| intake.config().names().any(|name| name == owed.listener))
        else {
            return Said::Never("no listener of that name answers later any more");
        };
        if owed.raw.is_empty() {
            return Said::Never("its bytes are no longer kept (journal.keep_bodies)");
        }
        let whom = (at, owed.peer.clone());
        let said = if absent.contains(&whom) { Said::NotNow } else { self.say(at, owed, &mut clients[at]).await };
        if !matches!(said, Said::NotNow) {
            return said;
        }
        absent.insert(whom);
        if Timestamp::now().duration_since(owed.changed) > GIVEN_UP_AFTER {
            return Said::Never("nobody was there to be told for three days");
        }
        Said::NotNow
    }

    async fn say(&self, at: usize, owed: &Owed, client: &mut Option<Client>) -> Said {
        let intake = &self.intakes[at];
        let failure = match owed.status {
            Status::Delivered => None,
            Status::Skipped => Some(DISCARDED),
            _ => Some(owed.reason.as_deref().unwrap_or("it was not delivered")),
        };
        let Some(ack) = intake.application_ack(&owed.raw, failure) else { return Said::Unwanted };
        let Some(address) = &intake.config().application_acks_to else {
            let Ok(peer) = owed.peer.parse() else { return Said::Never("its sender's address is not known") };
            return intake.say(peer, &ack).map_or(Said::NotNow, Said::Soon);
        };
        if client.is_none() {
            *client = Client::connect(address.as_str(), PATIENCE).await.ok();
        }
        let Some(open) = client else { return Said::NotNow };
        match open.post(&ack).await {
            Ok(_) => Said::Yes,
            Err(error) => {
                tracing::debug!(listener = owed.listener, %error, "the return address does not take it");
                *client = None;
                Said::NotNow
            }
        }
    }

    /// Takes out of the journal what has been said, once it really has.
    async fn settle(&self, seq: Seq, said: Said) {
        let outcome = match said {
            Said::Yes => "told",
            Said::Soon(written) => match tokio::time::timeout(PATIENCE, written).await {
                Ok(Ok(())) => "told",
                Ok(Err(_)) | Err(_) => return,
            },
            Said::NotNow => return,
            Said::Unwanted => "unwanted",
            Said::Never(_) => "given_up",
        };
        self.metrics.delivery.application_ack(outcome);
        let told = Record::decision(seq, Timestamp::now(), Progress::Told);
        if let Err(error) = self.journal.record(told).await {
            tracing::debug!(seq, %error, "what was said stands as owed still, and will be said again");
        }
    }
}

/// What became of one.
enum Said {
    Yes,
    /// The sender does not want to hear of such an outcome.
    Unwanted,
    /// It cannot be said, and why.
    Never(&'static str),
    /// A connection has it; told when it is written.
    Soon(oneshot::Receiver<()>),
    /// Nobody is there to hear it.
    NotNow,
}
