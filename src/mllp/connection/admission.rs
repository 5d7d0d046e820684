//! Who may come in: peers of the allowed networks, each with a bounded number of connections.
//!
//! A peer that may not is closed at once and hears nothing; it is counted, and told of in the log once a minute.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use super::network::Network;
use crate::mllp::config::ListenerConfig;

#[derive(Debug)]
pub struct PeerAdmission {
    /// Empty: all.
    allow: Vec<Network>,
    /// 0: no limit but that of the listener.
    per_peer: usize,
    inside: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Why a peer is not let in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the address is in none of the networks of `allow`")]
    Network,
    #[error("it has {0} connections already, as many as max_connections_per_peer allows")]
    TooMany(usize),
}

/// Held for as long as a connection is open.
#[derive(Debug)]
pub struct ConnectionPermit {
    peer: IpAddr,
    inside: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl PeerAdmission {
    pub fn new(config: &ListenerConfig) -> Self {
        Self { allow: config.allow.clone(), per_peer: config.max_connections_per_peer, inside: Arc::default() }
    }

    pub fn admit(&self, peer: SocketAddr) -> Result<ConnectionPermit, Refusal> {
        let peer = peer.ip().to_canonical();
        if !self.allow.is_empty() && !self.allow.iter().any(|network| network.contains(peer)) {
            return Err(Refusal::Network);
        }
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let count = inside.entry(peer).or_default();
        if self.per_peer > 0 && *count >= self.per_peer {
            return Err(Refusal::TooMany(*count));
        }
        *count += 1;
        Ok(ConnectionPermit { peer, inside: Arc::clone(&self.inside) })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = inside.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 4_000)
    }

    fn admission(toml: &str) -> PeerAdmission {
        PeerAdmission::new(&toml::from_str(toml).unwrap())
    }

    #[test]
    fn without_a_list_everyone_may_come_in() {
        let admission = admission("");
        assert!(admission.admit(peer("192.0.2.1")).is_ok() && admission.admit(peer("2001:db8::1")).is_ok());
    }

    #[test]
    fn only_listed_networks_come_in_also_over_ipv6() {
        let admission = admission("allow = [\"10.1.0.0/16\", \"192.0.2.7\"]");
        for (ip, may) in [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("192.0.2.7", true), ("192.0.2.8", false)] {
            assert_eq!(admission.admit(peer(ip)).is_ok(), may, "{ip}");
        }
    }

    #[test]
    fn a_peer_has_its_share_and_gets_it_back() {
        let admission = admission("max_connections_per_peer = 2");
        let first = admission.admit(peer("10.0.0.1")).unwrap();
        let _second = admission.admit(peer("10.0.0.1")).unwrap();
        assert_eq!(admission.admit(peer("10.0.0.1")).unwrap_err(), Refusal::TooMany(2));
        assert!(admission.admit(peer("10.0.0.2")).is_ok(), "another peer has a share of its own");
        drop(first);
        assert!(admission.admit(peer("10.0.0.1")).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_those_who_have_left() {
        let admission = admission("max_connections_per_peer = 1");
        for n in 0..=255 {
            drop(admission.admit(peer(&format!("10.0.0.{n}"))).unwrap());
        }
        assert!(admission.inside.lock().unwrap().is_empty());
    }
}
