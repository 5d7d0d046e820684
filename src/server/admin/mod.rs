//! The daemon's queue over HTTP, for the commands that change it: `/admin/queue`.
//!
//! Reading needs none of this: the commands read the journal's file themselves. But what is changed has to be changed by
//! the one process that writes the journal and holds its lanes in memory.
//!
//! Every request needs a token: the daemon's own [`secret`], which a command of this machine reads from the data folder, or
//! one of `[mailbox.auth]` with the scope `admin`.

pub mod secret;
mod routes;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::engine::operator::OperatorAction;
use crate::journal::Seq;

pub use routes::{Admin, routes};

/// `POST /admin/queue`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub decision: OperatorAction,
    /// The journal's path as the asking side knows it: a daemon with another one refuses.
    pub journal: String,
    pub who: String,
    /// What was typed, for the record.
    pub selection: String,
    pub reason: Option<String>,
    /// With a retry: how many steps of work mapping each of them may take, in place of `mapping.budget`.
    #[serde(default)]
    pub budget: Option<u64>,
    pub seqs: Vec<Seq>,
}

/// `POST /admin/queue/delivery`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Whether deliveries stop, or go on.
    pub pause: bool,
    /// As in [`Order`].
    pub journal: String,
    pub who: String,
    pub reason: Option<String>,
}

/// `POST /admin/queue/damage`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// As in [`Order`].
    pub journal: String,
    pub who: String,
    pub reason: String,
}

/// What was kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The act's number in the journal.
    pub act: i64,
}

/// `GET /admin/queue`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub journal: String,
    pub queued: usize,
    pub under_way: usize,
    pub put_off: usize,
    /// Dead letters that hold back the later messages of their patient.
    pub holding: usize,
    pub paused: bool,
    pub outage: Option<Outage>,
    pub listeners: Vec<ListenerStanding>,
}

/// A listener since the daemon's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStanding {
    pub name: String,
    pub address: SocketAddr,
    /// Open now.
    pub connections: u64,
    pub connections_refused: u64,
    /// The latest first.
    pub turned_away: Vec<TurnedAway>,
}

/// A peer whose connections came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnedAway {
    pub peer: IpAddr,
    pub connections: u64,
    /// Seconds since the last.
    pub seconds: u64,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    pub seconds: u64,
    /// A person has to mend something; else the destination is down.
    pub held: bool,
    pub reason: String,
}

/// `GET /admin/queue/{seq}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub journal: String,
    pub why: String,
}

/// Any answer that is no success.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    pub error: String,
}

/// The path by which both sides name a journal.
pub fn name_of(journal: &std::path::Path) -> String {
    std::fs::canonicalize(journal).unwrap_or_else(|_| journal.into()).display().to_string()
}
