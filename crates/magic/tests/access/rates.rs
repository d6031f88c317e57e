//! Keys with a rate of their own: on every route and every node, beside whoever has another or none.

use super::keys::until_limited;
use super::*;

/// More than the settings of these tests let through at once.
const MANY: usize = 30;

fn is_limited(answer: &Answer) -> bool {
    let is = answer.status == 429;
    if is {
        answer.assert_error(429, "E3005");
        assert_eq!(answer.json()["error"]["details"]["reason"], "rate");
        assert!(answer.header("retry-after").is_some());
    }
    is
}

/// Every route that asks for credentials counts against the key's rate, whatever else it would have answered; the same requests with a
/// key that may go faster are not limited.
#[test]
fn every_route_counts_against_the_rate_of_a_key() {
    let (_folder, server) = served(
        "[http]\nfailed_attempts = 1000000\n",
        &[("ADMIN_API_KEY", ADMIN_KEY)],
    );
    let (slow, _) = make_key(
        &server,
        &json!({"name": "slow", "roles": ["execute"], "rate": 1, "burst": 1}),
    );
    let (fast, _) = make_key(
        &server,
        &json!({"name": "fast", "roles": ["execute"], "rate": 1_000_000}),
    );
    for (method, path, roles, body) in EXPECTED {
        let asked = path
            .replace("{controller}", "Echo")
            .replace("{request_id}", "0000000000000000")
            .replace("{id}", "0000000000000000");
        let call = |key: &str| {
            let call = match *method {
                "POST" => Call::post(&asked, body),
                method => Call::new(method, &asked),
            };
            server.call(&with_key(call, key))
        };
        if *roles == PUBLIC {
            assert!(
                (0..MANY).all(|_| !is_limited(&call(&slow))),
                "{method} {path}"
            );
            continue;
        }
        assert!(
            is_limited(&until_limited(|| call(&slow))),
            "{method} {path}"
        );
        assert!((0..3).all(|_| !is_limited(&call(&fast))), "{method} {path}");
    }
}

/// A key's own rate holds instead of the setting, whichever is the slower one; keys without one have the setting's.
#[test]
fn the_setting_is_for_keys_that_say_nothing() {
    let (folder, server) = served("[http]\nrate = 1\nburst = 20\n", &[]);
    let make = |name: &str, rate: &[&str]| {
        let fixed = ["keys", "create", name, "--role", "execute", "--json"];
        let made = run(&folder, &[&fixed, rate].concat()).with_status(0).json();
        let text = |member: &str| made[member].as_str().expect("text").to_owned();
        assert_eq!(made["rate"].is_null(), rate.is_empty(), "{made}");
        (text("key"), text("id"))
    };
    let execute = |key: &str| server.call(&with_key(Call::post("/api/execute/Echo", "{}"), key));
    let (usual, usual_id) = make("usual", &[]);
    assert!(is_limited(&until_limited(|| execute(&usual))));
    let (fast, fast_id) = make("fast", &["--rate", "1000000"]);
    for _ in 0..MANY {
        assert_eq!(execute(&fast).status, 200);
    }
    let (burst, _) = make("burst", &["--rate", "1", "--burst", "10"]);
    for _ in 0..10 {
        assert_eq!(execute(&burst).status, 200, "so many at once");
    }
    assert!(is_limited(&until_limited(|| execute(&burst))));

    // Lists and records say what the rate is, and mistakes are refused before there is a key.
    let listed = run(&folder, &["keys", "list"]).with_status(0).stdout;
    let line = |id: &str| {
        let line = listed.lines().find(|line| line.contains(id));
        line.expect("it is listed").to_owned()
    };
    assert!(line(&fast_id).contains("1000000/s"), "{listed}");
    assert!(!line(&usual_id).contains("/s"), "{listed}");
    until("the record of the key", || {
        let exported = run(&folder, &["audit", "export", "--kind", "key"]).with_status(0);
        exported.stdout.contains("\"burst\":10").then_some(())
    });
    for wrong in [&["--rate", "0"][..], &["--rate", "1", "--burst", "601"]] {
        let arguments = [&["keys", "create", "x", "--role", "execute"], wrong].concat();
        let refused = run(&folder, &arguments).with_status(1);
        assert!(refused.stderr.contains("E1004"), "{refused:?}");
        assert!(refused.stderr.contains("600 times"), "{refused:?}");
    }
    run(
        &folder,
        &["keys", "create", "x", "--role", "execute", "--burst", "5"],
    )
    .with_status(2);
}

/// A key's rate is part of the key: each node that shares it holds it to that rate, and counts for itself.
#[test]
fn every_node_honours_the_rate_of_a_key() {
    let postgres = Postgres::start();
    let url = postgres.database("state");
    let environment = [
        ("MAGIC_STORE_URL", url.as_str()),
        ("ADMIN_API_KEY", ADMIN_KEY),
    ];
    let (_one, first) = served("", &environment);
    let (_two, second) = served("", &environment);
    let slow = json!({"name": "slow", "roles": ["read"], "rate": 1, "burst": 1});
    let (slow, _) = make_key(&first, &slow);
    let (free, _) = make_key(&first, &json!({"name": "free", "roles": ["read"]}));
    let ask = |server: &Server, key: &str| server.call(&with_key(Call::get("/api/policy"), key));
    for server in [&first, &second] {
        until("the keys open the node", || {
            let opens = |key: &str| ask(server, key).status != 401;
            (opens(&slow) && opens(&free)).then_some(())
        });
        assert!(is_limited(&until_limited(|| ask(server, &slow))));
        for _ in 0..MANY {
            assert_eq!(ask(server, &free).status, 200);
        }
    }
}
