//! FHIR R4 as far as a message needs it.
//!
//! What comes in are names and texts that stay where they are, in a plan and a message; what goes out is JSON, the same bytes
//! on every run, and for who reads a Bundle what stands in it and what differs. It promises to lose no digit, no order and no
//! text, and knows the elements of R4; it refuses no content: whether a Bundle makes sense is for who builds or receives it.
//!
//! To build and write: [`node`] is the tree, [`known`] finds the items of its long lists, `json_text` its strings, [`ids`] what identifies things, [`her_id`] addresses of
//! the Norwegian health network. To check what may be built: [`r4`], the table of elements. To read again: [`tree`] takes JSON
//! apart and shows it, [`compare`] says what differs between two Bundles.
//!
//! There are three models of JSON in the house and a reason for each: [`Node`] is built by rules and written once, [`Tree`]
//! is read where order and spelling count, and the mailbox's own finds members by name in what others send, refuses what
//! stands twice, and changes it. `serde_json::Value` serves where none of that is asked.

pub mod compare;
pub mod her_id;
pub mod ids;
mod json_text;
pub mod node;
pub mod known;
pub mod tree;
pub mod r4;

pub use node::{Arena, List, Node, Object};
pub use tree::{Tree, pretty};
