//! Resources and their versions.

use jiff::Timestamp;
use rusqlite::{Row as SqlRow, ToSql, params};

use super::SqliteTransaction;
use crate::mailbox::canonical::Tail;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::store::model::{Facts, Pk, StoreError, StoredResource};
use crate::mailbox::store::sqlite::column::{Id, id, micros, text, timestamp};
use crate::mailbox::store::{Compressed, Owner, Put, Resources};

/// The columns of [`row`]. A macro, so that statements are made of it when the program is.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT r.pk, r.kind, r.id, r.version, r.removed, r.patient, r.encounter, r.event, r.clinical, v.tail,
                    r.current, r.status, r.date_from, r.date_to
             FROM resource r JOIN version v ON v.seq = r.current WHERE ",
            $condition
        )
    };
}

fn row(row: &SqlRow<'_>) -> Result<StoredResource, StoreError> {
    let clinical: Option<i64> = row.get(8)?;
    let dates: (Option<i64>, Option<i64>) = (row.get(12)?, row.get(13)?);
    Ok(StoredResource {
        pk: row.get(0)?,
        kind: ResourceType::from_code(row.get(1)?).ok_or(StoreError::Damaged("a resource's type"))?,
        id: id(row, 2)?,
        version: row.get(3)?,
        removed: row.get(4)?,
        patient: row.get(5)?,
        encounter: row.get(6)?,
        event: timestamp(row.get(7)?)?,
        clinical: clinical.map(timestamp).transpose()?,
        tail: Tail(text(row, 9)?),
        current: row.get(10)?,
        facts: Facts { status: row.get(11)?, date: dates.0.zip(dates.1) },
    })
}

/// A row of the table of versions.
struct NewVersion<'a> {
    resource: Pk,
    version: i64,
    previous: Option<i64>,
    removed: bool,
    tail: &'a Tail,
}

impl SqliteTransaction<'_> {
    fn resources(&self, sql: &str, params: &[&dyn ToSql]) -> Result<Vec<StoredResource>, StoreError> {
        self.rows(sql, params, |found| {
            let found = row(found)?;
            self.text(&found.tail.0)?;
            Ok(found)
        })
    }

    /// The number of the next version. Numbers that an undone message took are left out; nothing counts them.
    fn next_version(&mut self) -> Result<i64, StoreError> {
        let newest = match self.known.version {
            Some(newest) => newest,
            None => self.number("SELECT max(seq) FROM version HAVING max(seq) IS NOT NULL", [])?.unwrap_or_default(),
        };
        self.known.version = Some(newest + 1);
        Ok(newest + 1)
    }

    fn create(&mut self, put: &Put<'_>) -> Result<StoredResource, StoreError> {
        let seq = self.next_version()?;
        let (from, to) = put.facts.date.unzip();
        let pk = self.insert(
            "INSERT INTO resource (kind, id, version, current, updated, removed, patient, encounter, status,
                                   date_from, date_to, event)
             VALUES (?1, ?2, 1, ?3, ?4, 0, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                put.kind as i64,
                Id(put.id),
                seq,
                micros(self.now),
                put.patient,
                put.encounter,
                put.facts.status,
                from,
                to,
                micros(put.event)
            ],
        )?;
        self.append_version(
            seq,
            &NewVersion { resource: pk, version: 1, previous: None, removed: false, tail: &put.tail },
        )?;
        Ok(put_row(put, pk, 1, seq))
    }

    fn replace(&mut self, before: &StoredResource, put: &Put<'_>) -> Result<StoredResource, StoreError> {
        let (pk, version) = (before.pk, before.version + 1);
        let seq = self.next_version()?;
        let previous = Some(before.current);
        self.append_version(seq, &NewVersion { resource: pk, version, previous, removed: false, tail: &put.tail })?;
        let (updated, event) = (micros(self.now), micros(put.event));
        let found_alike = !before.removed
            && (before.patient, before.encounter, &before.facts) == (put.patient, put.encounter, put.facts);
        if found_alike {
            // SQLite writes the index of every column that is named, whether its value changes or not.
            let sql = "UPDATE resource SET version = ?2, current = ?3, updated = ?4, event = ?5 WHERE pk = ?1";
            self.execute(sql, params![pk, version, seq, updated, event])?;
            return Ok(put_row(put, pk, version, seq));
        }
        let (from, to) = put.facts.date.unzip();
        self.execute(
            "UPDATE resource SET version = ?2, current = ?3, updated = ?4, removed = 0, patient = ?5, encounter = ?6,
                                 status = ?7, date_from = ?8, date_to = ?9, event = ?10
             WHERE pk = ?1",
            params![pk, version, seq, updated, put.patient, put.encounter, put.facts.status, from, to, event],
        )?;
        Ok(put_row(put, pk, version, seq))
    }

    fn append_version(&self, seq: i64, new: &NewVersion<'_>) -> Result<(), StoreError> {
        let NewVersion { resource, version, previous, removed, tail } = new;
        self.text(&tail.0)?;
        self.execute(
            "INSERT INTO version (seq, resource, version, previous, updated, removed, tail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![seq, resource, version, previous, micros(self.now), removed, Compressed::of(&tail.0)],
        )?;
        Ok(())
    }
}

fn put_row(put: &Put<'_>, pk: Pk, version: i64, current: i64) -> StoredResource {
    StoredResource {
        pk,
        kind: put.kind,
        id: put.id.to_owned(),
        version,
        current,
        removed: false,
        patient: put.patient,
        encounter: put.encounter,
        event: put.event,
        clinical: put.before.and_then(|before| before.clinical),
        facts: put.facts.clone(),
        tail: put.tail.clone(),
    }
}

impl Resources for SqliteTransaction<'_> {
    fn load(&mut self, pk: Pk) -> Result<StoredResource, StoreError> {
        let found = self.resources(select!("r.pk = ?1"), &[&pk])?.pop();
        found.ok_or(StoreError::Damaged("the index of identifiers"))
    }

    fn find(&mut self, kind: ResourceType, id: &str) -> Result<Option<StoredResource>, StoreError> {
        Ok(self.resources(select!("r.id = ?1 AND r.kind = ?2"), &[&Id(id), &(kind as i64)])?.pop())
    }

    fn clinical(&mut self, kind: ResourceType, owner: Owner) -> Result<Vec<StoredResource>, StoreError> {
        let (sql, pk) = match owner {
            Owner::Patient(pk) => (select!("r.patient = ?1 AND r.kind = ?2 ORDER BY r.pk"), pk),
            Owner::Encounter(pk) => (select!("r.encounter = ?1 AND r.kind = ?2 ORDER BY r.pk"), pk),
        };
        self.resources(sql, &[&pk, &(kind as i64)])
    }

    fn put(&mut self, put: Put<'_>) -> Result<StoredResource, StoreError> {
        match put.before {
            Some(before) => self.replace(before, &put),
            None => self.create(&put),
        }
    }

    fn remove(&mut self, row: &StoredResource) -> Result<(), StoreError> {
        let (seq, version) = (self.next_version()?, row.version + 1);
        let previous = Some(row.current);
        self.append_version(seq, &NewVersion { resource: row.pk, version, previous, removed: true, tail: &row.tail })?;
        self.execute(
            "UPDATE resource SET version = ?2, current = ?3, updated = ?4, removed = 1, patient = NULL,
                                 encounter = NULL, status = NULL, date_from = NULL, date_to = NULL
             WHERE pk = ?1",
            params![row.pk, version, seq, micros(self.now)],
        )?;
        Ok(())
    }

    fn touch(&mut self, pk: Pk, event: Timestamp) -> Result<(), StoreError> {
        self.execute("UPDATE resource SET event = ?2 WHERE pk = ?1", params![pk, micros(event)])?;
        Ok(())
    }

    fn touch_clinical(&mut self, pk: Pk, event: Timestamp) -> Result<(), StoreError> {
        self.execute("UPDATE resource SET clinical = ?2 WHERE pk = ?1", params![pk, micros(event)])?;
        Ok(())
    }
}
