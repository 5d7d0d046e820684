//! The names of character sets: HL7 table 0211, DICOM's and IANA's spellings of the same, and those seen in the wild.

use std::str::FromStr;

use encoding_rs as enc;
use encoding_rs::Encoding;
use smallvec::SmallVec;

use super::set::Charset;

/// A name that is neither in HL7 table 0211 nor one of IANA's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no character set is called '{0}'; HL7 table 0211 has ASCII, 8859/1 to 8859/15, UNICODE UTF-8, ISO IR87, GB 18030-2000, KS X 1001, BIG-5"
)]
pub struct UnknownCharset(pub String);

impl FromStr for Charset {
    type Err = UnknownCharset;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        find(name.as_bytes()).ok_or_else(|| UnknownCharset(name.to_owned()))
    }
}

impl TryFrom<String> for Charset {
    type Error = UnknownCharset;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<Charset> for String {
    fn from(charset: Charset) -> Self {
        charset.to_string()
    }
}

/// The set of this name. Case, blanks and punctuation do not matter: `ISO-8859-1`, `8859/1` and `iso8859_1` are one.
pub(super) fn find(name: &[u8]) -> Option<Charset> {
    let key: SmallVec<[u8; 32]> =
        name.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect();
    by_key(std::str::from_utf8(&key).ok()?).or_else(|| by_label(name))
}

fn by_key(key: &str) -> Option<Charset> {
    let bare = key.strip_prefix("ISO").unwrap_or(key);
    if let Some(part) = bare.strip_prefix("8859") {
        return iso_8859(part);
    }
    if let Some(number) = bare.strip_prefix("IR") {
        return registered(number);
    }
    let set = match bare {
        "ASCII" | "USASCII" | "ASCII7" | "646" => Charset::Ascii,
        "LATIN1" => Charset::Latin1,
        "LATIN2" => Charset::Other(enc::ISO_8859_2),
        "LATIN5" => Charset::Latin5,
        "LATIN9" => Charset::Other(enc::ISO_8859_15),
        // Engines that hold text as UTF-16 inside say UNICODE and write UTF-8; real UTF-16 shows by its shape.
        "UNICODE" | "UNICODEUTF8" | "UTF8" | "10646" => Charset::Utf8,
        "UNICODEUTF16" | "UTF16" | "UTF16LE" | "UTF16BE" => Charset::Utf16,
        "UNICODEUTF32" | "UTF32" | "UTF32LE" | "UTF32BE" => Charset::Utf32,
        "2022JP" | "2022JP1" | "2022JP2" | "JISX0202" | "JAS2020" | "JISX0208" | "JISX0208VT" | "JISX0212" => {
            Charset::Iso2022Jp
        }
        "JISX0201" => Charset::JisX0201,
        "GB18030" | "GB180302000" => Charset::Other(enc::GB18030),
        "KSX1001" | "KSC5601" => Charset::Other(enc::EUC_KR),
        "BIG5" => Charset::Other(enc::BIG5),
        "CNS116431992" | "CNS11643" => Charset::Cns11643,
        "WINDOWS1252" | "CP1252" => Charset::Other(enc::WINDOWS_1252),
        "WINDOWS1254" | "CP1254" => Charset::Other(enc::WINDOWS_1254),
        "WINDOWS874" | "CP874" => Charset::Other(enc::WINDOWS_874),
        _ => return None,
    };
    Some(set)
}

/// ISO 8859 by part. There is no part 12.
fn iso_8859(part: &str) -> Option<Charset> {
    Some(match part {
        "1" => Charset::Latin1,
        "2" => Charset::Other(enc::ISO_8859_2),
        "3" => Charset::Other(enc::ISO_8859_3),
        "4" => Charset::Other(enc::ISO_8859_4),
        "5" => Charset::Other(enc::ISO_8859_5),
        "6" => Charset::Other(enc::ISO_8859_6),
        "7" => Charset::Other(enc::ISO_8859_7),
        "8" => Charset::Other(enc::ISO_8859_8),
        "9" => Charset::Latin5,
        "10" => Charset::Other(enc::ISO_8859_10),
        "11" => Charset::Thai,
        "13" => Charset::Other(enc::ISO_8859_13),
        "14" => Charset::Other(enc::ISO_8859_14),
        "15" => Charset::Other(enc::ISO_8859_15),
        "16" => Charset::Other(enc::ISO_8859_16),
        _ => return None,
    })
}

/// By number in the ISO international register, as HL7 (`ISO IR87`) and DICOM (`ISO_IR 100`) write it.
fn registered(number: &str) -> Option<Charset> {
    Some(match number {
        "6" => Charset::Ascii,
        "13" | "14" => Charset::JisX0201,
        "87" | "159" => Charset::Iso2022Jp,
        "100" => Charset::Latin1,
        "101" => Charset::Other(enc::ISO_8859_2),
        "109" => Charset::Other(enc::ISO_8859_3),
        "110" => Charset::Other(enc::ISO_8859_4),
        "126" => Charset::Other(enc::ISO_8859_7),
        "127" => Charset::Other(enc::ISO_8859_6),
        "138" => Charset::Other(enc::ISO_8859_8),
        "144" => Charset::Other(enc::ISO_8859_5),
        "148" => Charset::Latin5,
        "149" => Charset::Other(enc::EUC_KR),
        "166" => Charset::Thai,
        "192" => Charset::Utf8,
        "203" => Charset::Other(enc::ISO_8859_15),
        _ => return None,
    })
}

/// The web's labels, for what a listener may name beyond the table (`shift_jis`, `windows-1250`, `koi8-r`).
fn by_label(name: &[u8]) -> Option<Charset> {
    let encoding = Encoding::for_label(name)?;
    // Labels of these mean something else on the web than in HL7: latin1 would be windows-1252.
    let misleading = [enc::WINDOWS_1252, enc::WINDOWS_1254, enc::WINDOWS_874, enc::REPLACEMENT, enc::X_USER_DEFINED];
    let decodable = encoding.is_ascii_compatible() && !misleading.contains(&encoding);
    decodable.then_some(Charset::Other(encoding))
}
