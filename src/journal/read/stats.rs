//! The journal at a glance: how many messages stand where, and why those stand still that do.

use jiff::Timestamp;
use rusqlite::Connection;

use super::reader::{self, Backlog, Reader};
use crate::journal::error::ReadError;
use crate::journal::model::{Seq, Status, time};
use crate::journal::tables::schema::WAITING;

/// How many reasons are told, the most frequent first.
const REASONS: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    pub messages: u64,
    pub skipped: u64,
    pub refused: u64,
    pub backlog: Backlog,
    /// Why messages are dead or retrying.
    pub reasons: Vec<Reason>,
    pub last_received: Option<Timestamp>,
    pub last_delivered: Option<Timestamp>,
}

/// A reason, and the messages that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub status: Status,
    pub reason: String,
    pub messages: u64,
    pub first: Seq,
}

impl Reader {
    /// # Errors
    /// When the file cannot be read.
    pub fn overview(&self) -> Result<Overview, ReadError> {
        self.look(overview)
    }
}

impl Reader {
    /// Under which names of listeners messages wait, and how many. Reads all that wait.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn waiting_by_listener(&self) -> Result<Vec<(String, u64)>, ReadError> {
        self.look(|connection| {
            let mut statement = connection.prepare(&format!(
                "SELECT listener, count(*) FROM message INDEXED BY message_waiting WHERE {WAITING} GROUP BY 1 ORDER BY 1"
            ))?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }
}

fn overview(connection: &Connection) -> rusqlite::Result<Overview> {
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u64>(0));
    let latest = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).map(|at| at.map(time));
    Ok(Overview {
        messages: count("SELECT count(*) FROM message")?,
        skipped: count("SELECT count(*) FROM message WHERE status = 'skipped'")?,
        refused: count("SELECT count(*) FROM message WHERE status = 'refused'")?,
        backlog: reader::backlog(connection)?,
        reasons: reasons(connection)?,
        last_received: latest("SELECT max(received) FROM message")?,
        // Among the latest, because no index leads to deliveries by time.
        last_delivered: latest(
            "SELECT max(changed) FROM (SELECT status, changed FROM message ORDER BY seq DESC LIMIT 10000)
             WHERE status = 'delivered'",
        )?,
    })
}

fn reasons(connection: &Connection) -> rusqlite::Result<Vec<Reason>> {
    let mut statement = connection.prepare(&format!(
        "SELECT status, coalesce(reason, ''), count(*) AS n, min(seq) FROM (
             SELECT status, reason, seq FROM message WHERE status = 'dead'
             UNION ALL SELECT status, reason, seq FROM message INDEXED BY message_waiting
             WHERE {WAITING} AND status = 'retrying')
         GROUP BY 1, 2 ORDER BY status, n DESC LIMIT {REASONS}"
    ))?;
    let rows = statement.query_map([], |row| {
        Ok(Reason {
            status: Status::from_text(row.get_ref(0)?.as_str()?),
            reason: row.get(1)?,
            messages: row.get(2)?,
            first: row.get(3)?,
        })
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use crate::journal::fixture::{arrival, open, seq};
    use crate::journal::{Progress, Record};

    #[tokio::test]
    async fn what_stands_still_is_counted_by_its_reason() {
        let (_folder, journal) = open();
        let mut seqs = Vec::new();
        for n in 0..6 {
            seqs.push(seq(journal.store(arrival(&n.to_string(), n)).await.unwrap()));
        }
        let dead = |reason: &str| Progress::Dead { reason: reason.into() };
        let at = arrival("", 9).received;
        for (seq, progress) in [
            (seqs[0], dead("HTTP 422")),
            (seqs[1], dead("HTTP 400")),
            (seqs[2], dead("HTTP 422")),
            (seqs[3], Progress::Retry { due: at, reason: "HTTP 503".into() }),
            (seqs[4], Progress::Delivered),
        ] {
            journal.record(Record::decision(seq, at, progress)).await.unwrap();
        }
        let overview = journal.reader().overview().unwrap();
        let told: Vec<_> = overview.reasons.iter().map(|r| (r.reason.as_str(), r.messages, r.first)).collect();
        assert_eq!(told, [("HTTP 422", 2, seqs[0]), ("HTTP 400", 1, seqs[1]), ("HTTP 503", 1, seqs[3])]);
        assert_eq!((overview.messages, overview.backlog.waiting, overview.last_delivered), (6, 2, Some(at)));
    }
}
