//! OAuth2 access tokens as JWTs (RFC 9068 without its media type): signature, issuer, audience, times, scopes.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::Value;

use super::caller::{Caller, Denied};
use super::config::{AuthError, JwtConfig};
use super::keys::KeySet;
use super::scope::Scope;
use crate::log_throttle::{LogThrottle, throttled};

/// How far clocks may disagree, seconds.
const LEEWAY: i64 = 60;
/// The key file is read again at most this often: anyone can send a token that names an unknown key.
const REREAD: Duration = Duration::from_secs(10);

static UNREAD: LogThrottle = LogThrottle::minutely();

/// One issuer of tokens.
pub struct Issuer {
    path: PathBuf,
    issuer: String,
    audience: String,
    keys: Mutex<(KeySet, Instant)>,
}

impl Issuer {
    /// # Errors
    /// When the key set cannot be read.
    pub fn new(config: &JwtConfig) -> Result<Self, AuthError> {
        let fault = |reason| AuthError::Keys { path: config.keys.clone(), reason };
        let keys = read(&config.keys).map_err(fault)?;
        Ok(Self {
            path: config.keys.clone(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            keys: Mutex::new((keys, Instant::now())),
        })
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
        if !self.verifies(header["kid"].as_str(), algorithm, signed.as_bytes(), &signature) {
            return Err(Denied::BadToken("its signature is by none of the keys"));
        }
        self.check(&claims, now.as_second())?;
        let name = claims["client_id"].as_str().or_else(|| claims["sub"].as_str()).unwrap_or("jwt");
        Ok(Caller::new(name, scopes(&claims), None))
    }

    fn verifies(&self, id: Option<&str>, algorithm: &str, signed: &[u8], signature: &[u8]) -> bool {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.0.has(id) && keys.1.elapsed() >= REREAD {
            keys.1 = Instant::now();
            match read(&self.path) {
                Ok(fresh) => keys.0 = fresh,
                Err(reason) => throttled!(warn, UNREAD, %reason, "the key set could not be read again"),
            }
        }
        keys.0.verifies(id, algorithm, signed, signature)
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

fn read(path: &PathBuf) -> Result<KeySet, String> {
    KeySet::parse(&std::fs::read_to_string(path).map_err(|error| error.to_string())?)
}

fn object(part: &str) -> Result<Value, Denied> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok();
    let value = bytes.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()).filter(Value::is_object);
    value.ok_or(Denied::BadToken("it is no JWT"))
}

/// Scopes that mean nothing here are passed over: the token may be for others too.
fn scopes(claims: &Value) -> Vec<Scope> {
    let listed = |claim: &Value| -> Vec<String> {
        match claim {
            Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
            Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        }
    };
    let all = listed(&claims["scope"]).into_iter().chain(listed(&claims["scp"]));
    all.filter_map(|scope| scope.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;
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
        Issuer::new(&JwtConfig { keys: path, issuer: "https://as".into(), audience: "https://mailbox".into() }).unwrap()
    }

    fn claims() -> Value {
        json!({"iss": "https://as", "aud": ["https://mailbox", "x"], "exp": 2000, "sub": "his", "scope": "openid system/Patient.read"})
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
