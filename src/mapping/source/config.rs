//! What a site sets for the mapping.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[mapping]` of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MappingConfig {
    /// A directory to use in place of the shipped mapping files.
    pub dir: Option<PathBuf>,
    /// Overlay directories, whose rules come before the shipped ones; the first has the first word.
    pub overlays: Vec<PathBuf>,
    /// Adds RelatedPerson, Coverage, Account and Provenance.
    pub extended: bool,
    /// The receiver's base URL, as conditional fullUrls start with it.
    pub base: String,
    pub addressing: Addressing,
    pub profile: Profile,
    /// MessageHeader.destination.endpoint; under the NAV profile a HER-id.
    pub destination: Option<String>,
    /// MessageHeader.source.endpoint in place of MSH-24 or MSH-3; under the NAV profile a HER-id.
    pub source: Option<String>,
    /// Bundle.meta.profile, which the NAV profile requires.
    pub bundle_profile: Option<String>,
    /// The code system of the event `clinical-notify`, which HL7 does not define.
    pub clinical_system: String,
    /// The IANA name of the senders' time zone, for times sent without an offset.
    pub zone: Option<String>,
    /// The character set of messages without MSH-18.
    pub charset: Option<String>,
    /// What to do with a message whose MSH-10 is empty.
    pub empty_control_id: EmptyControlId,
    /// How many steps of work mapping one message may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
}

/// Of real messages the largest take some ten thousand steps, one that repeats a field 64,000 times some ten million.
pub const BUDGET: u64 = 50_000_000;

impl Default for MappingConfig {
    fn default() -> Self {
        Self {
            dir: None,
            overlays: Vec::new(),
            extended: false,
            base: "http://127.0.0.1:8575/fhir".into(),
            addressing: Addressing::default(),
            profile: Profile::default(),
            destination: None,
            source: None,
            bundle_profile: None,
            clinical_system: "urn:stoker:message-events".into(),
            zone: None,
            charset: None,
            empty_control_id: EmptyControlId::default(),
            budget: Some(BUDGET),
        }
    }
}

/// How Patient and Encounter entries are addressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Addressing {
    /// `fullUrl` is the condition: `<base>/Patient?identifier=system%7Cvalue`.
    #[default]
    Conditional,
    /// `fullUrl` is a `urn:uuid:`; the condition travels as an entry link.
    Uuid,
}

/// Rules of a national programme on top.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    #[default]
    None,
    /// Norway: FHIR messaging between EHRs and NAV.
    Nav,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyControlId {
    /// The ids then come from the content alone.
    #[default]
    Accept,
    Refuse,
}

/// The pattern for identifiers without an authority where the site sets none.
pub const WITHOUT_AUTHORITY: &str = "urn:stoker:facility:{MSH-4}";

/// `[identifiers]` of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identifiers {
    /// Assigning authority (its namespace or its universal id) to identifier system.
    pub authorities: BTreeMap<String, String>,
    /// Which authority's identifier finds the patient, best first.
    pub prefer_authorities: Vec<String>,
    /// Which type of identifier finds the patient, best first (HL7 table 0203).
    pub prefer_types: Vec<String>,
    /// The system of an authority that the table does not have; `{authority}` is its name.
    pub fallback: String,
    /// The system of an identifier that was sent without an authority; `{MSH-4}` and `{MSH-3}` are the sender's.
    pub without_authority: String,
    /// The system of visit numbers.
    pub visit: String,
}

impl Default for Identifiers {
    fn default() -> Self {
        Self {
            authorities: BTreeMap::new(),
            prefer_authorities: Vec::new(),
            prefer_types: vec!["MR".into(), "PI".into()],
            fallback: "urn:stoker:authority:{authority}".into(),
            without_authority: WITHOUT_AUTHORITY.into(),
            visit: "urn:stoker:visit:{MSH-4}:{MSH-3}".into(),
        }
    }
}
