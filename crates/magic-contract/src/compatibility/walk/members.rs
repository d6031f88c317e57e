//! The members of objects: what is required, what is described, and what is left over.

use super::*;

/// Keywords by which a schema can describe members elsewhere than under `properties`.
const OTHER_MEMBERS: &[&str] = &[
    "anyOf",
    "oneOf",
    "if",
    "then",
    "else",
    "not",
    "dependentSchemas",
    "dependentRequired",
    "unevaluatedProperties",
    "propertyNames",
    "enum",
    "const",
];

impl<'d> Walk<'d> {
    pub(super) fn compare_required(&mut self, narrow: &[&'d Value], wide: &'d Value, path: &str) {
        for name in facts::list(wide, "required")
            .iter()
            .filter_map(Value::as_str)
        {
            let is_required = |part: &&Value| {
                let mut names = facts::list(part, "required").iter();
                names.any(|known| known.as_str() == Some(name))
            };
            if narrow.iter().any(is_required) {
                continue;
            }
            let field = member(path, name);
            match self.side {
                Side::Input => {
                    self.report(&field, "is required now".to_owned(), Whom::CallersWhoOmit);
                }
                Side::Output => self.say(&field, "is not always there any more".to_owned()),
            }
        }
    }

    pub(super) fn compare_members(
        &mut self,
        narrow: &[&'d Value],
        wide: &'d Value,
        path: &str,
    ) -> bool {
        let before = self.found.len();
        let rest = wide.get("additionalProperties");
        if let Some(patterns) =
            facts::object(wide, "patternProperties").filter(|map| !map.is_empty())
        {
            // Which names a pattern meets is not worked out here: the whole group has to be as it was.
            let group = ["properties", "patternProperties", "additionalProperties"];
            let is_kept = |part: &&Value| {
                group
                    .iter()
                    .all(|word| self.is_same_option(part.get(word), wide.get(word)))
            };
            if !narrow.iter().any(is_kept) {
                let names = patterns
                    .keys()
                    .take(3)
                    .map(|name| describe(&json!(name), false));
                let names = names.collect::<Vec<_>>().join(", ");
                let change = format!(
                    "has other rules for fields by pattern ({names}), which cannot be shown to be compatible"
                );
                self.say(path, change);
            }
            return self.found.len() > before;
        }
        let named = facts::object(wide, "properties");
        for (name, schema) in named.into_iter().flatten() {
            self.compare_member(narrow, name, schema, path);
        }
        let Some(rest) = rest else {
            return false;
        };
        let mut seen = HashSet::new();
        for part in narrow {
            for (name, _) in facts::object(part, "properties").into_iter().flatten() {
                let is_named = named.is_some_and(|map| map.contains_key(name));
                if !is_named && seen.insert(name) {
                    let constraints = self.member_parts(narrow, name).0;
                    if rest == &Value::Bool(false) {
                        self.compare_surplus(&constraints, &member(path, name));
                    } else {
                        self.compare(&constraints, rest, &member(path, name));
                    }
                }
            }
        }
        let others = self.other_members(narrow);
        if rest == &Value::Bool(false) {
            if !others.contains(&&Value::Bool(false)) {
                let change = match self.side {
                    Side::Input => "does not accept fields that it does not name any more",
                    Side::Output => "can have fields that it does not name now",
                };
                self.say(path, change.to_owned());
                return true;
            }
        } else {
            let any = if path.is_empty() {
                "*".to_owned()
            } else {
                format!("{path}.*")
            };
            self.compare(&others, rest, &any);
        }
        false
    }

    pub(super) fn compare_surplus(&mut self, narrow: &[&'d Value], path: &str) {
        if narrow.contains(&&Value::Bool(false)) {
            return;
        }
        let change = match self.side {
            Side::Input => "is not accepted any more",
            Side::Output => {
                "is a new field, where the old contract promised that there are no others"
            }
        };
        self.say(path, change.to_owned());
    }

    pub(super) fn compare_member(
        &mut self,
        narrow: &[&'d Value],
        name: &str,
        wide: &'d Value,
        path: &str,
    ) {
        let (constraints, is_described) = self.member_parts(narrow, name);
        let path = member(path, name);
        if is_described {
            self.compare(&constraints, wide, &path);
            return;
        }
        match self.side {
            // Nobody can have meant anything by a field that the old contract only tolerated, so
            // that adding an optional one is no break.
            Side::Input
                if !self.is_attempt
                    && wide != &Value::Bool(false)
                    && narrow.iter().any(|part| part.get("properties").is_some()) =>
            {
                self.lenient = true;
            }
            Side::Input => self.compare(&constraints, wide, &path),
            Side::Output => {
                let mut parts = Vec::new();
                flatten(self.wide, wide, &mut parts);
                if !parts.is_empty() && !self.succeeds(&constraints, wide) {
                    self.say(&path, "is not described any more".to_owned());
                }
            }
        }
    }

    /// What applies to the member of this name, and whether anything was said about it at all.
    pub(super) fn member_parts(&self, narrow: &[&'d Value], name: &str) -> (Parts<'d>, bool) {
        let mut parts = Vec::new();
        let mut is_described = false;
        for part in narrow {
            let by_pattern =
                facts::object(part, "patternProperties").is_some_and(|map| !map.is_empty());
            // Which patterns meet the name is left open, so what they ask for is not counted on.
            is_described |= by_pattern;
            if let Some(schema) = facts::object(part, "properties").and_then(|map| map.get(name)) {
                is_described = true;
                flatten(self.narrow, schema, &mut parts);
            } else if let Some(schema) = part.get("additionalProperties") {
                is_described = true;
                if !by_pattern {
                    flatten(self.narrow, schema, &mut parts);
                }
            }
            // A field that is only asked for, or that only some branch describes, was meant, too.
            is_described |= facts::list(part, "required")
                .iter()
                .any(|known| known == name);
            is_described |= OTHER_MEMBERS.iter().any(|word| part.get(word).is_some());
        }
        (parts, is_described)
    }

    /// What applies to the members that no part names.
    pub(super) fn other_members(&self, narrow: &[&'d Value]) -> Parts<'d> {
        let mut parts = Vec::new();
        for part in narrow {
            let by_pattern =
                facts::object(part, "patternProperties").is_some_and(|map| !map.is_empty());
            if let Some(schema) = part.get("additionalProperties").filter(|_| !by_pattern) {
                flatten(self.narrow, schema, &mut parts);
            }
        }
        parts
    }
}
