//! HL7 v2 as it was sent: what stands where, before anyone asks what it means.
//!
//! [`header`] reads an MSH from bytes that nothing has decoded yet (the ack must echo them), [`charset`] turns the
//! bytes into text, [`message`] indexes segments and fields, [`field`] takes fields apart, [`path`] names a place, [`group`] knows
//! which segments belong together, [`text`] decodes escapes and [`time`] timestamps.

pub mod batch;
pub mod charset;
pub mod field;
pub mod group;
pub mod header;
pub mod message;
pub mod path;
mod pieces;
pub mod standard;
pub mod text;
pub mod time;

pub use field::Part;
pub use header::{Delimiters, Header};
pub use message::Message;
