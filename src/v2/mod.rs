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
//! **hl7-parser** takes one field apart when somebody reads it ([`field`]), and in tests its escapes and timestamps are held
//! against ours. It does not parse messages here: of a text with a blank line, a two-letter segment or a stray control character
//! it keeps what stands before and says nothing of the rest; escapes behind letters beyond ASCII make it panic; its errors quote
//! the message; and its tree takes thirty times as long as an index of what stands where, of which most messages are asked a
//! tenth.

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
