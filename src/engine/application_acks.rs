//! Application acknowledgements that are sent when the outcome is known (HL7 v2.5.1 ch. 2.9.3, steps 3 and 4).
//!
//! What is owed stands in the journal from the moment the outcome does, and is taken out when it has been said. It goes to
//! the listener's return address, or on a connection from the address that the message came from: the same one while it
//! is open, else the next one that is opened. After a crash one may be said twice, never not at all; one that nobody
//! was there to hear for three days is given up, with a warning.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, oneshot};

use crate::journal::{Journal, Owed, Progress, ReadError, Record, Seq, Status};
use crate::log_throttle::{LogThrottle, throttled};
use crate::mllp::{Client, Intake};

/// How often those are tried again that nobody was there to hear.
const INTERVAL: Duration = Duration::from_secs(2);

/// How many are read at once.
const PAGE: usize = 256;

const GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(72);

/// How long the return address, or a connection that has it, may take.
const PATIENCE: Duration = Duration::from_secs(10);

static UNREADABLE: LogThrottle = LogThrottle::minutely();
static NO_LISTENER: LogThrottle = LogThrottle::minutely();
static NOBODY: LogThrottle = LogThrottle::minutely();

pub(super) struct ApplicationAcks {
    pub journal: Journal,
    /// The listeners that answer later.
    pub intakes: Vec<Arc<Intake>>,
    /// Rung when an outcome is in the journal.
    pub bell: Arc<Notify>,
}

impl ApplicationAcks {
    /// For as long as it is let.
    pub async fn run(self) {
        loop {
            if let Err(error) = self.round().await {
                throttled!(
                    error,
                    UNREADABLE,
                    %error,
                    "the application acknowledgements that are owed cannot be read; trying again"
                );
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
        while self.intakes.iter().any(|intake| intake.hears()) {
            let page = self.journal.owed(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            let mut said = Vec::new();
            for owed in &page {
                said.push((owed.seq, self.one(owed, &mut clients, &mut absent).await));
            }
            join_all(said.into_iter().map(|(seq, said)| self.settle(seq, said))).await;
        }
        Ok(())
    }

    async fn one(&self, owed: &Owed, clients: &mut [Option<Client>], absent: &mut HashSet<(usize, String)>) -> Said {
        let Some(at) = self.intakes.iter().position(|intake| intake.config().names().any(|name| name == owed.listener))
        else {
            throttled!(
                warn,
                NO_LISTENER,
                seq = owed.seq,
                listener = owed.listener,
                "no such listener any more: its sender is not told"
            );
            return Said::Yes;
        };
        let whom = (at, owed.peer.clone());
        let said = if absent.contains(&whom) { Said::NotNow } else { self.say(at, owed, &mut clients[at]).await };
        if !matches!(said, Said::NotNow) {
            return said;
        }
        absent.insert(whom);
        if Timestamp::now().duration_since(owed.changed) > GIVEN_UP_AFTER {
            throttled!(
                warn,
                NOBODY,
                seq = owed.seq,
                listener = owed.listener,
                "nobody was there to be told the outcome"
            );
            return Said::Yes;
        }
        Said::NotNow
    }

    async fn say(&self, at: usize, owed: &Owed, client: &mut Option<Client>) -> Said {
        let intake = &self.intakes[at];
        let reason = || owed.reason.as_deref().unwrap_or("it was not delivered");
        let failure = (owed.status != Status::Delivered).then(reason);
        let Some(ack) = intake.application_ack(&owed.raw, failure) else { return Said::Yes };
        let Some(address) = &intake.config().application_acks_to else {
            let Ok(peer) = owed.peer.parse() else { return Said::Yes };
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
        let done = match said {
            Said::Yes => true,
            Said::Soon(written) => matches!(tokio::time::timeout(PATIENCE, written).await, Ok(Ok(()))),
            Said::NotNow => false,
        };
        if !done {
            return;
        }
        let told = Record::decision(seq, Timestamp::now(), Progress::Told);
        if let Err(error) = self.journal.record(told).await {
            tracing::debug!(seq, %error, "what was said stands as owed still, and will be said again");
        }
    }
}

/// What became of one.
enum Said {
    /// It is out of our hands, or there is nothing to say.
    Yes,
    /// A connection has it; told when it is written.
    Soon(oneshot::Receiver<()>),
    /// Nobody is there to hear it.
    NotNow,
}
