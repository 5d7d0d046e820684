//! A message on its way in, taken apart once: its bytes, its text, and where its segments and fields stand.
//!
//! Whoever receives it makes one ([`Inbound::read`]); whoever gets it from there has its [`Inbound::message`] without decoding
//! or indexing anything again. It belongs to one reading of the bytes: under another character set they may say another thing,
//! so it says which one it was ([`Reading`]).

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::charset::{self, Charset, CharsetFault};
use super::header::{Delimiters, Header};
use super::message::index::Index;
use super::message::{self, Message, MessageFault};

/// How bytes are read: what decides besides the bytes themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Where MSH-18 names no character set.
    pub fallback: Option<Charset>,
    /// MSH-18 is not asked.
    pub override_declared: bool,
}

impl Reading {
    /// The text of a message whose MSH is `header`; what has none is decoded as far as it can be.
    ///
    /// # Errors
    /// [`CharsetFault`] with the place of the first character that is not in the message's character set.
    pub fn decode<'a>(self, raw: &'a [u8], header: Option<&Header<'_>>) -> Result<Cow<'a, str>, CharsetFault> {
        let declared = match header {
            Some(header) if !self.override_declared => charset::declared(header),
            _ => SmallVec::new(),
        };
        charset::decode(raw, &declared, self.fallback)
    }
}

#[derive(Debug)]
pub struct Inbound {
    raw: Bytes,
    reading: Reading,
    text: Text,
    index: Arc<Index>,
}

#[derive(Debug)]
enum Text {
    /// The bytes are UTF-8 as they came, there.
    AsSent(Range<usize>),
    Decoded(Box<str>),
}

/// Why bytes cannot be taken apart as a message.
#[derive(Debug, thiserror::Error)]
pub enum InboundFault {
    #[error(transparent)]
    Charset(#[from] CharsetFault),
    #[error(transparent)]
    Message(#[from] MessageFault),
}

impl Inbound {
    /// Decodes and indexes a message. `header` is its MSH, where that can be read from the bytes as they are.
    ///
    /// # Errors
    /// [`InboundFault`] with the place of what cannot be read.
    pub fn read(raw: Bytes, header: Option<&Header<'_>>, reading: Reading) -> Result<Self, InboundFault> {
        let (text, mut index) = match reading.decode(&raw, header)? {
            Cow::Borrowed(text) => {
                let start = text.as_ptr() as usize - raw.as_ptr() as usize;
                // The MSH of what was not decoded is the one that was read.
                let delimiters = header.map_or_else(|| delimiters_of(text), |header| Ok(header.delimiters()));
                (Text::AsSent(start..start + text.len()), message::index_of(text, delimiters?)?)
            }
            Cow::Owned(text) => {
                let index = message::index_of(&text, delimiters_of(&text)?)?;
                (Text::Decoded(text.into_boxed_str()), index)
            }
        };
        index.shrink();
        Ok(Self { raw, reading, text, index: Arc::new(index) })
    }

    /// What it takes in memory besides the bytes that it was made of.
    #[must_use]
    pub fn size(&self) -> usize {
        let text = match &self.text {
            Text::AsSent(_) => 0,
            Text::Decoded(text) => text.len(),
        };
        size_of::<Self>() + text + self.index.size()
    }

    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// How its bytes were read.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// The message, ready to be read; its fields are taken apart when they are.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        let text = match &self.text {
            // Checked when it was decoded, and bytes never change.
            Text::AsSent(range) => std::str::from_utf8(&self.raw[range.clone()]).unwrap_or_default(),
            Text::Decoded(text) => text,
        };
        Message::over(text, Arc::clone(&self.index))
    }
}

fn delimiters_of(text: &str) -> Result<Delimiters, MessageFault> {
    Ok(Header::peek(message::start(text).as_bytes())?.delimiters())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &'static [u8], fallback: Option<Charset>) -> Inbound {
        let header = Header::peek(raw).unwrap();
        let reading = Reading { fallback, override_declared: false };
        Inbound::read(Bytes::from_static(raw), Some(&header), reading).unwrap()
    }

    #[test]
    fn it_is_the_message_that_parsing_its_text_gives() {
        for raw in [
            &b"MSH|^~\\&|APP|FAC|||1||ADT^A01|42|P|2.5\rPID|1||7^^^H~8||Doe^Jo\rOBX|1|TX|a||x\ny\rnot a segment"[..],
            b"\xEF\xBB\xBF \rMSH$%~!&$APP$FAC$$$1$$ADT%A36$7$P$2.3\nPID$1$$\xC3\x85!T!b\n\n",
            b"MSH|^~\\&|APP||||||ADT^A01|1|P|2.5||||||8859/1\rPID|1||7||\xC5se",
        ] {
            let inbound = read(raw, None);
            let text = Reading::default().decode(raw, Header::peek(raw).ok().as_ref()).unwrap();
            let (one, two) = (inbound.message(), Message::parse(&text).unwrap());
            assert_eq!(one.text(), two.text());
            assert_eq!(format!("{:?}", one.index()), format!("{:?}", two.index()));
            for segment in 0..two.len() {
                for field in 1..=two.field_count(segment) {
                    assert_eq!(one.field(segment, field), two.field(segment, field));
                    assert_eq!(one.repetitions(segment, field), two.repetitions(segment, field));
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let raw = b"MSH|^~\\&|APP||||||ADT^A01|1|P|2.5||||||UNICODE UTF-8\rPID|1||7||\xC5se";
        let header = Header::peek(raw).unwrap();
        let fault = Inbound::read(Bytes::from_static(raw), Some(&header), Reading::default()).unwrap_err();
        assert!(matches!(fault, InboundFault::Charset(_)), "{fault}");
    }

    #[test]
    fn its_size_is_what_it_holds_and_no_room_that_was_taken_in_advance() {
        let raw = [&b"MSH|^~\\&|APP\rPID|"[..], &b"|".repeat(9_990)].concat();
        let header = Header::peek(&raw).unwrap();
        let dense = Inbound::read(Bytes::from(raw.clone()), Some(&header), Reading::default()).unwrap();
        assert!((80_000..81_000).contains(&dense.size()), "{}", dense.size());
        let raw = [&b"MSH|^~\\&|APP\rOBX|1|"[..], &b"A".repeat(100_000)].concat();
        let header = Header::peek(&raw).unwrap();
        let sparse = Inbound::read(Bytes::from(raw.clone()), Some(&header), Reading::default()).unwrap();
        assert!(sparse.size() < 1_000, "{}", sparse.size());
    }
}
