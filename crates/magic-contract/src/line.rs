//! Lines to paste: capabilities, rules and limits as a contract or a policy writes them.
//!
//! A refusal that says "ask your operator" costs a day; one that prints the line costs a paste. So
//! what is printed here is read back by the same readers, and a test of this crate does just that.

use crate::capability::{Capability, HttpMethod};
use crate::host::HostPattern;
use crate::policy::{Form, Mode, Policy, PolicyLimits, Rule};
use crate::quantity::{format_bytes, format_cores, format_duration};

/// The longest line that is printed, in bytes. What would be longer is no help to anybody.
pub(crate) const LONGEST_LINE: usize = 4096;

/// Words that YAML readers take for something else than text.
const NOT_TEXT: &[&str] = &[
    "true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf",
];

/// The text as YAML, in quotation marks unless it is plainly a word.
pub(crate) fn word(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        && !NOT_TEXT.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { quoted(text) }
}

/// The text in quotation marks, as both YAML and JSON read it.
fn quoted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push('"');
    for character in text.chars() {
        let invisible =
            character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}');
        match character {
            '"' | '\\' => shown.extend(['\\', character]),
            // All of these lie in the basic plane, so four digits are enough.
            _ if invisible => shown.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => shown.push(character),
        }
    }
    shown.push('"');
    shown
}

fn list<T: ToString>(items: &[T]) -> String {
    let words: Vec<String> = items.iter().map(|item| word(&item.to_string())).collect();
    format!("[{}]", words.join(", "))
}

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    format!("{{ {} }}", members.join(", "))
}

impl Capability {
    /// The line that declares this capability in a contract, without indentation.
    #[must_use]
    pub fn to_line(&self) -> String {
        let kind = self.kind();
        let mut options = Vec::new();
        if let (Some(resource), Some(targets)) = (kind.resource_kind(), self.targets()) {
            options.push((resource.list_key(), list(&targets)));
        }
        match self {
            Self::DbWrite {
                max_rows: Some(rows),
                ..
            } => options.push(("max_rows", rows.to_string())),
            Self::HttpEgress {
                methods: Some(methods),
                ..
            } => {
                let names: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
                options.push(("methods", list(&names)));
            }
            Self::SecretsRead {
                only_for: Some(hosts),
                ..
            } => options.push(("only_for", list(hosts))),
            Self::FsTemp { size: Some(bytes) } => options.push(("size", format_bytes(*bytes))),
            _ => {}
        }
        if options.is_empty() {
            format!("- {kind}")
        } else {
            format!("- {kind}: {}", object(&options))
        }
    }

    /// This capability with one target more in its list; a list of its own if it had none. Nothing
    /// if a contract could not write that target down.
    pub(crate) fn with_target(&self, target: &str) -> Option<Self> {
        fn more<T: std::str::FromStr + Clone>(
            present: &mut Option<Vec<T>>,
            target: &str,
        ) -> Option<()> {
            present.get_or_insert_default().push(target.parse().ok()?);
            Some(())
        }
        let mut extended = self.clone();
        match &mut extended {
            Self::DbRead { tables } | Self::DbWrite { tables, .. } => more(tables, target)?,
            Self::HttpEgress { allow, .. } => {
                allow
                    .get_or_insert_default()
                    .push(HostPattern::parse(target).ok()?);
            }
            Self::SecretsRead { keys, .. } => more(keys, target)?,
            Self::QueuePublish { queues } | Self::QueueSubscribe { queues } => {
                more(queues, target)?
            }
            Self::CacheRead { keys } | Self::CacheWrite { keys } => more(keys, target)?,
            Self::DbRawsql | Self::FsTemp { .. } => return None,
        }
        Some(extended)
    }

    /// This capability with one HTTP method more.
    pub(crate) fn with_method(&self, method: HttpMethod) -> Option<Self> {
        let mut extended = self.clone();
        match &mut extended {
            Self::HttpEgress {
                methods: Some(methods),
                ..
            } => methods.push(method),
            _ => return None,
        }
        Some(extended)
    }
}

impl Rule {
    /// The line that writes this rule in a policy, without indentation.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut members = vec![
            ("name", word(&self.name)),
            ("effect", self.effect.as_str().to_owned()),
        ];
        if self.mode != Mode::Enforce {
            members.push(("mode", self.mode.as_str().to_owned()));
        }
        members.push(("capabilities", list(&self.words)));
        if self.form != Form::Any {
            members.push(("form", self.form.as_str().to_owned()));
        }
        if !self.environments.is_empty() {
            members.push(("environments", list(&self.environments)));
        }
        if !self.controllers.is_empty() {
            members.push(("controllers", list(&self.controllers)));
        }
        if !self.except.is_empty() {
            members.push(("except", list(&self.except)));
        }
        if let Some(versions) = &self.versions {
            members.push(("versions", quoted(&versions.to_string())));
        }
        if !self.resources.is_empty() {
            members.push(("resources", list(&self.resources)));
        }
        if let Some(advice) = &self.advice {
            members.push(("advice", quoted(advice)));
        }
        format!("- {}", object(&members))
    }
}

impl PolicyLimits {
    /// The line that writes these limits in a policy.
    #[must_use]
    pub fn to_line(&self) -> String {
        let members = [
            ("cpu", format_cores(self.cpu_millicores)),
            ("memory", format_bytes(self.memory_bytes)),
            ("timeout", format_duration(self.timeout)),
            ("pids", self.pids.to_string()),
            ("concurrency", self.concurrency.to_string()),
            ("temp", format_bytes(self.temp_bytes)),
            ("rows", self.rows.to_string()),
        ];
        format!("limits: {}", object(&members))
    }
}

impl Policy {
    /// The policy in full, defaults included, as a file that says the same.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let layers: Vec<(&str, String)> = self
            .layers
            .iter()
            .map(|(layer, requirement)| (layer.as_str(), requirement.as_str().to_owned()))
            .collect();
        let classes: Vec<&str> = self
            .address_classes
            .iter()
            .map(|class| class.as_str())
            .collect();
        let network = [
            ("classes", list(&classes)),
            ("ranges", list(&self.address_ranges)),
        ];
        let mut text = format!(
            "name: {}\nenvironment: {}\nisolation: {}\n{}\nlayers: {}\nnetwork: {}\nrules:",
            word(&self.name),
            self.environment,
            self.isolation.as_str(),
            self.limits.to_line(),
            object(&layers),
            object(&network),
        );
        if self.rules.is_empty() {
            text.push_str(" []");
        }
        for rule in &self.rules {
            text.push_str("\n  ");
            text.push_str(&rule.to_line());
        }
        text.push('\n');
        text
    }
}
