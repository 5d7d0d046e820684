//! Numbers, and who is one person.

use jiff::Timestamp;
use rusqlite::{Row as SqlRow, params};

use super::SqliteTransaction;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::store::model::{Holder, Identifier, Link, LinkKind, Pk, StoreError};
use crate::mailbox::store::sqlite::column::{id, micros, timestamp};
use crate::mailbox::store::{Identities, LinkEvent};

impl SqliteTransaction<'_> {
    fn note_system(&mut self, kind: ResourceType, system: i64) -> Result<(), StoreError> {
        if !self.known.systems.insert((kind, system)) {
            return Ok(());
        }
        let sql = "INSERT OR IGNORE INTO identifier_system (kind, system) VALUES (?1, ?2)";
        self.execute(sql, params![kind as i64, system]).map(|_| ())
    }
}

impl Identities for SqliteTransaction<'_> {
    fn holders(&mut self, kind: ResourceType, identifier: &Identifier) -> Result<Vec<Holder>, StoreError> {
        let Some(system) = self.known_uri(&identifier.system)? else { return Ok(Vec::new()) };
        let sql = "SELECT resource, since, until FROM identifier WHERE kind = ?1 AND value = ?2 AND system = ?3";
        self.rows(sql, params![kind as i64, identifier.value, system], holder)
    }

    fn holds(&mut self, kind: ResourceType, pk: Pk, identifier: &Identifier) -> Result<bool, StoreError> {
        let Some(system) = self.known_uri(&identifier.system)? else { return Ok(false) };
        let sql = "SELECT 1 FROM identifier WHERE kind = ?1 AND value = ?2 AND system = ?3 AND resource = ?4";
        Ok(self.number(sql, params![kind as i64, identifier.value, system, pk])?.is_some())
    }

    fn is_carried(
        &mut self,
        kind: ResourceType,
        identifier: &Identifier,
        except: Option<Pk>,
    ) -> Result<bool, StoreError> {
        let Some(system) = self.known_uri(&identifier.system)? else { return Ok(false) };
        let sql = "SELECT 1 FROM identifier WHERE kind = ?1 AND value = ?2 AND system = ?3 AND until IS NULL
                   AND resource IS NOT ?4 LIMIT 1";
        Ok(self.number(sql, params![kind as i64, identifier.value, system, except])?.is_some())
    }

    fn claim(
        &mut self,
        kind: ResourceType,
        pk: Pk,
        identifier: &Identifier,
        since: Timestamp,
    ) -> Result<(), StoreError> {
        let system = self.uri(&identifier.system)?;
        self.execute(
            "INSERT INTO identifier (kind, value, system, resource, since, listed) VALUES (?1, ?2, ?3, ?4, ?5, 1)
             ON CONFLICT DO UPDATE SET until = NULL, listed = 1",
            params![kind as i64, identifier.value, system, pk, micros(since)],
        )?;
        self.note_system(kind, system)
    }

    fn retire(
        &mut self,
        kind: ResourceType,
        pk: Pk,
        identifier: &Identifier,
        until: Timestamp,
        listed: bool,
    ) -> Result<(), StoreError> {
        let system = self.uri(&identifier.system)?;
        self.execute(
            "UPDATE identifier SET until = ?5, listed = ?6
             WHERE kind = ?1 AND value = ?2 AND system = ?3 AND resource = ?4",
            params![kind as i64, identifier.value, system, pk, micros(until), listed],
        )?;
        Ok(())
    }

    fn links(&mut self, patient: Pk) -> Result<Vec<Link>, StoreError> {
        let sql = "SELECT patient, other, kind, since, was_active FROM link WHERE patient = ?1
                   UNION ALL SELECT patient, other, kind, since, was_active FROM link WHERE other = ?1";
        self.rows(sql, [patient], link)
    }

    fn named_links(&mut self, patient: Pk) -> Result<Vec<(Link, String)>, StoreError> {
        let sql = "SELECT l.patient, l.other, l.kind, l.since, l.was_active, r.id
                   FROM link l JOIN resource r ON r.pk = l.other WHERE l.patient = ?1
                   UNION ALL SELECT l.patient, l.other, l.kind, l.since, l.was_active, r.id
                   FROM link l JOIN resource r ON r.pk = l.patient WHERE l.other = ?1";
        self.rows(sql, [patient], |row| Ok((link(row)?, id(row, 5)?)))
    }

    fn replacements(&mut self, patient: Pk) -> Result<Vec<Link>, StoreError> {
        let sql = "SELECT patient, other, kind, since, was_active FROM link INDEXED BY link_replaced
                   WHERE patient = ?1 AND kind = 1";
        self.rows(sql, [patient], link)
    }

    fn link_between(&mut self, one: Pk, other: Pk) -> Result<Option<Link>, StoreError> {
        let sql = "SELECT patient, other, kind, since, was_active FROM link WHERE patient = ?1 AND other = ?2
                   UNION ALL SELECT patient, other, kind, since, was_active FROM link WHERE patient = ?2 AND other = ?1";
        Ok(self.rows(sql, [one, other], link)?.into_iter().next())
    }

    fn is_same_person(&mut self, one: Pk, other: Pk) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM resource a JOIN resource b ON b.person = a.person WHERE a.pk = ?1 AND b.pk = ?2";
        Ok(one == other || self.number(sql, [one, other])?.is_some())
    }

    fn put_link(&mut self, link: &Link) -> Result<(), StoreError> {
        self.execute(
            "INSERT OR REPLACE INTO link (patient, other, kind, since, was_active) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![link.patient, link.other, link_code(link.kind), micros(link.since), link.was_active],
        )?;
        Ok(())
    }

    fn drop_link(&mut self, link: &Link) -> Result<(), StoreError> {
        self.execute("DELETE FROM link WHERE patient = ?1 AND other = ?2", params![link.patient, link.other])?;
        Ok(())
    }

    fn record_link(&mut self, event: &LinkEvent) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO link_event (linked, patient, other, kind, at, recorded, message)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                event.linked,
                event.patient,
                event.other,
                link_code(event.kind),
                micros(event.at),
                micros(self.now),
                event.message
            ],
        )?;
        Ok(())
    }

    fn last_link_event(&mut self, one: Pk, other: Pk) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT at FROM (SELECT at FROM link_event WHERE patient = ?1 AND other = ?2
                                   UNION ALL SELECT at FROM link_event WHERE patient = ?2 AND other = ?1)
                   ORDER BY at DESC LIMIT 1";
        self.number(sql, [one, other])?.map(timestamp).transpose()
    }

    fn set_person(&mut self, patient: Pk, person: Option<Pk>) -> Result<(), StoreError> {
        self.execute("UPDATE resource SET person = ?2 WHERE pk = ?1", params![patient, person])?;
        Ok(())
    }
}

fn link_code(kind: LinkKind) -> i64 {
    match kind {
        LinkKind::Replaced => 1,
        LinkKind::SeeAlso => 2,
    }
}

pub(in crate::mailbox::store::sqlite) fn link_kind(code: i64) -> Result<LinkKind, StoreError> {
    match code {
        1 => Ok(LinkKind::Replaced),
        2 => Ok(LinkKind::SeeAlso),
        _ => Err(StoreError::Damaged("a link")),
    }
}

fn link(row: &SqlRow<'_>) -> Result<Link, StoreError> {
    Ok(Link {
        patient: row.get(0)?,
        other: row.get(1)?,
        kind: link_kind(row.get(2)?)?,
        since: timestamp(row.get(3)?)?,
        was_active: row.get(4)?,
    })
}

fn holder(row: &SqlRow<'_>) -> Result<Holder, StoreError> {
    let until: Option<i64> = row.get(2)?;
    Ok(Holder { pk: row.get(0)?, since: timestamp(row.get(1)?)?, until: until.map(timestamp).transpose()? })
}
