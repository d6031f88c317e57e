//! The servers that scenarios call: two names over TLS, and one without.

use crate::support::tls::{Seen, TlsServer, read_request};
use serde_json::{Map, Value};
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// A request that a server saw.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) url: String,
    head: String,
    pub(crate) body: String,
}

impl Sent {
    /// A header's value, or null.
    pub(crate) fn header(&self, name: &str) -> Value {
        header(&self.head, name).map_or(Value::Null, Value::from)
    }
}

#[derive(Default)]
struct Shared {
    answers: Map<String, Value>,
    sent: Vec<Sent>,
}

/// All origins. What they answer is set for each scenario.
pub(crate) struct Origins {
    /// The certificate of the authority that both names are signed by.
    pub(crate) authority: String,
    shared: Arc<Mutex<Shared>>,
}

impl Origins {
    /// Starts the servers, each where its name means without a port.
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let answering = shared.clone();
        let server = TlsServer::answering(
            "127.0.0.1:443".parse().expect("an address"),
            &["api.example.org", "other.example.org"],
            move |seen| answer(&answering, "https", seen),
        );
        let plain = TcpListener::bind("127.0.0.1:9080").expect("the address is ours");
        let answering = shared.clone();
        std::thread::spawn(move || {
            for mut stream in plain.incoming().flatten() {
                if let Some(seen) = read_request(&mut stream) {
                    let answer = answer(&answering, "http", &seen);
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
        Self {
            authority: server.authority,
            shared,
        }
    }

    /// From now on the servers answer this.
    pub(crate) fn answer_with(&self, answers: &Value) {
        let mut shared = self.shared.lock().expect("no panics");
        shared.answers = answers.as_object().cloned().unwrap_or_default();
        shared.sent.clear();
    }

    /// What was sent since this was asked last.
    pub(crate) fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.shared.lock().expect("no panics").sent)
    }
}

fn answer(shared: &Mutex<Shared>, scheme: &str, seen: &Seen) -> String {
    let mut words = seen.head.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let host = header(&seen.head, "host").unwrap_or_default();
    let url = format!("{scheme}://{host}{}", words.next().unwrap_or_default());
    let mut shared = shared.lock().expect("no panics");
    let given = shared.answers.get(&format!("{method} {url}"));
    // An entry without a method answers all of them.
    let given = given.or_else(|| shared.answers.get(&url)).cloned();
    shared.sent.push(Sent {
        method: method.clone(),
        url,
        head: seen.head.clone(),
        body: seen.body.clone(),
    });
    written(&method, &given.unwrap_or(Value::Null))
}

/// The text of an answer; 599 where the scenario has none, which no scenario expects.
fn written(method: &str, given: &Value) -> String {
    let status = match given {
        Value::Null => 599,
        given => given["status"].as_u64().unwrap_or(200),
    };
    let (kind, body) = match (&given["json"], given["text"].as_str()) {
        (Value::Null, None) => (None, String::new()),
        (Value::Null, Some(text)) => (Some("text/plain; charset=utf-8"), text.to_owned()),
        (json, _) => (Some("application/json"), json.to_string()),
    };
    let mut text = format!("HTTP/1.1 {status} Told\r\nconnection: close\r\n");
    for (name, value) in given["headers"].as_object().into_iter().flatten() {
        text += &format!("{name}: {}\r\n", value.as_str().expect("text"));
    }
    if let Some(kind) = kind {
        text += &format!("content-type: {kind}\r\n");
    }
    if status != 204 && method != "HEAD" {
        text += &format!("content-length: {}\r\n", body.len());
    }
    text + "\r\n" + &body
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (one, value) = line.split_once(':')?;
        one.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}
