//! Ids that come out the same whenever the same message is mapped: UUIDs of version 5 over what identifies the thing.
//!
//! A retry, a replay or a restart therefore sends the same Bundle, and the receiver sees that it is the same
//! (FHIR R4 messaging 2.4.7, reliable messaging).

use sha1::Sha1;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The namespace of all ids Stoker makes: UUID v5 of the URL namespace and `urn:stoker`.
const NAMESPACE: Uuid = Uuid::from_u128(0x0357_4961_1db9_5f1f_bf7f_07f0_267c_5e1d);

/// What an id is for: the same parts never give the same id in two of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKind {
    Bundle,
    Message,
    Resource,
}

impl IdKind {
    fn name(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Message => "message",
            Self::Resource => "resource",
        }
    }
}

/// The id over `parts`. Each part is closed by a byte that cannot occur in text, so that `ab` and `c` differ from `a`
/// and `bc`.
#[must_use]
pub fn uuid(kind: IdKind, parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha1::new_with_prefix(NAMESPACE.as_bytes());
    for part in std::iter::once(&kind.name().as_bytes()).chain(parts) {
        hash.update(part);
        hash.update([0xff]);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_sha1_bytes(bytes).into_uuid()
}

/// The digest of a message's bytes: part of its ids, and how a duplicate is known.
#[must_use]
pub fn digest(raw: &[u8]) -> [u8; 32] {
    Sha256::digest(raw).into()
}

/// FHIR R4 datatype id.
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_5() {
        assert_eq!(uuid(IdKind::Message, &[b"a"]), Uuid::new_v5(&NAMESPACE, b"message\xffa\xff"));
    }

    #[test]
    fn the_same_parts_give_the_same_id_and_others_another() {
        let id = |parts: &[&[u8]]| uuid(IdKind::Bundle, parts);
        assert_eq!(id(&[b"a", b"b"]), id(&[b"a", b"b"]));
        assert_ne!(id(&[b"ab", b""]), id(&[b"a", b"b"]));
        assert_ne!(id(&[b"a"]), uuid(IdKind::Message, &[b"a"]));
        assert_eq!(id(&[b"a"]).get_version_num(), 5);
    }
}
