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
    ("GET", "/api/policy", &["read", "deploy"], ""),
    ("POST", "/api/policy/explain", &["read", "deploy"], "{}"),
    ("GET", "/api/audit", &[], ""),
    ("GET", "/api/keys", &[], ""),
    ("POST", "/api/keys", &[], "{}"),
    ("DELETE", "/api/keys/{id}", &[], ""),
    ("GET", "/api/self-test", &[], ""),
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
            for (kind, header) in [("key", key(&text)), ("token", bearer(&token(&claims)))] {
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

/// A server without any key makes one, once, in a file that only it can read.
#[test]
fn a_first_key_is_made_once() {
    let (folder, server) = served("", &[]);
    let path = folder.path().join("data/admin.key");
    let mode = std::fs::metadata(&path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = std::fs::read_to_string(&path).expect("a key");
    let answer = server.call(&with_key(Call::get("/api/keys"), key.trim()));
    assert_eq!(answer.status, 200, "{}", answer.json());
    drop(server);
    let server = Server::start(&folder, SERVE);
    assert_eq!(std::fs::read_to_string(&path).expect("a key"), key);
    let keys = server
        .call(&with_key(Call::get("/api/keys"), key.trim()))
        .json();
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(1), "{keys}");
}

/// What lies where the first key would be is neither followed nor overwritten.
#[test]
fn the_first_key_follows_no_link() {
    let folder = Folder::new();
    folder.echo();
    let target = folder.write("elsewhere", "precious");
    std::fs::create_dir(folder.path().join("data")).expect("a folder");
    std::os::unix::fs::symlink(&target, folder.path().join("data/admin.key")).expect("a link");
    let server = Server::start(&folder, SERVE);
    assert_eq!(
        std::fs::read(&target).expect("it is left alone"),
        b"precious"
    );
    // The operator still gets in by the socket.
    let made = run(&folder, &["keys", "create", "mine", "--role", "admin"]).with_status(0);
    let listed = server.call(&with_key(Call::get("/api/keys"), made.stdout.trim()));
    assert_eq!(listed.status, 200);
}

/// Weak secrets keep a production server from starting.
#[test]
fn weak_secrets_refuse_the_start() {
    let folder = Folder::new();
    folder.echo();
    for name in ["ADMIN_API_KEY", "JWT_SECRET"] {
        let output = magic(folder.path())
            .env("ENVIRONMENT", "prod")
            .env(name, "hunter2")
            .args(SERVE)
            .output()
            .expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(
            said.contains(name) && said.contains("openssl rand"),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// Keys from being made to being revoked, by the command, and what stays of them in the audit log.
#[test]
fn keys_by_command() {
    let (folder, server) = served("", &[("ADMIN_API_KEY", ADMIN_KEY)]);
    let arguments = [
        "keys",
        "create",
        "ci",
        "--role",
        "execute",
        "--controller",
        "Echo",
        "--json",
    ];
    let made = run(&folder, &arguments).with_status(0).json();
    let key = made["key"].as_str().expect("a key");
    let id = made["id"].as_str().expect("an id");
    let call = with_key(Call::post("/api/execute/Echo", "{}"), key);
    assert_eq!(server.call(&call).status, 200);
    // Over HTTP, with a key and without.
    let url = format!("http://{}", server.address());
    let output = magic(folder.path())
        .env("MAGIC_API_KEY", ADMIN_KEY)
        .args(["keys", "list", "--url", &url])
        .output()
        .expect("the binary starts");
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(listed.contains(id) && !listed.contains(key), "{listed}");
    let refused = run(&folder, &["keys", "list", "--url", &url]).with_status(1);
    assert!(refused.stderr.contains("E5001"), "{refused:?}");
    let unknown = run(&folder, &["keys", "create", "x", "--role", "root"]).with_status(1);
    assert!(unknown.stderr.contains("E1004"), "{unknown:?}");
    // Revoked is revoked once the command has ended.
    run(&folder, &["keys", "revoke", id]).with_status(0);
    server.call(&call).assert_error(401, "E5002");
    let records = run(&folder, &["audit", "export"]).with_status(0).stdout;
    assert!(!records.contains(key), "{records}");
    let records: Vec<Value> = records
        .lines()
        .map(|line| serde_json::from_str(line).expect("a record"))
        .collect();
    let has = |kind: &str, fits: &dyn Fn(&Value) -> bool| {
        records
            .iter()
            .any(|record| record["kind"] == kind && fits(record))
    };
    assert!(has("key", &|record| record["fields"]["action"] == "create"));
    assert!(has("key", &|record| record["fields"]["action"] == "revoke"));
    assert!(has("auth", &|record| record["code"] == "E5002"));
    assert!(has("execution", &|record| record["caller"]
        == format!("key:{id}")));
}

/// A caller has so many requests, and another has their own.
#[test]
fn rates_are_each_callers_own() {
    let (_folder, server) = served(
        "[http]\nrate = 1\nburst = 3\nfailed_attempts = 3\n",
        &[("ADMIN_API_KEY", ADMIN_KEY), ("JWT_SECRET", SECRET)],
    );
    let claims = |name: &str| json!({"sub": name, "exp": in_an_hour(), "roles": ["read"]});
    let ask = |name: &str| {
        let bearer = format!("Bearer {}", token(&claims(name)));
        server.call(&Call::get("/api/policy").header("Authorization", &bearer))
    };
    let limited = until_limited(|| ask("ada"));
    assert_eq!(limited.header("retry-after"), Some("1"));
    assert_eq!(limited.json()["error"]["details"]["reason"], "rate");
    assert_eq!(ask("bob").status, 200);
    // Failures are limited by address; whoever has credentials is not.
    let limited = until_limited(|| server.call(&with_key(Call::get("/api/policy"), "wrong")));
    limited.assert_error(429, "E3005");
    assert_eq!(ask("eve").status, 200);
}

fn until_limited(ask: impl Fn() -> Answer) -> Answer {
    let until = Instant::now() + DEADLINE;
    loop {
        let answer = ask();
        if answer.status == 429 {
            return answer;
        }
        assert!(Instant::now() < until, "nothing is limited");
    }
}

/// Pages of listed origins may ask, those of others are told nothing.
#[test]
fn origins() {
    let origin = "https://app.example.com";
    let environment = [("ADMIN_API_KEY", ADMIN_KEY), ("ALLOWED_ORIGINS", origin)];
    let (_folder, server) = served("", &environment);
    for (from, allowed) in [
        (origin, true),
        ("https://attacker.example", false),
        ("null", false),
    ] {
        let preflight = Call::new("OPTIONS", "/api/execute/Echo")
            .header("Origin", from)
            .header("Access-Control-Request-Method", "POST");
        let asked = with_key(Call::get("/api/controllers"), ADMIN_KEY).header("Origin", from);
        for (call, status) in [(preflight, 204), (asked, 200)] {
            let answer = server.call(&call);
            assert_eq!(answer.status, status, "{from}");
            assert_eq!(
                answer.header("access-control-allow-origin"),
                allowed.then_some(from)
            );
            assert_eq!(answer.header("access-control-allow-credentials"), None);
            assert_eq!(answer.header("vary"), Some("Origin"));
        }
    }
}

/// Only listed controllers run here, for administrators too.
#[test]
fn the_allowlist_of_the_node() {
    let folder = Folder::new();
    folder.echo();
    folder.controller("Other", crate::folder::ANY, "return {}");
    let environment = [
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("CONTROLLER_ALLOWLIST", "Echo"),
    ];
    let server = Server::start_with(&folder, SERVE, &environment);
    let ask = |name: &str| {
        server.call(&with_key(
            Call::post(&format!("/api/execute/{name}"), "{}"),
            ADMIN_KEY,
        ))
    };
    assert_eq!(ask("Echo").status, 200);
    let refused = ask("Other").assert_error(403, "E5005");
    assert_eq!(
        refused["error"]["details"]["constraint"],
        "controller_allowlist"
    );
}

/// Nodes share keys and their revocations. Without its store a node goes on with the keys it knows, for as long as it may.
#[test]
fn nodes_share_keys_and_do_without_their_store_for_a_while() {
    let mut postgres = Postgres::start();
    let url = postgres.database("state");
    let environment = [
        ("MAGIC_STORE_URL", url.as_str()),
        ("MAGIC_KEY_STALENESS", "5s"),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("JWT_SECRET", SECRET),
    ];
    let settings = "[http]\nfailed_attempts = 1000000\n";
    let (_one, first) = served(settings, &environment);
    let (_two, second) = served(settings, &environment);
    let (key, _) = make_key(&first, &json!({"name": "kept", "roles": ["read"]}));
    let (other, id) = make_key(&first, &json!({"name": "revoked", "roles": ["read"]}));
    let ask = |key: &str| second.call(&with_key(Call::get("/api/policy"), key));
    until("both keys open the other node", || {
        ask(&key).status == 200 && ask(&other).status == 200
    });
    let call = with_key(Call::new("DELETE", &format!("/api/keys/{id}")), ADMIN_KEY);
    assert_eq!(first.call(&call).status, 200);
    until("the other node hears of it", || ask(&other).status == 401);

    postgres.stop();
    assert_eq!(ask(&key).status, 200, "it is known, and not old yet");
    until("what is known is too old", || ask(&key).status == 401);
    let refused = ask(&key).assert_error(401, "E5002");
    assert_eq!(refused["error"]["details"]["reason"], "store");
    assert_eq!(ask(ADMIN_KEY).status, 200);
    let claims = json!({"sub": "ada", "exp": in_an_hour(), "roles": ["read"]});
    let bearer = format!("Bearer {}", token(&claims));
    let by_token = Call::get("/api/policy").header("Authorization", &bearer);
    assert_eq!(second.call(&by_token).status, 200);
    postgres.resume();
    until("the keys are known again", || ask(&key).status == 200);
    ask(&other).assert_error(401, "E5002");
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

/// The kernel vouches for local users: those of the configured group have its role, others do not get in.
#[test]
fn local_users_have_their_groups_role() {
    const GROUP: u32 = 65_533;
    const NOBODY: u32 = 65_534;
    let environment = [
        ("MAGIC_SOCKET_GROUP", "65533"),
        ("MAGIC_SOCKET_ROLE", "read"),
    ];
    let (folder, _server) = served("", &environment);
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))
        .expect("a mode");
    let ask = |uid: u32, gid: u32, method: &str, path: &str| {
        let program = "import http.client, socket, sys\n\
             connection = http.client.HTTPConnection('localhost')\n\
             connection.sock = socket.socket(socket.AF_UNIX)\n\
             try:\n    connection.sock.connect(sys.argv[1])\n\
             except PermissionError:\n    print('kept out'); sys.exit()\n\
             connection.request(sys.argv[2], sys.argv[3], headers={'Content-Type': 'application/json'})\n\
             print(connection.getresponse().status)\n";
        let output = Command::new("python3")
            .args(["-c", program])
            .arg(folder.path().join("magic.sock"))
            .args([method, path])
            .current_dir("/")
            .uid(uid)
            .gid(gid)
            .output()
            .expect("python3 starts");
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(!said.is_empty(), "{output:?}");
        said
    };
    assert_eq!(ask(NOBODY, NOBODY, "GET", "/api/controllers"), "kept out");
    assert_eq!(ask(NOBODY, GROUP, "GET", "/api/controllers"), "200");
    assert_eq!(ask(NOBODY, GROUP, "GET", "/api/keys"), "403");
    assert_eq!(ask(NOBODY, GROUP, "POST", "/api/execute/Echo"), "403");
    assert_eq!(ask(0, 0, "GET", "/api/keys"), "200");
}
