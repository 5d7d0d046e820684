//! The way of one message, step by step, and what people did: what `queue show` and `queue log` tell.
//!
//! A trigger writes the steps, so that whatever moves a status leaves one and no writer can forget it. The one step of
//! nearly every message, delivered at the first attempt, is told by its row already and costs nothing here.
//!
//! Steps hold what the destination said only where it says something new, and for as long as the message's bytes are
//! kept.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::reader::Reader;
use super::row::Row;
use crate::journal::damage::{ACKNOWLEDGE, DAMAGE};
use crate::journal::error::ReadError;
use crate::journal::model::{Act, Noted, Seq, Status, time};
use crate::journal::tables::schema;

/// One change of a message's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChange {
    pub at: Timestamp,
    pub status: Status,
    pub reason: Option<String>,
    /// What the destination said, where that was something new; may hold patient data.
    pub detail: Option<String>,
    /// Whether something was sent: an attempt.
    pub sent: bool,
    /// What a person did, where this came of it.
    pub act: Option<Act>,
}

impl Reader {
    /// What became of a message since it came, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn steps(&self, row: &Row) -> Result<Vec<StatusChange>, ReadError> {
        self.look(|connection| steps(connection, row))
    }

    /// What people did, the latest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn acts(&self, limit: usize) -> Result<Vec<Noted>, ReadError> {
        self.look(|connection| acts(connection, limit))
    }

    /// Damage that no person has acknowledged yet, the latest first, at most so many; and how often there was any.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn alarms(&self, limit: usize) -> Result<(u64, Vec<Noted>), ReadError> {
        self.look(|connection| alarms(connection, limit))
    }

    /// The pause that is in force: the last act of pausing, where nobody resumed after it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn pause(&self) -> Result<Option<Noted>, ReadError> {
        self.look(pause)
    }
}

/// Damage that no person has acknowledged, the latest first, at most `limit`; and how often there was any.
pub fn alarms(connection: &Connection, limit: usize) -> rusqlite::Result<(u64, Vec<Noted>)> {
    if crate::sqlite::version::version(connection)? < schema::WITH_STEPS {
        return Ok((0, Vec::new()));
    }
    const OPEN: &str = "command = ?1 AND id > (SELECT coalesce(max(id), 0) FROM act WHERE command = ?2)";
    let count =
        connection
            .query_row(&format!("SELECT count(*) FROM act WHERE {OPEN}"), [DAMAGE, ACKNOWLEDGE], |row| row.get(0))?;
    let mut statement = connection.prepare(&format!("SELECT {ACT} FROM act WHERE {OPEN} ORDER BY id DESC LIMIT ?3"))?;
    let rows = statement.query_map(params![DAMAGE, ACKNOWLEDGE, limit], noted)?;
    Ok((count, rows.collect::<rusqlite::Result<_>>()?))
}

/// The commands of acts that stop deliveries and let them go on.
pub const PAUSE: &str = "pause";
pub const RESUME: &str = "resume";

fn pause(connection: &Connection) -> rusqlite::Result<Option<Noted>> {
    if crate::sqlite::version::version(connection)? < schema::WITH_STEPS {
        return Ok(None);
    }
    let sql = format!("SELECT {ACT} FROM act WHERE command IN (?1, ?2) ORDER BY id DESC LIMIT 1");
    let last = connection.prepare(&sql)?.query_row([PAUSE, RESUME], noted).optional()?;
    Ok(last.filter(|last| last.act.command == PAUSE))
}

fn noted(row: &rusqlite::Row<'_>) -> rusqlite::Result<Noted> {
    Ok(Noted { id: row.get(6)?, act: act(row)? })
}

fn steps(connection: &Connection, row: &Row) -> rusqlite::Result<Vec<StatusChange>> {
    let mut steps = if crate::sqlite::version::version(connection)? < schema::WITH_STEPS {
        Vec::new()
    } else {
        written(connection, row.seq)?
    };
    if row.status == Status::Delivered && steps.last().is_none_or(|last| last.status != Status::Delivered) {
        let (at, detail) = (row.changed, row.detail.clone());
        steps.push(StatusChange { at, status: row.status, reason: None, detail, sent: true, act: None });
    }
    Ok(steps)
}

fn written(connection: &Connection, seq: Seq) -> rusqlite::Result<Vec<StatusChange>> {
    let mut statement =
        connection.prepare_cached("SELECT at, status, reason, detail, sent FROM step WHERE seq = ?1 ORDER BY n")?;
    let rows = statement.query_map([seq], |row| {
        Ok(StatusChange {
            at: time(row.get(0)?),
            status: Status::from_text(row.get_ref(1)?.as_str()?),
            reason: row.get(2)?,
            detail: row.get(3)?,
            sent: row.get(4)?,
            act: None,
        })
    })?;
    let mut steps: Vec<StatusChange> = rows.collect::<rusqlite::Result<_>>()?;
    for step in steps.iter_mut().filter(|step| !step.sent) {
        let at = step.at.as_microsecond();
        let mut statement = connection.prepare_cached(&format!("SELECT {ACT} FROM act WHERE at = ?1"))?;
        step.act = statement.query_row([at], act).optional()?;
    }
    Ok(steps)
}

const ACT: &str = "at, who, command, selection, reason, messages, id";

fn acts(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Noted>> {
    if crate::sqlite::version::version(connection)? < schema::WITH_STEPS {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare(&format!("SELECT {ACT} FROM act ORDER BY id DESC LIMIT ?1"))?;
    let rows = statement.query_map([limit], noted)?;
    rows.collect()
}

fn act(row: &rusqlite::Row<'_>) -> rusqlite::Result<Act> {
    Ok(Act {
        at: time(row.get(0)?),
        who: row.get(1)?,
        command: row.get(2)?,
        selection: row.get(3)?,
        reason: row.get(4)?,
        messages: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::journal::fixture::{arrival, open, seq};
    use crate::journal::{Journal, Progress, Record};

    async fn attempt(journal: &Journal, seq: Seq, minute: i64, progress: Progress, detail: Option<&str>) {
        let at = arrival("", minute).received;
        let mut record = Record::decision(seq, at, progress);
        (record.sent, record.detail) = (true, detail.map(str::to_owned));
        journal.record(record).await.unwrap();
    }

    fn told(journal: &Journal, seq: Seq) -> Vec<(Status, Option<String>, bool)> {
        let reader = journal.reader();
        let row = reader.row(seq).unwrap().unwrap();
        reader.steps(&row).unwrap().into_iter().map(|step| (step.status, step.detail, step.sent)).collect()
    }

    #[tokio::test]
    async fn every_attempt_is_told_with_what_was_said_where_it_was_new() {
        let (_folder, journal) = open();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        let retry = || Progress::Retry { due: Timestamp::now(), reason: "HTTP 503".into() };
        attempt(&journal, seq, 1, retry(), Some("busy")).await;
        attempt(&journal, seq, 2, retry(), Some("busy")).await;
        attempt(&journal, seq, 3, Progress::Delivered, None).await;
        let busy = Some("busy".to_owned());
        assert_eq!(
            told(&journal, seq),
            [(Status::Retrying, busy, true), (Status::Retrying, None, true), (Status::Delivered, None, true)]
        );
    }

    #[tokio::test]
    async fn a_message_delivered_at_once_has_one_step_that_takes_no_room() {
        let (_folder, journal) = open();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        attempt(&journal, seq, 1, Progress::Delivered, None).await;
        assert_eq!(told(&journal, seq), [(Status::Delivered, None, true)]);
        let written =
            journal.reader().with(|c| c.query_row("SELECT count(*) FROM step", [], |row| row.get::<_, i64>(0)));
        assert_eq!(written.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_came_of_a_persons_act_says_whose() {
        let (_folder, journal) = open();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        attempt(&journal, seq, 1, Progress::Dead { reason: "HTTP 422".into() }, None).await;
        let at = arrival("", 2).received + SignedDuration::from_micros(7);
        let act = Act {
            at,
            who: "jo@desk".into(),
            command: "retry".into(),
            selection: "--status dead".into(),
            reason: None,
            messages: 1,
        };
        let id = journal.note(act.clone()).await.unwrap();
        journal.record(Record::decision(seq, at, Progress::Requeued)).await.unwrap();
        let steps = journal.reader().steps(&journal.row(seq).await.unwrap().unwrap()).unwrap();
        assert_eq!((steps[0].act.clone(), steps[1].act.clone()), (None, Some(act.clone())));
        assert_eq!(journal.reader().acts(10).unwrap(), [Noted { id, act }]);
    }
}
