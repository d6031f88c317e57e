//! Plays scenarios on one set-up and gathers everything that is not as they tell.

use crate::controllers::{self, KEEPER, Place};
use crate::origins::Sent;
use crate::scenario::Scenario;
use crate::setup::{Database, Setup, Store};
use crate::support::server::Answer;
use crate::tables;
use serde_json::{Map, Value, json};

/// Plays every scenario that this database has a part in. All that fails is told at once.
pub(crate) fn play_everything(database: Database, store: Store) {
    let mut scenarios = crate::scenario::read_all();
    scenarios.retain(|scenario| scenario.is_for(database.name()));
    assert!(scenarios.len() >= 100, "the scenarios are there");
    let (controllers, places) = controllers::controllers(&scenarios);
    let setup = Setup::start(database, store, controllers, &scenarios);
    let mut wrong = Vec::new();
    let mut expected_calls = Vec::new();
    let mut before: Option<&Scenario> = None;
    for (scenario, place) in scenarios.iter().zip(&places) {
        let stage = Stage {
            setup: &setup,
            scenario,
            place,
        };
        stage.prepare(before, &scenarios);
        for (run, body) in scenario.runs().into_iter().zip(&place.bodies) {
            let problem = stage.run(run, body, &mut expected_calls);
            wrong.extend(problem.map(|problem| format!("{}: {problem}", scenario.name)));
        }
        let problems = stage.compare_after();
        wrong.extend(problems.map(|problem| format!("{}: {problem}", scenario.name)));
        before = Some(scenario);
    }
    let calls = setup.calls();
    for (name, request, expected) in expected_calls {
        let recorded = calls.get(&request).map_or(json!([]), |calls| json!(calls));
        if recorded != expected {
            wrong.push(format!("{name}: calls {expected}, recorded {recorded}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} scenarios fail on {database:?} with {store:?}:\n{}",
        wrong.len(),
        scenarios.len(),
        wrong.join("\n")
    );
}

/// One scenario on its set-up.
struct Stage<'a> {
    setup: &'a Setup,
    scenario: &'a Scenario,
    place: &'a Place,
}

impl Stage<'_> {
    /// Puts everything in place that is there before the first run, and removes what is left of the scenario before.
    fn prepare(&self, before: Option<&Scenario>, all: &[Scenario]) {
        let Self {
            setup, scenario, ..
        } = self;
        setup.origins.answer_with(scenario.get("http"));
        let tables = scenario.members("tables");
        let old = before.map(|before| before.members("tables"));
        let old = old.into_iter().flatten().map(|(name, _)| name);
        let sql = tables::remove(setup.database, old) + &tables::make(setup.database, &tables);
        if !sql.is_empty() {
            setup.sql(&sql);
        }
        let (cache, queue) = (scenario.shares("cache"), scenario.shares("queue"));
        if cache.is_none() && queue.is_none() {
            return;
        }
        setup.settle();
        setup.empty_store();
        let keys = json!(controllers::keys(all));
        let nothing = json!({});
        let or_nothing = |member| match scenario.get(member) {
            Value::Null => &nothing,
            value => value,
        };
        // The shared spaces are the keeper's; its own space each controller fills itself.
        let shared_cache = if cache == Some(true) {
            or_nothing("cache")
        } else {
            &nothing
        };
        let shared_queues = if queue == Some(true) {
            or_nothing("queues")
        } else {
            &nothing
        };
        self.fill(KEEPER, &keys, shared_cache, shared_queues);
        let own_cache = if cache == Some(false) {
            or_nothing("cache")
        } else {
            &nothing
        };
        let own_queues = if queue == Some(false) {
            or_nothing("queues")
        } else {
            &nothing
        };
        let forget = if self.declares("cache:write") {
            &keys
        } else {
            &json!([])
        };
        let nothing_to_do = json!([]);
        if [forget, own_cache, own_queues] != [&nothing_to_do, &nothing, &nothing] {
            self.fill(&self.place.controller, forget, own_cache, own_queues);
        }
        setup.settle();
    }

    fn fill(&self, controller: &str, forget: &Value, cache: &Value, queues: &Value) {
        let input = json!({"forget": forget, "cache": cache, "queues": queues});
        self.setup.run(controller, "prepare", &input);
    }

    /// Whether the contract declares this capability bare.
    fn declares(&self, capability: &str) -> bool {
        let declared = self.scenario.get("capabilities").as_array();
        declared.is_some_and(|declared| declared.iter().any(|one| one == capability))
    }

    /// Plays one run; what is not as told, if anything.
    fn run(
        &self,
        run: &Map<String, Value>,
        body: &str,
        expected_calls: &mut Vec<(String, String, Value)>,
    ) -> Option<String> {
        let nothing = json!({});
        let input = run.get("input").unwrap_or(&nothing);
        let answer = self
            .setup
            .server
            .execute(&self.place.controller, &controllers::call(body, input));
        if self.scenario.shares("cache").is_some() || self.scenario.shares("queue").is_some() {
            self.setup.settle();
        }
        if let Some(calls) = run.get("calls") {
            let request = match &answer.body["request_id"] {
                Value::String(request) => request,
                _ => answer.body["error"]["request_id"].as_str().expect("an id"),
            };
            expected_calls.push((
                self.scenario.name.clone(),
                request.to_owned(),
                calls.clone(),
            ));
        }
        let sent = self.setup.origins.take_sent();
        compare_answer(run, &answer).or_else(|| compare_sent(run.get("requests")?, &sent))
    }

    /// Compares what is there at the end.
    fn compare_after(&self) -> impl Iterator<Item = String> {
        let Self {
            setup,
            scenario,
            place,
        } = self;
        let mut wrong = Vec::new();
        for (name, rows) in scenario.after("tables") {
            let table = &scenario.get("tables")[name];
            setup.sql(&tables::expect(setup.database, table, rows));
            if setup.number(&tables::differences(name)) != 0 {
                wrong.push(format!(
                    "{name} should be {rows} and is {}",
                    setup.shown(name)
                ));
            }
        }
        let entries = scenario.after("cache");
        if !entries.is_empty() {
            let shared = scenario.shares("cache") == Some(true);
            let reader = if shared { KEEPER } else { &place.controller };
            let keys: Vec<&String> = entries.iter().map(|(key, _)| *key).collect();
            let found = setup.run(reader, "inspect", &json!({"keys": keys}));
            let expected = &scenario.get("after")["cache"];
            if found != *expected {
                wrong.push(format!("the cache should have {expected} and has {found}"));
            }
        }
        for (queue, bodies) in scenario.after("queues") {
            let private = scenario.shares("queue") == Some(false);
            let found = setup.messages(private.then_some(&place.controller), queue);
            if json!(found) != *bodies {
                wrong.push(format!("{queue} should have {bodies} and has {found:?}"));
            }
        }
        wrong.into_iter()
    }
}

fn compare_answer(run: &Map<String, Value>, answer: &Answer) -> Option<String> {
    if let Some(result) = run.get("result") {
        let found = &answer.body["result"];
        return (*found != json!({"value": result}))
            .then(|| format!("should return {result}, and the answer is {}", answer.body));
    }
    let expected = run.get("error").expect("a run has a result or an error");
    let found = &answer.body["error"];
    let details = expected["details"].as_object().into_iter().flatten();
    let mut details = details.map(|(name, value)| found["details"].get(name) == Some(value));
    (found["code"] != expected["code"] || !details.all(|equal| equal)).then(|| {
        format!(
            "should fail as {expected}, and the answer is {}",
            answer.body
        )
    })
}

fn compare_sent(expected: &Value, sent: &[Sent]) -> Option<String> {
    let expected = expected.as_array().expect("a list");
    let alike = expected.len() == sent.len()
        && expected.iter().zip(sent).all(|(expected, sent)| {
            let headers = expected["headers"].as_object().into_iter().flatten();
            let mut headers = headers.map(|(name, value)| sent.header(name) == *value);
            let is_json =
                |value: &Value| serde_json::from_str(&sent.body).ok().as_ref() == Some(value);
            expected["method"] == sent.method
                && expected["url"] == sent.url
                && headers.all(|equal| equal)
                && expected.get("json").is_none_or(is_json)
                && expected.get("text").is_none_or(|text| *text == sent.body)
        });
    (!alike).then(|| format!("should send {expected:?}, and sent {sent:?}"))
}
