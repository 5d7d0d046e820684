//! Reading the log of messages: pages of a list, and messages by name.
//!
//! A list is numbered without gaps and in order of arrival, so a page starts at its number, a time is found by halving,
//! and the total is the last number.

use std::cmp::Ordering;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params, params_from_iter};

use super::column::{Id, id, text, timestamp};
use crate::http::auth::{Denied, Endpoints};
use crate::mailbox::search::{Comparison, Prefix};
use crate::mailbox::store::PAGE_BYTES;
use crate::mailbox::store::model::StoreError;
use crate::mailbox::store::{LoggedMessage, MessagePage, MessageQuery, Name, Unanswerable, Which};

type LogResult<T> = Result<T, StoreError>;

/// Messages of one name that are looked through, to see which of them a reader may see.
const MOST_NAMED: usize = 1000;

/// The messages that `query` asks for, of those for the destinations `own`.
pub(super) fn messages(
    connection: &Connection,
    own: &Endpoints,
    query: &MessageQuery,
) -> LogResult<Result<MessagePage, Unanswerable>> {
    let log = match &query.which {
        Which::Named { name, destination } => {
            let lists = Lists::of(connection, own, destination.as_deref())?;
            return named(connection, name, &lists, query);
        }
        Which::All if *own != Endpoints::All => return Err(Denied::Destination.into()),
        Which::All => Some(Log::All),
        Which::List { destination, .. } if !own.has(destination) => return Err(Denied::Destination.into()),
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
) -> LogResult<Result<Option<i64>, Unanswerable>> {
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
        _ => Err(Unanswerable::AmbiguousEvent),
    })
}

/// The lists in one of which a message must be; `None`: it may be in any, or in none.
struct Lists(Option<Vec<i64>>);

impl Lists {
    /// Those of `destination`, or of all that are the reader's own.
    fn of(connection: &Connection, own: &Endpoints, destination: Option<&str>) -> LogResult<Self> {
        let names: Vec<&str> = match (own, destination) {
            (own, Some(destination)) if own.has(destination) => vec![destination],
            (_, Some(_)) => return Err(Denied::Destination.into()),
            (Endpoints::Only(own), None) => own.iter().map(String::as_str).collect(),
            (Endpoints::All, None) => return Ok(Self(None)),
        };
        let mut find = connection.prepare_cached("SELECT pk FROM list WHERE destination = ?1 AND event = ''")?;
        let lists = names.into_iter().map(|name| find.query_row([name], |row| row.get(0)).optional());
        Ok(Self(Some(lists.filter_map(Result::transpose).collect::<Result<_, _>>()?)))
    }

    fn hold(&self, connection: &Connection, seq: i64) -> LogResult<bool> {
        for &list in self.0.iter().flatten() {
            if is_listed(connection, list, seq)? {
                return Ok(true);
            }
        }
        Ok(self.0.is_none())
    }
}

/// Whether a list holds a message, found by halving: a list is in the order of its messages' numbers.
fn is_listed(connection: &Connection, list: i64, seq: i64) -> LogResult<bool> {
    let mut at = connection.prepare_cached("SELECT message FROM delivery WHERE list = ?1 AND position = ?2")?;
    let (mut low, mut high) = (0, Log::List(list).length(connection)?);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: i64 = at.query_row([list, middle], |row| row.get(0))?;
        match found.cmp(&seq) {
            Ordering::Equal => return Ok(true),
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
        }
    }
    Ok(false)
}

/// Messages by name: few, so they are counted as they come.
fn named(
    connection: &Connection,
    name: &Name,
    lists: &Lists,
    query: &MessageQuery,
) -> LogResult<Result<MessagePage, Unanswerable>> {
    let candidates = candidates(connection, name)?;
    if candidates.len() > MOST_NAMED {
        return Ok(Err(Unanswerable::TooManyNamed));
    }
    let mut all = Vec::new();
    for (seq, received) in candidates {
        if query.received.iter().all(|range| holds(range, received)) && lists.hold(connection, seq)? {
            all.push(seq);
        }
    }
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut load = connection.prepare_cached("SELECT seq, bundle_id, received, body FROM message WHERE seq = ?1")?;
    for seq in all.into_iter().skip(query.offset).take(query.count) {
        let message = load.query_row([seq], |row| Ok(logged(row)))??;
        bytes += message.body.len();
        found.push(message);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(Ok(MessagePage { found, total }))
}

/// Numbers and times of the messages of a name, and one more than may be looked through.
fn candidates(connection: &Connection, name: &Name) -> LogResult<Vec<(i64, i64)>> {
    let (condition, values): (_, Vec<Value>) = match name {
        Name::BundleId(id) => ("bundle_id = ?1", vec![Id(id).into()]),
        Name::AnswerTo(id) => ("seq IN (SELECT response FROM answer WHERE message_id = ?1)", vec![Id(id).into()]),
        Name::Identifier { system: None, value } => ("control = ?1", vec![value.clone().into()]),
        Name::Identifier { system: Some(system), value } => (
            "control = ?1 AND system = (SELECT pk FROM uri WHERE uri = ?2)",
            vec![value.clone().into(), system.clone().into()],
        ),
    };
    let sql = format!("SELECT seq, received FROM message WHERE {condition} ORDER BY seq LIMIT {}", MOST_NAMED + 1);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
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
