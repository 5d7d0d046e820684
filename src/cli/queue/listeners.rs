//! The listeners in the overview: who is connected, when the last message came, and who was refused lately.
//!
//! The daemon knows of connections; of messages the journal knows, whether a daemon runs or not.

use jiff::Timestamp;

use crate::cli::terminal::columns::plain;
use crate::cli::terminal::moment;
use crate::journal::SourceActivity;
use crate::mllp::ListenerConfig;
use crate::server::admin::ListenerStanding;

/// Peers named for each kind of refusal.
const PEERS: usize = 3;

/// `running`: what the daemon says, where one answers.
pub fn lines(
    configured: &[ListenerConfig],
    running: Option<&[ListenerStanding]>,
    sources: &[SourceActivity],
) -> Vec<String> {
    let mut lines = Vec::new();
    for listener in configured {
        let standing = running.and_then(|running| running.iter().find(|standing| standing.name == listener.name));
        let source = sources.iter().find(|source| source.listener == listener.name);
        let address = standing.map_or(listener.bind, |standing| standing.address);
        let connections = match standing {
            Some(standing) => counted(standing.connections, "connection"),
            None if running.is_some() => "not of the daemon that runs".to_owned(),
            None => "connections not known".to_owned(),
        };
        let last = last(source.and_then(|source| source.last));
        lines.push(format!("listener   {} on {address}: {connections}, {last}", plain(&listener.name)));
        lines.extend(source.and_then(refused));
        lines.extend(standing.and_then(turned_away));
    }
    for source in sources.iter().filter(|source| !configured.iter().any(|known| known.name == source.listener)) {
        let last = last(source.last);
        lines.push(format!("listener   {} is not configured any more: {last}", plain(&source.listener)));
        lines.extend(refused(source));
    }
    lines
}

fn last(last: Option<Timestamp>) -> String {
    last.map_or_else(|| "no message among the latest".to_owned(), |last| format!("last message {}", moment::ago(last)))
}

/// Messages that were answered with an error.
fn refused(source: &SourceActivity) -> Option<String> {
    let peers: Vec<String> = source
        .refused
        .iter()
        .take(PEERS)
        .map(|peer| {
            let (ago, reason) = (moment::ago(peer.last), plain(&peer.reason));
            format!("{} {} (last {ago}: {reason})", plain(&peer.peer), peer.messages)
        })
        .collect();
    let messages = counted(source.refused_messages, "message");
    (!peers.is_empty()).then(|| format!("  refused  {messages} in 24 h, from {}", peers.join(", ")))
}

/// Connections that came to nothing.
fn turned_away(standing: &ListenerStanding) -> Option<String> {
    let peers: Vec<String> = standing
        .turned_away
        .iter()
        .take(PEERS)
        .map(|peer| {
            let span = moment::span(i64::try_from(peer.seconds).unwrap_or(i64::MAX));
            format!("{} {} (last {span} ago: {})", peer.peer, peer.connections, plain(&peer.reason))
        })
        .collect();
    (!peers.is_empty()).then(|| format!("  turned away  connections of {}", peers.join(", ")))
}

fn counted(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
