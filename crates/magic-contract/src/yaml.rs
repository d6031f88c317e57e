//! The one door through which YAML and JSON files come in.
//!
//! JSON is read as YAML, so places and messages are the same for both. YAML's surprises are turned
//! off: `no` is a string, `012` and `1_000` are strings, merge keys are refused, a key given twice
//! is refused, and there is one document per file. YAML's dangers are bounded before and while
//! parsing: size of the text, nesting, number of nodes, and what aliases may expand to. The parser
//! is `serde-saphyr`; no other module names it.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::options::{
    AliasLimits, DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy,
};
use serde_saphyr::{Budget, Location, Options, Spanned};

use crate::document::{Kind, Member, Node};

/// The most bytes of a file.
pub(crate) const LARGEST_TEXT: usize = 256 << 10;
/// The deepest nesting.
const DEEPEST: usize = 64;
/// The most nodes, aliases expanded.
const MOST_NODES: usize = 20_000;
/// The most aliases.
const MOST_ALIASES: usize = 100;

/// The stack of the thread that reads; four times what the deepest document was seen to need.
const READER_STACK: usize = 16 << 20;

/// Why a text could not be read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct YamlProblem {
    pub(crate) message: String,
    pub(crate) expected: Option<String>,
    pub(crate) span: Range<usize>,
}

impl YamlProblem {
    fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        Self {
            message: message.into(),
            expected: None,
            span,
        }
    }
}

/// Checks size and encoding, which must come before everything else.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, YamlProblem> {
    if bytes.len() > LARGEST_TEXT {
        let message = format!(
            "the file has {} bytes, and at most {LARGEST_TEXT} are read",
            bytes.len()
        );
        return Err(YamlProblem::new(message, 0..0));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let place = error.valid_up_to();
        let message = format!(
            "the file is not UTF-8: byte 0x{:02x} at offset {place} belongs to no character",
            bytes[place]
        );
        YamlProblem {
            expected: Some("text saved as UTF-8".to_owned()),
            ..YamlProblem::new(message, place..place)
        }
    })?;
    // The YAML standard allows no control characters but tab and line ends; the message is better
    // when it comes from here.
    let control = |character: char| {
        character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{85}')
    };
    match text
        .char_indices()
        .find(|(_, character)| control(*character))
    {
        Some((place, character)) => {
            let message = format!(
                "the file contains the control character U+{:04X}",
                u32::from(character)
            );
            Err(YamlProblem::new(
                message,
                place..place + character.len_utf8(),
            ))
        }
        None => Ok(text),
    }
}

/// Reads one document.
///
/// Reading takes place on a thread of its own. An unoptimized build spends some forty kilobytes of
/// stack per level, so the allowed depth would not fit into the two megabytes of an ordinary thread,
/// and a stack that overflows ends the whole process.
pub(crate) fn parse(text: &str) -> Result<Node, YamlProblem> {
    let read = || {
        serde_saphyr::from_str_with_options::<Node>(text, options())
            .map_err(|error| explain(text, &error))
    };
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new()
            .stack_size(READER_STACK)
            .spawn_scoped(scope, read);
        match reader.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(YamlProblem::new(
                "the reader of YAML failed on this file",
                0..0,
            )),
            Err(error) => Err(YamlProblem::new(
                format!("no thread to read the file with: {error}"),
                0..0,
            )),
        }
    })
}

fn options() -> Options {
    let mut budget = Budget::default();
    budget.max_reader_input_bytes = Some(LARGEST_TEXT);
    budget.max_events = 3 * MOST_NODES;
    budget.max_nodes = MOST_NODES;
    budget.max_depth = DEEPEST;
    budget.flow_nesting_limit = DEEPEST;
    budget.max_aliases = MOST_ALIASES;
    budget.max_anchors = MOST_ALIASES;
    budget.max_recorded_anchor_events = MOST_NODES;
    budget.max_recorded_anchor_bytes = LARGEST_TEXT;
    budget.max_documents = 1;
    budget.max_total_scalar_bytes = 4 * LARGEST_TEXT;
    budget.max_merge_keys = 0;

    let mut aliases = AliasLimits::default();
    aliases.max_total_replayed_events = MOST_NODES;
    // Each level of expansion can be as deep as a document, so this bounds the stack as well.
    aliases.max_replay_stack_depth = 3;
    aliases.max_alias_expansions_per_anchor = MOST_ALIASES;

    let mut options = Options::default();
    options.budget = Some(budget);
    options.alias_limits = aliases;
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.merge_keys = MergeKeyPolicy::Error;
    options.strict_booleans = true;
    options.leading_zero_numbers_as_strings = true;
    options.underscored_numbers_as_strings = true;
    options.reject_unsupported_tags = true;
    options.non_finite_float_policy = NonFiniteFloatPolicy::Reject;
    options.with_snippet = false;
    options
}

fn explain(text: &str, error: &serde_saphyr::Error) -> YamlProblem {
    use serde_saphyr::Error as E;
    let error = error.without_snippet();
    let span = error
        .location()
        .map_or(0..0, |location| range(text, &location));
    let problem = |message: String| YamlProblem::new(message, span.clone());
    match error {
        E::DuplicateMappingKey { key: Some(key), .. } => YamlProblem {
            expected: Some("each key once".to_owned()),
            ..problem(format!(
                "the key `{}` is given twice",
                crate::violation::shorten(key)
            ))
        },
        E::Budget { breach, .. } => budget_problem(breach, span.clone()),
        E::AliasReplayLimitExceeded { .. }
        | E::AliasExpansionLimitExceeded { .. }
        | E::AliasReplayStackDepthExceeded { .. } => YamlProblem {
            expected: Some("the text written out where it is needed".to_owned()),
            ..problem("aliases expand to too much".to_owned())
        },
        E::MergeKeyNotAllowed { .. } => YamlProblem {
            expected: Some("the keys written out".to_owned()),
            ..problem("merge keys (`<<`) are not supported".to_owned())
        },
        E::MultipleDocuments { .. } => YamlProblem {
            expected: Some("one document, without a second `---`".to_owned()),
            ..problem("the file contains more than one document".to_owned())
        },
        E::UnknownAnchor { .. } => {
            problem("the alias names an anchor that was not defined before".to_owned())
        }
        E::AliasError { error, .. } => explain(text, error),
        other => {
            let full = other.to_string();
            // The library ends its messages with the place, which diagnostics show themselves.
            let message = full.split(" at line ").next().unwrap_or(&full);
            let message = message.lines().next().unwrap_or(message);
            if message.contains("recursion limit exceeded") || message.contains(TOO_DEEP) {
                return problem(TOO_DEEP.to_owned());
            }
            YamlProblem {
                expected: advice(message).map(str::to_owned),
                ..problem(format!(
                    "the file is not readable as YAML or JSON: {}",
                    crate::violation::shorten_to(message, 200)
                ))
            }
        }
    }
}

/// What usually mends the commonest mistakes.
fn advice(message: &str) -> Option<&'static str> {
    const ADVICE: &[(&str, &str)] = &[
        (
            "mapping values are not allowed",
            "all keys of one object start in the same column; text that contains `: ` stands in quotation marks",
        ),
        (
            "flow",
            "entries in brackets have one comma between them, and every bracket is closed",
        ),
        ("unclosed bracket", "every bracket is closed"),
        ("unclosed quote", "every quotation mark is closed"),
        ("tabs", "indentation is made of spaces"),
        ("unsupported tag", "plain values without `!` tags"),
        (
            "recursive references",
            "aliases that do not contain themselves",
        ),
        ("expected string scalar", "keys that are text"),
        ("non-finite", "a number that a 64-bit float can hold"),
    ];
    ADVICE
        .iter()
        .find(|(part, _)| message.contains(part))
        .map(|(_, advice)| *advice)
}

fn budget_problem(breach: &serde_saphyr::budget::BudgetBreach, span: Range<usize>) -> YamlProblem {
    use serde_saphyr::budget::BudgetBreach as B;
    let message = match breach {
        B::Depth { .. } => TOO_DEEP.to_owned(),
        B::Nodes { .. } | B::Events { .. } => {
            format!("the document has more than {MOST_NODES} nodes")
        }
        B::Aliases { .. } | B::Anchors { .. } | B::AliasAnchorRatio { .. } => {
            format!("the document uses more than {MOST_ALIASES} anchors or aliases")
        }
        B::MergeKeys { .. } => "merge keys (`<<`) are not supported".to_owned(),
        B::Documents { .. } => "the file contains more than one document".to_owned(),
        // The text itself was measured before, so only expanded aliases can exceed the rest.
        _ => "aliases expand to too much".to_owned(),
    };
    YamlProblem::new(message, span)
}

/// The bytes that a location means. Where the parser gives characters only, they are counted out.
fn range(text: &str, location: &Location) -> Range<usize> {
    let span = location.span();
    let as_size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    match (span.byte_offset(), span.byte_len()) {
        (Some(offset), Some(length)) => {
            let start = as_size(offset).min(text.len());
            start..start.saturating_add(as_size(length)).min(text.len())
        }
        _ => {
            let mut indices = text
                .char_indices()
                .map(|(index, _)| index)
                .chain([text.len()]);
            let start = indices
                .by_ref()
                .nth(as_size(span.offset()))
                .unwrap_or(text.len());
            let length = as_size(span.len());
            let end = if length == 0 {
                start
            } else {
                indices.nth(length - 1).unwrap_or(text.len())
            };
            start..end
        }
    }
}

/// The same, where the text is not at hand: the parser always has bytes for text that it was given
/// as a string.
fn byte_range(location: &Location) -> Range<usize> {
    let span = location.span();
    let as_size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let start = as_size(span.byte_offset().unwrap_or(0));
    start..start.saturating_add(as_size(span.byte_len().unwrap_or(0)))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self {
            span: byte_range(&spanned.referenced),
            kind: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

thread_local! {
    /// How deep the tree is that is being built on this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// One level of the tree, while it is being built.
///
/// The parser counts the nesting of the text, but a chain of aliases makes the tree deeper than any
/// text: sixty anchors, each sixty levels around the one before, end the stack. `Spanned` leaves no
/// room for a seed that carries the depth, hence the thread's own variable.
struct Level;

impl Level {
    fn enter<E: Error>() -> Result<Self, E> {
        DEPTH.with(|depth| {
            if depth.get() >= DEEPEST {
                return Err(E::custom(TOO_DEEP));
            }
            depth.set(depth.get() + 1);
            Ok(Self)
        })
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}

const TOO_DEEP: &str = "the document is nested more than 64 levels deep";

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        Kind::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Kind, E> {
        Ok(Kind::Number(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Kind, E> {
        Ok(Kind::Number(number.into()))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Kind, E> {
        Err(E::custom("the number does not fit into 64 bits"))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Kind, E> {
        Err(E::custom("the number does not fit into 64 bits"))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Kind, E> {
        Number::from_f64(number)
            .map(Kind::Number)
            .ok_or_else(|| E::custom("the number is not finite"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Kind, E> {
        Ok(Kind::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let _level = Level::enter()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Node>()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let _level = Level::enter()?;
        let mut members = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let node = entries.next_value::<Node>()?;
            members.push(Member {
                key_span: byte_range(&key.referenced),
                key: key.value,
                node,
            });
        }
        Ok(Kind::Object(members))
    }
}

#[cfg(test)]
mod tests;
