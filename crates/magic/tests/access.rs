//! Who is let in: every route against every kind of credentials, over HTTP, and what stands around it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use magic_api::ROUTES;
use serde_json::{Value, json};

use crate::command::{magic, run};
use crate::folder::Folder;
use crate::http_client::{Answer, Call};
use crate::postgres::Postgres;
use crate::server::{DEADLINE, Server};

mod keys;
mod nodes;
mod rates;

const ADMIN_KEY: &str = "an-administrators-key-of-many-characters";
const SECRET: &str = "a-secret-for-tokens-that-is-long-enough";
const SERVE: &[&str] = &["serve", "--json", "--listen", "127.0.0.1:0"];

/// Every route, the roles that may use it beside `admin`, and a body. A new route fails the test below until it stands here.
const EXPECTED: &[(&str, &str, &[&str], &str)] = &[
    ("POST", "/api/execute/{controller}", &["execute"], "{}"),
    ("GET", "/api/controllers", &["read", "deploy"], ""),
    ("POST", "/api/controllers", &["deploy"], "{}"),
    (
        "GET",
        "/api/controllers/{controller}/versions",
        &["read", "deploy"],
        "",
    ),
    (
        "POST",
        "/api/controllers/{controller}/rollback",
        &["deploy"],
        "{}",
    ),
    (
        "POST",
        "/api/controllers/{controller}/canary",
        &["deploy"],
        "{}",
    ),
    ("DELETE", "/api/controllers/{controller}", &["deploy"], ""),
    (
        "GET",
        "/api/controllers/{controller}",
        &["read", "deploy"],
        "",
    ),
    (
        "GET",
        "/api/controllers/{controller}/logs",
        &["read", "deploy"],
        "",
    ),
    (
        "GET",
        "/api/executions/{request_id}",
        &["read", "deploy"],
        "",
    ),
    ("GET", "/api/nodes", &["read", "deploy"], ""),
    ("GET", "/api/policy", &["read", "deploy"], ""),
    ("POST", "/api/policy/explain", &["read", "deploy"], "{}"),
    ("GET", "/api/audit", &[], ""),
    ("GET", "/api/keys", &[], ""),
    ("POST", "/api/keys", &[], "{}"),
    ("DELETE", "/api/keys/{id}", &[], ""),
    ("GET", "/api/self-test", &[], ""),
    ("GET", "/metrics", &["read", "deploy"], ""),
    ("GET", "/openapi.json", &["read", "deploy"], ""),
    ("GET", "/api/health", PUBLIC, ""),
    ("GET", "/api/readyz", PUBLIC, ""),
];
const PUBLIC: &[&str] = &["public"];

const ROLES: [&str; 4] = ["execute", "read", "deploy", "admin"];

fn served(settings: &str, environment: &[(&str, &str)]) -> (Folder, Server) {
    let folder = Folder::new();
    folder.echo();
    folder.write("magic.toml", settings);
    let server = Server::start_with(&folder, SERVE, environment);
    (folder, server)
}

fn with_key(call: Call, key: &str) -> Call {
    call.header("X-API-Key", key)
}

/// Makes a key and gives its text and id.
fn make_key(server: &Server, description: &Value) -> (String, String) {
    let call = with_key(Call::post("/api/keys", &description.to_string()), ADMIN_KEY);
    let answer = server.call(&call);
    assert_eq!(answer.status, 201, "{}", answer.json());
    let text = |member: &str| answer.json()[member].as_str().expect("text").to_owned();
    (text("key"), text("id"))
}

fn token_with(secret: &str, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn token(claims: &Value) -> String {
    token_with(SECRET, &json!({"alg": "HS256"}), claims)
}

fn in_an_hour() -> i64 {
    jiff::Timestamp::now().as_second() + 3600
}

/// Credentials of one kind: what they are, the header, and what must come of them.
struct Credentials {
    about: String,
    header: Option<(&'static str, String)>,
    means: Means,
}

enum Means {
    /// Refused with this code wherever credentials are asked for.
    Refused(&'static str),
    /// A caller with this role, bound to a controller that is not the one asked for or not bound.
    Caller { role: &'static str, bound: bool },
}

fn refused(about: &str, header: Option<(&'static str, String)>, code: &'static str) -> Credentials {
    Credentials {
        about: about.to_owned(),
        header,
        means: Means::Refused(code),
    }
}

fn every_kind(server: &Server) -> Vec<Credentials> {
    let key = |key: &str| Some(("X-API-Key", key.to_owned()));
    let bearer = |token: &str| Some(("Authorization", format!("Bearer {token}")));
    let (revoked, id) = make_key(server, &json!({"name": "revoked", "roles": ["admin"]}));
    let call = with_key(Call::new("DELETE", &format!("/api/keys/{id}")), ADMIN_KEY);
    assert_eq!(server.call(&call).status, 200);
    let short = json!({"name": "short", "roles": ["admin"], "expires_in": "1ms"});
    let (expired, _) = make_key(server, &short);
    let (good, _) = make_key(server, &json!({"name": "good", "roles": ["admin"]}));
    let other = if good.ends_with('A') { "E" } else { "A" };
    let wrong = format!("{}{other}", &good[..good.len() - 1]);
    let admin = json!({"sub": "ada", "exp": in_an_hour(), "roles": ["admin"]});
    let ended = json!({"sub": "ada", "exp": 1, "roles": ["admin"]});
    let endless = json!({"sub": "ada", "roles": ["admin"]});
    let unsigned = token_with(SECRET, &json!({"alg": "none"}), &admin);
    let mut kinds = vec![
        refused("nothing", None, "E5001"),
        refused("a wrong key", key(&wrong), "E5002"),
        refused("a wrong key as a bearer", bearer(&wrong), "E5002"),
        refused("no key at all", key("hello"), "E5002"),
        refused("a revoked key", key(&revoked), "E5002"),
        refused("an expired key", key(&expired), "E5003"),
        refused(
            "another scheme",
            Some(("Authorization", "Basic YTpi".to_owned())),
            "E5002",
        ),
        refused("no token", bearer("a.b.c"), "E5002"),
        refused(
            "a token without a signature's algorithm",
            bearer(&unsigned),
            "E5002",
        ),
        refused(
            "a token of another secret",
            bearer(&token_with("another", &json!({"alg": "HS256"}), &admin)),
            "E5002",
        ),
        refused("a token that never ends", bearer(&token(&endless)), "E5002"),
        refused("a token that has ended", bearer(&token(&ended)), "E5003"),
        refused("a token as a key", key(&token(&admin)), "E5002"),
        Credentials {
            about: "the administrator's key".to_owned(),
            header: key(ADMIN_KEY),
            means: Means::Caller {
                role: "admin",
                bound: false,
            },
        },
    ];
    for role in ROLES {
        for bound in [false, true] {
            let controllers = bound.then(|| vec!["Other"]);
            let description = json!({"name": role, "roles": [role], "controllers": controllers});
            let (text, _) = make_key(server, &description);
            let mut claims = json!({"sub": "ada", "exp": in_an_hour(), "roles": [role]});
            if bound {
                claims["controllers"] = json!(["Other"]);
            }
            let own_rate = json!({
                "name": role, "roles": [role], "controllers": controllers, "rate": 1_000_000,
            });
            let (fast, _) = make_key(server, &own_rate);
            for (kind, header) in [
                ("key", key(&text)),
                ("key with a rate of its own", key(&fast)),
                ("token", bearer(&token(&claims))),
            ] {
                kinds.push(Credentials {
                    about: format!("a {kind} with {role}, bound: {bound}"),
                    header,
                    means: Means::Caller { role, bound },
                });
            }
        }
    }
    kinds
}

/// The code with which credentials are refused on a route; `None` if they are let through.
fn expected(means: &Means, path: &str, roles: &[&str]) -> Option<&'static str> {
    match means {
        _ if roles == PUBLIC => None,
        Means::Refused(code) => Some(code),
        Means::Caller { role, .. } if *role != "admin" && !roles.contains(role) => Some("E5004"),
        Means::Caller { bound: true, .. } if path.contains("{controller}") => Some("E5005"),
        // What only administrators may do concerns all controllers.
        Means::Caller { bound: true, .. } if roles.is_empty() => Some("E5005"),
        Means::Caller { .. } => None,
    }
}

/// The matrix: every route of the table against every kind of credentials.
#[test]
fn every_route_asks_every_caller() {
    let mut listed: Vec<_> = EXPECTED.iter().map(|row| (row.0, row.1)).collect();
    let mut rows: Vec<_> = ROUTES
        .iter()
        .map(|row| (row.method.as_str(), row.path))
        .collect();
    listed.sort_unstable();
    rows.sort_unstable();
    assert_eq!(rows, listed, "say in EXPECTED who may use each route");

    let (_folder, server) = served(
        "[http]\nfailed_attempts = 1000000\n",
        &[("ADMIN_API_KEY", ADMIN_KEY), ("JWT_SECRET", SECRET)],
    );
    let kinds = every_kind(&server);
    let mut wrong = Vec::new();
    for (method, path, roles, body) in EXPECTED {
        let asked = path
            .replace("{controller}", "Echo")
            .replace("{request_id}", "0000000000000000")
            .replace("{id}", "0000000000000000");
        for kind in &kinds {
            let mut call = match *method {
                "POST" => Call::post(&asked, body),
                method => Call::new(method, &asked),
            };
            if let Some((name, value)) = &kind.header {
                call = call.header(name, value);
            }
            let answer = server.call(&call);
            let code = (answer.status >= 400)
                .then(|| answer.json()["error"]["code"].as_str().map(str::to_owned))
                .flatten()
                .filter(|code| code.starts_with("E50"));
            let status = match code.as_deref() {
                Some("E5001" | "E5002" | "E5003") => answer.status == 401,
                Some(_) => answer.status == 403,
                None => !matches!(answer.status, 401 | 403 | 429),
            };
            let right = expected(&kind.means, path, roles);
            if code.as_deref() != right || !status {
                wrong.push(format!(
                    "{method} {path} with {}: {} {code:?} instead of {right:?}",
                    kind.about, answer.status
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a path can look like does not change which row it is; whatever is no row is no secret either.
#[test]
fn paths_that_look_like_others_open_nothing() {
    let (_folder, server) = served("", &[("ADMIN_API_KEY", ADMIN_KEY)]);
    for path in [
        "/api/keys/",
        "//api/keys",
        "/api/./keys",
        "/api/health/../keys",
        "/api/keys%2F",
        "/api/%6beys",
        "/API/keys",
        "/api/keys;/api/health",
        "/api/keys?/api/health",
        "/api/keys#/api/health",
        "/api/audit/api/health",
        "/api/execute/Echo%2F..%2Fhealth",
        "/api/controllers/%45cho",
    ] {
        let answer = server.call(&Call::get(path));
        assert!(
            matches!(answer.status, 400 | 401 | 404 | 405),
            "{path}: {}",
            answer.status
        );
    }
    server
        .call(&Call::get("/api/controllers/%45cho"))
        .assert_error(401, "E5001");
    // The bound key is held against the name as the router has decoded it.
    let bound = json!({"name": "bound", "roles": ["read"], "controllers": ["Echo"]});
    let (key, _) = make_key(&server, &bound);
    assert_eq!(
        server
            .call(&with_key(Call::get("/api/controllers/%45cho"), &key))
            .status,
        200
    );
    let listed = server
        .call(&with_key(Call::get("/api/controllers"), &key))
        .json();
    assert_eq!(
        listed["controllers"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
    let other = json!({"name": "other", "roles": ["read"], "controllers": ["Other"]});
    let (key, _) = make_key(&server, &other);
    server
        .call(&with_key(Call::get("/api/controllers/%45cho"), &key))
        .assert_error(403, "E5005");
    let listed = server
        .call(&with_key(Call::get("/api/controllers"), &key))
        .json();
    assert_eq!(listed["controllers"], json!([]));
    let question = json!({"controller": "Echo", "capability": "db:read"}).to_string();
    server
        .call(&with_key(
            Call::post("/api/policy/explain", &question),
            &key,
        ))
        .assert_error(403, "E5005");
}

/// Asks until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}
