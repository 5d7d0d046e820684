//! What one listener tells of its peers in the log: each kind of it at most once a minute.

use super::intake::refusals::RefusalKind;
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
    /// What was refused, by its kind.
    pub refused: RefusedLog,
    /// What was refused and counted only.
    pub unkept: LogThrottle,
    /// The journal does not store.
    pub unstored: OutageLog,
}

/// A throttle for each kind: a flood of one does not hide another.
#[derive(Debug, Default)]
pub(super) struct RefusedLog {
    empty_frame: LogThrottle,
    no_header: LogThrottle,
    noise: LogThrottle,
    partial: LogThrottle,
    unframed: LogThrottle,
    oversize: LogThrottle,
    message: LogThrottle,
}

impl RefusedLog {
    pub fn of(&self, kind: RefusalKind) -> &LogThrottle {
        match kind {
            RefusalKind::EmptyFrame => &self.empty_frame,
            RefusalKind::NoHeader => &self.no_header,
            RefusalKind::Noise => &self.noise,
            RefusalKind::Partial => &self.partial,
            RefusalKind::Unframed => &self.unframed,
            RefusalKind::Oversize => &self.oversize,
            RefusalKind::Acknowledgement | RefusalKind::Envelope | RefusalKind::Message => &self.message,
        }
    }
}
