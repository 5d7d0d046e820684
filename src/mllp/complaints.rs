//! What one listener tells of its peers in the log: each kind of it at most once a minute.

use crate::log_throttle::{LogThrottle, OutageLog};

#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// No connection can be accepted.
    pub accept: OutageLog,
    /// All places are taken.
    pub full: LogThrottle,
    /// Peers that may not come in.
    pub admission: LogThrottle,
    pub handshake: LogThrottle,
    pub panics: LogThrottle,
    /// Connections that ended as they should not.
    pub broken: LogThrottle,
    /// Bytes that are no frames.
    pub noise: LogThrottle,
    /// The journal does not store.
    pub unstored: OutageLog,
}
