//! Readers: a pool of connections that cannot write, and the queries of the REST side.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params, params_from_iter};

use super::column::{Id, id, text, timestamp};
use super::guarded::Guarded;
use super::open::{self, OpenError};
use super::search::Select;
use crate::http::auth::Caller;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search::Query;
use crate::mailbox::store::model::{Identifier, Pk, StoreError};
use crate::mailbox::store::{
    Cursor, LinkEvents, MessagePage, MessageQuery, PAGE_BYTES, Reader, RecordedLink, ResourcePage, Unanswerable,
    Version,
};

pub(super) struct Pool {
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
}

impl Pool {
    pub(super) fn open(path: &Path, count: usize) -> Result<Self, OpenError> {
        let idle: Result<Vec<_>, _> = (0..count.max(1)).map(|_| open::reader(path)).collect();
        Ok(Self { idle: Mutex::new(idle?), returned: Condvar::new() })
    }

    /// Runs `ask` on one committed state, in the name of `caller`.
    pub(super) fn with<T>(
        &self,
        caller: &Caller,
        ask: impl FnOnce(&mut SqliteReader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut reader = SqliteReader(Guarded::new(self.take(), caller.clone()));
        let answer = reader.begin().and_then(|()| ask(&mut reader));
        let ended = reader.0.state().execute_batch("COMMIT");
        self.give(reader.0.into_inner());
        if let Err(error) = ended {
            tracing::debug!(%error, "a read of the mailbox did not end well");
        }
        answer
    }

    fn take(&self) -> Connection {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match idle.pop() {
                Some(connection) => return connection,
                None => idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn give(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        self.returned.notify_one();
    }
}

pub(super) struct SqliteReader(Guarded);

const PATIENT: &str = ResourceType::Patient.name();

const VERSION: &str = "SELECT r.kind, r.id, v.version, v.updated, v.removed, v.tail, v.previous FROM ";

impl SqliteReader {
    fn begin(&self) -> Result<(), StoreError> {
        self.0.state().prepare_cached("BEGIN")?.execute([])?;
        Ok(())
    }

    /// Versions of one resource, newest first, from `version` down, as many as a page has. And whether there are more.
    fn chain(&self, kind: ResourceType, id: &str, from: i64, count: usize) -> Result<(Vec<Version>, bool), StoreError> {
        let connection = self.0.resources(kind.name())?;
        let mut newest = connection.prepare_cached("SELECT current FROM resource WHERE id = ?1 AND kind = ?2")?;
        let mut next: Option<i64> = newest.query_row(params![Id(id), kind as i64], |row| row.get(0)).optional()?;
        // Those that were read before are passed by without their texts.
        let mut pass = connection.prepare_cached("SELECT version, previous FROM version WHERE seq = ?1")?;
        while let Some(seq) = next {
            let (version, previous): (i64, _) = pass.query_one([seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if version <= from {
                break;
            }
            next = previous;
        }
        let sql = format!("{VERSION} version v JOIN resource r ON r.pk = v.resource WHERE v.seq = ?1");
        let mut step = connection.prepare_cached(&sql)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(seq) = next.filter(|_| found.len() < count && bytes < PAGE_BYTES) {
            let (this, previous) = step.query_one([seq], |row| Ok((version(row), row.get(6)?)))?;
            let this = this?;
            bytes += this.tail.len();
            next = previous;
            found.push(this);
        }
        Ok((found, next.is_some()))
    }
}

impl Reader for SqliteReader {
    fn current(&mut self, kind: ResourceType, id: &str) -> Result<Option<Version>, StoreError> {
        let sql = format!("{VERSION} resource r JOIN version v ON v.seq = r.current WHERE r.id = ?1 AND r.kind = ?2");
        let mut statement = self.0.resources(kind.name())?.prepare_cached(&sql)?;
        statement.query_row(params![Id(id), kind as i64], |row| Ok(version(row))).optional()?.transpose()
    }

    fn version(&mut self, kind: ResourceType, id: &str, number: i64) -> Result<Option<Version>, StoreError> {
        let found = self.chain(kind, id, number, 1)?.0.pop();
        Ok(found.filter(|found| found.version == number))
    }

    fn history(
        &mut self,
        kind: ResourceType,
        id: &str,
        below: i64,
        count: usize,
    ) -> Result<(Vec<Version>, bool), StoreError> {
        self.chain(kind, id, below.saturating_sub(1), count)
    }

    fn search(&mut self, query: &Query) -> Result<ResourcePage, StoreError> {
        let select = Select::page(query);
        let mut statement = self.0.resources(query.kind.name())?.prepare_cached(&select.sql)?;
        let rows = statement.query_and_then(params_from_iter(&select.values), |row| {
            Ok::<_, StoreError>((row.get(7)?, row.get(8)?, version(row)?))
        })?;
        let mut page = ResourcePage::default();
        let mut bytes = 0;
        for row in rows {
            let (pk, key, version): (i64, i64, Version) = row?;
            if page.found.len() == query.count || bytes >= PAGE_BYTES {
                page.next = page.found.last().map(|(last, _)| *last);
                break;
            }
            bytes += version.tail.len();
            page.found.push((Cursor { key, pk }, version));
        }
        Ok(page)
    }

    fn count(&mut self, query: &Query) -> Result<i64, StoreError> {
        let select = Select::count(query);
        let mut statement = self.0.resources(query.kind.name())?.prepare_cached(&select.sql)?;
        Ok(statement.query_row(params_from_iter(&select.values), |row| row.get(0))?)
    }

    fn person(&mut self, identifier: &Identifier) -> Result<Vec<Version>, StoreError> {
        let given = super::search::carriers(ResourceType::Patient as i64, "?1", "?2");
        let all = super::search::whole_person(&given);
        let sql =
            format!("{VERSION} resource r JOIN version v ON v.seq = r.current WHERE r.pk IN ({all}) ORDER BY r.pk");
        let mut statement = self.0.resources(PATIENT)?.prepare_cached(&sql)?;
        statement.query_and_then(params![identifier.value, identifier.system], version)?.collect()
    }

    fn system_known(&mut self, kind: ResourceType, system: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM identifier_system s JOIN uri u ON u.pk = s.system WHERE s.kind = ?1 AND u.uri = ?2)";
        let connection = self.0.resources(kind.name())?;
        Ok(connection.prepare_cached(sql)?.query_row(params![kind as i64, system], |row| row.get(0))?)
    }

    fn link_events(&mut self, asked: &LinkEvents<'_>) -> Result<Vec<RecordedLink>, StoreError> {
        let patient = "SELECT pk FROM resource WHERE id = ?1 AND kind = 1";
        let (filter, value): (String, Value) = match asked {
            LinkEvents::One(number) => ("e.seq = ?1".into(), (*number).into()),
            LinkEvents::Of(id) => (format!("e.patient IN ({patient}) OR e.other IN ({patient})"), Id(id).into()),
        };
        let sql = format!(
            "SELECT e.seq, e.linked, e.kind, a.id, b.id, e.at, e.recorded, s.uri, m.message_id, m.bundle_id
             FROM link_event e JOIN resource a ON a.pk = e.patient JOIN resource b ON b.pk = e.other
             JOIN message m ON m.seq = e.message JOIN uri s ON s.pk = m.source
             WHERE {filter} ORDER BY e.seq"
        );
        self.0.resources("Provenance")?.prepare_cached(&sql)?.query_and_then([value], recorded_link)?.collect()
    }

    fn messages(&mut self, query: &MessageQuery) -> Result<Result<MessagePage, Unanswerable>, StoreError> {
        let (connection, destinations) = self.0.messages()?;
        super::log::messages(connection, destinations, query)
    }

    fn forgotten_until(&mut self) -> Result<Option<Timestamp>, StoreError> {
        super::log::forgotten_until(self.0.state())?.map(timestamp).transpose()
    }

    fn patients_of(&mut self, resources: &[Pk]) -> Result<Vec<Version>, StoreError> {
        let connection = self.0.resources(PATIENT)?;
        let mut found = Vec::new();
        for patient in
            each(connection, resources, "SELECT patient FROM resource WHERE pk = ?1 AND patient IS NOT NULL")?
        {
            let sql = format!("{VERSION} resource r JOIN version v ON v.seq = r.current WHERE r.pk = ?1");
            found.push(connection.prepare_cached(&sql)?.query_row([patient], |row| Ok(version(row)))??);
        }
        Ok(found)
    }

    fn about_visits(&mut self, kind: ResourceType, visits: &[Pk]) -> Result<Vec<Version>, StoreError> {
        let sql = format!(
            "{VERSION} resource r INDEXED BY resource_encounter JOIN version v ON v.seq = r.current
             WHERE r.encounter = ?1 AND r.kind = ?2 ORDER BY r.pk"
        );
        let mut statement = self.0.resources(kind.name())?.prepare_cached(&sql)?;
        let mut found = Vec::new();
        for visit in visits {
            let rows = statement.query_and_then(params![visit, kind as i64], version)?;
            found.extend(rows.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(found)
    }
}

/// What `sql` finds for each of `numbers`, each once, in order of first appearance.
fn each(connection: &Connection, numbers: &[Pk], sql: &str) -> Result<Vec<Pk>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = Vec::new();
    for number in numbers {
        for pk in statement.query_map([number], |row| row.get(0))? {
            found.push(pk?);
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|pk| seen.insert(*pk));
    Ok(found)
}

fn recorded_link(row: &SqlRow<'_>) -> Result<RecordedLink, StoreError> {
    Ok(RecordedLink {
        number: row.get(0)?,
        linked: row.get(1)?,
        kind: super::transaction::link_kind(row.get(2)?)?,
        patients: [id(row, 3)?, id(row, 4)?],
        at: timestamp(row.get(5)?)?,
        recorded: timestamp(row.get(6)?)?,
        source: row.get(7)?,
        message_id: id(row, 8)?,
        bundle_id: id(row, 9)?,
    })
}

fn version(row: &SqlRow<'_>) -> Result<Version, StoreError> {
    let updated: Timestamp = timestamp(row.get(3)?)?;
    Ok(Version {
        kind: ResourceType::from_code(row.get(0)?).ok_or(StoreError::Damaged("a resource's type"))?,
        id: id(row, 1)?,
        version: row.get(2)?,
        updated,
        removed: row.get(4)?,
        tail: text(row, 5)?,
    })
}
