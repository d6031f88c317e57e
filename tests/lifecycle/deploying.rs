//! Deploys: what is refused and why, what stands beside each refusal and passes, and who may interrupt whom.

use crate::bundles::{archive, code, contract, telling, telling_with, unjudged};
use crate::service::{
    Answer, KEY, Service, call, deploy_events, magic, records, send, verify_audit,
};
use crate::support::postgres::Postgres;
use crate::support::server::wait_for;
use serde_json::{Value, json};
use std::net::Shutdown;
use std::path::Path;

pub(crate) fn place() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// What the answer must be; a failing row names itself.
pub(crate) fn expect(what: &str, answer: &Answer, status: u16, code: &str, says: &str) {
    let got = (answer.status, answer.code());
    assert_eq!(got, (status, code), "{what}: {}", answer.body);
    assert!(answer.message().contains(says), "{what}: {}", answer.body);
}

/// Each refusal of a content, with the twin that differs in that alone.
#[test]
fn every_refusal_has_its_code_and_its_permitted_twin() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    let good = code("return {}");
    let plain = |name: &str| contract(name, "1.0.0", "");
    let capable = "capabilities:\n  - cache:write: { keys: [\"a\"] }\n";
    let writing = code("await ctx.cache.set(\"a\", 1)\nreturn {}");
    let example = |output: &str| format!("examples: [{{input: {{}}, output: {output}}}]");
    let rows = vec![
        (
            "an unknown key",
            unjudged(&(plain("Key") + "capabilites: []\n"), &good),
            "E1001",
            "capabilities",
            unjudged(&(plain("Key") + "capabilities: []\n"), &good),
        ),
        (
            "no output",
            unjudged("name: Part\nversion: 1.0.0\ninput: {type: object}\n", &good),
            "E1002",
            "output",
            unjudged(&plain("Part"), &good),
        ),
        (
            "a remote schema",
            unjudged(
                "name: Remote\nversion: 1.0.0\ninput: {$ref: \"http://example.org/x\"}\noutput: {type: object}\n",
                &good,
            ),
            "E1005",
            "",
            unjudged(
                "name: Remote\nversion: 1.0.0\ninput: {$ref: \"#/definitions/x\", definitions: {x: {type: object}}}\noutput: {type: object}\n",
                &good,
            ),
        ),
        (
            "no Python",
            archive(&plain("Syntax"), "def ("),
            "E4002",
            "",
            archive(&plain("Syntax"), &good),
        ),
        (
            "a failing import",
            archive(
                &plain("Import"),
                &format!("{good}\n\nraise ValueError('on purpose')\n"),
            ),
            "E4002",
            "on purpose",
            archive(&plain("Import"), &format!("{good}\n\nassert True\n")),
        ),
        (
            "another output than the example's",
            archive(&contract("Example", "1.0.0", &example("{a: 1}")), &good),
            "E4002",
            "example 1",
            archive(&contract("Example", "1.0.0", &example("{}")), &good),
        ),
        (
            "an example that raises",
            archive(
                &contract("Raising", "1.0.0", &example("{}")),
                &code("raise KeyError('lost')"),
            ),
            "E4002",
            "example 1",
            archive(
                &contract("Raising", "1.0.0", ""),
                &code("raise KeyError('lost')"),
            ),
        ),
        (
            "an example that asks for a capability which is not declared",
            archive(&contract("Capable", "1.0.0", &example("{}")), &writing),
            "E4002",
            "example 1",
            archive(
                &contract("Capable", "1.0.0", &format!("{capable}{}", example("{}"))),
                &writing,
            ),
        ),
    ];
    for (what, refused, expected, says, twin) in rows {
        let answer = service.deploy(&refused, "");
        expect(what, &answer, 400, expected, "");
        assert!(
            answer.body.to_string().contains(says),
            "{what}: {}",
            answer.body
        );
        let answer = service.deploy(&twin, "");
        assert_eq!(answer.status, 201, "{what}: {}", answer.body);
    }
    let answer = service.deploy(&archive(&plain("Trace"), &format!("{good}\n\n1 / 0\n")), "");
    assert!(
        answer.body.to_string().contains("ZeroDivisionError"),
        "{}",
        answer.body
    );
    assert!(
        answer.body.to_string().contains("controller.py"),
        "{}",
        answer.body
    );
}

/// The controllers that come with the program are deployed as they are. What an example does up to its first capability is tried;
/// whether it goes on as it promises is not known, and said.
#[test]
fn the_controllers_of_this_repository_are_deployed() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../controllers");
    let mut cut_short = 0;
    let mut deployed = 0;
    for entry in std::fs::read_dir(folder).expect("our own folder") {
        let path = entry.expect("our own folder").path();
        let path = path.to_str().expect("UTF-8");
        let output = magic(place.path(), &["deploy", path]);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
        assert!(output.status.success(), "{path}: {said}");
        deployed += 1;
        cut_short +=
            usize::from(said.contains("1 example was run until it asked for a capability"));
    }
    assert_eq!(deployed, 5);
    assert_eq!(cut_short, 1, "InvoiceSync alone asks for capabilities");
    drop(service);
}

#[test]
fn a_policy_refuses_at_deploy_and_names_the_rule() {
    let place = place();
    let policy = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/development.yaml"),
    )
    .expect("the policy");
    let path = place.path().join("policy.yaml");
    let rule =
        "\n  - name: no-writing-here\n    effect: deny\n    capabilities: [\"cache:write\"]\n";
    std::fs::write(&path, policy + rule).expect("our own file");
    let service = Service::start(
        place.path(),
        &[("MAGIC_POLICY", path.to_str().expect("UTF-8"))],
    );
    let with = |right: &str| telling_with("Kept", "1.0.0", &format!("capabilities: [{right}]"));
    let answer = service.deploy(&with("\"cache:write\""), "");
    expect("denied", &answer, 403, "E2002", "no-writing-here");
    assert_eq!(service.deploy(&with("\"cache:read\""), "").status, 201);
}

#[test]
fn a_version_keeps_its_content_and_callers_keep_theirs() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    let first = telling("Echo", "1.0.0");
    let answer = service.deploy(&first, "");
    assert_eq!(
        (answer.status, &answer.body["changed"]),
        (201, &json!(true))
    );
    // Again, and packed by another program: no change.
    let same = unjudged(
        &contract("Echo", "1.0.0", ""),
        &code("return {\"told\": \"1.0.0\"}"),
    );
    for (what, again) in [("again", &first), ("other packer", &same)] {
        let answer = service.deploy(again, "");
        assert_eq!(
            (answer.status, &answer.body["changed"]),
            (200, &json!(false)),
            "{what}"
        );
    }
    let other = archive(
        &contract("Echo", "1.0.0", ""),
        &code("return {\"told\": \"other\"}"),
    );
    for query in ["", "allow_breaking=true", "canary=10"] {
        expect(
            query,
            &service.deploy(&other, query),
            400,
            "E4003",
            "keeps its content",
        );
    }
    assert_eq!(
        service.execute("Echo", &json!({})).body["result"]["told"],
        "1.0.0"
    );

    let breaking = |version: &str| {
        let contract = format!(
            "name: Echo\nversion: {version}\ninput: {{type: object, required: [who], properties: {{who: {{type: string}}}}}}\noutput: {{type: object}}\n"
        );
        archive(
            &contract,
            &code(&format!("return {{\"told\": \"{version}\"}}")),
        )
    };
    let answer = service.deploy(&breaking("1.1.0"), "");
    expect("breaking", &answer, 400, "E4003", "who");
    assert!(answer.details()["breakages"].is_array(), "{}", answer.body);
    let answer = service.deploy(&breaking("1.1.0"), "allow_breaking=true&reason=agreed");
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(service.deploy(&breaking("2.0.0"), "").status, 201);

    let listed = service.get("/api/controllers/Echo/versions").body;
    let allowed: Vec<_> = listed["versions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["allow_breaking"])
        .collect();
    assert_eq!(allowed, [&json!(false), &json!(true), &json!(false)]);
    assert_eq!(listed["history"][1]["reason"], "agreed");
    assert!(service.stop().success());
    let recorded: Vec<_> = records(place.path())
        .into_iter()
        .filter(|record| {
            record["kind"] == "deploy" && record.to_string().contains("\"allow_breaking\":true")
        })
        .collect();
    assert!(
        recorded.iter().any(|record| record["version"] == "1.1.0"),
        "{recorded:?}"
    );
    verify_audit(place.path());
}

#[test]
fn steps_are_told_as_they_are_done() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    let good = telling_with(
        "Echo",
        "1.0.0",
        "examples: [{input: {}, output: {told: 1.0.0}}]",
    );
    let events: Vec<_> = deploy_events(service.address, KEY, &good).collect();
    let told: Vec<_> = events
        .iter()
        .map(|(name, data)| format!("{name} {}", data["step"].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(
        told,
        [
            "step read",
            "step judged",
            "step imported",
            "step tried",
            "step stored",
            "step switched",
            "deployed -"
        ]
    );
    assert_eq!(events[3].1["examples"], 1);
    assert_eq!(events[3].1["cut_short"], 0);
    assert_eq!(events[6].1["version"], "1.0.0");
    let bad = archive(&contract("Echo", "1.1.0", ""), "raise ValueError");
    let events: Vec<_> = deploy_events(service.address, KEY, &bad).collect();
    let (name, data) = events.last().expect("an end");
    assert_eq!(
        (name.as_str(), &data["error"]["code"]),
        ("error", &json!("E4002"))
    );
    assert!(data["error"]["request_id"].is_string());
    assert_eq!(service.versions("Echo"), ["1.0.0 active"]);
}

#[test]
fn a_key_deploys_only_what_it_is_bound_to() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    let key = |roles: &Value, controllers: &Value| {
        let body = json!({"name": "bound", "roles": roles, "controllers": controllers});
        let made = service.post("/api/keys", &body.to_string());
        assert_eq!(made.status, 201, "{}", made.body);
        made.body["key"].as_str().expect("a key").to_owned()
    };
    let bound = key(&json!(["deploy"]), &json!(["Mine"]));
    let caller = key(&json!(["execute"]), &json!(["Mine"]));
    let deploy = |key: &str, name: &str| {
        let archive = telling(name, "1.0.0");
        service.call("POST", "/api/controllers", key, &archive)
    };
    expect("other", &deploy(&bound, "Other"), 403, "E5005", "");
    expect("role", &deploy(&caller, "Mine"), 403, "E5004", "");
    expect("nobody", &deploy("", "Mine"), 401, "E5002", "");
    assert_eq!(deploy(&bound, "Mine").status, 201);
    for (method, path, body) in [
        ("POST", "/api/controllers/Other/rollback", "{}"),
        (
            "POST",
            "/api/controllers/Other/canary",
            "{\"action\":\"return\"}",
        ),
        ("DELETE", "/api/controllers/Other", ""),
        ("GET", "/api/controllers/Other/versions", ""),
    ] {
        let answer = service.call(method, path, &bound, body.as_bytes());
        expect(path, &answer, 403, "E5005", "");
        let answer = service.call(
            method,
            &path.replace("Other", "Mine"),
            &bound,
            body.as_bytes(),
        );
        assert_ne!(answer.status / 100, 5, "{path}: {}", answer.body);
        assert_ne!(answer.code(), "E5005", "{path}");
    }
}

/// A client that goes away, at any step, leaves a version that is there or is not; and the next deploy goes through.
#[test]
fn whoever_hangs_up_leaves_nothing_hanging() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    assert_eq!(service.deploy(&telling("Echo", "1.0.0"), "").status, 201);
    // In the middle of the archive.
    let whole = telling("Echo", "1.0.1");
    let head = format!(
        "POST /api/controllers HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {}\r\n\r\n",
        whole.len()
    );
    let mut stream = std::net::TcpStream::connect(service.address).expect("it accepts");
    std::io::Write::write_all(&mut stream, head.as_bytes()).expect("it reads");
    std::io::Write::write_all(&mut stream, &whole[..whole.len() / 2]).expect("it reads");
    drop(stream);
    // After each step; it goes on without its client.
    for steps in 1..=6 {
        let version = format!("1.1.{steps}");
        let mut events = deploy_events(service.address, KEY, &telling("Echo", &version));
        for _ in 0..steps {
            events.next().expect("a step");
        }
        drop(events);
        wait_for("the deploy to end", || {
            service
                .versions("Echo")
                .contains(&format!("{version} active"))
                .then_some(())
        });
    }
    // Right behind the request, and half-closed.
    let stream = send(
        service.address,
        "POST",
        "/api/controllers",
        KEY,
        "*/*",
        &telling("Echo", "1.2.0"),
    )
    .expect("sent");
    stream
        .shutdown(Shutdown::Write)
        .expect("an open connection");
    drop(stream);
    assert_eq!(service.deploy(&telling("Echo", "1.3.0"), "").status, 201);
    assert_eq!(service.execute("Echo", &json!({})).version(), "1.3.0");
    assert!(
        !service
            .versions("Echo")
            .iter()
            .any(|version| version.starts_with("1.0.1"))
    );
}

#[test]
fn deploys_of_one_name_take_turns() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    let address = service.address;
    assert_eq!(service.deploy(&telling("Echo", "1.0.0"), "").status, 201);
    // Eight contents for one number: one of them is the version, for ever.
    let answers = at_once(8, |number| {
        let body = format!("return {{\"told\": \"{number}\"}}");
        let archive = archive(&contract("Echo", "1.1.0", ""), &code(&body));
        call(address, "POST", "/api/controllers", KEY, &archive).expect("an answer")
    });
    let won: Vec<_> = (0..8)
        .filter(|number| answers[*number].status == 201)
        .collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        expect("lost", answer, 400, "E4003", "");
    }
    let told = service.execute("Echo", &json!({}));
    assert_eq!(
        told.body["result"]["told"],
        json!(won[0].to_string()),
        "what serves is what was stored"
    );
    assert_eq!(
        service.execute("Echo?version=1.1.0", &json!({})).body["result"],
        told.body["result"]
    );
    // Eight clients with one content: one changes something.
    let answers = at_once(8, |_| {
        call(
            address,
            "POST",
            "/api/controllers",
            KEY,
            &telling("Echo", "1.2.0"),
        )
        .expect("an answer")
    });
    let changed = answers.iter().filter(|answer| answer.status == 201).count();
    let same = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((changed, same), (1, 7), "{answers:?}");
    // Eight versions: all are deployed, and the last in the history serves.
    let answers = at_once(8, |number| {
        let version = format!("1.3.{number}");
        call(
            address,
            "POST",
            "/api/controllers",
            KEY,
            &telling("Echo", &version),
        )
        .expect("an answer")
    });
    assert!(
        answers.iter().all(|answer| answer.status == 201),
        "{answers:?}"
    );
    let last = service.history("Echo").pop().expect("a history");
    assert_eq!(
        last,
        format!("deploy {}", service.execute("Echo", &json!({})).version())
    );
    assert_eq!(service.history("Echo").len(), 11);
}

/// More deploys than can wait are refused and can be asked for again; those that wait are done.
#[test]
fn deploys_wait_in_bounded_number() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    let address = service.address;
    let slow = format!("import time\ntime.sleep(1)\n{}", code("return {}"));
    let bundles: Vec<_> = (0..48)
        .map(|number| archive(&contract(&format!("Slow{number}"), "1.0.0", ""), &slow))
        .collect();
    let answers = at_once(bundles.len(), |number| {
        call(address, "POST", "/api/controllers", KEY, &bundles[number]).expect("an answer")
    });
    let refused: Vec<_> = (0..bundles.len())
        .filter(|number| answers[*number].status != 201)
        .collect();
    assert!(!refused.is_empty() && refused.len() <= 16, "{refused:?}");
    for number in &refused {
        let answer = &answers[*number];
        assert_eq!(
            (answer.status, answer.code(), answer.reason()),
            (429, "E3005", "queue"),
            "{}",
            answer.body
        );
    }
    assert_eq!(service.deploy(&bundles[refused[0]], "").status, 201);
}

fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| scope.spawn(move || work(number)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    })
}

#[test]
fn without_its_state_a_node_serves_on_and_catches_up() {
    let mut postgres = Postgres::start();
    let store = postgres.database("state");
    let place = place();
    let service = Service::start(place.path(), &[("MAGIC_STORE_URL", &store)]);
    for version in ["1.0.0", "1.1.0"] {
        assert_eq!(service.deploy(&telling("Echo", version), "").status, 201);
    }
    postgres.stop();
    for (what, answer) in [
        ("deploy", service.deploy(&telling("Echo", "1.2.0"), "")),
        (
            "deploy at any price",
            service.deploy(&telling("Echo", "1.2.0"), "allow_breaking=true"),
        ),
        ("roll back", service.roll_back("Echo", None)),
        ("roll back to", service.roll_back("Echo", Some("1.0.0"))),
        ("delete", service.delete("Echo")),
        (
            "canary",
            service.post("/api/controllers/Echo/canary", "{\"action\":\"return\"}"),
        ),
        ("versions", service.get("/api/controllers/Echo/versions")),
        ("idle", service.execute("Echo?version=1.0.0", &json!({}))),
    ] {
        expect(what, &answer, 500, "E4005", "state");
        assert_eq!(
            (answer.reason(), &answer.details()["retriable"]),
            ("store", &json!(true)),
            "{what}"
        );
        assert_eq!(
            service.execute("Echo", &json!({})).version(),
            "1.1.0",
            "{what}"
        );
    }
    postgres.resume();
    let answer = wait_for("the state to be back", || {
        let answer = service.deploy(&telling("Echo", "1.2.0"), "");
        (answer.status == 201).then_some(answer)
    });
    assert_eq!(answer.version(), "1.2.0");
    assert_eq!(service.execute("Echo", &json!({})).version(), "1.2.0");
    assert_eq!(
        service.history("Echo"),
        ["deploy 1.0.0", "deploy 1.1.0", "deploy 1.2.0"]
    );
    assert!(service.stop().success());
    verify_audit(place.path());
}

/// Whoever ends waits for a deploy that runs or refuses it; afterwards there is either the old version or the new one.
#[test]
fn a_deploy_meets_the_end_of_its_node() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    assert_eq!(service.deploy(&telling("Echo", "1.0.0"), "").status, 201);
    let slow = archive(
        &contract("Echo", "1.1.0", ""),
        &format!("import time\ntime.sleep(1)\n{}", code("return {}")),
    );
    let mut events = deploy_events(service.address, KEY, &slow);
    events.next().expect("it was read");
    service.terminate();
    let last = events.last();
    assert!(service.stop().success());
    let service = Service::start(place.path(), &[]);
    let version = service.execute("Echo", &json!({})).version().to_owned();
    match last {
        Some((name, _)) if name == "deployed" => assert_eq!(version, "1.1.0"),
        Some((name, data)) if name == "error" => {
            assert_eq!(
                (&data["error"]["code"], &data["error"]["details"]["reason"]),
                (&json!("E4005"), &json!("draining")),
                "{data}"
            );
            assert_eq!(version, "1.0.0");
        }
        // Cut off: nobody was told anything.
        _ => assert!(["1.0.0", "1.1.0"].contains(&version.as_str())),
    }
}
