//! Class F through the real binary: what is dialled is what was listed, in its one spelling, and never the runtime itself.
//!
//! The table of address classes with its hundreds of rows is a test of the broker. Here are the doors that exist only
//! in a whole server: its own listener, its database, its Redis, and a neighbour on loopback, which one policy opens
//! and the other does not. The neighbour counts who came, so that a refusal after the connection would be seen.

use crate::acting::{acting, step, steps};
use crate::audit::calls_of;
use crate::support::command::export;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::{Controllers, Server};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A plain server on loopback: `/to/PLACE` sends elsewhere, everything else is answered.
struct Neighbour {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Neighbour {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 8192];
                let length = stream.read(&mut request).unwrap_or(0);
                let head = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or("/");
                let answer = match path.strip_prefix("/to/") {
                    Some(place) => format!(
                        "HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    ),
                    None => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
                        .to_owned(),
                };
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn contract(hosts: &[String]) -> String {
    let quoted: Vec<String> = hosts.iter().map(|host| format!("{host:?}")).collect();
    format!(
        "capabilities:\n  - http:egress: {{ allow: [{}] }}\nresources: {{ timeout: 60s }}",
        quoted.join(", ")
    )
}

fn hosts(port: u16) -> Vec<String> {
    vec![
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("[::1]:{port}"),
        "169.254.169.254:80".to_owned(),
        "0.0.0.0:80".to_owned(),
        "api.example.org".to_owned(),
    ]
}

/// URLs that no policy lets pass, and by whom each is refused.
fn never(port: u16) -> Vec<(String, &'static str)> {
    vec![
        // Other spellings of a listed host.
        (format!("http://LOCALHOST:{port}/"), "runtime"),
        (format!("http://localhost.:{port}/"), "runtime"),
        (format!("HTTP://localhost:{port}/"), "runtime"),
        (format!("http://localhos%74:{port}/"), "runtime"),
        (format!("http://ｌocalhost:{port}/"), "runtime"),
        (
            format!("http://localhost\\@evil.example.org:{port}/"),
            "runtime",
        ),
        (
            format!("http://localhost:{port}\\@evil.example.org/"),
            "runtime",
        ),
        (format!("http://local\thost:{port}/"), "runtime"),
        (
            format!("http://localhost\u{0}.evil.example.org:{port}/"),
            "runtime",
        ),
        (format!("http://127.1:{port}/"), "runtime"),
        (format!("http://2130706433:{port}/"), "runtime"),
        (format!("http://0x7f000001:{port}/"), "runtime"),
        (format!("http://0177.0.0.1:{port}/"), "runtime"),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), "contract"),
        // Somebody in front of the host.
        (format!("http://user@localhost:{port}/"), "runtime"),
        (
            format!("http://localhost:{port}@evil.example.org/"),
            "runtime",
        ),
        (
            "https://api.example.org@evil.example.org/".to_owned(),
            "runtime",
        ),
        (
            "https://evil.example.org#@api.example.org/".to_owned(),
            "contract",
        ),
        (
            "https://evil.example.org/?@api.example.org".to_owned(),
            "contract",
        ),
        // Other schemes, and plain text to a host that is listed for TLS.
        ("http://api.example.org/".to_owned(), "contract"),
        ("http://api.example.org:443/".to_owned(), "contract"),
        ("file:///etc/passwd".to_owned(), "runtime"),
        ("ftp://api.example.org/".to_owned(), "runtime"),
        ("gopher://api.example.org/".to_owned(), "runtime"),
        // Listed, and not of the public internet.
        (
            "http://169.254.169.254/latest/meta-data/".to_owned(),
            "policy",
        ),
        ("http://0.0.0.0/".to_owned(), "runtime"),
    ]
}

/// Asks for every URL and compares who refuses; nobody may have been dialled, and each is one record.
fn all_refused(server: &Server, controller: &str, urls: &[(String, &str)]) {
    let order: Vec<_> = urls
        .iter()
        .map(|(url, _)| step("http.get", json!([url])))
        .collect();
    let (request, told) = steps(server, controller, &order);
    for ((url, layer), told) in urls.iter().zip(&told) {
        assert_eq!(told["code"], "E2003", "{url:?}: {told}");
        assert_eq!(told["layer"], *layer, "{url:?}: {told}");
    }
    let calls = calls_of(&export(server.data.path()), &request);
    assert_eq!(calls.len(), urls.len());
    for call in calls {
        assert_eq!(
            (&call["decision"], &call["code"]),
            (&json!("deny"), &json!("E2003")),
            "{call}"
        );
    }
}

/// The development policy opens loopback: the twins pass, in the spelling of the contract, and nothing else does.
#[test]
fn under_the_development_policy_loopback_is_open_in_one_spelling() {
    let neighbour = Neighbour::start();
    let other = Neighbour::start();
    let port = neighbour.port;
    let server = Server::start(acting(
        Controllers::new(),
        "Asking",
        &contract(&hosts(port)),
    ));
    let passing = [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
    ];
    let order: Vec<_> = passing
        .iter()
        .map(|url| step("http.get", json!([url])))
        .collect();
    let (_, told) = steps(&server, "Asking", &order);
    for told in told {
        assert_eq!(told["value"]["status"], 200, "{told}");
    }
    let before = neighbour.asked();
    assert_eq!(before, 2);
    all_refused(&server, "Asking", &never(port));
    assert_eq!(neighbour.asked(), before, "a refused request was sent");
    // A redirect is judged as a request is: to the listed host it is followed, elsewhere it is not.
    let through = |place: &str| {
        step(
            "http.get",
            json!([format!("http://127.0.0.1:{port}/to/{place}")]),
        )
    };
    let places = [
        format!("http://localhost:{port}/"),
        format!("http://127.0.0.1:{}/", other.port),
        "http://169.254.169.254/".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("http://user@localhost:{port}/"),
        server_url(&server),
    ];
    let order: Vec<_> = places.iter().map(|place| through(place)).collect();
    let (request, told) = steps(&server, "Asking", &order);
    assert_eq!(told[0]["value"]["status"], 200, "{}", told[0]);
    for (place, told) in places.iter().zip(&told).skip(1) {
        assert_eq!(told["code"], "E2003", "{place}: {told}");
    }
    assert_eq!(
        other.asked(),
        0,
        "a redirect to a host that is not listed was followed"
    );
    let calls = calls_of(&export(server.data.path()), &request);
    assert_eq!(calls.len(), places.len());
}

fn server_url(server: &Server) -> String {
    format!("http://{}/api/health", server.address)
}

/// The production policy opens no address but public ones: what the contract lists does not help.
#[test]
fn under_the_production_policy_no_address_of_the_house_is_reached() {
    let neighbour = Neighbour::start();
    let port = neighbour.port;
    let policy = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../policies/production.yaml"
    );
    let mut listed = hosts(port);
    listed.push("10.1.2.3:80".to_owned());
    let controllers = acting(Controllers::new(), "Asking", &contract(&listed));
    let server = Server::start_with(controllers, &[("MAGIC_POLICY", policy)]);
    let mut urls = never(port);
    urls.extend([
        (format!("http://127.0.0.1:{port}/"), "policy"),
        (format!("http://localhost:{port}/"), "policy"),
        (format!("http://[::1]:{port}/"), "policy"),
        ("http://10.1.2.3/".to_owned(), "policy"),
    ]);
    all_refused(&server, "Asking", &urls);
    assert_eq!(neighbour.asked(), 0, "a refused request was sent");
}

/// The runtime's own doors are closed by every name, also where the policy opens loopback and the contract lists nothing.
#[test]
fn the_runtimes_own_doors_are_closed() {
    let postgres = Postgres::start();
    let redis = Redis::start();
    let neighbour = Neighbour::start();
    let database = postgres.database("app");
    let port_of = |url: &str| -> u16 {
        let (_, rest) = url.rsplit_once(':').expect("a port");
        rest.split('/')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a port")
    };
    let (of_database, of_redis) = (port_of(&database), port_of(&redis.url()));
    let mut listed = vec![format!("127.0.0.1:{}", neighbour.port)];
    for port in [of_database, of_redis] {
        listed.extend([
            format!("127.0.0.1:{port}"),
            format!("localhost:{port}"),
            format!("[::1]:{port}"),
        ]);
    }
    let controllers = acting(Controllers::new(), "Asking", &contract(&listed));
    let controllers = acting(
        controllers,
        "Bare",
        "capabilities: [http:egress]\nresources: { timeout: 60s }",
    );
    let redis_url = redis.url();
    let environment = [
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", redis_url.as_str()),
    ];
    let server = Server::start_with(controllers, &environment);
    let mut urls = Vec::new();
    for port in [of_database, of_redis] {
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            urls.push((format!("http://{host}:{port}/"), "runtime"));
        }
    }
    all_refused(&server, "Asking", &urls);
    let own = server.address.port();
    all_refused(
        &server,
        "Bare",
        &[(format!("https://localhost:{own}/"), "runtime")],
    );
    // The twins: other doors of the same machine are dialled. That one of them speaks no TLS is another matter.
    let (_, told) = steps(
        &server,
        "Asking",
        &[step(
            "http.get",
            json!([format!("http://127.0.0.1:{}/", neighbour.port)]),
        )],
    );
    assert_eq!(told[0]["value"]["status"], 200, "{}", told[0]);
    let (_, told) = steps(
        &server,
        "Bare",
        &[step(
            "http.get",
            json!([format!("https://localhost:{}/", neighbour.port)]),
        )],
    );
    assert_eq!(told[0]["code"], "E3003", "{}", told[0]);
    assert_eq!(neighbour.asked(), 2);
}
