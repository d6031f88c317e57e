//! What the readers of contracts and policies share: typed access to a document that collects
//! problems instead of stopping at the first.
//!
//! Every method returns `None` after having noted a problem, so a caller can read on and report the
//! rest. Nothing here decides what a contract or a policy means.

use std::ops::Range;
use std::str::FromStr;

use crate::diagnostic::{Diagnostics, Problem, Severity};
use crate::document::{Kind, Member, Node, child, item};
use crate::error_code::ErrorCode;
use crate::violation::{quote, shorten};
use crate::yaml;

/// A document being read, and what was found wrong with it so far.
pub(crate) struct Reader<'a> {
    text: &'a str,
    problems: Diagnostics,
}

/// The place of a node: its JSON Pointer and its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    pub(crate) path: String,
    pub(crate) span: Range<usize>,
}

impl<'a> Reader<'a> {
    /// Opens a document. What cannot be read at all is the only problem then.
    pub(crate) fn open(bytes: &'a [u8], file: &str) -> Result<(Self, Node), Diagnostics> {
        let text = yaml::text_of(bytes)
            .map_err(|problem| unreadable(&String::from_utf8_lossy(bytes), file, problem))?;
        let node = yaml::parse(text).map_err(|problem| unreadable(text, file, problem))?;
        Ok((
            Self {
                text,
                problems: Diagnostics::new(file, text),
            },
            node,
        ))
    }

    /// Ends reading: the warnings if nothing refuses the document, else the errors.
    pub(crate) fn close(self) -> Result<Diagnostics, Diagnostics> {
        let (errors, warnings) = self.problems.split();
        if errors.is_empty() {
            Ok(warnings)
        } else {
            Err(errors)
        }
    }

    /// Notes a problem.
    pub(crate) fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Notes an error that says what is accepted.
    pub(crate) fn refuse(
        &mut self,
        spot: &Spot,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.note(problem(ErrorCode::InvalidContract, spot, message).expecting(expected));
    }

    /// Notes a warning.
    pub(crate) fn warn(
        &mut self,
        spot: &Spot,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let mut warning = problem(ErrorCode::InvalidContract, spot, message).hinting(hint);
        warning.severity = Severity::Warning;
        self.note(warning);
    }

    /// The text that a scalar was written with, quotation marks included.
    pub(crate) fn written(&self, node: &Node) -> &'a str {
        self.text.get(node.span.clone()).unwrap_or_default()
    }

    /// The line of a byte, counted from 1.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// The members of an object of which every key is known. Unknown keys are noted, with the key
    /// that was probably meant.
    pub(crate) fn members<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        what: &str,
        known: &[&str],
    ) -> Option<&'n [Member]> {
        let Kind::Object(members) = &node.kind else {
            let spot = Spot {
                path: path.to_owned(),
                span: node.span.clone(),
            };
            let accepted = format!("an object with the keys {}", listing(known));
            self.refuse(
                &spot,
                format!("{what} must be an object, found {}", node.describe()),
                accepted,
            );
            return None;
        };
        for member in members {
            if !known.contains(&member.key.as_str()) {
                let spot = Spot {
                    path: child(path, &member.key),
                    span: member.key_span.clone(),
                };
                let message = format!("unknown key `{}` in {what}", shorten(&member.key));
                let mut noted =
                    problem(ErrorCode::InvalidContract, &spot, message).expecting(listing(known));
                noted.hint =
                    nearest(&member.key, known).map(|meant| format!("did you mean `{meant}`?"));
                self.note(noted);
            }
        }
        Some(members)
    }

    /// The items of a list that has at least one.
    pub(crate) fn items<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        what: &str,
        accepted: &str,
    ) -> Option<&'n [Node]> {
        let spot = Spot {
            path: path.to_owned(),
            span: node.span.clone(),
        };
        match &node.kind {
            Kind::List(items) if items.is_empty() => {
                self.refuse(
                    &spot,
                    format!("{what} is empty, which would allow nothing"),
                    accepted,
                );
                None
            }
            Kind::List(items) => Some(items),
            _ => {
                let message = format!("{what} must be a list, found {}", node.describe());
                let mut noted =
                    problem(ErrorCode::InvalidContract, &spot, message).expecting(accepted);
                if matches!(node.kind, Kind::Text(_)) {
                    noted.hint = Some(format!("write `[{}]`", shorten(self.written(node))));
                }
                self.note(noted);
                None
            }
        }
    }

    /// A list in which every item is read by `read`; `None` if any could not be.
    pub(crate) fn list<T>(
        &mut self,
        node: &Node,
        path: &str,
        what: &str,
        accepted: &str,
        mut read: impl FnMut(&mut Self, &Node, &Spot) -> Option<T>,
    ) -> Option<Vec<T>>
    where
        T: PartialEq,
    {
        let items = self.items(node, path, what, accepted)?;
        let mut list = Vec::with_capacity(items.len());
        let mut complete = true;
        for (index, node) in items.iter().enumerate() {
            let spot = Spot {
                path: item(path, index),
                span: node.span.clone(),
            };
            match read(self, node, &spot) {
                Some(value) if list.contains(&value) => {
                    self.refuse(&spot, format!("{what} lists this twice"), "each entry once");
                    complete = false;
                }
                Some(value) => list.push(value),
                None => complete = false,
            }
        }
        complete.then_some(list)
    }

    /// A string.
    pub(crate) fn text<'n>(
        &mut self,
        node: &'n Node,
        spot: &Spot,
        what: &str,
        accepted: &str,
    ) -> Option<&'n str> {
        if let Kind::Text(text) = &node.kind {
            return Some(text);
        }
        let message = format!("{what} must be a string, found {}", node.describe());
        let mut noted = problem(ErrorCode::InvalidContract, spot, message).expecting(accepted);
        if matches!(node.kind, Kind::Number(_) | Kind::Bool(_)) {
            noted.hint = Some(format!(
                "put it in quotation marks: \"{}\"",
                shorten(self.written(node))
            ));
        }
        self.note(noted);
        None
    }

    /// A string that follows the rule of its type.
    pub(crate) fn parsed<T: FromStr>(
        &mut self,
        node: &Node,
        spot: &Spot,
        what: &str,
        accepted: &str,
    ) -> Option<T> {
        let text = self.text(node, spot, what, accepted)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => {
                self.refuse(
                    spot,
                    format!("{} is not a valid {what}", quote(text)),
                    accepted,
                );
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        node: &Node,
        spot: &Spot,
        what: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let accepted = one_of(&known);
        let text = self.text(node, spot, what, &accepted)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let message = format!("{what} cannot be {}", quote(text));
        let mut noted = problem(ErrorCode::InvalidContract, spot, message).expecting(accepted);
        noted.hint = nearest(text, &known).map(|meant| format!("did you mean `{meant}`?"));
        self.note(noted);
        None
    }

    /// A whole number in a range.
    pub(crate) fn whole(
        &mut self,
        node: &Node,
        spot: &Spot,
        what: &str,
        range: (u32, u32),
    ) -> Option<u32> {
        let accepted = format!("a whole number from {} to {}", range.0, range.1);
        if let Kind::Number(number) = &node.kind {
            let value = number.as_u64().and_then(|value| u32::try_from(value).ok());
            if let Some(value) = value.filter(|value| (range.0..=range.1).contains(value)) {
                return Some(value);
            }
            let message = format!("{what} cannot be {}", shorten(self.written(node)));
            self.refuse(spot, message, accepted);
        } else {
            self.refuse(
                spot,
                format!("{what} must be a whole number, found {}", node.describe()),
                accepted,
            );
        }
        None
    }

    /// An amount with a unit, as a string or, where `bare` allows it, as a number, in a range.
    pub(crate) fn amount<T: Copy + PartialOrd>(
        &mut self,
        node: &Node,
        spot: &Spot,
        what: &str,
        (range, show): ((T, T), fn(T) -> String),
        parse: fn(&str) -> Option<T>,
        example: &str,
    ) -> Option<T> {
        let accepted = format!("{example}, from {} to {}", show(range.0), show(range.1));
        let written = match &node.kind {
            Kind::Text(text) => text.as_str(),
            Kind::Number(_) => self.written(node),
            _ => {
                self.refuse(
                    spot,
                    format!("{what} must be {example}, found {}", node.describe()),
                    accepted,
                );
                return None;
            }
        };
        match parse(written) {
            Some(value) if value < range.0 => {
                self.refuse(
                    spot,
                    format!("{what} is too small: {}", shorten(written)),
                    accepted,
                );
                None
            }
            Some(value) if value > range.1 => {
                self.refuse(
                    spot,
                    format!("{what} is too large: {}", shorten(written)),
                    accepted,
                );
                None
            }
            Some(value) => Some(value),
            None => {
                self.refuse(
                    spot,
                    format!("{what} cannot be read: {}", quote(written)),
                    accepted,
                );
                None
            }
        }
    }
}

/// Begins a problem that refuses the document.
pub(crate) fn problem(code: ErrorCode, spot: &Spot, message: impl Into<String>) -> Problem {
    Problem {
        code,
        severity: Severity::Error,
        path: spot.path.clone(),
        span: spot.span.clone(),
        message: message.into(),
        expected: None,
        hint: None,
    }
}

impl Problem {
    /// Says what is accepted.
    pub(crate) fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Says what to type.
    pub(crate) fn hinting(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The known word that a wrong one was probably meant to be.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // Distances cost the product of both lengths, and nobody means a short key by a long text.
    if word.len() > 100 {
        return None;
    }
    let lower = word.to_lowercase();
    let distance =
        |candidate: &&'k str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
    let best = known.iter().copied().min_by_key(distance)?;
    let close = distance(&best) <= (best.chars().count().max(3)).div_ceil(3);
    close.then_some(best)
}

/// Words in back quotes with commas between.
pub(crate) fn listing(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn one_of(words: &[&str]) -> String {
    match words {
        [one] => format!("`{one}`"),
        [one, other] => format!("`{one}` or `{other}`"),
        _ => format!("one of {}", listing(words)),
    }
}

fn unreadable(text: &str, file: &str, found: yaml::YamlProblem) -> Diagnostics {
    let mut problems = Diagnostics::new(file, text);
    let spot = Spot {
        path: String::new(),
        span: found.span,
    };
    let mut noted = problem(ErrorCode::InvalidContract, &spot, found.message);
    noted.expected = found.expected;
    problems.push(noted);
    problems
}
