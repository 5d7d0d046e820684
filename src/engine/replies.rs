//! Application acknowledgements that are sent when the outcome is known (HL7 v2.5.1 ch. 2.9.3, steps 3 and 4).
//!
//! What is owed stands in the journal from the moment the outcome does, and is taken out when it has been said. It goes to
//! the listener's return address, or on a connection from the address that the message came from: the same one while it
//! is open, else the next one that is opened. After a crash one may be said twice, never not at all; one that nobody
//! was there to hear for three days is given up, with a warning.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::journal::{Journal, Owed, Progress, ReadError, Record, Seq, Status};
use crate::mllp::{Client, Intake};

/// How often those are tried again that nobody was there to hear.
const INTERVAL: Duration = Duration::from_secs(2);

/// How many are read at once.
const PAGE: usize = 256;

const GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(72);

/// How long the return address may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Replies {
    pub journal: Journal,
    /// The listeners that answer later.
    pub intakes: Vec<Arc<Intake>>,
    /// Rung when an outcome is in the journal.
    pub bell: Arc<Notify>,
}

/// What became of one.
enum Said {
    Yes,
    /// Nobody is there to hear it.
    NotNow,
}

impl Replies {
    /// For as long as it is let.
    pub async fn run(self) {
        loop {
            if let Err(error) = self.round().await {
                tracing::error!(%error, "the application acknowledgements that are owed cannot be read; trying again");
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
            for owed in page {
                self.one(&owed, &mut clients, &mut absent).await;
            }
        }
        Ok(())
    }

    async fn one(&self, owed: &Owed, clients: &mut [Option<Client>], absent: &mut HashSet<(usize, String)>) {
        let Some(at) = self.intakes.iter().position(|intake| intake.config().name == owed.listener) else {
            tracing::warn!(
                seq = owed.seq,
                listener = owed.listener,
                "no such listener any more: its sender is not told"
            );
            return self.settle(owed.seq).await;
        };
        let whom = (at, owed.peer.clone());
        if absent.contains(&whom) {
            return;
        }
        match self.say(&self.intakes[at], owed, &mut clients[at]).await {
            Said::Yes => self.settle(owed.seq).await,
            Said::NotNow if Timestamp::now().duration_since(owed.changed) > GIVEN_UP_AFTER => {
                tracing::warn!(seq = owed.seq, listener = owed.listener, "nobody was there to be told the outcome");
                self.settle(owed.seq).await;
            }
            Said::NotNow => drop(absent.insert(whom)),
        }
    }

    async fn say(&self, intake: &Intake, owed: &Owed, client: &mut Option<Client>) -> Said {
        let failure =
            (owed.status != Status::Delivered).then(|| owed.reason.as_deref().unwrap_or("it was not delivered"));
        let Some(ack) = intake.application_ack(&owed.raw, failure) else { return Said::Yes };
        let Some(address) = &intake.config().application_acks_to else {
            let peer: Option<SocketAddr> = owed.peer.parse().ok();
            return if peer.is_none_or(|peer| intake.say(peer, &ack)) { Said::Yes } else { Said::NotNow };
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

    async fn settle(&self, seq: Seq) {
        let told = Record::decision(seq, Timestamp::now(), Progress::Told);
        if let Err(error) = self.journal.record(told).await {
            tracing::debug!(seq, %error, "what was said stands as owed still, and will be said again");
        }
    }
}
