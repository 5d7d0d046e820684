//! What the claims of a JWT allow, by the configuration.
//!
//! An issuer's token may be meant for others too, so what means nothing here is passed over. What no claim says and no
//! grant gives is not allowed: a token without destinations reads nothing, and one without sources sends nothing. An issuer
//! that is to be trusted with all says so, in the claim or in a grant: `*`.

use serde_json::Value;

use super::caller::{Endpoints, Grants};
use super::config::{AuthError, GrantConfig, JwtConfig};
use super::scope::{self, Scope};

/// Claims to grants.
#[derive(Debug)]
pub struct ClaimMap {
    scopes: Vec<String>,
    destinations: Option<String>,
    sources: Option<String>,
    grants: Vec<Grant>,
}

#[derive(Debug)]
struct Grant {
    claim: String,
    value: String,
    gives: Grants,
}

impl ClaimMap {
    /// # Errors
    /// [`AuthError::Grant`] names the grant that gives what there is not.
    pub fn new(config: &JwtConfig) -> Result<Self, AuthError> {
        Ok(Self {
            scopes: config.scopes_claims.clone(),
            destinations: config.destinations_claim.clone(),
            sources: config.sources_claim.clone(),
            grants: config.grants.iter().map(grant).collect::<Result<_, _>>()?,
        })
    }

    /// What a token with these claims may do.
    #[must_use]
    pub fn grants(&self, claims: &Value) -> Grants {
        let endpoints = |claim: &Option<String>| {
            let words = claim.as_ref().map(|name| words(find(claims, name))).unwrap_or_default();
            Endpoints::of(words)
        };
        let scopes = self.scopes.iter().flat_map(|name| words(find(claims, name)));
        let mut all = Grants {
            scopes: scopes.filter_map(|scope| scope.parse::<Scope>().ok()).collect(),
            destinations: endpoints(&self.destinations),
            sources: endpoints(&self.sources),
        };
        for Grant { gives, .. } in self.grants.iter().filter(|grant| grant.is_for(claims)) {
            all.scopes.extend(gives.scopes.iter().cloned());
            all.destinations.extend(&gives.destinations);
            all.sources.extend(&gives.sources);
        }
        all
    }
}

impl Grant {
    fn is_for(&self, claims: &Value) -> bool {
        let claim = find(claims, &self.claim);
        claim == self.value.as_str() || words(claim).contains(&self.value.as_str())
    }
}

fn grant(config: &GrantConfig) -> Result<Grant, AuthError> {
    let GrantConfig { claim, value, scopes, destinations, sources } = config;
    let fault = |reason: String| AuthError::Grant { claim: claim.clone(), value: value.clone(), reason };
    let scopes = scope::parse(scopes).map_err(|bad| fault(bad.to_string()))?;
    let endpoints = |list: &[String]| Endpoints::of(list.iter().map(String::as_str));
    let gives = Grants { scopes, destinations: endpoints(destinations), sources: endpoints(sources) };
    Ok(Grant { claim: claim.clone(), value: value.clone(), gives })
}

fn find<'c>(claims: &'c Value, name: &str) -> &'c Value {
    // Names of claims may be URLs, which do not begin with a slash.
    let found = if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) };
    found.unwrap_or(&Value::Null)
}

/// A claim as a list: OAuth2 writes lists as words in one text too (RFC 6749, 3.3).
fn words(claim: &Value) -> Vec<&str> {
    match claim {
        Value::String(text) => text.split_whitespace().collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(more: &Value) -> ClaimMap {
        let mut config = json!({"keys": "k", "issuer": "i", "audience": "a"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ClaimMap::new(&serde_json::from_value(config).unwrap()).unwrap()
    }

    fn scopes(all: &[&str]) -> Vec<Scope> {
        all.iter().map(|scope| scope.parse().unwrap()).collect()
    }

    #[test]
    fn without_a_mapping_or_a_claim_a_token_reads_and_sends_nothing() {
        let claims = json!({"scope": "openid system/*.read process-message", "destinations": ["urn:a"], "to": 7});
        for map in [map(&json!({})), map(&json!({"destinations_claim": "to", "sources_claim": "absent"}))] {
            let granted = map.grants(&claims);
            assert_eq!(granted.scopes, scopes(&["system/*.read", "process-message"]));
            assert_eq!((granted.destinations, granted.sources), (Endpoints::default(), Endpoints::default()));
        }
    }

    #[test]
    fn claims_hold_endpoints_as_a_list_or_as_words() {
        let map =
            map(&json!({"destinations_claim": "https://x/to", "sources_claim": "/own/from", "scopes_claims": ["s"]}));
        let claims = json!({"https://x/to": "urn:a urn:b", "own": {"from": ["*"]}, "s": ["publish"], "scope": "admin"});
        let granted = map.grants(&claims);
        assert_eq!(granted.destinations, Endpoints::of(["urn:a", "urn:b"]));
        assert_eq!((granted.sources, granted.scopes), (Endpoints::All, scopes(&["publish"])));
    }

    #[test]
    fn a_grant_goes_to_those_whose_claim_has_its_value() {
        let map = map(&json!({"grants": [
            {"claim": "/realm/roles", "value": "lab", "scopes": ["system/Bundle.read"], "destinations": ["urn:lab"]},
            {"claim": "sub", "value": "two words", "destinations": ["*"], "sources": ["urn:his"]},
        ]}));
        let lab = map.grants(&json!({"realm": {"roles": ["x", "lab"]}, "sub": "two"}));
        assert_eq!((lab.destinations, lab.scopes), (Endpoints::of(["urn:lab"]), scopes(&["system/Bundle.read"])));
        let his = map.grants(&json!({"sub": "two words"}));
        assert_eq!((his.destinations, his.sources), (Endpoints::All, Endpoints::of(["urn:his"])));
    }

    #[test]
    fn a_grant_of_what_there_is_not_is_refused_at_the_start() {
        let config = json!({"keys": "k", "issuer": "i", "audience": "a",
            "grants": [{"claim": "sub", "value": "x", "scopes": ["everything"]}]});
        let fault = ClaimMap::new(&serde_json::from_value(config).unwrap()).unwrap_err().to_string();
        assert!(fault.contains("sub = 'x'") && fault.contains("everything"), "{fault}");
    }
}
