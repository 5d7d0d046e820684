//! Whose connections a listener turned away lately: for people, who want to know which sender cannot get in, and why.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// So many peers are remembered; beyond these the one goes that came least lately.
const PEERS: usize = 16;

#[derive(Debug, Default)]
pub struct TurnedAway {
    peers: Mutex<Vec<TurnedAwayPeer>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAwayPeer {
    pub peer: IpAddr,
    /// Since it is remembered.
    pub connections: u64,
    pub last: Timestamp,
    /// Why the last was turned away.
    pub reason: String,
}

impl TurnedAway {
    pub fn note(&self, peer: IpAddr, at: Timestamp, reason: impl ToString) {
        let peer = peer.to_canonical();
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = match peers.iter().position(|known| known.peer == peer) {
            Some(known) => peers.remove(known).connections,
            None => 0,
        };
        peers.truncate(PEERS - 1);
        peers.insert(0, TurnedAwayPeer { peer, connections: connections + 1, last: at, reason: reason.to_string() });
    }

    /// The latest first.
    #[must_use]
    pub fn peers(&self) -> Vec<TurnedAwayPeer> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_is_counted_and_those_that_came_least_lately_are_forgotten() {
        let (turned_away, at) = (TurnedAway::default(), Timestamp::UNIX_EPOCH);
        let peer = |n: u8| IpAddr::from([10, 0, 0, n]);
        turned_away.note(peer(1), at, "first");
        for n in 2..=PEERS as u8 {
            turned_away.note(peer(n), at, "x");
        }
        turned_away.note("::ffff:10.0.0.1".parse().unwrap(), at, "second");
        let latest = turned_away.peers().remove(0);
        assert_eq!((latest.peer, latest.connections, latest.reason.as_str()), (peer(1), 2, "second"));
        turned_away.note(peer(99), at, "x");
        let peers = turned_away.peers();
        assert_eq!(peers.len(), PEERS);
        assert!(peers.iter().any(|known| known.peer == peer(1)) && !peers.iter().any(|known| known.peer == peer(2)));
    }
}
