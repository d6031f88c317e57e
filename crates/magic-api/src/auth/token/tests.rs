//! Tokens as attackers send them, and the honest one beside each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::json;

use super::super::key_set::KeySetSource;
use super::*;

/// Our secret, and one that is not ours.
const SECRET: &str = "a secret of more than thirty-two characters";

/// A public RSA key of 2048 bits, one of 1024 bits, and a token of each; nobody has their private halves any more. The tokens are
/// Ada's, with the role `read`, until the year 2100.
const RSA_MODULUS: &str = "uaHlP8utXEL7RCQZAcImV79YEWMdHu_CaDWsveceCsj22pgDXdWf-Zy7kBodxIlZCu7fHTQ-g-2iHg1bqddUi4f0fARENW8aCnSxEqDZlNN9oyfpSRB_bmUoNW7ZWgMPzEsVnZeXl41IJIWqCEbaQ6cq-Zw2OsEeYTJptBD7JU42yNDU2vfTzk88hh61OfA5cJ82mfgvYOUKAG7NE6ht1SOi1tXKnBCKLQlsUkU6mS0XlcgYwnnJgdOXDe73svlySsL_ekRy6BTZAvzreSwQUUiWZxSttO0KTBL-zA-ACIWCadBrKBSIKsNSYCrhXDwWV_uTsBO-XzURIA0G_GRnWQ";
const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJzdWIiOiJhZGEiLCJleHAiOjQxMDI0NDQ4MDAsInJvbGVzIjpbInJlYWQiXX0.p23nuLpUsKBYiG_zrsBCMcnJZmbp0iqhbXWFpzlnUeJSkVryjHi0gZWEVfeyGo2qOC-K34DdC6dWZskPzcggNuqUCFVV1bf0fWFibBlHArhY3e9SSG37h2KcpNXTueIrpAZrXpNC6cMb6FwKACrBu7RYGn3PsRl4gRl-6dQoLc6RGsosJy9p5cMl_5Jp0964j5leWDSMd4UcTorutdLUHrULZlEWghm46hNhOS83E_Q_Z6tkiKYmbwTI7njd-oRScsuW6NSlw45mcpd41XWd-ApGujnMa5kopx20meOzA45EDWO6gVgECJcRVo7yG3F8PfCEsiEdV9I-os3HVEU5Cg";
const SHORT_MODULUS: &str = "qRoQCQ6H7VI-oGWNB_a0V7nnnfh2OO9pRzVmTK6-YFNSU_Vh5pp48iSQm-YdUEhmIHFbeMqAsC1pCy38otctgNiJqp3u1P0kWcMNoj9RzdTO680DxmYYxVmVkabSoT87GBQJX7Xdgbo7b-yIH8qd6Ir_WIJHsKLDEOaHJNH-trM";
const SHORT_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJzdWIiOiJhZGEiLCJleHAiOjQxMDI0NDQ4MDAsInJvbGVzIjpbInJlYWQiXX0.dTO6cLtfqG5j9_3Zod_dCKdUjNHuA5BM4ygddU1tVJib-9rvhfIFtn_UbXB-Kp8jFYSKyCuj8aEunJbNHbh2P2btV7xi8Ltc93exhWI8lelieZIOWOh_0VGSz2NF5rF1iao0lqaDvviketqHnQV9Mr2UOLFpzFDtARz5Xi4zzwc";

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn ada() -> Value {
    json!({"sub": "ada", "exp": now() + 600, "roles": ["execute", "read"]})
}

/// Header and claims as text, signed with our secret, whatever the header says.
fn hmac(header: &str, claims: &str) -> String {
    hmac_with(SECRET.as_bytes(), header, claims)
}

fn hmac_with(secret: &[u8], header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let signature = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", encoded(signature))
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn honest() -> String {
    hmac(HS256, &ada().to_string())
}

/// The issuer's private keys.
struct Issuer {
    curve: EcdsaKeyPair,
    edwards: Ed25519KeyPair,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let curve =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let edwards = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
        Self {
            curve: EcdsaKeyPair::from_pkcs8(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                curve.as_ref(),
                &random,
            )
            .expect("a key"),
            edwards: Ed25519KeyPair::from_pkcs8(edwards.as_ref()).expect("a key"),
        }
    }

    fn keys(&self) -> Vec<Value> {
        let point = self.curve.public_key().as_ref();
        vec![
            json!({"kty": "EC", "crv": "P-256", "kid": "curve", "use": "sig", "alg": "ES256",
                   "x": encoded(&point[1..33]), "y": encoded(&point[33..])}),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "edwards",
                   "x": encoded(self.edwards.public_key())}),
            json!({"kty": "RSA", "kid": "rsa", "n": RSA_MODULUS, "e": "AQAB"}),
        ]
    }

    fn es256(&self, key_id: &str, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": key_id});
        let message = format!(
            "{}.{}",
            encoded(header.to_string()),
            encoded(claims.to_string())
        );
        let signature = self.curve.sign(&SystemRandom::new(), message.as_bytes());
        format!("{message}.{}", encoded(signature.expect("it signs")))
    }

    fn eddsa(&self, key_id: &str, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "kid": key_id});
        let message = format!(
            "{}.{}",
            encoded(header.to_string()),
            encoded(claims.to_string())
        );
        format!(
            "{message}.{}",
            encoded(self.edwards.sign(message.as_bytes()))
        )
    }
}

/// A set that changes after the first fetch, and counts how often it was asked for.
#[derive(Debug)]
struct Sets {
    first: Value,
    later: Value,
    fetches: AtomicUsize,
}

impl KeySetSource for Sets {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        async {
            let set = match self.fetches.fetch_add(1, Ordering::Relaxed) {
                0 => &self.first,
                _ => &self.later,
            };
            Ok(set.to_string().into_bytes())
        }
        .boxed()
    }
}

async fn issuer_keys(keys: Vec<Value>) -> IssuerKeys {
    let set = json!({"keys": keys});
    let source = Sets {
        first: set.clone(),
        later: set,
        fetches: AtomicUsize::new(0),
    };
    IssuerKeys::open(Arc::new(source)).await.expect("a set")
}

fn by_secret(rules: TokenRules) -> TokenVerifier {
    TokenVerifier::new(Some(&Zeroizing::new(SECRET.to_owned())), None, rules)
}

/// An honest token of each algorithm is its subject.
#[tokio::test]
async fn honest_tokens_are_taken() {
    let issuer = Issuer::new();
    let keys = issuer_keys(issuer.keys()).await;
    let secret = Zeroizing::new(SECRET.to_owned());
    let verifier = TokenVerifier::new(Some(&secret), Some(keys), TokenRules::default());
    for (token, roles) in [
        (honest(), &["execute", "read"][..]),
        (issuer.es256("curve", &ada()), &["execute", "read"]),
        (issuer.eddsa("edwards", &ada()), &["execute", "read"]),
        (RSA_TOKEN.to_owned(), &["read"]),
    ] {
        let caller = verifier.verify(&token).await.expect("an honest token");
        assert_eq!(caller.subject(), "ada");
        assert_eq!(caller.roles().words().collect::<Vec<_>>(), roles);
        assert_eq!(*caller.scope(), Scope::Everything);
    }
}

/// What a header can say to be verified as something that it is not.
#[tokio::test]
async fn dishonest_headers_are_refused() {
    let issuer = Issuer::new();
    let secret = Zeroizing::new(SECRET.to_owned());
    let keys = issuer_keys(issuer.keys()).await;
    let verifier = TokenVerifier::new(Some(&secret), Some(keys), TokenRules::default());
    let claims = ada().to_string();
    let point = issuer.curve.public_key().as_ref().to_vec();
    let modulus = URL_SAFE_NO_PAD.decode(RSA_MODULUS).expect("base64url");
    let own_key =
        json!({"alg": "ES256", "jwk": issuer.keys()[0], "jku": "https://attacker.example"});
    let unsigned = |header: &str| format!("{}.{}.", encoded(header), encoded(&claims));
    let token = honest();
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let tokens = [
        ("none", unsigned(r#"{"alg":"none"}"#)),
        ("None", unsigned(r#"{"alg":"None"}"#)),
        ("none with a signature", hmac(r#"{"alg":"none"}"#, &claims)),
        ("no signature", unsigned(HS256)),
        ("no algorithm", hmac("{}", &claims)),
        (
            "a list of algorithms",
            hmac(r#"{"alg":["HS256"]}"#, &claims),
        ),
        ("small letters", hmac(r#"{"alg":"hs256"}"#, &claims)),
        ("another algorithm", hmac(r#"{"alg":"HS384"}"#, &claims)),
        (
            "a public key as the secret",
            hmac_with(&point, HS256, &claims),
        ),
        ("another as the secret", hmac_with(&modulus, HS256, &claims)),
        (
            "the text of a key as the secret",
            hmac_with(RSA_MODULUS.as_bytes(), HS256, &claims),
        ),
        ("no secret", hmac_with(b"", HS256, &claims)),
        (
            "the secret for a public algorithm",
            hmac(r#"{"alg":"ES256","kid":"curve"}"#, &claims),
        ),
        ("a key of another algorithm", issuer.es256("rsa", &ada())),
        ("a key of its own", hmac(&own_key.to_string(), &claims)),
        ("no key id where there are several", {
            let header = json!({"alg": "RS256"}).to_string();
            hmac(&header, &claims)
        }),
        (
            "a critical extension",
            hmac(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, &claims),
        ),
        (
            "no critical extension",
            hmac(r#"{"alg":"HS256","crit":[]}"#, &claims),
        ),
        (
            "encrypted",
            hmac(r#"{"alg":"HS256","enc":"A256GCM"}"#, &claims),
        ),
        (
            "compressed",
            hmac(r#"{"alg":"HS256","zip":"DEF"}"#, &claims),
        ),
        (
            "an algorithm twice",
            hmac(r#"{"alg":"none","alg":"HS256"}"#, &claims),
        ),
        (
            "another type",
            hmac(r#"{"alg":"HS256","typ":"dpop+jwt"}"#, &claims),
        ),
        (
            "a key id that is a number",
            hmac(r#"{"alg":"HS256","kid":1}"#, &claims),
        ),
        ("a header that is a list", hmac(r#"["HS256"]"#, &claims)),
        ("two parts", message.to_owned()),
        ("four parts", format!("{token}.{signature}")),
        ("a padded signature", format!("{token}=")),
        (
            "another alphabet",
            format!("{message}.{}", signature.replace(['-', '_'], "+")),
        ),
        ("a letter more", format!("{token}A")),
        ("nothing", "..".to_owned()),
    ];
    for (about, token) in tokens {
        // A signature without letters of the other alphabet is left as it is.
        if token == honest() {
            continue;
        }
        let refused = verifier.verify(&token).await;
        assert!(
            matches!(refused, Err(AuthFailure::WrongToken(_))),
            "{about}: {refused:?}"
        );
    }
}

/// What claims can leave out, or say twice.
#[tokio::test]
async fn dishonest_claims_are_refused() {
    let verifier = by_secret(TokenRules::default());
    let future = now() + 600;
    for (about, claims) in [
        ("no end", json!({"sub": "ada"}).to_string()),
        (
            "an end in words",
            json!({"sub": "ada", "exp": "never"}).to_string(),
        ),
        (
            "no end at all",
            json!({"sub": "ada", "exp": null}).to_string(),
        ),
        (
            "an end beyond numbers",
            r#"{"sub":"ada","exp":1e400}"#.to_owned(),
        ),
        (
            "an end before time",
            json!({"sub": "ada", "exp": -1}).to_string(),
        ),
        (
            "not yet",
            json!({"sub": "ada", "exp": future, "nbf": now() + 300}).to_string(),
        ),
        (
            "a beginning in words",
            json!({"sub": "ada", "exp": future, "nbf": "now"}).to_string(),
        ),
        ("nobody", json!({"exp": future}).to_string()),
        (
            "nobody by name",
            json!({"sub": "", "exp": future}).to_string(),
        ),
        ("a number", json!({"sub": 1, "exp": future}).to_string()),
        (
            "somebody else",
            json!({"sub": "key:0011223344556677", "exp": future}).to_string(),
        ),
        (
            "the administrator",
            json!({"sub": "magic:admin", "exp": future}).to_string(),
        ),
        (
            "a subject twice",
            format!(r#"{{"sub":"bob","sub":"ada","exp":{future}}}"#),
        ),
        (
            "an end twice",
            format!(r#"{{"sub":"ada","exp":1,"exp":{future}}}"#),
        ),
        (
            "roles twice",
            format!(r#"{{"sub":"ada","exp":{future},"roles":[],"roles":["admin"]}}"#),
        ),
        (
            "roles as text",
            json!({"sub": "ada", "exp": future, "roles": "admin"}).to_string(),
        ),
        (
            "roles of numbers",
            json!({"sub": "ada", "exp": future, "roles": [1]}).to_string(),
        ),
        (
            "a scope of lists",
            json!({"sub": "ada", "exp": future, "scope": ["admin"]}).to_string(),
        ),
        (
            "controllers as text",
            json!({"sub": "ada", "exp": future, "controllers": "*"}).to_string(),
        ),
        (
            "no controllers at all",
            json!({"sub": "ada", "exp": future, "controllers": null}).to_string(),
        ),
        ("a list", "[]".to_owned()),
        ("two documents", format!("{} {{}}", ada())),
    ] {
        let refused = verifier.verify(&hmac(HS256, &claims)).await;
        assert!(
            matches!(refused, Err(AuthFailure::WrongToken(_))),
            "{about}: {refused:?}"
        );
    }
    let deep = format!(
        r#"{{"sub":"ada","exp":{future},"x":{}1{}}}"#,
        "[".repeat(50),
        "]".repeat(50)
    );
    assert!(verifier.verify(&hmac(HS256, &deep)).await.is_err());
}

/// A token ends at its time, give or take the leeway, and says that it has ended only to who could sign it.
#[tokio::test]
async fn tokens_end() {
    let verifier = by_secret(TokenRules::default());
    let leeway = i64::try_from(LEEWAY).expect("a small number");
    let claims = |ends: i64| json!({"sub": "ada", "exp": ends}).to_string();
    let lately = hmac(HS256, &claims(now() - leeway / 2));
    verifier.verify(&lately).await.expect("within the leeway");
    let ended = claims(now() - leeway - 60);
    assert_eq!(
        verifier.verify(&hmac(HS256, &ended)).await,
        Err(AuthFailure::ExpiredToken)
    );
    let forged = hmac_with(b"another secret", HS256, &ended);
    assert!(matches!(
        verifier.verify(&forged).await,
        Err(AuthFailure::WrongToken(_))
    ));
    let early = json!({"sub": "ada", "exp": now() + 600, "nbf": now() + leeway / 2}).to_string();
    verifier
        .verify(&hmac(HS256, &early))
        .await
        .expect("within the leeway");
}

/// Audience and issuer are asked for where they are configured, and then must be there.
#[tokio::test]
async fn audience_and_issuer() {
    let verifier = by_secret(TokenRules {
        audience: Some("magic".to_owned()),
        issuer: Some("https://issuer.example".to_owned()),
    });
    for (audience, issuer, taken) in [
        (json!("magic"), json!("https://issuer.example"), true),
        (
            json!(["other", "magic"]),
            json!("https://issuer.example"),
            true,
        ),
        (json!("other"), json!("https://issuer.example"), false),
        (json!([]), json!("https://issuer.example"), false),
        (json!(null), json!("https://issuer.example"), false),
        (json!("magic"), json!("https://issuer.example/"), false),
        (json!("magic"), json!(null), false),
    ] {
        let mut claims = ada();
        claims["aud"] = audience;
        claims["iss"] = issuer;
        let found = verifier.verify(&hmac(HS256, &claims.to_string())).await;
        assert_eq!(found.is_ok(), taken, "{claims}: {found:?}");
    }
    // Members that are not there at all.
    assert!(verifier.verify(&honest()).await.is_err());
}

/// Roles and controllers become those of the caller; nothing is read into them.
#[tokio::test]
async fn what_claims_mean() {
    let verifier = by_secret(TokenRules::default());
    for (more, roles, scope) in [
        (json!({}), &[][..], Scope::Everything),
        (
            json!({"roles": ["deploy", "root"]}),
            &["deploy"],
            Scope::Everything,
        ),
        (
            json!({"scope": "openid read execute"}),
            &["execute", "read"],
            Scope::Everything,
        ),
        (
            json!({"roles": ["read"], "scope": "admin"}),
            &["read"],
            Scope::Everything,
        ),
        (
            json!({"controllers": ["Echo"]}),
            &[],
            Scope::Only(["Echo".to_owned()].into()),
        ),
        (json!({"controllers": []}), &[], Scope::Only([].into())),
    ] {
        let mut claims = json!({"sub": "ada", "exp": now() + 600});
        for (name, value) in more.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let caller = verifier
            .verify(&hmac(HS256, &claims.to_string()))
            .await
            .expect("a token");
        assert_eq!(
            caller.roles().words().collect::<Vec<_>>(),
            roles,
            "{claims}"
        );
        assert_eq!(*caller.scope(), scope, "{claims}");
    }
}

/// Without a secret or a set, tokens of that kind are refused.
#[tokio::test]
async fn what_is_not_configured_is_refused() {
    let issuer = Issuer::new();
    let only_secret = by_secret(TokenRules::default());
    assert!(
        only_secret
            .verify(&issuer.es256("curve", &ada()))
            .await
            .is_err()
    );
    let keys = issuer_keys(issuer.keys()).await;
    let only_keys = TokenVerifier::new(None, Some(keys), TokenRules::default());
    assert!(only_keys.verify(&honest()).await.is_err());
    only_keys
        .verify(&issuer.es256("curve", &ada()))
        .await
        .expect("a token");
}

/// Keys that are no use are left out; one of them does not spoil the set.
#[tokio::test]
async fn only_usable_keys_are_taken() {
    let issuer = Issuer::new();
    let mut keys = issuer.keys();
    keys.push(json!({"kty": "oct", "kid": "public secret", "k": encoded("guess me")}));
    keys.push(
        json!({"kty": "RSA", "kid": "for encryption", "use": "enc", "n": RSA_MODULUS, "e": "AQAB"}),
    );
    keys.push(json!({"kty": "RSA", "kid": "other", "alg": "RS512", "n": RSA_MODULUS, "e": "AQAB"}));
    keys.push(json!({"kty": "EC", "crv": "P-384", "kid": "large", "x": "AA", "y": "AA"}));
    keys.push(json!({"kty": "unheard of"}));
    keys.push(json!(7));
    let set = KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).expect("a set");
    let ids: Vec<_> = set
        .keys
        .iter()
        .filter_map(|key| key.id.as_deref())
        .collect();
    assert_eq!(ids, ["curve", "edwards", "rsa"]);
    for text in [
        "",
        "{}",
        r#"{"keys": []}"#,
        r#"{"keys": [{"kty": "oct", "k": "AA"}]}"#,
        "[1]",
    ] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
    // A short key is in the set, and no signature of it is taken.
    let short = json!({"kty": "RSA", "kid": "rsa", "n": SHORT_MODULUS, "e": "AQAB"});
    let verifier = TokenVerifier::new(
        None,
        Some(issuer_keys(vec![short]).await),
        TokenRules::default(),
    );
    assert!(verifier.verify(SHORT_TOKEN).await.is_err());
}

/// A key that is new is fetched when a token names it; names that are invented cause no more fetches than one in a while.
#[tokio::test(start_paused = true)]
async fn an_unknown_key_has_the_set_fetched_again() {
    let issuer = Issuer::new();
    let source = Arc::new(Sets {
        first: json!({"keys": [issuer.keys()[2]]}),
        later: json!({"keys": issuer.keys()}),
        fetches: AtomicUsize::new(0),
    });
    let keys = IssuerKeys::open(Arc::clone(&source) as Arc<dyn KeySetSource>)
        .await
        .expect("a set");
    let verifier = TokenVerifier::new(None, Some(keys), TokenRules::default());
    let token = issuer.es256("curve", &ada());
    assert!(
        verifier.verify(&token).await.is_err(),
        "it has just been fetched"
    );
    assert_eq!(source.fetches.load(Ordering::Relaxed), 1);
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    verifier
        .verify(&token)
        .await
        .expect("the set was fetched again");
    for invented in 0..100 {
        let token = issuer.es256(&format!("invented {invented}"), &ada());
        assert!(verifier.verify(&token).await.is_err());
    }
    assert_eq!(source.fetches.load(Ordering::Relaxed), 2);
}

mod any_text {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is sent as a token is refused without a panic.
        #[test]
        fn is_read_or_refused(token in "\\PC*|[-A-Za-z0-9_]*\\.[-A-Za-z0-9_]*\\.[-A-Za-z0-9_]*", header in "\\PC*", claims in "\\PC*") {
            let _ = Unverified::read(&token);
            let _ = Unverified::read(&format!("{}.{}.AA", encoded(header), encoded(claims)));
        }
    }
}
