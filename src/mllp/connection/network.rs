//! Networks whose peers a listener takes: `10.1.0.0/16`, `fd00::/8`, or a single address.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A network as a person writes it. Host bits are allowed and mean nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    /// `peer` is canonical: an IPv4 address that came over IPv6 is an IPv4 address.
    #[must_use]
    pub fn contains(&self, peer: IpAddr) -> bool {
        self.0.contains(&peer)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no network: write an address such as 10.1.2.3, or a network such as 10.1.0.0/16")]
pub struct NetworkError(String);

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(|network| Self(network.trunc())).ok_or(NetworkError(text))
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, peer: &str) -> bool {
        Network::try_from(network.to_owned()).unwrap().contains(peer.parse().unwrap())
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        assert!(holds("10.1.0.0/16", "10.1.255.7") && !holds("10.1.0.0/16", "10.2.0.1"));
        assert!(holds("10.1.2.3/16", "10.1.9.9"), "host bits mean nothing");
        assert!(holds("10.1.2.3", "10.1.2.3") && !holds("10.1.2.3", "10.1.2.4"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "10.1.2.3"));
        assert!(holds("0.0.0.0/0", "192.0.2.1") && !holds("0.0.0.0/0", "::1"));
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_remedy() {
        for text in ["", "10.1", "10.1.0.0/33", "hospital.example"] {
            let error = Network::try_from(text.to_owned()).unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")) && error.contains("10.1.0.0/16"), "{error}");
        }
    }
}
