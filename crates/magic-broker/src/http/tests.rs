//! Egress against real servers: TLS and plain, honest and hostile.
//!
//! The servers listen on loopback addresses of their own. Only the names are made up: the resolver is
//! a fixed table, since who answers for a name is configuration and not what is proved here.

use super::secrets::NoSecrets;
use super::*;
use crate::call::Call;
use crate::capability::Method;
use crate::problem;
use crate::record::{AuditSink, CallRecord, Durable, Intent};
use crate::trace::SpanId;
use magic_contract::{
    AddressClass, Contract, ErrorCode, Failure, Grant, Host, HostPattern, Policy,
};
use serde_json::{Map, Value, json};
use server::{Authority, Server};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use tokio::time::Instant;

mod abuse;
mod destinations;
mod redirects;
mod requests;
mod server;

/// Keeps announcements, and refuses them if it is told to.
#[derive(Default)]
struct Ledger {
    intents: Mutex<Vec<Map<String, Value>>>,
    is_full: bool,
}

impl AuditSink for Ledger {
    fn record(&self, _: CallRecord<'_>) {}

    fn intend<'a>(&'a self, intent: Intent<'a>) -> Durable<'a> {
        self.intents.lock().unwrap().push(intent.facts.clone());
        let failure = self
            .is_full
            .then(|| problem::backend("the audit log is full", true, "test"));
        Box::pin(std::future::ready(failure.map_or(Ok(()), Err)))
    }
}

/// One execution with its contract, and what its calls left behind.
struct Bench {
    names: HashMap<String, Vec<IpAddr>>,
    options: EgressOptions,
    rules: AddressRules,
    secrets: Arc<dyn HeaderSecrets>,
    line: String,
    deadline: Duration,
    ledger: Ledger,
    session: std::sync::OnceLock<EgressSession>,
    /// The span of the calls.
    span: Option<SpanId>,
}

/// A call's result and its facts.
struct Done {
    result: Result<Value, Failure>,
    facts: Map<String, Value>,
}

impl Done {
    fn ok(self) -> Value {
        self.result.unwrap_or_else(|failure| {
            panic!("{failure} {:?} {:?}", failure.details, failure.internal)
        })
    }

    fn failure(&self) -> &Failure {
        match &self.result {
            Ok(value) => panic!("an answer where a failure was due: {value}"),
            Err(failure) => failure,
        }
    }

    fn refused(&self, code: ErrorCode, detail: &str, value: &str) {
        let failure = self.failure();
        assert_eq!(failure.code, code, "{failure} {:?}", failure.details);
        assert_eq!(
            failure.details[detail], value,
            "{failure} {:?}",
            failure.details
        );
    }

    fn broke(&self, is_retriable: bool) {
        let failure = self.failure();
        assert_eq!(failure.code, ErrorCode::ControllerFailed, "{failure}");
        assert_eq!(failure.reason(), Some("backend"), "{failure}");
        assert_eq!(failure.details["retriable"], is_retriable, "{failure}");
    }
}

impl Bench {
    /// A contract with this capability line, under the development policy with loopback open.
    fn new(line: impl Into<String>) -> Self {
        Self {
            names: HashMap::new(),
            options: EgressOptions {
                extra_roots: Authority::get().pem(),
                ..EgressOptions::default()
            },
            rules: AddressRules {
                classes: vec![AddressClass::Loopback],
                ranges: Vec::new(),
            },
            secrets: Arc::new(NoSecrets),
            line: line.into(),
            deadline: Duration::from_secs(20),
            ledger: Ledger::default(),
            session: std::sync::OnceLock::new(),
            span: None,
        }
    }

    /// A contract that lists these hosts.
    fn allowing(hosts: &[String]) -> Self {
        let hosts: Vec<String> = hosts.iter().map(|host| json!(host).to_string()).collect();
        Self::new(format!(
            "- http:egress: {{ allow: [{}] }}",
            hosts.join(", ")
        ))
    }

    fn name(mut self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|one| one.parse().unwrap()).collect();
        self.names.insert(name.to_owned(), addresses);
        self
    }

    fn limits(mut self, change: impl FnOnce(&mut EgressLimits)) -> Self {
        change(&mut self.options.limits);
        self
    }

    fn session(&self) -> &EgressSession {
        self.session.get_or_init(|| {
            let resolver = Resolver::Table(self.names.clone());
            let egress = Egress::with_resolver(self.options.clone(), resolver).unwrap();
            EgressSession::new(Arc::new(egress), Arc::clone(&self.secrets))
        })
    }

    fn grant(&self) -> Grant {
        let text = format!(
            "name: T\nversion: 1.0.0\ninput: {{type: object}}\noutput: {{type: object}}\ncapabilities:\n  {}\n",
            self.line
        );
        let contract = Contract::parse(text.as_bytes(), "contract.yaml")
            .unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        let mut policy = Policy::development();
        policy.address_classes.clone_from(&self.rules.classes);
        policy.address_ranges.clone_from(&self.rules.ranges);
        Grant::derive(&contract, &policy)
    }

    async fn call(&self, params: Value) -> Done {
        let grant = self.grant();
        let deadline = Instant::now() + self.deadline;
        let mut call = Call::begin(1, Method::HttpRequest, deadline, &grant, &self.ledger).unwrap();
        call.span = self.span;
        let result = self.session().perform(&mut call, &params.to_string()).await;
        Done {
            result: result.map(|text| serde_json::from_str(&text).unwrap()),
            facts: call.into_facts(),
        }
    }

    async fn get(&self, url: impl Into<String>) -> Done {
        self.call(json!({"method": "GET", "url": url.into()})).await
    }

    fn announced(&self) -> usize {
        self.ledger.intents.lock().unwrap().len()
    }
}
