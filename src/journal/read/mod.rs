//! TODO

pub(super) mod row;
pub(super) mod reader;
pub(super) mod search;
pub(super) mod pending;
pub(super) mod history;
pub(super) mod unfiled;
pub(super) mod verify;
pub(super) mod order;
pub(super) mod stats;
