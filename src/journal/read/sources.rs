//! What came lately, by source: the last message of each listener, and whose messages were refused.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use rusqlite::Connection;

use super::reader::Reader;
use crate::journal::error::ReadError;
use crate::journal::model::time;

/// How many of the latest messages are looked through.
const LATEST: usize = 10_000;

/// Peers named for each listener, those refused most first.
const PEERS: usize = 5;

/// One listener, as the journal knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceActivity {
    pub listener: String,
    /// `None`: none among the latest.
    pub last: Option<Timestamp>,
    /// Whose messages were refused since the time that was asked for.
    pub refused: Vec<RefusedPeer>,
    /// All of them, those of peers that are not named too.
    pub refused_messages: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedPeer {
    /// Its address without the port.
    pub peer: String,
    pub messages: u64,
    pub last: Timestamp,
    /// Why the last was refused; holds no patient data.
    pub reason: String,
}

impl Reader {
    /// By listener, those of the latest messages and of the latest that were refused since then.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sources(&self, since: Timestamp) -> Result<Vec<SourceActivity>, ReadError> {
        self.look(|connection| sources(connection, since))
    }
}

fn sources(connection: &Connection, since: Timestamp) -> rusqlite::Result<Vec<SourceActivity>> {
    let mut found: BTreeMap<String, SourceActivity> = BTreeMap::new();
    let mut statement = connection.prepare(&format!(
        "SELECT listener, max(received) FROM (SELECT listener, received FROM message ORDER BY seq DESC LIMIT {LATEST})
         GROUP BY listener"
    ))?;
    let latest = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, time(row.get(1)?))))?;
    for row in latest {
        let (listener, last) = row?;
        found.insert(listener.clone(), SourceActivity { listener, last: Some(last), ..SourceActivity::default() });
    }
    for (listener, peers) in refused(connection, since)? {
        let source = found.entry(listener.clone()).or_insert(SourceActivity { listener, ..SourceActivity::default() });
        source.refused_messages = peers.values().map(|peer| peer.messages).sum();
        source.refused = peers.into_values().collect();
        source.refused.sort_by_key(|peer| (std::cmp::Reverse((peer.messages, peer.last)), peer.peer.clone()));
        source.refused.truncate(PEERS);
    }
    Ok(found.into_values().collect())
}

/// By listener and peer.
fn refused(
    connection: &Connection,
    since: Timestamp,
) -> rusqlite::Result<HashMap<String, HashMap<String, RefusedPeer>>> {
    let mut statement = connection.prepare(&format!(
        "SELECT listener, peer, received, coalesce(reason, '') FROM message INDEXED BY message_refused
         WHERE status = 'refused' AND received >= ?1 ORDER BY received DESC LIMIT {LATEST}"
    ))?;
    let mut found: HashMap<String, HashMap<String, RefusedPeer>> = HashMap::new();
    let mut rows = statement.query([since.as_microsecond()])?;
    while let Some(row) = rows.next()? {
        let peer = address(row.get_ref(1)?.as_str()?);
        let (last, reason) = (time(row.get(2)?), row.get(3)?);
        let of_listener = found.entry(row.get(0)?).or_default();
        let known = of_listener.entry(peer.clone()).or_insert(RefusedPeer { peer, messages: 0, last, reason });
        known.messages += 1;
    }
    Ok(found)
}

/// `10.0.0.7` of `10.0.0.7:4000`, `::1` of `[::1]:4000`.
fn address(peer: &str) -> String {
    peer.parse::<std::net::SocketAddr>().map_or_else(|_| peer.to_owned(), |peer| peer.ip().to_canonical().to_string())
}

#[cfg(test)]
mod tests {
    use crate::journal::Fate;
    use crate::journal::fixture::{arrival, open, seq};

    #[tokio::test]
    async fn each_listener_has_its_last_message_and_those_whose_messages_it_refused_since() {
        let (_folder, journal) = open();
        let refused = |n: i64, peer: &str| {
            let mut one = arrival(&n.to_string(), n);
            one.peer = peer.parse().unwrap();
            one.fate = Fate::Refuse { reason: format!("error {n}") };
            one
        };
        seq(journal.store(refused(0, "10.0.0.7:1")).await.unwrap());
        seq(journal.store(refused(5, "10.0.0.7:2")).await.unwrap());
        seq(journal.store(refused(6, "10.0.0.7:3")).await.unwrap());
        seq(journal.store(refused(7, "[::ffff:10.0.0.9]:3")).await.unwrap());
        let mut lab = arrival("8", 8);
        lab.listener = "lab".into();
        seq(journal.store(lab).await.unwrap());
        let sources = journal.reader().sources(arrival("", 2).received).unwrap();
        let [adt, lab] = &sources[..] else { panic!("{sources:?}") };
        let peers: Vec<_> = adt.refused.iter().map(|p| (p.peer.as_str(), p.messages, p.reason.as_str())).collect();
        assert_eq!(peers, [("10.0.0.7", 2, "error 6"), ("10.0.0.9", 1, "error 7")]);
        assert_eq!((adt.refused_messages, adt.last), (3, Some(arrival("", 7).received)));
        assert_eq!((lab.listener.as_str(), lab.last, lab.refused.len()), ("lab", Some(arrival("", 8).received), 0));
    }
}
