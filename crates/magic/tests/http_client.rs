//! A small HTTP/1 client that can also misbehave. It sends exactly the bytes that a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::server::DEADLINE;

/// A request to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A JSON body.
    pub(crate) fn post(path: &str, body: &str) -> Self {
        let mut call = Self::new("POST", path).header("Content-Type", "application/json");
        call.body = body.as_bytes().to_vec();
        call.header("Content-Length", &body.len().to_string())
    }

    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: vec![("Host".to_owned(), "localhost".to_owned())],
            body: Vec::new(),
        }
    }

    /// Sets a header, in place of an earlier one of that name.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a header out.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Sends these bytes as the body, whatever the headers say.
    pub(crate) fn raw_body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// The bytes of the request.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it on a connection of its own and reads the answer.
    #[track_caller]
    pub(crate) fn send(&self, address: SocketAddr) -> Answer {
        let mut connection = Connection::open(address);
        connection.write(&self.clone().header("Connection", "close").bytes());
        connection.answer()
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a socket option");
        stream
            .set_write_timeout(Some(DEADLINE))
            .expect("a socket option");
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Writes, ignoring that the server may have closed already: its answer counts.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Whether the server still takes bytes.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Says that nothing more will be sent, but goes on listening.
    pub(crate) fn half_close(&mut self) {
        self.stream
            .shutdown(std::net::Shutdown::Write)
            .expect("the connection stands");
    }

    /// Reads one answer.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break String::from_utf8(self.read.drain(..end + 4).collect())
                    .expect("a text head");
            }
            assert!(
                self.more(),
                "the server closed without an answer; sent so far: {:?}",
                String::from_utf8_lossy(&self.read)
            );
        };
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .expect("a status line");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if let Some(length) = answer
            .header("content-length")
            .and_then(|length| length.parse::<usize>().ok())
        {
            while self.read.len() < length {
                assert!(self.more(), "the answer ends early");
            }
            answer.body = self.read.drain(..length).collect();
        }
        answer
    }

    /// Reads until this text has arrived.
    #[track_caller]
    pub(crate) fn read_until(&mut self, text: &str) -> String {
        loop {
            let so_far = String::from_utf8_lossy(&self.read).into_owned();
            if so_far.contains(text) {
                return so_far;
            }
            assert!(self.more(), "the server closed before {text:?}: {so_far}");
        }
    }

    /// Waits for the server to close; returns what it sent before.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.read)
    }

    /// Reads more; false at the end. A reset is an end too.
    #[track_caller]
    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.read.extend_from_slice(&buffer[..length]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the server neither answers nor closes")
            }
            Err(_) => false,
        }
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "{error}: {} {}",
                self.status,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    /// Asserts that this is an error envelope with this status and code, complete and with the id of its header.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: &str) -> Value {
        let json = self.json();
        assert_eq!(
            (self.status, json["error"]["code"].as_str()),
            (status, Some(code)),
            "{json}"
        );
        let error = &json["error"];
        assert_eq!(
            error["request_id"].as_str(),
            self.header("x-request-id"),
            "{json}"
        );
        let mut members: Vec<_> = error
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        members.sort_unstable();
        assert_eq!(
            members,
            [
                "category",
                "code",
                "details",
                "message",
                "request_id",
                "timestamp"
            ],
            "{json}"
        );
        assert!(
            error["timestamp"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z')),
            "{json}"
        );
        assert_eq!(self.header("content-type"), Some("application/json"));
        json
    }
}
