//! Checks what the configuration says of the mapping: zone, character set, addresses.

use jiff::tz::TimeZone;

use super::config::{Addressing, BUDGET, EmptyControlId, MappingConfig, Profile};
use super::diagnostic::{Diagnostic, Diagnostics};
use crate::fhir::her_id;
use crate::v2::charset::Charset;

/// The configuration's `[mapping]`, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    pub base: String,
    pub source: Option<String>,
    pub destination: Option<String>,
    pub addressing: Addressing,
    pub profile: Profile,
    pub bundle_profile: Option<String>,
    pub clinical_system: String,
    pub zone: Option<TimeZone>,
    pub charset: Option<Charset>,
    pub empty_control_id: EmptyControlId,
    pub budget: u64,
}

/// Checks; what is wrong goes to `diagnostics`.
pub fn check(config: &MappingConfig, diagnostics: &mut Diagnostics) -> Option<Settings> {
    let mut fault =
        |key: &str, message: String| diagnostics.add(Diagnostic::of_file(&format!("mapping.{key}"), &message));
    let zone = config.zone.as_deref().map(|name| {
        TimeZone::get(name).map_err(|_| fault("zone", format!("'{name}' is no IANA time zone, as Europe/Oslo"))).ok()
    });
    let charset = config
        .charset
        .as_deref()
        .map(|name| name.parse::<Charset>().map_err(|why| fault("charset", format!("'{name}': {why}"))).ok());
    if !config.base.starts_with("http://") && !config.base.starts_with("https://") {
        fault("base", format!("'{}' is not an http or https URL", config.base));
    }
    if config.profile == Profile::Nav {
        for (key, value) in [("source", &config.source), ("destination", &config.destination)] {
            match value.as_deref().map(her_id::endpoint) {
                None => fault(key, "the NAV profile needs a HER-id, as \"8094866\"".into()),
                Some(None) => fault(key, "a HER-id is one to eight digits that do not start with 0".into()),
                Some(Some(_)) => {}
            }
        }
        if config.bundle_profile.is_none() {
            fault("bundle_profile", "the NAV profile needs the URL of the Bundle profile".into());
        }
    }
    let endpoint = |value: &Option<String>| match config.profile {
        Profile::Nav => value.as_deref().and_then(her_id::endpoint),
        Profile::None => value.clone(),
    };
    Some(Settings {
        base: config.base.trim_end_matches('/').to_owned(),
        source: endpoint(&config.source),
        destination: endpoint(&config.destination),
        addressing: config.addressing,
        profile: config.profile,
        bundle_profile: config.bundle_profile.clone(),
        clinical_system: config.clinical_system.clone(),
        zone: zone.unwrap_or_default(),
        charset: charset.unwrap_or_default(),
        empty_control_id: config.empty_control_id,
        budget: config.budget.unwrap_or(BUDGET),
    })
}
