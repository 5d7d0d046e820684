//! FHIR R4 as far as a message needs it: a JSON tree that borrows, and ids that are the same on every run.

pub mod ids;
pub mod node;
pub mod pretty;

pub use node::{Node, Object};
pub use pretty::pretty;
