//! A character set by what decodes it, and bytes that are none of its characters.

use encoding_rs::Encoding;

/// A character set that MSH-18 or a listener's `charset` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Charset {
    Ascii,
    Utf8,
    /// ISO 8859-1 as the standard has it, 0x80 to 0x9F being controls. The web's "iso-8859-1" is windows-1252.
    Latin1,
    /// ISO 8859-9: Latin-1 with six Turkish letters. The web's is windows-1254.
    Latin5,
    /// ISO 8859-11. The web's is windows-874.
    Thai,
    /// JIS X 0201: ISO IR14 and IR13, half-width katakana in the upper half.
    JisX0201,
    /// Japanese text that switches sets by ISO 2022 escapes: ISO IR87, ISO IR159, ISO-2022-JP.
    Iso2022Jp,
    Utf16,
    Utf32,
    /// In table 0211, and decoded by nobody: refused by name.
    Cns11643,
    /// One that encoding_rs decodes as HL7 means it.
    Other(&'static Encoding),
}

/// A character that could not be read: the text before it, and its offset in the bytes.
#[derive(Debug)]
pub struct Misfit {
    pub before: String,
    pub offset: usize,
}

impl Misfit {
    /// The offset counted from the start of the frame and not from behind the byte order mark.
    pub fn behind(mut self, mark: usize) -> Self {
        self.offset += mark;
        self
    }
}
