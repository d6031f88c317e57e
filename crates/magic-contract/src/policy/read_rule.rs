//! Reads one rule of a policy.

use crate::capability::{CapabilityKind, ResourceKind};
use crate::document::{Kind, Member, Node, child};
use crate::host::HostPattern;
use crate::reader::{Reader, Spot};
use crate::violation::quote;

use super::{Effect, Environment, Form, Mode, ResourcePattern, Rule, TextPattern};

const KEYS: &[&str] = &[
    "name",
    "effect",
    "mode",
    "capabilities",
    "form",
    "environments",
    "controllers",
    "except",
    "versions",
    "resources",
    "advice",
];

pub(super) fn read_rule(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Rule> {
    let members = reader.members(node, path, "a rule", KEYS)?;
    let unknown = members
        .iter()
        .any(|member| !KEYS.contains(&member.key.as_str()));
    let here = Spot {
        path: path.to_owned(),
        span: node.span.clone(),
    };
    for key in ["name", "effect", "capabilities"] {
        if node.member(key).is_none() {
            let accepted =
                "a rule such as { name: read-tables, effect: allow, capabilities: [\"db:read\"] }";
            reader.refuse(&here, format!("the rule lacks `{key}`"), accepted);
        }
    }
    let get = |key: &str| node.member(key).map(|member| (member, spot(path, member)));
    let name = get("name").and_then(|(member, spot)| read_name(reader, &member.node, &spot));
    let effect = get("effect").and_then(|(member, spot)| {
        let words = [Effect::Allow, Effect::Deny].map(|one| (one.as_str(), one));
        reader.choice(&member.node, &spot, "`effect`", &words)
    });
    let mode = get("mode").map_or(Some(Mode::Enforce), |(member, spot)| {
        read_mode(reader, &member.node, &spot, effect)
    });
    let (words, capabilities) = get("capabilities")
        .and_then(|(member, spot)| read_capabilities(reader, &member.node, &spot.path))
        .unzip();
    let form = get("form").map_or(Some(Form::Any), |(member, spot)| {
        let words = [Form::Any, Form::Bare, Form::Listed].map(|one| (one.as_str(), one));
        reader.choice(&member.node, &spot, "`form`", &words)
    });
    let environments = get("environments").map_or(Some(Vec::new()), |(member, spot)| {
        let words =
            [Environment::Development, Environment::Production].map(|one| (one.as_str(), one));
        reader.list(
            &member.node,
            &spot.path,
            "`environments`",
            "`development` or `production`",
            |reader, node, spot| reader.choice(node, spot, "an environment", &words),
        )
    });
    let mut patterns = |key: &str, what: &str| {
        get(key).map_or(Some(Vec::new()), |(member, spot)| {
            let accepted = "names, with `*` at one end";
            reader.list(&member.node, &spot.path, what, accepted, read_pattern)
        })
    };
    let controllers = patterns("controllers", "`controllers`");
    let except = patterns("except", "`except`");
    let versions = get("versions").map_or(Some(None), |(member, spot)| {
        let accepted = "a version requirement such as \">=1.2, <2\"";
        reader
            .parsed::<semver::VersionReq>(&member.node, &spot, "version requirement", accepted)
            .map(Some)
    });
    let advice = get("advice").map_or(Some(None), |(member, spot)| {
        reader
            .text(&member.node, &spot, "`advice`", "a sentence for the author")
            .map(|text| Some(text.to_owned()))
    });
    let resources = match (get("resources"), &capabilities) {
        (None, _) => Some(Vec::new()),
        (Some((member, spot)), Some(capabilities)) => {
            read_resources(reader, &member.node, &spot, capabilities)
        }
        (Some(_), None) => None,
    };
    if unknown {
        return None;
    }
    Some(Rule {
        name: name?,
        line: reader.line_of(node.span.start),
        effect: effect?,
        mode: mode?,
        capabilities: capabilities?,
        form: form?,
        environments: environments?,
        versions: versions?,
        advice: advice?,
        words: words?,
        controllers: controllers?,
        except: except?,
        resources: resources?,
    })
}

fn spot(path: &str, member: &Member) -> Spot {
    Spot {
        path: child(path, &member.key),
        span: member.node.span.clone(),
    }
}

fn read_name(reader: &mut Reader<'_>, node: &Node, spot: &Spot) -> Option<String> {
    let accepted = "lower-case letters, digits and hyphens, at most 64 characters";
    let text = reader.text(node, spot, "`name`", accepted)?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) {
        return Some(text.to_owned());
    }
    reader.refuse(
        spot,
        format!("{} cannot name a rule", quote(text)),
        accepted,
    );
    None
}

/// Only a rule that denies can report instead: an allow that is not meant would deny.
fn read_mode(
    reader: &mut Reader<'_>,
    node: &Node,
    spot: &Spot,
    effect: Option<Effect>,
) -> Option<Mode> {
    let words = [Mode::Enforce, Mode::Report].map(|one| (one.as_str(), one));
    let mode = reader.choice(node, spot, "`mode`", &words)?;
    if mode == Mode::Report && effect == Some(Effect::Allow) {
        let accepted = "`mode: report` only with `effect: deny`";
        reader.refuse(spot, "a rule that allows cannot only report", accepted);
        return None;
    }
    Some(mode)
}

/// Names of capabilities, `group:*`, or `*`: as written, and written out into kinds.
fn read_capabilities(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
) -> Option<(Vec<String>, Vec<CapabilityKind>)> {
    let mut words: Vec<(String, Vec<CapabilityKind>)> = CapabilityKind::ALL
        .iter()
        .map(|kind| (kind.as_str().to_owned(), vec![*kind]))
        .collect();
    for group in ["db", "http", "secrets", "queue", "cache", "fs"] {
        let prefix = format!("{group}:");
        let kinds = CapabilityKind::ALL
            .iter()
            .copied()
            .filter(|kind| kind.as_str().starts_with(&prefix))
            .collect();
        words.push((format!("{group}:*"), kinds));
    }
    words.push(("*".to_owned(), CapabilityKind::ALL.to_vec()));
    let indices: Vec<(&str, usize)> = words
        .iter()
        .enumerate()
        .map(|(index, (word, _))| (word.as_str(), index))
        .collect();
    let chosen = reader.list(
        node,
        path,
        "`capabilities`",
        "names such as db:read, or \"db:*\"",
        |reader, node, spot| reader.choice(node, spot, "a capability", &indices),
    )?;
    let chosen = chosen.into_iter().filter_map(|index| words.get(index));
    let (written, kinds): (Vec<String>, Vec<Vec<CapabilityKind>>) = chosen.cloned().unzip();
    let mut kinds = kinds.concat();
    kinds.sort_unstable();
    kinds.dedup();
    Some((written, kinds))
}

fn read_pattern(reader: &mut Reader<'_>, node: &Node, spot: &Spot) -> Option<TextPattern> {
    let accepted = "a name, or one with `*` at one end";
    let text = reader.text(node, spot, "a pattern", accepted)?;
    TextPattern::parse(text).or_else(|| {
        reader.refuse(spot, format!("{} is not a pattern", quote(text)), accepted);
        None
    })
}

/// Targets mean something only when all capabilities of the rule have the same kind of target.
fn read_resources(
    reader: &mut Reader<'_>,
    node: &Node,
    spot: &Spot,
    capabilities: &[CapabilityKind],
) -> Option<Vec<ResourcePattern>> {
    let mut kinds: Vec<Option<ResourceKind>> = capabilities
        .iter()
        .map(|kind| kind.resource_kind())
        .collect();
    kinds.dedup();
    let [Some(kind)] = kinds.as_slice() else {
        let accepted = "`resources` only where all capabilities have the same kind of target, such as db:read and db:write";
        reader.refuse(
            spot,
            "the capabilities of this rule have no common kind of target",
            accepted,
        );
        return None;
    };
    // A list with nothing in it would make the rule hold for everything.
    if node.kind == Kind::Null {
        reader.refuse(
            spot,
            "`resources` names nothing",
            "at least one target, or no `resources` at all",
        );
        return None;
    }
    let host = *kind == ResourceKind::Host;
    let accepted = if host {
        "hosts as in contracts, or \"*\""
    } else {
        "names, with `*` at one end"
    };
    reader.list(
        node,
        &spot.path,
        "`resources`",
        accepted,
        |reader, node, spot| {
            if !host {
                return read_pattern(reader, node, spot).map(ResourcePattern::Text);
            }
            let text = reader.text(node, spot, "a host", accepted)?;
            if text == "*" {
                return Some(ResourcePattern::AnyHost);
            }
            match HostPattern::parse(text) {
                Ok(pattern) => Some(ResourcePattern::Host(pattern)),
                Err(reason) => {
                    reader.refuse(
                        spot,
                        format!("{} is not a host: {reason}", quote(text)),
                        accepted,
                    );
                    None
                }
            }
        },
    )
}
