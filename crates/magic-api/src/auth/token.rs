//! Bearer tokens: JWTs signed by a shared secret (HS256), or by an issuer whose public keys we know (RS256, ES256, EdDSA).
//!
//! A token says itself how it wants to be verified, which is the root of most that went wrong with them. So it is read twice.
//! First by ourselves, strictly and without believing anything: three parts, small, plain base64url, JSON objects without a member
//! twice, an algorithm from a short list, no critical extension. That decides which *one* key it may be signed with: HS256 means the
//! secret and nothing else, the others mean a key of the set that is pinned to that algorithm. Then `jsonwebtoken` verifies
//! signature, times, audience and issuer with that key and that algorithm alone. Only then are the claims looked at.
//!
//! Clocks may differ by [`LEEWAY`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use magic_contract::{JsonLimits, read_json};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::caller::{Caller, Scope};
use super::failure::AuthFailure;
use super::key_set::{IssuerKeys, KeySet};
use super::role::Roles;
use super::signatures;

/// By how many seconds our clock and the issuer's may differ, for `exp` and `nbf`.
pub const LEEWAY: u64 = 60;

/// The parts of a token are small documents.
const LIMITS: JsonLimits = JsonLimits {
    bytes: super::credentials::LONGEST,
    depth: 8,
    values: 512,
};

/// What tokens must say beside being signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenRules {
    /// One of the audiences that the token is for. Without one, `aud` is not looked at.
    pub audience: Option<String>,
    /// Who issued it. Without one, `iss` is not looked at.
    pub issuer: Option<String>,
}

/// Verifies tokens.
#[derive(Debug)]
pub struct TokenVerifier {
    secret: Option<DecodingKey>,
    issuer_keys: Option<IssuerKeys>,
    rules: TokenRules,
}

/// What a token says of itself, before anything of it is believed.
struct Unverified<'a> {
    token: &'a str,
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Map<String, Value>,
}

impl TokenVerifier {
    /// A verifier for tokens of a secret, of an issuer, or of both.
    #[must_use]
    pub fn new(
        secret: Option<&Zeroizing<String>>,
        issuer_keys: Option<IssuerKeys>,
        rules: TokenRules,
    ) -> Self {
        signatures::install();
        Self {
            secret: secret.map(|secret| DecodingKey::from_secret(secret.as_bytes())),
            issuer_keys,
            rules,
        }
    }

    /// The caller that a token names.
    ///
    /// # Errors
    /// [`AuthFailure::WrongToken`] or [`AuthFailure::ExpiredToken`].
    pub(crate) async fn verify(&self, token: &str) -> Result<Caller, AuthFailure> {
        let unverified = Unverified::read(token)?;
        if unverified.algorithm == Algorithm::HS256 {
            let secret = self.secret.as_ref();
            let key = secret.ok_or(wrong("no secret for HS256 is configured"))?;
            return self.judge(&unverified, key);
        }
        let keys = self.issuer_keys.as_ref();
        let keys = keys.ok_or(wrong("no key set for its algorithm is configured"))?;
        let set = keys.current();
        if let Some(key) = unverified.key_in(&set) {
            return self.judge(&unverified, &key.key);
        }
        // Perhaps the issuer has a new key since.
        keys.refresh().await;
        let set = keys.current();
        let key = unverified.key_in(&set);
        let key = key.ok_or(wrong("it is signed with a key that is not in the key set"))?;
        self.judge(&unverified, &key.key)
    }

    fn judge(&self, token: &Unverified<'_>, key: &DecodingKey) -> Result<Caller, AuthFailure> {
        let validation = self.validation(token.algorithm);
        jsonwebtoken::decode::<IgnoredAny>(token.token, key, &validation)
            .map_err(|error| explained(&error))?;
        caller(&token.claims)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.validate_aud = self.rules.audience.is_some();
        let mut required = vec!["exp", "sub"];
        if let Some(audience) = &self.rules.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = &self.rules.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

impl<'a> Unverified<'a> {
    /// Reads a token without believing it.
    fn read(token: &'a str) -> Result<Self, AuthFailure> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong("it does not have three parts"));
        };
        let mut header = object(header)?;
        let claims = object(claims)?;
        if signature.is_empty() {
            return Err(wrong("it is not signed"));
        }
        let algorithm = match header.get("alg").and_then(Value::as_str) {
            Some("HS256") => Algorithm::HS256,
            Some("RS256") => Algorithm::RS256,
            Some("ES256") => Algorithm::ES256,
            Some("EdDSA") => Algorithm::EdDSA,
            _ => {
                return Err(wrong("its algorithm is none of HS256, RS256, ES256, EdDSA"));
            }
        };
        // Extensions that a reader must understand (RFC 7515, section 4.1.11): we understand none.
        if ["crit", "enc", "zip"]
            .iter()
            .any(|name| header.contains_key(*name))
        {
            return Err(wrong("it uses an extension that is not supported"));
        }
        let typed = header.get("typ").is_none_or(|kind| {
            kind.as_str().is_some_and(|kind| {
                kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("at+jwt")
            })
        });
        if !typed {
            return Err(wrong("its type is neither JWT nor at+jwt"));
        }
        let key_id = match header.remove("kid") {
            None => None,
            Some(Value::String(id)) => Some(id),
            Some(_) => return Err(wrong("its key id is not text")),
        };
        Ok(Self {
            token,
            algorithm,
            key_id,
            claims,
        })
    }

    fn key_in<'k>(&self, set: &'k KeySet) -> Option<&'k super::key_set::IssuerKey> {
        set.candidate(self.algorithm, self.key_id.as_deref())
    }
}

/// One part: unpadded base64url of a JSON object.
fn object(part: &str) -> Result<Map<String, Value>, AuthFailure> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| wrong("a part is not base64url"))?;
    match read_json(&bytes, LIMITS) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(wrong(
            "a part is not a JSON object in which each member stands once",
        )),
    }
}

/// The caller that verified claims name.
fn caller(claims: &Map<String, Value>) -> Result<Caller, AuthFailure> {
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or("");
    let roles = match (claims.get("roles"), claims.get("scope")) {
        (Some(roles), _) => Roles::among(
            words(roles)
                .ok_or(wrong("`roles` is not a list of words"))?
                .iter()
                .map(String::as_str),
        ),
        (None, Some(Value::String(scope))) => Roles::among(scope.split(' ')),
        (None, Some(_)) => return Err(wrong("`scope` is not text")),
        (None, None) => Roles::NONE,
    };
    let scope = match claims.get("controllers") {
        None => Scope::Everything,
        Some(names) => Scope::Only(
            words(names)
                .ok_or(wrong("`controllers` is not a list of names"))?
                .into(),
        ),
    };
    Caller::of_token(subject, roles, scope)
        .ok_or(wrong("`sub` is not a name that a token may have"))
}

fn words(value: &Value) -> Option<Vec<String>> {
    value
        .as_array()?
        .iter()
        .map(|word| word.as_str().map(str::to_owned))
        .collect()
}

fn wrong(why: &'static str) -> AuthFailure {
    AuthFailure::WrongToken(why)
}

fn explained(error: &Error) -> AuthFailure {
    match error.kind() {
        ErrorKind::ExpiredSignature => AuthFailure::ExpiredToken,
        ErrorKind::InvalidSignature => wrong("its signature is not valid"),
        ErrorKind::ImmatureSignature => wrong("its time has not come (nbf)"),
        ErrorKind::InvalidAudience => wrong("it is for another audience (aud)"),
        ErrorKind::InvalidIssuer => wrong("it is of another issuer (iss)"),
        ErrorKind::MissingRequiredClaim(_) => {
            wrong("a claim is missing or unreadable: exp, sub, and aud and iss where configured")
        }
        ErrorKind::InvalidClaimFormat(_) => wrong("a time is not a number of seconds"),
        _ => wrong("it cannot be verified"),
    }
}

#[cfg(test)]
mod tests;
