//! OAuth2 access tokens as JWTs (RFC 9068 without its media type): signature, issuer, audience, times, scopes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::Value;

use super::caller::{Caller, Denied};
use super::claims::ClaimMap;
use super::config::{AuthError, JwtConfig};
use super::key_file::KeyFile;

/// How far clocks may disagree, seconds.
const LEEWAY: i64 = 60;

/// One issuer of tokens.
pub struct Issuer {
    issuer: String,
    audience: String,
    claims: ClaimMap,
    keys: KeyFile,
}

impl Issuer {
    /// # Errors
    /// When the key set cannot be read.
    pub fn new(config: &JwtConfig) -> Result<Self, AuthError> {
        let fault = |reason| AuthError::Keys { path: config.keys.clone(), reason };
        let keys = KeyFile::open(&config.keys).map_err(fault)?;
        let (issuer, audience) = (config.issuer.clone(), config.audience.clone());
        Ok(Self { issuer, audience, claims: ClaimMap::new(config)?, keys })
    }

    /// What is wrong with the key set now.
    pub fn fault(&self) -> Option<String> {
        self.keys.fault()
    }

    /// Whom a token names, if it is valid at `now`.
    ///
    /// # Errors
    /// [`Denied::BadToken`] with the reason.
    pub fn caller(&self, token: &str, now: Timestamp) -> Result<Caller, Denied> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Denied::BadToken("it is no JWT"))?;
        let (header, claims) = signed.split_once('.').ok_or(Denied::BadToken("it is no JWT"))?;
        let (header, claims) = (object(header)?, object(claims)?);
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Denied::BadToken("it is no JWT"))?;
        if header.get("crit").is_some() {
            return Err(Denied::BadToken("it demands an extension (crit) that is not known here"));
        }
        let algorithm = header["alg"].as_str().unwrap_or_default();
        if !self.keys.keys().verifies(header["kid"].as_str(), algorithm, signed.as_bytes(), &signature) {
            return Err(Denied::BadToken("its signature is by none of the keys"));
        }
        self.check(&claims, now.as_second())?;
        let name = claims["client_id"].as_str().or_else(|| claims["sub"].as_str()).unwrap_or("jwt");
        Ok(Caller::new(name, self.claims.grants(&claims)))
    }

    fn check(&self, claims: &Value, now: i64) -> Result<(), Denied> {
        let meant_for = match &claims["aud"] {
            Value::String(one) => *one == self.audience,
            Value::Array(all) => all.iter().any(|one| *one == self.audience),
            _ => false,
        };
        if claims["iss"] != self.issuer {
            return Err(Denied::BadToken("it is of another issuer"));
        }
        if !meant_for {
            return Err(Denied::BadToken("it is for another audience"));
        }
        // A NumericDate may have a fraction.
        let time = |name: &str| claims[name].as_f64().map(|seconds| seconds as i64);
        match time("exp") {
            None => return Err(Denied::BadToken("it does not say when it expires")),
            Some(expires) if expires + LEEWAY <= now => return Err(Denied::BadToken("it has expired")),
            Some(_) => {}
        }
        if time("nbf").is_some_and(|start| start - LEEWAY > now) {
            return Err(Denied::BadToken("it is not valid yet"));
        }
        Ok(())
    }
}

fn object(part: &str) -> Result<Value, Denied> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok();
    let value = bytes.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()).filter(Value::is_object);
    value.ok_or(Denied::BadToken("it is no JWT"))
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;
    use crate::http::auth::Endpoints;
    use crate::http::auth::scope::Need;

    struct Signer {
        pair: EcdsaKeyPair,
        random: SystemRandom,
    }

    impl Signer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap();
            Self { pair, random }
        }

        fn jwk(&self, id: &str) -> Value {
            let point = self.pair.public_key().as_ref();
            let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
            json!({"kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y})
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", part(header), part(claims));
            let signature = self.pair.sign(&self.random, signed.as_bytes()).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
        }
    }

    fn issuer(folder: &tempfile::TempDir, keys: &[Value]) -> Issuer {
        let path = folder.path().join("keys.json");
        std::fs::write(&path, json!({"keys": keys}).to_string()).unwrap();
        let text =
            r#"{"keys": "", "issuer": "https://as", "audience": "https://mailbox", "destinations_claim": "for"}"#;
        Issuer::new(&JwtConfig { keys: path, ..serde_json::from_str(text).unwrap() }).unwrap()
    }

    fn claims() -> Value {
        json!({"iss": "https://as", "aud": ["https://mailbox", "x"], "exp": 2000, "sub": "his", "for": "*",
            "scope": "openid system/Patient.read"})
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_good_token_names_its_caller_and_scopes() {
        let (folder, signer) = (tempfile::tempdir().unwrap(), Signer::new());
        let issuer = issuer(&folder, &[signer.jwk("k1")]);
        let caller = issuer.caller(&signer.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims()), at(1000)).unwrap();
        assert_eq!(caller.name, "his");
        assert!(caller.may(&Need::Read("Patient".into())).is_ok());
        assert!(caller.may(&Need::ProcessMessage).is_err());
    }

    #[test]
    fn a_token_reads_the_messages_of_the_destinations_that_it_claims_and_nothing_more() {
        let (folder, signer) = (tempfile::tempdir().unwrap(), Signer::new());
        let issuer = issuer(&folder, &[signer.jwk("k1")]);
        let caller = |change: Value| {
            let mut claims = claims();
            claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            issuer.caller(&signer.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims), at(1000)).unwrap()
        };
        let one = caller(json!({"scope": "system/*.read", "for": ["urn:a"]}));
        assert_eq!(one.retrieves(), Ok(&Endpoints::of(["urn:a"])));
        assert!(one.may(&Need::Read("Patient".into())).is_err());
        let silent = caller(json!({"scope": "system/*.read process-message", "for": null}));
        assert_eq!(silent.retrieves(), Ok(&Endpoints::default()));
        assert!(silent.may_send_as("urn:a").is_err());
    }

    #[test]
    fn a_token_that_is_not_right_in_one_thing_is_refused() {
        let (folder, signer) = (tempfile::tempdir().unwrap(), Signer::new());
        let issuer = issuer(&folder, &[signer.jwk("k1")]);
        let header = json!({"alg": "ES256", "kid": "k1"});
        for (change, told) in [
            (json!({"iss": "https://other"}), "issuer"),
            (json!({"aud": "x"}), "audience"),
            (json!({"exp": 900}), "expired"),
            (json!({"exp": null}), "expires"),
            (json!({"nbf": 1100}), "not valid yet"),
        ] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let fault = issuer.caller(&signer.sign(&header, &claims), at(1000)).unwrap_err().to_string();
            assert!(fault.contains(told), "{fault}");
        }
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "HS256"}),
            json!({"alg": "ES256", "kid": "k2"}),
            json!({"alg": "ES256", "crit": ["b64"]}),
        ] {
            assert!(issuer.caller(&signer.sign(&header, &claims()), at(1000)).is_err(), "{header}");
        }
        assert!(issuer.caller(&Signer::new().sign(&header, &claims()), at(1000)).is_err());
        for text in ["", "a.b", "a.b.c", "...."] {
            assert!(issuer.caller(text, at(1000)).is_err(), "{text}");
        }
    }
}
