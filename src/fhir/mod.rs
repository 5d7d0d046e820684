//! FHIR R4 as far as a message needs it: a JSON tree that borrows, ids that are the same on every run, and the
//! table of R4's elements.

pub mod compare;
pub mod ids;
pub mod node;
pub mod pretty;
pub mod tree;
pub mod r4;

pub use node::{Arena, List, Node, Object};
pub use pretty::pretty;
pub use tree::Tree;
