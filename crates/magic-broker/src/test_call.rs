//! Calls as a session makes them, for the tests of single capabilities.

use crate::call::Call;
use crate::capability::Method;
use crate::record::{AuditSink, CallRecord, Durable, Intent};
use magic_contract::{Contract, Failure, Grant, Policy};
use serde_json::{Map, Value};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// One request of `InvoiceSync` with some capabilities under the development policy.
pub(crate) struct TestRequest {
    grant: Grant,
    /// When the request's time is up.
    pub(crate) deadline: Instant,
    /// The announcements so far: the method and what was known.
    pub(crate) intents: Mutex<Vec<(Method, Map<String, Value>)>>,
}

impl AuditSink for TestRequest {
    fn record(&self, _: CallRecord<'_>) {}

    fn intend<'a>(&'a self, intent: Intent<'a>) -> Durable<'a> {
        let announced = (intent.method, intent.facts.clone());
        self.intents.lock().unwrap().push(announced);
        Box::pin(async { Ok(()) })
    }
}

impl TestRequest {
    /// A request whose contract has these `capabilities`, a list in YAML.
    pub(crate) fn new(capabilities: &str) -> Self {
        Self::of("InvoiceSync", capabilities)
    }

    /// The same for another controller.
    pub(crate) fn of(controller: &str, capabilities: &str) -> Self {
        let text = format!(
            "name: {controller}\nversion: 1.0.0\ninput: {{}}\noutput: {{}}\ncapabilities: {capabilities}\n"
        );
        let contract = Contract::parse(text.as_bytes(), "contract.yaml")
            .unwrap_or_else(|problems| panic!("{}", problems.render(magic_contract::Color::Never)));
        Self {
            grant: Grant::derive(&contract, &Policy::development()),
            deadline: Instant::now() + Duration::from_secs(30),
            intents: Mutex::default(),
        }
    }

    /// One call that the contract allows as such.
    pub(crate) fn call(&self, method: Method) -> Call<'_> {
        Call::begin(1, method, self.deadline, &self.grant, self).unwrap()
    }
}

/// The answer as JSON, and the facts of the call.
pub(crate) fn outcome(
    result: Result<String, Failure>,
    call: Call<'_>,
) -> (Result<Value, Failure>, Map<String, Value>) {
    let answer = result.map(|text| serde_json::from_str(&text).unwrap());
    (answer, call.into_facts())
}
