//! A JSON Web Key Set, and signatures by its keys.
//!
//! The algorithm is chosen by the key, never by the token alone: a token that asks for `none`, or for a symmetric
//! algorithm with a public key as the secret, finds no key that does that.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;

/// The keys that can verify here. Others in the set (symmetric, encryption) are passed over.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The `alg` that the set allows for it; by its type where the set says nothing.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why a text is no key set that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKeySet {
    #[error("this is no JSON")]
    Json,
    #[error("a key set has a list 'keys' (RFC 7517)")]
    NoList,
    #[error("none of the keys is an RSA, P-256, P-384 or Ed25519 key for signatures")]
    NoKey,
}

impl KeySet {
    /// # Errors
    /// [`BadKeySet`] says why there is no usable key.
    pub fn parse(text: &str) -> Result<Self, BadKeySet> {
        let set: Value = serde_json::from_str(text).map_err(|_| BadKeySet::Json)?;
        let items = set["keys"].as_array().ok_or(BadKeySet::NoList)?;
        let keys: Vec<Key> = items.iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err(BadKeySet::NoKey);
        }
        Ok(Self { keys })
    }

    #[cfg(test)]
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    #[must_use]
    pub fn verifies(&self, id: Option<&str>, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let candidates = self.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id);
        let allowed = candidates.filter(|key| key.algorithm.as_deref().is_none_or(|own| own == algorithm));
        allowed.into_iter().any(|key| key.material.verifies(algorithm, message, signature))
    }
}

fn key(item: &Value) -> Option<Key> {
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(item[name].as_str()?).ok();
    // Uncompressed form, as ring takes it.
    let point = || Some([&[4][..], &bytes("x")?, &bytes("y")?].concat());
    let material = match (item["kty"].as_str()?, item["crv"].as_str()) {
        ("RSA", _) => Material::Rsa { n: bytes("n")?, e: bytes("e")? },
        ("EC", Some("P-256")) => Material::P256(point()?),
        ("EC", Some("P-384")) => Material::P384(point()?),
        ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x")?),
        _ => return None,
    };
    let text = |name: &str| item[name].as_str().map(str::to_owned);
    (item["use"].as_str() != Some("enc")).then(|| Key { id: text("kid"), algorithm: text("alg"), material })
}

impl Material {
    fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Rsa { n, e }, algorithm) => rsa(algorithm)
                .is_some_and(|rules| RsaPublicKeyComponents { n, e }.verify(rules, message, signature).is_ok()),
            (Self::P256(point), "ES256") => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Self::P384(point), "ES384") => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
            }
            (Self::Ed25519(key), "EdDSA") => {
                UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    match algorithm {
        "RS256" => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        "RS384" => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        "RS512" => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        "PS256" => Some(&signature::RSA_PSS_2048_8192_SHA256),
        "PS384" => Some(&signature::RSA_PSS_2048_8192_SHA384),
        "PS512" => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_without_usable_keys_is_refused() {
        for text in ["", "{}", r#"{"keys": []}"#, r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#] {
            assert!(KeySet::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_rsa_signature_of_rfc_7515_is_verified_and_a_changed_message_is_not() {
        // RFC 7515 appendix A.2.
        let set = r#"{"keys": [{"kty": "RSA", "kid": "a2", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}]}"#;
        let keys = KeySet::parse(set).unwrap();
        let signed = b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(keys.verifies(None, "RS256", signed, &signature));
        assert!(keys.verifies(Some("a2"), "RS256", signed, &signature));
        assert!(!keys.verifies(Some("other"), "RS256", signed, &signature));
        assert!(!keys.verifies(None, "PS256", signed, &signature));
        assert!(!keys.verifies(None, "none", signed, &[]));
        assert!(!keys.verifies(None, "HS256", signed, &signature));
        assert!(!keys.verifies(None, "RS256", &signed[1..], &signature));
    }
}
