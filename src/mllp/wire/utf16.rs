//! A message as its MSH can be read: UTF-16 is turned into UTF-8 for the peek, and its ack back into UTF-16.
//!
//! HL7 does not allow UTF-16 over MLLP, because its bytes may be those of the framing; senders on Windows do it
//! nevertheless, and text of the Latin alphabet gets through.

use std::borrow::Cow;

use bytes::Bytes;

use crate::v2::Header;
use crate::v2::charset::{WideForm, wide_form};
use crate::v2::header::{HeaderFault, HeaderPlace};

/// What arrived, and its bytes in a form that [`Header::peek`] can read.
#[derive(Debug)]
pub struct Readable {
    pub raw: Bytes,
    /// Where `raw` is UTF-16.
    utf8: Option<Vec<u8>>,
    wide: Option<Wide>,
    /// Read once: validator, journal and ack all ask for it.
    header: Result<HeaderPlace, HeaderFault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wide {
    form: WideForm,
    marked: bool,
}

impl Readable {
    pub fn new(raw: Bytes) -> Self {
        let found = wide_form(&raw).filter(|(form, _)| form.is_utf16());
        let wide = found.map(|(form, body)| Wide { form, marked: body.len() < raw.len() });
        let utf8 = found.map(|(form, body)| form.lossy(body).into_owned().into_bytes());
        let bytes = utf8.as_deref().unwrap_or(&raw);
        let header = Header::peek(bytes).map(|header| header.place_in(bytes));
        Self { raw, utf8, wide, header }
    }

    pub fn header(&self) -> Result<Header<'_>, HeaderFault> {
        self.header.map(|header| header.of(self.bytes()))
    }

    /// UTF-8 where the message is UTF-16, else the bytes as they came.
    pub fn bytes(&self) -> &[u8] {
        self.utf8.as_deref().unwrap_or(&self.raw)
    }

    /// Without what only the judgement needed.
    pub fn for_the_ack(mut self) -> Self {
        if let (Some(text), Ok(place)) = (&mut self.utf8, &self.header) {
            text.truncate(place.end());
            text.shrink_to_fit();
        }
        self
    }

    /// An ack in the encoding that the sender can read.
    pub fn reply(&self, ack: Vec<u8>) -> Bytes {
        match self.wide {
            Some(wide) => wide.encode(&ack).into(),
            None => ack.into(),
        }
    }
}

impl Wide {
    fn encode(self, text: &[u8]) -> Vec<u8> {
        let text: Cow<'_, str> = String::from_utf8_lossy(text);
        let mark = self.marked.then_some(0xFEFF);
        mark.into_iter().chain(text.encode_utf16()).flat_map(|unit| self.unit(unit)).collect()
    }

    /// A unit that would break the framing cannot be sent.
    fn unit(self, unit: u16) -> [u8; 2] {
        let bytes = if self.form == WideForm::Utf16Le { unit.to_le_bytes() } else { unit.to_be_bytes() };
        if bytes.contains(&0x0B) || bytes.contains(&0x1C) { self.unit(u16::from(b'?')) } else { bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "MSH|^~\\&|A\u{f8}|F|||1||ADT^A01|42|P|2.5\rPID|1";

    fn bytes_of(wide: Wide) -> Bytes {
        wide.encode(TEXT.as_bytes()).into()
    }

    #[test]
    fn utf_16_is_read_and_answered_in_kind() {
        for form in [WideForm::Utf16Le, WideForm::Utf16Be] {
            for marked in [true, false] {
                let sent = bytes_of(Wide { form, marked });
                let message = Readable::new(sent.clone());
                assert_eq!(message.bytes(), TEXT.as_bytes());
                assert_eq!(message.header().unwrap().control_id(), b"42");
                assert_eq!(message.reply(TEXT.as_bytes().to_vec()), sent);
            }
        }
    }

    #[test]
    fn other_bytes_stay_as_they_are() {
        let message = Readable::new(Bytes::from_static(b"MSH|^~\\&|\xFF\xFE|"));
        assert_eq!(message.bytes(), b"MSH|^~\\&|\xFF\xFE|");
        assert_eq!(message.reply(b"\xFFack".to_vec()), b"\xFFack"[..]);
    }

    #[test]
    fn a_wide_ack_cannot_break_its_frame() {
        let message = Readable::new(bytes_of(Wide { form: WideForm::Utf16Le, marked: false }));
        assert_eq!(message.reply("\u{201d}\u{201c}\u{0b}\u{1c41}".as_bytes().to_vec()), b"\x1D\x20?\0?\0?\0"[..]);
    }
}
