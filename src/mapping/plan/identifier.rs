//! Identifiers: which system an assigning authority is, and which of several identifiers finds the patient.
//!
//! An identifier without a system never matches by its bare value (two hospitals number alike), so every identifier
//! gets a system: the site's own for the authority, an OID, or a fallback that anyone can see is one.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::fhir::{Node, Object};
use crate::mapping::source::config::{Identifiers, WITHOUT_AUTHORITY};
use crate::v2::{Message, Part};

/// What may stand in a URN or a query value as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A system inside a condition keeps what makes it readable.
const IN_QUERY: &AsciiSet = &PLAIN.remove(b':').remove(b'/');

/// How many bytes of a system and its value may name a patient, a visit or a sender. Every reference of the Bundle repeats
/// them, so a longer one, which no hospital writes, would make gigabytes of one message. HL7 allows HD 227 characters.
pub const LONGEST_NAME: usize = 1_000;

/// Types of HL7 table 0203 that senders put into CX.4, where the authority belongs.
const MISPLACED_TYPES: &[&str] =
    &["MR", "MRN", "PI", "PT", "SS", "SSN", "AN", "VN", "DL", "NI", "MA", "MC", "PN", "XX"];

/// An assigning authority (HD): CX.4.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Authority<'a> {
    pub namespace: &'a str,
    pub universal: &'a str,
    /// As sent, in capitals or not.
    pub universal_type: &'a str,
}

impl<'a> Authority<'a> {
    #[must_use]
    pub fn of(part: Part<'_, 'a>) -> Self {
        let leaf = |n| part.part(n).filter(Part::valued).map_or("", |p| p.leaf().trim());
        Self { namespace: leaf(1), universal: leaf(2), universal_type: leaf(3) }
    }

    /// Whether a sender put the identifier's type where the authority belongs.
    #[must_use]
    pub fn is_type_code(&self) -> bool {
        self.universal.is_empty() && is_type_code(self.namespace)
    }
}

#[must_use]
pub fn is_type_code(text: &str) -> bool {
    MISPLACED_TYPES.contains(&text)
}

impl Identifiers {
    /// The identifier system of an authority; `None` when the authority is empty.
    #[must_use]
    pub fn system<'t>(&'t self, authority: &Authority<'t>) -> Option<Cow<'t, str>> {
        if let Some(system) = self.mapped(authority) {
            return Some(Cow::Borrowed(system));
        }
        let universal = authority.universal.trim_end_matches('.');
        let is = |names: &[&str]| names.iter().any(|name| authority.universal_type.eq_ignore_ascii_case(name));
        Some(Cow::Owned(match authority.namespace {
            _ if is(&["ISO", "OID"]) && is_oid(universal) => ["urn:oid:", universal].concat(),
            _ if is(&[""]) && is_oid(universal) && universal.contains('.') => ["urn:oid:", universal].concat(),
            _ if is(&["UUID", "GUID"]) && !universal.is_empty() => ["urn:uuid:", &universal.to_lowercase()].concat(),
            _ if is(&["URI", "URL"]) && universal.contains(':') => return Some(Cow::Borrowed(universal)),
            namespace if is_oid(namespace) && namespace.contains('.') => ["urn:oid:", namespace].concat(),
            "" if universal.is_empty() => return None,
            "" => self.fallback.replace("{authority}", &plain(universal)),
            namespace => self.fallback.replace("{authority}", &plain(namespace)),
        }))
    }

    /// The system that the site itself gives an authority.
    #[must_use]
    pub fn mapped(&self, authority: &Authority<'_>) -> Option<&str> {
        let of = |name: &str| self.authorities.get(name).filter(|_| !name.is_empty()).map(String::as_str);
        of(authority.namespace).or_else(|| of(authority.universal))
    }

    /// The system of an identifier that was sent without an authority: the sender's facility, else its application.
    /// A sender that names neither shares one system with all others like it; better that than a bare value.
    #[must_use]
    pub fn default_system(&self, message: &Message<'_>) -> Cow<'_, str> {
        let named = |field| message.repetition(0, field, 0).filter(Part::valued).map(Authority::of);
        match (named(4), named(3)) {
            (Some(facility), _) => match self.authorities.get(facility.namespace) {
                Some(mapped) if self.without_authority == WITHOUT_AUTHORITY => Cow::Borrowed(mapped),
                _ => Cow::Owned(filled(&self.without_authority, message)),
            },
            (None, Some(application)) => {
                Cow::Owned(["urn:stoker:application:", &plain(application.namespace)].concat())
            }
            (None, None) => Cow::Borrowed("urn:stoker:unnamed-sender"),
        }
    }

    /// The system of the visit numbers of a message's sender.
    #[must_use]
    pub fn visit_system(&self, message: &Message<'_>) -> String {
        filled(&self.visit, message)
    }

    /// The best of several identifiers, whatever the order in which they were sent: preferred authority, preferred type,
    /// then system and value. One that is too long to be repeated in every reference is none.
    #[must_use]
    pub fn best<'t>(&self, candidates: &[Object<'t>]) -> Option<(&'t str, &'t str)> {
        let named = |system: &str| {
            self.prefer_authorities.iter().position(|name| {
                self.authorities.get(name).map(String::as_str) == Some(system)
                    || self.system(&Authority { namespace: name, ..Authority::default() }).as_deref() == Some(system)
            })
        };
        let rank = |identifier: &Object<'t>| {
            let (system, value) = (identifier.text("system")?, identifier.text("value")?);
            if is_too_long(identifier) {
                return None;
            }
            let kind = match type_of(identifier) {
                Some(code) => self.prefer_types.iter().position(|t| t == code).unwrap_or(usize::MAX),
                None => self.prefer_types.len(),
            };
            Some((named(system).unwrap_or(usize::MAX), kind, system, value))
        };
        candidates.iter().filter_map(rank).min().map(|(_, _, system, value)| (system, value))
    }
}

/// A pattern with the sender's facility and application in it.
fn filled(pattern: &str, message: &Message<'_>) -> String {
    let field = |n| message.repetition(0, n, 0).map_or(Cow::Borrowed(""), |part| plain(part.leaf().trim()));
    let filled = pattern.replace("{MSH-4}", &field(4)).replace("{MSH-3}", &field(3));
    filled.trim_end_matches(':').to_owned()
}

/// The system of a sender's control ids, which Bundle.identifier carries.
#[must_use]
pub fn sender_system(message: &Message<'_>) -> String {
    filled("urn:stoker:message:{MSH-4}:{MSH-3}", message)
}

/// Whether an identifier is longer than what may stand in every reference.
#[must_use]
pub fn is_too_long(identifier: &Object<'_>) -> bool {
    let length = |name| identifier.text(name).map_or(0, str::len);
    length("system") + length("value") > LONGEST_NAME
}

/// The v2 type of an Identifier resource's type.
fn type_of<'a>(identifier: &Object<'a>) -> Option<&'a str> {
    let codings = identifier.get("type")?.as_object()?.get("coding")?.as_list();
    codings.iter().filter_map(Node::as_object).find_map(|coding| coding.text("code"))
}

/// The condition of an entry: `<base>/Patient?identifier=system%7Cvalue` (FHIR R4 http 2.21.0.10, conditional update).
#[must_use]
pub fn condition_url(base: &str, resource_type: &str, system: &str, value: &str) -> String {
    let (system, value) = (token(system), token(value));
    format!(
        "{}/{resource_type}?identifier={}%7C{}",
        base.trim_end_matches('/'),
        utf8_percent_encode(&system, IN_QUERY),
        utf8_percent_encode(&value, PLAIN)
    )
}

/// A part of a token with the characters escaped that mean something in a search (FHIR R4 search 3.1.1.4.0.1): in an
/// unescaped comma the receiver would see two numbers.
fn token(text: &str) -> Cow<'_, str> {
    if !text.contains(['\\', '|', ',', '$']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 4);
    for c in text.chars() {
        if matches!(c, '\\' | '|' | ',' | '$') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    Cow::Owned(escaped)
}

/// The visible fallback for a coding system of which only the v2 name is known.
#[must_use]
pub fn code_system(name: &str) -> Cow<'_, str> {
    let table = name.strip_prefix("HL7").filter(|rest| rest.len() == 4 && rest.bytes().all(|b| b.is_ascii_digit()));
    match table {
        Some(number) => Cow::Owned(crate::mapping::source::table::v2_system(number)),
        None if name.contains("://") || name.starts_with("urn:") => Cow::Borrowed(name),
        None if is_oid(name) && name.contains('.') => Cow::Owned(["urn:oid:", name].concat()),
        None => Cow::Owned(["urn:stoker:coding-system:", &plain(name)].concat()),
    }
}

/// Percent-encoded for a URN or a query value.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, PLAIN).into()
}

fn is_oid(text: &str) -> bool {
    text.starts_with(|c: char| ('0'..='2').contains(&c))
        && text.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(text: &str) -> Authority<'_> {
        let [namespace, universal, kind] = [0, 1, 2].map(|n| text.split('&').nth(n).unwrap_or_default());
        Authority { namespace, universal, universal_type: kind }
    }

    #[test]
    fn an_authority_has_the_sites_system_or_its_oid_or_a_visible_fallback() {
        let mut site = Identifiers::default();
        site.authorities.insert("NORTH".into(), "https://north.test/mrn".into());
        let system = |text| site.system(&authority(text));
        assert_eq!(system("NORTH").as_deref(), Some("https://north.test/mrn"));
        assert_eq!(system("X&1.2.840.1&ISO").as_deref(), Some("urn:oid:1.2.840.1"));
        assert_eq!(system("X&1.2.5.2.&ISO").as_deref(), Some("urn:oid:1.2.5.2"));
        assert_eq!(system("A B").as_deref(), Some("urn:stoker:authority:A%20B"));
        assert_eq!(system(""), None);
    }

    #[test]
    fn a_system_and_a_value_are_escaped_in_a_condition() {
        assert_eq!(
            condition_url("http://mb/fhir/", "Patient", "urn:oid:1.2", "a|b c&d"),
            "http://mb/fhir/Patient?identifier=urn:oid:1.2%7Ca%5C%7Cb%20c%26d"
        );
    }

    #[test]
    fn coding_systems_without_a_uri_get_a_visible_one() {
        assert_eq!(code_system("HL70001"), "http://terminology.hl7.org/CodeSystem/v2-0001");
        assert_eq!(code_system("LOCAL 1"), "urn:stoker:coding-system:LOCAL%201");
    }
}
