//! An acknowledgement as its receiver reads it: what others answer to us.

use bytes::Bytes;

use crate::mllp::wire::utf16::Readable;

/// MSA and ERR of an ACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// MSA-1: AA, AE, AR, CA, CE, CR.
    pub code: String,
    /// MSA-2 as bytes.
    pub control_id: Vec<u8>,
    /// What went wrong, for a person: from ERR in either form, else MSA-3. Empty in a plain positive ack.
    pub text: String,
    pub raw: Bytes,
}

impl Ack {
    /// `None` when there is no MSH or no MSA.
    #[must_use]
    pub fn parse(raw: Bytes) -> Option<Self> {
        let readable = Readable::new(raw);
        let delimiters = readable.header().ok()?.delimiters();
        let segment = |name: &'static [u8]| {
            let segments = readable.bytes().split(|byte| matches!(byte, b'\r' | b'\n'));
            segments
                .map(move |line| line.split(|&byte| byte == delimiters.field).collect::<Vec<_>>())
                .filter(move |fields| fields[0] == name)
        };
        let msa = segment(b"MSA").next()?;
        let field = |n: usize| msa.get(n).copied().unwrap_or_default();
        let errors: Vec<String> = segment(b"ERR").filter_map(|err| error_text(&err, delimiters.component)).collect();
        let text = if errors.is_empty() { lossy(field(3)) } else { errors.join("; ") };
        let (code, control_id) = (lossy(field(1)), field(2).to_vec());
        Some(Self { code, control_id, text, raw: readable.raw })
    }

    /// AA or CA: the receiver has taken the message.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        matches!(self.code.as_str(), "AA" | "CA")
    }
}

/// ERR-8, else ERR-7, else ERR-3, else ERR-1, with the place where one is given.
fn error_text(err: &[&[u8]], component: u8) -> Option<String> {
    let field = |n: usize| err.get(n).copied().filter(|field| !field.is_empty());
    let said = field(8).or(field(7)).or(field(3)).or(field(1)).map(lossy)?;
    let place = field(2).map(|place| lossy(place).replace(char::from(component), "-"));
    Some(place.map_or(said.clone(), |place| format!("{place}: {said}")))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Option<Ack> {
        Ack::parse(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_positive_ack_has_a_code_and_an_id() {
        let ack = parse("MSH|^~\\&|A|B|C|D|1||ACK|9|P|2.5\rMSA|AA|42\r").unwrap();
        assert!(ack.is_positive());
        assert_eq!((ack.control_id.as_slice(), ack.text.as_str()), (&b"42"[..], ""));
    }

    #[test]
    fn the_reason_is_read_from_either_form_of_err() {
        let new = parse("MSH|^~\\&|||||1||ACK|9|P|2.5\rMSA|CE|42\rERR||PID^1^3|101^x|E||||no number\r").unwrap();
        assert_eq!((new.code.as_str(), new.text.as_str()), ("CE", "PID-1-3: no number"));
        let old = parse("MSH$*~\\&$$$$$1$$ACK$9$P$2.3\nMSA$AR$42\nERR$MSH*1*9*200&y").unwrap();
        assert_eq!(old.text, "MSH*1*9*200&y");
        let none = parse("MSH|^~\\&|||||1||ACK|9|P|2.3\rMSA|AE|42|bad luck").unwrap();
        assert_eq!(none.text, "bad luck");
    }

    #[test]
    fn what_has_no_msa_is_no_ack() {
        assert_eq!(parse("MSH|^~\\&|||||1||ADT^A01|9|P|2.3\rPID|1"), None);
        assert_eq!(parse("MSA|AA|1"), None);
    }
}
