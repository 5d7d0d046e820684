//! What a person asks for, carried to whoever may write the journal: the daemon that holds it, or this process.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::place::{JournalAccess, JournalWriter};
use crate::config::Config;
use crate::engine::operator::{Decided, OperatorAction, command, decide};
use crate::engine::rules::SiteRules;
use crate::journal::{Act, Seq};
use crate::mapping::Plan;
use crate::server::admin::Order;

pub struct DecisionRequest {
    pub decision: OperatorAction,
    /// As it was typed.
    pub selection: String,
    pub reason: Option<String>,
    /// The budget of a retry.
    pub budget: Option<u64>,
    /// Who asks; otherwise the user of this shell.
    pub by: Option<String>,
}

impl DecisionRequest {
    pub fn perform(self, place: &JournalAccess, config: &Config, seqs: Vec<Seq>) -> anyhow::Result<Decided> {
        let Self { decision, selection, reason, budget, by } = self;
        let who = by.unwrap_or_else(user);
        match place.writer(config)? {
            JournalWriter::Daemon(remote, holder) => {
                let journal = remote.journal().to_owned();
                let order = Order { decision, journal, who, selection, reason, budget, seqs };
                holder.wait(async move { remote.order(&order).await })
            }
            JournalWriter::Here(journal) => {
                let (at, command, messages) = (Timestamp::now(), command(decision, budget), seqs.len() as u64);
                let act = Act { at, who, command, selection, reason, messages };
                let rules = rules(config, decision)?;
                super::place::wait(async move { Ok(decide(&journal, None, &rules, decision, act, seqs).await?) })
            }
        }
    }
}

/// Those of a daemon that would run by this configuration. Only a retry asks what the mapping says.
fn rules(config: &Config, decision: OperatorAction) -> anyhow::Result<SiteRules> {
    let plan = match decision {
        OperatorAction::Retry => {
            Some(Arc::new(ArcSwap::from_pointee(Plan::load(&config.mapping, &config.identifiers)?)))
        }
        OperatorAction::Discard | OperatorAction::Export => None,
    };
    Ok(SiteRules::new(&config.listeners, plan)?)
}

/// `jo@desk7`, as far as this machine tells.
pub fn user() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let host = std::env::var("HOSTNAME").or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"));
    format!("{}@{}", name.unwrap_or_else(number), host.unwrap_or_default().trim())
}

/// The user by number, where the shell names none, as in a container.
fn number() -> String {
    #[cfg(unix)]
    if let Ok(own) = std::fs::metadata("/proc/self") {
        return format!("uid {}", std::os::unix::fs::MetadataExt::uid(&own));
    }
    "unknown".to_owned()
}
