//! What a controller is told, and what is hidden from it.

use super::*;
use crate::http::secrets::NoSecrets;
use magic_contract::{ErrorCode, Host};
use serde_json::{Value, json};

/// Hides the word `hunter2` and expands nothing.
struct OneSecret;

impl HeaderSecrets for OneSecret {
    fn expand(&self, value: &str, _: &Host, _: u16, _: bool) -> Result<String, Failure> {
        Ok(value.to_owned())
    }

    fn mask(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = String::from_utf8_lossy(bytes);
        text.contains("hunter2")
            .then(|| text.replace("hunter2", "[secret KEY]").into_bytes())
    }
}

fn tell(url: &str, body: &[u8], secrets: &dyn HeaderSecrets) -> Result<Value, Failure> {
    let mut headers = HeaderMap::new();
    headers.append("x-a", "hunter2".parse().unwrap());
    headers.append(
        "x-a",
        hyper::header::HeaderValue::from_bytes(b"\xfc").unwrap(),
    );
    let limits = EgressLimits {
        response_bytes: 8192,
        ..EgressLimits::default()
    };
    let target = EgressTarget::parse(url).unwrap();
    let told = told(
        &target,
        StatusCode::OK,
        &headers,
        body.to_vec(),
        1,
        secrets,
        &limits,
    )?;
    Ok(serde_json::from_str(&told).unwrap())
}

/// Text as text, bytes as base64, and text that JSON would blow up as base64 too.
#[test]
fn bodies_are_told_in_the_shorter_form() {
    let told = tell("https://a.example/x", "grüße".as_bytes(), &NoSecrets).unwrap();
    assert_eq!(
        told,
        json!({"status": 200, "url": "https://a.example/x",
               "headers": [["x-a", "hunter2"], ["x-a", "ü"]], "body": "grüße", "redirects": 1})
    );
    let told = tell("https://a.example/", b"\xff\xfe", &NoSecrets).unwrap();
    assert_eq!(
        (&told["body"], &told["body_base64"]),
        (&Value::Null, &json!("//4="))
    );
    let told = tell("https://a.example/", &[1; 4096], &NoSecrets).unwrap();
    assert_eq!(told["body"], Value::Null);
    assert!(told.to_string().len() < 4096 * 3 / 2);
}

/// A secret that comes back is hidden in headers, body and URL.
#[test]
fn echoed_secrets_are_hidden() {
    let told = tell("https://a.example/?k=hunter2", b"it is hunter2", &OneSecret).unwrap();
    assert!(!told.to_string().contains("hunter2"), "{told}");
    assert_eq!(told["body"], "it is [secret KEY]");
    assert_eq!(told["headers"][0][1], "[secret KEY]");
}

/// Hiding may lengthen a body, which is bounded again.
#[test]
fn hiding_does_not_break_the_limit() {
    let echo = "hunter2".repeat(1000);
    let failure = tell("https://a.example/", echo.as_bytes(), &OneSecret).unwrap_err();
    assert_eq!(failure.code, ErrorCode::BudgetExceeded);
    assert!(tell("https://a.example/", echo.as_bytes(), &NoSecrets).is_ok());
}
