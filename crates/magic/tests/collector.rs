//! A receiver of OTLP: takes batches as a collector does, decoded with the types that OpenTelemetry publishes.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::server::DEADLINE;

/// A running receiver.
pub(crate) struct Collector {
    address: SocketAddr,
    batches: Receiver<ExportTraceServiceRequest>,
    /// Every span so far.
    pub(crate) spans: Vec<Span>,
    /// What was said of the program that sent the last batch.
    pub(crate) resource: HashMap<String, String>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (sender, batches) = channel();
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                std::thread::spawn(move || serve(&connection, &sender));
            }
        });
        Self {
            address,
            batches,
            spans: Vec::new(),
            resource: HashMap::new(),
        }
    }

    /// What an operator sets for it.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until what came in so far fits.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, fits: impl Fn(&[Span]) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !fits(&self.spans) {
            let left = until.saturating_duration_since(Instant::now());
            match self.batches.recv_timeout(left) {
                Ok(batch) => self.add(batch),
                Err(_) => panic!("{what} did not come in: {:#?}", self.spans),
            }
        }
    }

    /// Everything that came in, once the sender has ended.
    pub(crate) fn all(&mut self) -> &[Span] {
        while let Ok(batch) = self.batches.try_recv() {
            self.add(batch);
        }
        &self.spans
    }

    fn add(&mut self, batch: ExportTraceServiceRequest) {
        for part in batch.resource_spans {
            let described = part.resource.expect("a program says what it is");
            self.resource = attributes_of(&described.attributes);
            for scope in part.scope_spans {
                self.spans.extend(scope.spans);
            }
        }
    }
}

/// A span's attributes by their names, as text.
pub(crate) fn attributes(span: &Span) -> HashMap<String, String> {
    attributes_of(&span.attributes)
}

fn attributes_of(
    pairs: &[opentelemetry_proto::tonic::common::v1::KeyValue],
) -> HashMap<String, String> {
    let text = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        let value = pair.value.clone()?.value?;
        let value = match value {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            Value::BoolValue(flag) => flag.to_string(),
            other => format!("{other:?}"),
        };
        Some((pair.key.clone(), value))
    };
    pairs.iter().filter_map(text).collect()
}

/// Answers requests of one connection until it ends.
fn serve(connection: &TcpStream, sender: &Sender<ExportTraceServiceRequest>) {
    let mut reader = BufReader::new(connection);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match reader.read_line(&mut head) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains("content-type: application/x-protobuf\r\n"),
            "{head}"
        );
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .expect("a length");
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let batch = ExportTraceServiceRequest::decode(&*body).expect("OTLP");
        let answer = ExportTraceServiceResponse::default().encode_to_vec();
        // Before the answer: whoever has the answer may rely on it. The test may have ended.
        let _ = sender.send(batch);
        let mut writer = connection;
        let written = write!(
            writer,
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        if written.and_then(|()| writer.write_all(&answer)).is_err() {
            return;
        }
    }
}
