//! Reading the log of messages: pages of a list, and messages by name.
//!
//! A list is numbered without gaps and in order of arrival, so a page starts at its number, a time is found by halving,
//! and the total is the last number.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params, params_from_iter};

use super::column::{Id, id, text, timestamp};
use crate::mailbox::search::{Comparison, Prefix};
use crate::mailbox::store::model::StoreError;
use crate::mailbox::store::{AmbiguousEvent, LoggedMessage, MessagePage, MessageQuery, Name, Which};

/// Bytes after which a page ends, however many messages were asked for.
const PAGE_BYTES: usize = 16 << 20;

type LogResult<T> = Result<T, StoreError>;

pub(super) fn messages(
    connection: &Connection,
    query: &MessageQuery,
) -> LogResult<Result<MessagePage, AmbiguousEvent>> {
    let log = match &query.which {
        Which::Named { name, destination } => {
            return named(connection, name, destination.as_deref(), query).map(Ok);
        }
        Which::All => Some(Log::All),
        Which::List { destination, event } => match list(connection, destination, event.as_deref())? {
            Ok(list) => list.map(Log::List),
            Err(ambiguous) => return Ok(Err(ambiguous)),
        },
    };
    match log {
        Some(log) => page(connection, log, query).map(Ok),
        None => Ok(Ok(MessagePage::default())),
    }
}

/// Something that is numbered from 0 without a gap.
#[derive(Debug, Clone, Copy)]
enum Log {
    /// Every message: its number is its seq less one.
    All,
    List(i64),
}

impl Log {
    fn length(self, connection: &Connection) -> LogResult<i64> {
        let last = match self {
            Self::All => connection
                .prepare_cached("SELECT coalesce(max(seq), 0) FROM message")?
                .query_row([], |row| row.get(0))?,
            Self::List(list) => connection
                .prepare_cached("SELECT coalesce(max(position) + 1, 0) FROM delivery WHERE list = ?1")?
                .query_row([list], |row| row.get(0))?,
        };
        Ok(last)
    }

    fn received(self, connection: &Connection, position: i64) -> LogResult<i64> {
        let found = match self {
            Self::All => connection
                .prepare_cached("SELECT received FROM message WHERE seq = ?1")?
                .query_row([position + 1], |row| row.get(0))?,
            Self::List(list) => connection
                .prepare_cached(
                    "SELECT m.received FROM delivery d JOIN message m ON m.seq = d.message
                     WHERE d.list = ?1 AND d.position = ?2",
                )?
                .query_row([list, position], |row| row.get(0))?,
        };
        Ok(found)
    }

    /// The first position whose message was received at `time` or later: the log is in order of time.
    fn first_at(self, connection: &Connection, time: i64) -> LogResult<i64> {
        let (mut low, mut high) = (0, self.length(connection)?);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.received(connection, middle)? < time { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// The positions that a time filter leaves, from and up to.
    fn range(self, connection: &Connection, received: &[Comparison]) -> LogResult<(i64, i64)> {
        let (mut from, mut to) = (0, self.length(connection)?);
        for Comparison { prefix, low, high } in received {
            let (low, after) = (*low, high.saturating_add(1));
            match prefix {
                Prefix::Ge => from = from.max(self.first_at(connection, low)?),
                Prefix::Gt | Prefix::Sa => from = from.max(self.first_at(connection, after)?),
                Prefix::Lt | Prefix::Eb => to = to.min(self.first_at(connection, low)?),
                Prefix::Le => to = to.min(self.first_at(connection, after)?),
                Prefix::Eq | Prefix::Ap | Prefix::Ne => {
                    from = from.max(self.first_at(connection, low)?);
                    to = to.min(self.first_at(connection, after)?);
                }
            }
        }
        Ok((from, to.max(from)))
    }
}

fn page(connection: &Connection, log: Log, query: &MessageQuery) -> LogResult<MessagePage> {
    let (from, to) = log.range(connection, &query.received)?;
    let start = from.saturating_add(i64::try_from(query.offset).unwrap_or(i64::MAX));
    let end = to.min(start.saturating_add(i64::try_from(query.count).unwrap_or(i64::MAX)));
    let total = to - from;
    let found = match log {
        Log::All => bounded(
            connection,
            "SELECT seq, bundle_id, received, body FROM message WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
            &[start.into(), end.into()],
        )?,
        Log::List(list) => bounded(
            connection,
            "SELECT m.seq, m.bundle_id, m.received, m.body FROM delivery d JOIN message m ON m.seq = d.message
             WHERE d.list = ?1 AND d.position >= ?2 AND d.position < ?3 ORDER BY d.position",
            &[list.into(), start.into(), end.into()],
        )?,
    };
    Ok(MessagePage { found, total })
}

fn bounded(connection: &Connection, sql: &str, values: &[Value]) -> LogResult<Vec<LoggedMessage>> {
    let mut statement = connection.prepare_cached(sql)?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    for message in statement.query_and_then(params_from_iter(values), logged)? {
        let message = message?;
        bytes += message.body.len();
        found.push(message);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(found)
}

/// The list of a destination, or of one of its events; `None` when nothing was ever in it.
fn list(
    connection: &Connection,
    destination: &str,
    event: Option<&str>,
) -> LogResult<Result<Option<i64>, AmbiguousEvent>> {
    let exact = event.is_none_or(|event| event.contains('|'));
    if exact {
        let mut find = connection.prepare_cached("SELECT pk FROM list WHERE destination = ?1 AND event = ?2")?;
        return Ok(Ok(find.query_row([destination, event.unwrap_or_default()], |row| row.get(0)).optional()?));
    }
    let mut find = connection.prepare_cached("SELECT pk, event FROM list WHERE destination = ?1 AND event <> ''")?;
    let mut found = Vec::new();
    for row in find.query_map([destination], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))? {
        let (pk, name) = row?;
        if name.rsplit('|').next() == event {
            found.push(pk);
        }
    }
    Ok(match found[..] {
        [] => Ok(None),
        [pk] => Ok(Some(pk)),
        _ => Err(AmbiguousEvent),
    })
}

/// Messages by name: few, so they are counted and paged as they come.
fn named(
    connection: &Connection,
    name: &Name,
    destination: Option<&str>,
    query: &MessageQuery,
) -> LogResult<MessagePage> {
    let columns = "SELECT seq, bundle_id, received, body FROM message";
    let mut all = match name {
        Name::BundleId(id) => {
            bounded(connection, &format!("{columns} WHERE bundle_id = ?1 ORDER BY seq"), &[Id(id).into()])?
        }
        Name::AnswerTo(id) => bounded(
            connection,
            &format!("{columns} WHERE seq IN (SELECT response FROM answer WHERE message_id = ?1) ORDER BY seq"),
            &[Id(id).into()],
        )?,
        Name::Identifier { system: None, value } => {
            bounded(connection, &format!("{columns} WHERE control = ?1 ORDER BY seq"), &[value.clone().into()])?
        }
        Name::Identifier { system: Some(system), value } => bounded(
            connection,
            &format!("{columns} WHERE control = ?1 AND system = (SELECT pk FROM uri WHERE uri = ?2) ORDER BY seq"),
            &[value.clone().into(), system.clone().into()],
        )?,
    };
    all.retain(|message| query.received.iter().all(|range| holds(range, message.received.as_microsecond())));
    all.retain(|message| destination.is_none_or(|destination| is_for(&message.body, destination)));
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let found = all.into_iter().skip(query.offset).take(query.count).collect();
    Ok(MessagePage { found, total })
}

fn is_for(body: &str, destination: &str) -> bool {
    let bundle: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let all = bundle["entry"][0]["resource"]["destination"].as_array();
    all.is_some_and(|all| all.iter().any(|one| one["endpoint"] == destination))
}

fn holds(range: &Comparison, at: i64) -> bool {
    match range.prefix {
        Prefix::Ge => at >= range.low,
        Prefix::Gt | Prefix::Sa => at > range.high,
        Prefix::Lt | Prefix::Eb => at < range.low,
        Prefix::Le => at <= range.high,
        Prefix::Eq | Prefix::Ap => (range.low..=range.high).contains(&at),
        Prefix::Ne => !(range.low..=range.high).contains(&at),
    }
}

fn logged(row: &SqlRow<'_>) -> LogResult<LoggedMessage> {
    Ok(LoggedMessage {
        seq: row.get(0)?,
        bundle_id: id(row, 1)?,
        received: timestamp(row.get(2)?)?,
        body: text(row, 3)?,
    })
}

/// The time up to which answers were forgotten because there were too many.
pub(super) fn forgotten_until(connection: &Connection) -> LogResult<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT until FROM forgotten WHERE one = 1")?;
    Ok(statement.query_row(params![], |row| row.get(0)).optional()?)
}
