//! TODO

pub(super) mod schema;
pub(super) mod open;
pub(super) mod head;
pub(super) mod apply;
pub(super) mod batch;
pub(super) mod filer;
pub(super) mod audit;
pub(super) mod retention;
