//! A connection that is read in somebody's name: no query comes past what that one may read.

use rusqlite::Connection;

use crate::http::auth::scope::Need;
use crate::http::auth::{Caller, Endpoints};
use crate::mailbox::store::model::StoreError;

pub(super) struct Guarded {
    connection: Connection,
    caller: Caller,
}

impl Guarded {
    pub(super) fn new(connection: Connection, caller: Caller) -> Self {
        Self { connection, caller }
    }

    /// For reading resources of one type.
    pub(super) fn resources(&self, kind: &str) -> Result<&Connection, StoreError> {
        self.caller.may(&Need::Read(kind.to_owned()))?;
        Ok(&self.connection)
    }

    /// For reading messages, and the destinations whose messages they may be.
    pub(super) fn messages(&self) -> Result<(&Connection, &Endpoints), StoreError> {
        let destinations = self.caller.retrieves()?;
        Ok((&self.connection, destinations))
    }

    /// For what is about nobody: the state of the store itself.
    pub(super) fn state(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn into_inner(self) -> Connection {
        self.connection
    }
}
