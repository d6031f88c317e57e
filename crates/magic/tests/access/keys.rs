//! Keys from being made to being revoked, and the limits and lists of a node.

use super::*;

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
    // Nobody waits for the record of a refusal, so it may come a moment later.
    let records = until("the record of the refusal", || {
        let records = run(&folder, &["audit", "export"]).with_status(0).stdout;
        assert!(!records.contains(key), "{records}");
        let records: Vec<Value> = records
            .lines()
            .map(|line| serde_json::from_str(line).expect("a record"))
            .collect();
        let refused = |record: &Value| record["kind"] == "auth" && record["code"] == "E5002";
        records.iter().any(refused).then_some(records)
    });
    let has = |kind: &str, fits: &dyn Fn(&Value) -> bool| {
        records
            .iter()
            .any(|record| record["kind"] == kind && fits(record))
    };
    assert!(has("key", &|record| record["fields"]["action"] == "create"));
    assert!(has("key", &|record| record["fields"]["action"] == "revoke"));
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

pub(super) fn until_limited(ask: impl Fn() -> Answer) -> Answer {
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
