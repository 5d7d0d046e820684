//! What the configuration says about messages that are in the journal already: how a listener's messages are read and
//! mapped, and which senders are told the outcome in an acknowledgement of its own.
//!
//! The engine goes by it, and so does a person's decision, whether a daemon takes it or the command itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::config::BuildError;
use crate::journal::{Row, Status};
use crate::mapping::{Context, Plan, convert};
use crate::mllp;

#[derive(Debug, Clone, Default)]
pub struct SiteRules {
    /// Time zone and character set by listener.
    contexts: Arc<HashMap<String, Context>>,
    /// Listeners whose senders are told the outcome later.
    answering: Arc<HashSet<String>>,
    /// `None` where nothing is to be mapped.
    plan: Option<Arc<ArcSwap<Plan>>>,
}

impl SiteRules {
    /// # Errors
    /// When a listener's zone or character set is none, or two have one name.
    pub fn new(listeners: &[mllp::ListenerConfig], plan: Option<Arc<ArcSwap<Plan>>>) -> Result<Self, BuildError> {
        let later =
            |listener: &&mllp::ListenerConfig| listener.application_acks == mllp::config::ApplicationAcks::Later;
        let answering = listeners.iter().filter(later).map(|listener| listener.name.clone()).collect();
        Ok(Self { contexts: Arc::new(super::contexts(listeners)?), answering: Arc::new(answering), plan })
    }

    /// How the messages of a listener are read.
    #[must_use]
    pub fn context(&self, listener: &str) -> Context {
        self.contexts.get(listener).cloned().unwrap_or_default()
    }

    /// Whether some sender is told the outcome later.
    #[must_use]
    pub fn answers_anybody(&self) -> bool {
        !self.answering.is_empty()
    }

    /// Whether the senders of a listener are told the outcome later.
    #[must_use]
    pub fn answers(&self, listener: &str) -> bool {
        self.answering.contains(listener)
    }

    /// Whether the sender of a message wants an acknowledgement of the outcome.
    #[must_use]
    pub fn owes(&self, listener: &str, raw: &Bytes) -> bool {
        self.answers(listener) && mllp::wants_outcome(raw)
    }

    /// Why a message that was refused or skipped when it came can never be delivered as it is, and what to do instead.
    /// Maps it, which may take a while.
    ///
    /// # Errors
    /// The reason, without patient data.
    pub fn can_be_delivered(&self, row: &Row, raw: &Bytes) -> Result<(), String> {
        if !matches!(row.status, Status::Refused | Status::Skipped) {
            return Ok(());
        }
        let seq = row.seq;
        if row.reason.as_deref().is_some_and(mllp::kept_in_part) {
            return Err(format!(
                "message {seq} is not a whole message ({}): what was kept of it cannot be delivered; let its source send it \
                 again",
                row.reason.as_deref().unwrap_or_default()
            ));
        }
        let Some(plan) = &self.plan else { return Ok(()) };
        match convert(&plan.load(), raw, &self.context(&row.listener)) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!(
                "message {seq} was {} when it came and cannot be mapped now either ({error}): mend the mapping or the \
                 listener's charset and zone, or let its source send it again",
                row.status
            )),
        }
    }
}
