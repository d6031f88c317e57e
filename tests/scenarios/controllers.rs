//! The controllers that the scenarios run in: one per contract, with the bodies of all scenarios that have it.

use crate::scenario::Scenario;
use crate::support::server::Controllers;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The controller that fills, empties and reads the spaces that controllers share.
pub(crate) const KEEPER: &str = "Keeper";

/// What every controller can do beside its scenarios. A body is a method, so it sees what a controller sees.
const HEADER: &str = r#"
import asyncio, base64, datetime, decimal, json, math, uuid
from magic import *

@contract("./contract.yaml")
class NAME(Controller):
    async def execute(self, input):
        return {"value": await getattr(self, input["body"])(input["input"])}

    async def prepare(self, input):
        for key in input["forget"]:
            await self.cache.delete(key)
        for key, value in input["cache"].items():
            await self.cache.set(key, value)
        for queue, messages in input["queues"].items():
            for message in messages:
                await self.queue.publish(queue, message)

    async def inspect(self, input):
        absent = "nothing is there"
        found = {}
        for key in input["keys"]:
            value = await self.cache.get(key, absent)
            found[key] = None if value == absent else {"value": value}
        return found
"#;

/// A scenario's place: the controller's name, and the method of each run.
pub(crate) struct Place {
    pub(crate) controller: String,
    pub(crate) bodies: Vec<String>,
}

/// Makes the controllers; places are in the order of the scenarios.
pub(crate) fn controllers(scenarios: &[Scenario]) -> (Controllers, Vec<Place>) {
    let mut contracts: Vec<(String, String)> = Vec::new();
    let mut places = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        let contract = contract(scenario);
        let at = contracts
            .iter()
            .position(|(known, _)| *known == contract)
            .unwrap_or_else(|| {
                let header = HEADER.replace("NAME", &name_of(contracts.len()));
                contracts.push((contract, header));
                contracts.len() - 1
            });
        let mut bodies = Vec::new();
        for (run, members) in scenario.runs().iter().enumerate() {
            let body = format!("body_{number}_{run}");
            let code = &mut contracts[at].1;
            let _ = writeln!(code, "\n    async def {body}(self, input):");
            for line in members["python"].as_array().expect("lines") {
                let _ = writeln!(code, "        {}", line.as_str().expect("a line"));
            }
            bodies.push(body);
        }
        places.push(Place {
            controller: name_of(at),
            bodies,
        });
    }
    let mut all =
        Controllers::new().with(KEEPER, &keeper(scenarios), &HEADER.replace("NAME", KEEPER));
    for (at, (contract, code)) in contracts.iter().enumerate() {
        all = all.with(&name_of(at), contract, code);
    }
    (all, places)
}

fn name_of(at: usize) -> String {
    format!("Scenario{at}")
}

fn contract(scenario: &Scenario) -> String {
    let capabilities = scenario.get("capabilities");
    let none = json!([]);
    let capabilities = if capabilities.is_null() {
        &none
    } else {
        capabilities
    };
    // JSON is YAML too.
    let mut text = format!("capabilities: {capabilities}\n");
    let metrics = scenario.get("metrics");
    if !metrics.is_null() {
        let _ = writeln!(text, "observability: {{\"metrics\": {metrics}}}");
    }
    if let Some(effects) = scenario.get("effects").as_str() {
        let _ = writeln!(text, "effects: {effects}");
    }
    text + "resources: {timeout: 60s}"
}

fn keeper(scenarios: &[Scenario]) -> String {
    let keys = keys(scenarios);
    let queues: BTreeSet<&String> = scenarios
        .iter()
        .flat_map(|scenario| scenario.members("queues"))
        .map(|(queue, _)| queue)
        .collect();
    let capabilities = json!([
        {"cache:read": {"keys": &keys}},
        {"cache:write": {"keys": &keys}},
        {"queue:publish": {"queues": &queues}},
    ]);
    format!("capabilities: {capabilities}\nresources: {{timeout: 60s}}")
}

/// Every key of the cache that a scenario has before or after it.
pub(crate) fn keys(scenarios: &[Scenario]) -> BTreeSet<&String> {
    scenarios
        .iter()
        .flat_map(|scenario| {
            let mut both = scenario.members("cache");
            both.extend(scenario.after("cache"));
            both
        })
        .map(|(key, _)| key)
        .collect()
}

/// The input by which a controller runs one of its methods.
pub(crate) fn call(body: &str, input: &Value) -> Value {
    json!({"body": body, "input": input})
}
