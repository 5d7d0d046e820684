//! HER-ids: the addresses of the Norwegian health network, which stand in a message as an OID that ends in one.

/// What the endpoint of a HER-id begins with.
pub const PREFIX: &str = "urn:oid:2.16.578.1.12.4.1.2.";

/// One to eight digits, the first of them not 0.
#[must_use]
pub fn is_her_id(text: &str) -> bool {
    (1..=8).contains(&text.len()) && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

/// The endpoint of a HER-id, given bare or as the whole URN; `None` where it is none.
#[must_use]
pub fn endpoint(text: &str) -> Option<String> {
    let id = text.strip_prefix(PREFIX).unwrap_or(text);
    is_her_id(id).then(|| format!("{PREFIX}{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_her_id_is_one_to_eight_digits_without_a_leading_zero() {
        assert_eq!(endpoint("8094866").as_deref(), Some("urn:oid:2.16.578.1.12.4.1.2.8094866"));
        assert_eq!(endpoint("urn:oid:2.16.578.1.12.4.1.2.1").as_deref(), Some("urn:oid:2.16.578.1.12.4.1.2.1"));
        for wrong in ["", "0123", "123456789", "12a", "urn:oid:1.2.3"] {
            assert_eq!(endpoint(wrong), None, "{wrong}");
        }
    }
}
