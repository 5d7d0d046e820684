//! How ids and texts stand in columns: a UUID as its 16 bytes, a text compressed where that makes it smaller.
//!
//! Ids stand in the rows and in the indexes of every table that grows with each message, so half their size is less to
//! write and more that stays in memory. Both forms read back as the text that was given.

use jiff::Timestamp;
use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Result as SqlResult, Row as SqlRow};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::mailbox::store::model::StoreError;
use crate::mailbox::store::{Compressed, compression};

/// An id of any form.
pub(super) struct Id<'a>(pub(super) &'a str);

impl ToSql for Id<'_> {
    fn to_sql(&self) -> SqlResult<ToSqlOutput<'_>> {
        Ok(match uuid(self.0) {
            Some(uuid) => ToSqlOutput::Owned(Value::Blob(uuid.into_bytes().into())),
            None => ToSqlOutput::Borrowed(self.0.into()),
        })
    }
}

impl From<Id<'_>> for Value {
    fn from(id: Id<'_>) -> Self {
        uuid(id.0).map_or_else(|| id.0.to_owned().into(), |uuid| Self::Blob(uuid.into_bytes().into()))
    }
}

/// A UUID that reads back as the same text: of the other forms not one does.
fn uuid(text: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(text).ok().filter(|_| text.len() == Hyphenated::LENGTH)?;
    (*uuid.hyphenated().encode_lower(&mut [0; Hyphenated::LENGTH]) == *text).then_some(uuid)
}

pub(super) fn id(row: &SqlRow<'_>, column: usize) -> Result<String, StoreError> {
    match row.get_ref(column)? {
        ValueRef::Blob(bytes) => {
            Uuid::from_slice(bytes).map(|uuid| uuid.to_string()).map_err(|_| StoreError::Damaged("an id"))
        }
        other => plain(other),
    }
}

impl ToSql for Compressed {
    fn to_sql(&self) -> SqlResult<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Plain(text) => ValueRef::Text(text.as_bytes()),
            Self::Zstd(frame) => ValueRef::Blob(frame),
        }))
    }
}

pub(super) fn text(row: &SqlRow<'_>, column: usize) -> Result<String, StoreError> {
    match row.get_ref(column)? {
        ValueRef::Blob(frame) => compression::unpack(frame),
        other => plain(other),
    }
}

fn plain(value: ValueRef<'_>) -> Result<String, StoreError> {
    value.as_str().map(str::to_owned).map_err(|_| StoreError::Damaged("a text"))
}

pub fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

pub fn timestamp(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|_| StoreError::Damaged("a time"))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn ids_of_every_form_come_back_as_they_were() {
        let connection = Connection::open_in_memory().unwrap();
        let uuid = "0f0e0d0c-0b0a-4909-8807-060504030201";
        let upper = uuid.to_uppercase();
        let bare = uuid.replace('-', "");
        for (given, form) in [(uuid, "blob"), (&upper, "text"), (&bare, "text"), ("17", "text"), ("", "text")] {
            let (back, stored): (String, String) = connection
                .query_row("SELECT ?1, typeof(?1)", [Id(given)], |row| Ok((id(row, 0).unwrap(), row.get(1)?)))
                .unwrap();
            assert_eq!((back.as_str(), stored.as_str()), (given, form));
            assert_eq!(matches!(Value::from(Id(given)), Value::Blob(_)), form == "blob");
        }
    }
}
