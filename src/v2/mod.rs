//! HL7 v2 as it was sent: what stands where, before anyone asks what it means.
//!
//! In come bytes and the character set that a listener falls back on; out go a header, text, segments, fields and their parts,
//! and timestamps with the precision they came with. It promises that every line of a text is a segment or is named as a stray,
//! that nothing is invented (no offset, no precision, no character), and that no error holds content of the message. It refuses
//! what has no MSH, and characters that are not in the set they are said to be in.
//!
//! [`header`] reads an MSH from bytes that nothing has decoded yet (the ack must echo them), [`charset`] turns the
//! bytes into text, [`message`] indexes segments and fields, [`field`] takes fields apart, [`path`] names a place, [`group`] knows
//! which segments belong together, [`text`] decodes escapes and [`time`] timestamps. [`inbound`] is all that was made of a message
//! when it came in, to be handed on; [`batch`] finds messages in files.
//!
//! **hl7-parser** reads what is inside a field, where it is strong: a component that has parts is handed to it when a rule
//! reads it ([`field`]). In tests our escapes, timestamps, whole fields and the names of places are held against its own.
//! What it does not do here, and why:
//!
//! - It does not parse messages: of a text with a blank line, a two-letter segment or a stray control character it keeps what
//!   stands before and says nothing of the rest, and its tree takes thirty times as long as an index of what stands where, of
//!   which most messages are asked a tenth. With MSH-2 of five characters (`^~\&#`) every field of its MSH is one off.
//! - It locates no cursor and answers no query: both ask that tree, and a place that it names cannot lie behind what it lost.
//!   Its queries are written with dots (`PID.3.4`), the standard and our files with a dash (`PID-3.4`).
//! - It decodes no escapes (behind letters beyond ASCII it panics, and drops the rest behind an open one) and no timestamps
//!   (hour 24 panics, a value without an offset becomes UTC).
//! - Its errors are not shown: they quote the message.

pub mod batch;
pub mod charset;
pub mod field;
pub mod group;
pub mod header;
pub mod inbound;
pub mod message;
pub mod path;
mod pieces;
pub mod standard;
pub mod text;
pub mod time;

pub use field::Part;
pub use header::{Delimiters, Header};
pub use inbound::Inbound;
pub use message::Message;
