//! The routes, the envelope, and what the HTTP layer refuses.

use serde_json::json;

use crate::folder::{ANY, Folder};
use crate::http_client::{Call, Connection};
use crate::server::Server;

fn serving_echo() -> (Folder, Server) {
    let folder = Folder::new();
    folder.echo();
    let server = Server::dev(&folder);
    (folder, server)
}

/// The answer of an execution has exactly its five members.
#[test]
fn execute_answers_the_result() {
    let (_folder, server) = serving_echo();
    let answer = server
        .call(&Call::post("/api/execute/Echo", r#"{"n": 1}"#).header("X-Request-ID", "mine-1"));
    let mut body = answer.json();
    let duration = body["duration_ms"].take();
    assert!(
        duration.as_f64().is_some_and(|duration| duration > 0.0),
        "{duration}"
    );
    assert_eq!(
        (answer.status, body),
        (
            200,
            json!({
                "result": {"echo": {"n": 1}}, "request_id": "mine-1", "duration_ms": null,
                "controller": "Echo", "version": "1.0.0",
            })
        )
    );
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
}

/// An id that is not well-formed is replaced, on answers and errors alike.
#[test]
fn a_bad_request_id_is_replaced() {
    let (_folder, server) = serving_echo();
    for path in ["/api/execute/Echo", "/nowhere"] {
        let answer = server.call(&Call::post(path, "{}").header("X-Request-ID", "two words"));
        let id = answer.header("x-request-id").expect("always there");
        assert!(id.starts_with("req_") && id.len() == 30, "{id}");
    }
}

/// Everything that is refused leaves as an envelope, each with its status and code.
#[test]
fn refusals_are_envelopes() {
    let (_folder, server) = serving_echo();
    let execute = |body| Call::post("/api/execute/Echo", body);
    let many = (0..70).fold(Call::get("/api/health"), |call, number| {
        call.header(&format!("X-Number-{number}"), "1")
    });
    let table = [
        (Call::get("/"), 404, "E4004"),
        (Call::get("/api/execute"), 404, "E4004"),
        (Call::post("/api/execute/Nobody", "{}"), 404, "E4004"),
        (Call::post("/api/execute/%ff", "{}"), 404, "E4004"),
        (
            Call::post(&format!("/api/execute/{}", "N".repeat(500)), "{}"),
            404,
            "E4004",
        ),
        (Call::get("/api/controllers/Nobody"), 404, "E4004"),
        (Call::get("/api/controllers/Nobody/logs"), 404, "E4004"),
        (Call::get("/api/execute/Echo"), 405, "E1004"),
        (Call::new("BREW", "/api/health"), 405, "E1004"),
        (execute("{"), 400, "E1004"),
        (execute(""), 400, "E1004"),
        (execute(r#"{"a": 1, "a": 2}"#), 400, "E1004"),
        (execute(r#"{"a": {"b": 1, "\u0062": 2}}"#), 400, "E1004"),
        (execute("[]"), 400, "E1003"),
        (
            execute("{}").header("Content-Type", "text/plain"),
            415,
            "E1004",
        ),
        (
            execute("{}").header("Content-Type", "application/x-www-form-urlencoded"),
            415,
            "E1004",
        ),
        (
            execute("{}").header("Content-Encoding", "gzip"),
            415,
            "E1004",
        ),
        (
            Call::post("/api/execute/Echo?verison=1.0.0", "{}"),
            400,
            "E1004",
        ),
        (
            Call::post("/api/execute/Echo?version=9.9.9", "{}"),
            404,
            "E4004",
        ),
        (
            Call::get("/api/controllers/Echo/logs?limit=many"),
            400,
            "E1004",
        ),
        (
            execute("{}").header("Host", "attacker.example"),
            403,
            "E1004",
        ),
        (execute("{}").without("Host"), 403, "E1004"),
        (
            execute("{}").header("Origin", "https://attacker.example"),
            403,
            "E1004",
        ),
        (execute("{}").header("Origin", "null"), 403, "E1004"),
        (many, 431, "E1004"),
        (
            Call::get("/api/health").header("X-Large", &"x".repeat(40_000)),
            431,
            "E1004",
        ),
    ];
    for (call, status, code) in table {
        let answer = server.call(&call);
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (status, Some(code)),
            "{call:?}: {answer:?}"
        );
        answer.assert_error(status, code);
    }
    let answer = server.call(&Call::get("/api/execute/Echo"));
    assert_eq!(answer.header("allow"), Some("POST"));
    // After all of that, it still works.
    assert_eq!(server.execute("Echo", "{}").status, 200);
}

/// What callers on this machine may leave out or spell differently.
#[test]
fn reasonable_requests_are_taken() {
    let (_folder, server) = serving_echo();
    let execute = || Call::post("/api/execute/Echo", "{}");
    let own = format!("localhost:{}", server.address().port());
    for call in [
        execute(),
        execute().without("Content-Type"),
        execute().header("Content-Type", "Application/JSON; charset=utf-8"),
        execute().header("Host", &server.address().to_string()),
        execute()
            .header("Host", &own)
            .header("Origin", &format!("http://{own}")),
        Call::post("/api/execute/Echo?version=1.0.0", "{}"),
        execute()
            .without("Content-Length")
            .header("Transfer-Encoding", "chunked")
            .raw_body(b"1\r\n{\r\n1;extension=\"ignored\"\r\n}\r\n0\r\n\r\n"),
    ] {
        let answer = server.call(&call);
        assert_eq!(answer.status, 200, "{call:?}: {answer:?}");
    }
}

/// Errors of execution carry their code; each is answered as its status says.
#[test]
fn failures_of_controllers_have_their_codes() {
    let folder = Folder::new();
    folder.controller("Raises", ANY, "raise ValueError('no')");
    folder.controller(
        "Late",
        &format!("{ANY}resources: {{ timeout: 100ms }}\n"),
        "await asyncio.sleep(60)",
    );
    folder.controller(
        "Wrong",
        "input: { type: object }\noutput: { type: object, required: [a] }\n",
        "return {}",
    );
    let server = Server::dev(&folder);
    for (name, status, code) in [
        ("Raises", 500, "E3003"),
        ("Late", 500, "E3001"),
        ("Wrong", 500, "E3004"),
    ] {
        server.execute(name, "{}").assert_error(status, code);
    }
}

/// The error of an input names the field, and does not echo what was sent at length.
#[test]
fn an_input_error_names_the_field() {
    let folder = Folder::new();
    folder.controller(
        "Strict",
        "input: { type: object, properties: { id: { type: string, maxLength: 3 } } }\noutput: { type: object }\n",
        "return {}",
    );
    let server = Server::dev(&folder);
    let input = json!({ "id": "x".repeat(100_000) }).to_string();
    let answer = server.execute("Strict", &input);
    let error = answer.assert_error(400, "E1003");
    assert_eq!(error["error"]["details"]["field"], "/id");
    assert_eq!(error["error"]["details"]["constraint"], "maxLength");
    assert!(error.to_string().len() < 4_000, "{error}");
}

/// What is deployed can be looked at.
#[test]
fn controllers_are_listed_and_shown() {
    let (_folder, server) = serving_echo();
    let list = server.call(&Call::get("/api/controllers")).json();
    assert_eq!(list["controllers"][0]["name"], "Echo");
    assert_eq!(list["controllers"].as_array().map(Vec::len), Some(1));
    let shown = server.call(&Call::get("/api/controllers/Echo")).json();
    assert_eq!(shown["version"], "1.0.0");
    assert_eq!(shown["contract"]["name"], "Echo");
    assert_eq!(shown["digest"], list["controllers"][0]["digest"]);
}

/// Health, readiness and the self-test answer; HEAD works where GET does.
#[test]
fn health_and_self_test() {
    let (_folder, server) = serving_echo();
    let health = server.call(&Call::get("/api/health"));
    assert_eq!(
        (health.status, &health.json()["status"]),
        (200, &json!("ok"))
    );
    let ready = server.call(&Call::get("/api/readyz"));
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (200, &json!("ready"))
    );
    let test = server.call(&Call::get("/api/self-test")).json();
    assert_eq!(test["passed"], true, "{test}");
    assert!(
        test["layers"]
            .as_array()
            .is_some_and(|layers| !layers.is_empty())
    );

    let mut connection = Connection::open(server.address());
    connection.write(b"HEAD /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let sent = String::from_utf8(connection.closed()).expect("text");
    assert!(
        sent.starts_with("HTTP/1.1 200") && sent.ends_with("\r\n\r\n"),
        "{sent}"
    );
}

/// A kept connection serves request after request, also when they come all at once.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_folder, server) = serving_echo();
    let mut connection = Connection::open(server.address());
    let calls: Vec<u8> = (0..3)
        .flat_map(|number| {
            Call::post(
                "/api/execute/Echo",
                &json!({ "number": number }).to_string(),
            )
            .bytes()
        })
        .collect();
    connection.write(&calls);
    for number in 0..3 {
        let answer = connection.answer();
        assert_eq!(answer.json()["result"]["echo"]["number"], number);
    }
}

/// HTTP/2 is spoken to whoever begins with it.
#[tokio::test]
async fn http2_is_spoken() {
    use http_body_util::{BodyExt, Empty};
    let (_folder, server) = serving_echo();
    let stream = tokio::net::TcpStream::connect(server.address())
        .await
        .expect("the server listens");
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .expect("a handshake");
    tokio::spawn(connection);
    let request = hyper::Request::get(format!("http://{}/api/health", server.address()))
        .body(Empty::<bytes::Bytes>::new())
        .expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    assert!(body.starts_with(br#"{"status":"ok""#));
}
