//! What the configuration says about messages that are in the journal already: how a listener's messages are read and
//! mapped, and which senders are told the outcome in an acknowledgement of its own.
//!
//! The engine goes by it, and so does a person's decision, whether a daemon takes it or the command itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use jiff::tz::TimeZone;

use super::config::BuildError;
use crate::journal::{Row, Status};
use crate::mapping::{Context, ConvertError, Plan, convert};
use crate::mllp;
use crate::v2::charset::Charset;

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
        let answering =
            listeners.iter().filter(later).flat_map(|listener| listener.names().map(str::to_owned)).collect();
        Ok(Self { contexts: Arc::new(contexts(listeners)?), answering: Arc::new(answering), plan })
    }

    /// How the messages of a listener are read; `None` where no listener is or was called so: then nobody knows.
    #[must_use]
    pub fn context(&self, listener: &str) -> Option<Context> {
        self.contexts.get(listener).cloned()
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
        let context = self.context(&row.listener).ok_or_else(|| unconfigured(&row.listener))?;
        match convert(&plan.load(), raw, &context) {
            // Over the budget it may be no longer: a person can give it a larger one.
            Ok(_) | Err(ConvertError::OverBudget { .. }) => Ok(()),
            Err(error) => Err(format!(
                "message {seq} was {} when it came and cannot be mapped now either ({error}): mend the mapping or the \
                 listener's charset and zone, or let its source send it again",
                row.status
            )),
        }
    }
}

/// How the messages of each listener are read.
fn contexts(listeners: &[mllp::ListenerConfig]) -> Result<HashMap<String, Context>, BuildError> {
    let mut contexts = HashMap::new();
    for listener in listeners {
        let context = context(listener)?;
        for name in listener.names() {
            if contexts.insert(name.to_owned(), context.clone()).is_some() {
                return Err(BuildError::SameName(name.to_owned()));
            }
        }
    }
    Ok(contexts)
}

/// How messages of a listener are read: its zone and its character set.
///
/// # Errors
/// When its zone or its character set is none.
pub fn context(listener: &mllp::ListenerConfig) -> Result<Context, BuildError> {
    let name = || listener.name.clone();
    let zone = listener
        .zone
        .as_deref()
        .map(|zone| TimeZone::get(zone).map_err(|_| BuildError::Zone { listener: name(), zone: zone.to_owned() }));
    let charset = listener.charset.clone().map(|charset| {
        Charset::try_from(charset).map_err(|e| BuildError::Charset { listener: name(), reason: e.to_string() })
    });
    Ok(Context {
        received: None,
        zone: zone.transpose()?,
        charset: charset.transpose()?,
        charset_override: listener.charset_override,
        promoted: false,
        budget: None,
    })
}

/// Why a message cannot be mapped whose listener is gone.
pub(super) fn unconfigured(listener: &str) -> String {
    format!(
        "its listener '{listener}' is not configured any more, and its time zone and character set are not known: write \
         formerly = [\"{listener}\"] into the [[listener]] that took its place, start again, and retry"
    )
}
