//! Texts as they are kept: compressed with a dictionary of what FHIR messages and resources have in common.
//!
//! A resource of 1 KB shrinks little by itself; with the dictionary it goes to a fifth. Less is written, flushed and
//! cached, which costs more time than compressing. Texts that do not shrink are kept as they are.
//!
//! Each frame names its dictionary, so that a later version can bring a better one; a dictionary that was released is
//! never changed. The first was trained with `zstd --train` on what the mailbox holds after all of `samples/`.

use std::cell::RefCell;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use super::model::StoreError;

const DICTIONARY: &[u8] = include_bytes!("fhir-1.zdict");
/// The default of zstd: with the dictionary no slower than the levels below it.
const LEVEL: i32 = 3;
/// Shorter texts are not worth a frame.
const SHORT: usize = 64;
/// More than any body that the mailbox takes. What claims to be larger is damaged.
const LARGEST: usize = 1 << 30;

static ENCODER: LazyLock<EncoderDictionary<'static>> = LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

thread_local! {
    // Made once a thread: to make one costs more than to compress a resource.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> =
        RefCell::new(Compressor::with_prepared_dictionary(&ENCODER).ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> =
        RefCell::new(Decompressor::with_prepared_dictionary(&DECODER).ok());
}

/// A text, ready to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compressed {
    Plain(String),
    Zstd(Vec<u8>),
}

impl Compressed {
    #[must_use]
    pub fn of(text: &str) -> Self {
        let shrunk = (text.len() >= SHORT).then(|| compress(text)).flatten();
        match shrunk.filter(|shrunk| shrunk.len() < text.len()) {
            Some(shrunk) => Self::Zstd(shrunk),
            None => Self::Plain(text.to_owned()),
        }
    }
}

fn compress(text: &str) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut()?.compress(text.as_bytes()).ok())
}

/// The text of a frame.
///
/// # Errors
/// [`StoreError::Damaged`] when it is none, or of a dictionary that this version does not know.
pub fn unpack(frame: &[u8]) -> Result<String, StoreError> {
    let bytes = DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.as_mut()?.decompress(frame, LARGEST).ok());
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(StoreError::Damaged("a compressed text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(packed: &Compressed) -> String {
        match packed {
            Compressed::Plain(text) => text.clone(),
            Compressed::Zstd(frame) => unpack(frame).unwrap(),
        }
    }

    #[test]
    fn texts_come_back_byte_for_byte() {
        let long = "{\"resourceType\":\"Patient\",\"name\":[{\"family\":\"Åse\"}]}\r\n".repeat(20_000);
        for text in ["", "{}", "},\"active\":true}", &long] {
            assert_eq!(text_of(&Compressed::of(text)), text);
        }
    }

    #[test]
    fn a_resource_shrinks_to_less_than_a_third() {
        let text = r##"},"birthDate":"1971-12-03","gender":"male","identifier":[{"system":"urn:oid:9.8.7","type":{"coding":[{"code":"MR","system":"http://terminology.hl7.org/CodeSystem/v2-0203"}]},"value":"4711"}],"maritalStatus":{"coding":[{"code":"S","system":"http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"}]},"name":[{"family":"Kvam","given":["Tor"],"use":"official"}]}"##;
        let Compressed::Zstd(frame) = Compressed::of(text) else { panic!("it did not shrink") };
        assert!(frame.len() * 3 < text.len(), "{} of {}", frame.len(), text.len());
    }

    #[test]
    fn what_is_no_frame_is_damaged() {
        let Compressed::Zstd(mut frame) = Compressed::of(&"\"system\":\"urn:x\",".repeat(50)) else {
            panic!("it did not shrink")
        };
        frame.truncate(frame.len() - 3);
        assert!(matches!(unpack(&frame), Err(StoreError::Damaged(_))));
        assert!(matches!(unpack(b"no frame"), Err(StoreError::Damaged(_))));
    }

    #[test]
    fn the_dictionary_of_what_was_written_before_is_the_same() {
        use sha2::Digest as _;
        let sum = sha2::Sha256::digest(DICTIONARY);
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum, "4bc9833725381849acc1ad85f25b0d8b9055bb1962a1224220c776e2f6ffec62");
    }
}
