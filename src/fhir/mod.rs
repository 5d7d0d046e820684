//! FHIR R4 as far as a message needs it: a JSON tree that borrows, and ids that are the same on every run.

pub mod ids;
pub mod node;

pub use node::{Node, Object};
