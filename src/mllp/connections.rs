//! The connections that are open now, for what is to be said on one of them later: application acknowledgements.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// So many may wait for one connection to write them.
const WAITING: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<HashMap<SocketAddr, mpsc::Sender<LaterAck>>>,
}

/// What is to be said on a connection.
#[derive(Debug)]
pub(super) struct LaterAck {
    pub ack: Bytes,
    /// Told when it has been written; dropped when it will not be.
    pub written: oneshot::Sender<()>,
}

impl Connections {
    /// A connection's end of its line; [`close`](Self::close) takes it away.
    pub fn open(&self, peer: SocketAddr) -> mpsc::Receiver<LaterAck> {
        let (line, end) = mpsc::channel(WAITING);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, line);
        end
    }

    pub fn close(&self, peer: SocketAddr) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    }

    pub fn any(&self) -> bool {
        !self.open.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// On the connection from `peer`, or on another from the same address. `None` when there is none that takes it; else
    /// tells when it has been written.
    pub fn say(&self, peer: SocketAddr, ack: &Bytes) -> Option<oneshot::Receiver<()>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let same = open.iter().filter(|(other, _)| other.ip() == peer.ip()).map(|(_, line)| line);
        open.get(&peer).into_iter().chain(same).find_map(|line| {
            let (written, told) = oneshot::channel();
            line.try_send(LaterAck { ack: ack.clone(), written }).ok().map(|()| told)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_connection_comes_before_another_of_the_same_address() {
        let connections = Connections::default();
        let (mut first, mut second) = (connections.open(peer("10.0.0.1:1")), connections.open(peer("10.0.0.1:2")));
        let ack = Bytes::from_static(b"ack");
        assert!(connections.say(peer("10.0.0.1:2"), &ack).is_some());
        assert!(first.try_recv().is_err() && second.try_recv().is_ok());
        connections.close(peer("10.0.0.1:2"));
        assert!(connections.say(peer("10.0.0.1:2"), &ack).is_some());
        assert!(first.try_recv().is_ok());
        assert!(connections.say(peer("10.0.0.2:1"), &ack).is_none(), "never to another address");
    }

    #[tokio::test]
    async fn what_a_closed_connection_has_not_written_is_known_to_be_unsaid() {
        let connections = Connections::default();
        let end = connections.open(peer("10.0.0.1:1"));
        let told = connections.say(peer("10.0.0.1:1"), &Bytes::new()).unwrap();
        drop(end);
        assert!(told.await.is_err());
    }

    #[test]
    fn a_line_that_is_full_takes_no_more() {
        let connections = Connections::default();
        let _end = connections.open(peer("10.0.0.1:1"));
        let said = (0..WAITING + 5).filter(|_| connections.say(peer("10.0.0.1:1"), &Bytes::new()).is_some()).count();
        assert_eq!(said, WAITING);
    }
}
