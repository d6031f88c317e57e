//! The signatures of tokens, verified by ring.
//!
//! `jsonwebtoken` comes without cryptography of its own here. This file gives it the one library that TLS uses already, and less
//! than it could have: four algorithms, verification alone, and no key for an algorithm of another family.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring the library of this process's tokens. Must come before the first token; more than once does no harm.
pub(super) fn install() {
    // It fails only where it has been done.
    let _ = PROVIDER.install_default();
}

/// Tokens are only ever read here.
fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let kind = match (algorithm, key.kind()) {
        // A public key is no secret: its family keeps it out of here.
        _ if key.family() != algorithm.family() => {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
            Kind::Secret(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret))
        }
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            Kind::Rsa(RsaPublicKeyComponents {
                n: n.clone(),
                e: e.clone(),
            })
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
            Kind::Point(&ECDSA_P256_SHA256_FIXED, point.clone())
        }
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
            Kind::Point(&ED25519, point.clone())
        }
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        kind,
    }))
}

struct RingVerifier {
    algorithm: Algorithm,
    kind: Kind,
}

enum Kind {
    Secret(ring::hmac::Key),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    Point(&'static dyn VerificationAlgorithm, Vec<u8>),
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match &self.kind {
            // In constant time.
            Kind::Secret(key) => ring::hmac::verify(key, message, signature),
            Kind::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Kind::Point(algorithm, point) => {
                UnparsedPublicKey::new(*algorithm, point).verify(message, signature)
            }
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
