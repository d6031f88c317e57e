//! Reading the files of scenarios. Their format is told in the README beside them.

use serde_json::{Map, Value};
use std::path::Path;

/// What the names of origins stand for here: the same as in the other player, so that both see the same text.
const ORIGINS: [(&str, &str); 3] = [
    ("{{api}}", "api.example.org"),
    ("{{other}}", "other.example.org"),
    ("{{plain}}", "localhost:9080"),
];

/// One scenario with the defaults of its file.
pub(crate) struct Scenario {
    /// The name of its file and its own.
    pub(crate) name: String,
    pub(crate) whole: Map<String, Value>,
}

impl Scenario {
    /// A member; null if it is absent.
    pub(crate) fn get(&self, member: &str) -> &Value {
        self.whole.get(member).unwrap_or(&Value::Null)
    }

    /// The members of an object that may be absent.
    pub(crate) fn members(&self, member: &str) -> Vec<(&String, &Value)> {
        members(self.get(member))
    }

    /// What is there at the end, of one kind.
    pub(crate) fn after(&self, kind: &str) -> Vec<(&String, &Value)> {
        members(&self.get("after")[kind])
    }

    /// The requests, one after the other.
    pub(crate) fn runs(&self) -> Vec<&Map<String, Value>> {
        match self.get("runs").as_array() {
            Some(runs) => runs.iter().filter_map(Value::as_object).collect(),
            None => vec![&self.whole],
        }
    }

    /// Whether the contract declares a capability of this family (such as `cache`) with a list: then what the scenario says
    /// of that family is in the shared space. `None` if it declares none at all.
    pub(crate) fn shares(&self, family: &str) -> Option<bool> {
        let declared = self.get("capabilities").as_array()?;
        let of_family = |name: &str| name.split(':').next() == Some(family);
        let bare = declared.iter().filter_map(Value::as_str).any(of_family);
        let listed = declared
            .iter()
            .filter_map(Value::as_object)
            .any(|object| object.keys().any(|name| of_family(name)));
        (bare || listed).then_some(listed)
    }

    /// Whether it says something of this database.
    pub(crate) fn is_for(&self, database: &str) -> bool {
        let says = |member: &str, word: &str| match self.get(member).as_array() {
            Some(words) => words.iter().any(|one| one == word),
            None => true,
        };
        says("databases", database) && says("players", "real")
    }
}

fn members(value: &Value) -> Vec<(&String, &Value)> {
    value.as_object().into_iter().flatten().collect()
}

/// All scenarios of all files, in the order of names.
pub(crate) fn read_all() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python-sdk/tests/scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the SDK's scenarios")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    paths.sort();
    paths.iter().flat_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Vec<Scenario> {
    let mut text = std::fs::read_to_string(path).expect("a readable file");
    for (name, origin) in ORIGINS {
        text = text.replace(name, origin);
    }
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let stem = path.file_stem().expect("a name").to_string_lossy();
    let scenarios = file["scenarios"].as_array().expect("a list");
    scenarios
        .iter()
        .map(|own| {
            let mut whole = file["defaults"].as_object().cloned().unwrap_or_default();
            whole.extend(own.as_object().expect("an object").clone());
            let name = format!("{stem}: {}", own["name"].as_str().expect("a name"));
            Scenario { name, whole }
        })
        .collect()
}
