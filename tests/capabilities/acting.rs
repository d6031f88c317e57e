//! The controller that does what its input says: see `acting.py`.

use crate::support::server::{Answer, Controllers, Server};
use serde_json::{Value, json};

/// Adds a controller with these further lines of contract.
pub(crate) fn acting(controllers: Controllers, name: &str, contract: &str) -> Controllers {
    let code = include_str!("acting.py").replace("class Acting(", &format!("class {name}("));
    controllers.with(name, contract, &code)
}

/// One call through the SDK.
pub(crate) fn step(call: &str, arguments: Value) -> Value {
    json!({"call": call, "args": arguments})
}

/// Makes steps one after the other, and returns what came of each, with the request's id.
pub(crate) fn steps(server: &Server, controller: &str, steps: &[Value]) -> (String, Vec<Value>) {
    let answer = server.execute(controller, &json!({"steps": steps}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = answer.body["result"]["steps"].as_array().expect("steps");
    (request_id(&answer), told.clone())
}

/// The id of an answered request, whatever the answer.
pub(crate) fn request_id(answer: &Answer) -> String {
    answer.body["request_id"]
        .as_str()
        .or_else(|| answer.body["error"]["request_id"].as_str())
        .unwrap_or_else(|| panic!("no request id: {}", answer.body))
        .to_owned()
}
