//! Taking secrets out of everything that is kept about a request.
//!
//! A controller that may read a secret can print it, raise it in an error, or send it where an
//! error message repeats it. The redactor knows every value that the request was given and replaces
//! each occurrence by `[secret KEY]`, also when the value is written in another notation: escaped
//! for JSON or Python, percent-encoded in whole or in part, in base64 of either alphabet at any
//! offset of a longer text, in hexadecimal. Instead of making a pattern for each notation, the text
//! is decoded from each notation while it is read and the plain value is looked for in the result;
//! so a mixture of encoded and plain characters is found as well, and the work grows with the
//! length of the text alone.
//!
//! Lines of a value (of a private key, say) count as values too, because output is kept by the line.
//!
//! This is a net for accidents and for honest encodings. Code that *wants* to write a secret into a
//! log can reverse it, encrypt it or spell it; against such code, bind the secret to its hosts with
//! `only_for`, so that the code never has it.

mod matcher;
mod notation;
mod scan;

use super::value::SecretValue;
use magic_contract::SecretName;
use matcher::Matcher;
use scan::Span;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Shorter values are not looked for: they would be found in words that have nothing to do with
/// them, and what stands around the gaps would tell them anyway.
pub(super) const SHORTEST: usize = 4;
/// Shorter lines of a value with several lines are not looked for by themselves.
const SHORTEST_LINE: usize = 8;

/// Knows the secrets of one request and takes them out of text. Clones know the same secrets.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<RwLock<Known>>,
}

#[derive(Default)]
struct Known {
    values: Vec<(SecretName, SecretValue)>,
    /// Made when text is first looked at after a value was learned.
    matcher: Option<Arc<Matcher>>,
}

impl Redactor {
    /// One that knows no secret yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on this value is taken out.
    pub(super) fn learn(&self, name: &SecretName, value: &SecretValue) {
        let _ = self.learn_within(name, value, usize::MAX);
    }

    /// The same, unless all values together would then have more than `limit` bytes; says whether.
    #[must_use]
    pub(super) fn learn_within(
        &self,
        name: &SecretName,
        value: &SecretValue,
        limit: usize,
    ) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.values.iter().any(|(_, one)| one == value) {
            return true;
        }
        let bytes: usize = known.values.iter().map(|(_, one)| one.expose().len()).sum();
        if bytes.saturating_add(value.expose().len()) > limit {
            return false;
        }
        known.values.push((name.clone(), value.clone()));
        known.matcher = None;
        true
    }

    /// The text without secrets; borrowed when it has none.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(matcher) = self.matcher() else {
            return Cow::Borrowed(text);
        };
        let spans = scan::find(&matcher, text.as_bytes());
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut redacted = String::with_capacity(text.len());
        let mut copied = 0;
        for span in spans {
            // A match begins and ends with characters of its notation; should it ever not, half a
            // character more is taken out rather than left.
            let start = text.floor_char_boundary(span.start).max(copied);
            redacted.push_str(&text[copied..start]);
            redacted.push_str(&matcher.marker(span.owner));
            copied = text.ceil_char_boundary(span.end).max(start);
        }
        redacted.push_str(&text[copied..]);
        Cow::Owned(redacted)
    }

    /// The bytes without secrets; `None` when they have none.
    #[must_use]
    pub fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let matcher = self.matcher()?;
        let spans = scan::find(&matcher, bytes);
        if spans.is_empty() {
            return None;
        }
        let mut redacted = Vec::with_capacity(bytes.len());
        let mut copied = 0;
        for span in spans {
            redacted.extend_from_slice(&bytes[copied..span.start]);
            redacted.extend_from_slice(matcher.marker(span.owner).as_bytes());
            copied = span.end;
        }
        redacted.extend_from_slice(&bytes[copied..]);
        Some(redacted)
    }

    /// Takes secrets out of every text of a value, out of the names of members, and out of numbers
    /// whose digits are a secret. Of members whose names become the same, the last stays.
    pub fn json(&self, value: &mut Value) {
        if self.matcher().is_none() {
            return;
        }
        let mut left = vec![value];
        while let Some(value) = left.pop() {
            match value {
                Value::Null | Value::Bool(_) => {}
                Value::Number(number) => {
                    if let Cow::Owned(text) = self.text(&number.to_string()) {
                        *value = Value::String(text);
                    }
                }
                Value::String(text) => {
                    if let Cow::Owned(redacted) = self.text(text) {
                        *text = redacted;
                    }
                }
                Value::Array(items) => left.extend(items),
                Value::Object(members) => {
                    self.names(members);
                    left.extend(members.values_mut());
                }
            }
        }
    }

    /// The same for the members of an object, as facts and details are kept.
    pub fn members(&self, members: &mut Map<String, Value>) {
        if self.matcher().is_none() {
            return;
        }
        self.names(members);
        for value in members.values_mut() {
            self.json(value);
        }
    }

    fn names(&self, members: &mut Map<String, Value>) {
        if members
            .keys()
            .any(|name| matches!(self.text(name), Cow::Owned(_)))
        {
            let old = std::mem::take(members);
            members.extend(
                old.into_iter()
                    .map(|(name, value)| (self.text(&name).into_owned(), value)),
            );
        }
    }

    /// How many bytes beyond a cut somebody who cuts text must look at, so that no secret lies
    /// across the cut unseen: six for each byte of the longest value, as in `\u0041`. Zero when no
    /// secret is known.
    #[must_use]
    pub fn reach(&self) -> usize {
        self.matcher()
            .map_or(0, |matcher| matcher.longest().saturating_mul(6))
    }

    /// Where to cut bytes that should be cut at `at`: there, or at the end nearest to it of a
    /// secret that lies across. It is never 0 unless `at` is.
    #[must_use]
    pub fn cut(&self, bytes: &[u8], at: usize) -> usize {
        let Some(matcher) = self.matcher() else {
            return at;
        };
        let across = |span: &&Span| span.start < at && at < span.end;
        match scan::find(&matcher, bytes).iter().find(across) {
            Some(span) if span.start > 0 => span.start,
            Some(span) => span.end,
            None => at,
        }
    }

    fn matcher(&self) -> Option<Arc<Matcher>> {
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if known.values.is_empty() {
                return None;
            }
            if let Some(matcher) = &known.matcher {
                return Some(Arc::clone(matcher));
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let matcher = match &known.matcher {
            Some(matcher) => Arc::clone(matcher),
            None => Arc::new(Matcher::new(&known.values)),
        };
        known.matcher = Some(Arc::clone(&matcher));
        Some(matcher)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Redactor(..)")
    }
}

/// The texts to look for in a value: itself, and its longer lines.
fn patterns(value: &SecretValue) -> impl Iterator<Item = &str> {
    let value = value.expose();
    let whole = Some(value).filter(|value| value.len() >= SHORTEST);
    let lines = value
        .lines()
        .filter(move |line| line.len() < value.len() && line.len() >= SHORTEST_LINE);
    whole.into_iter().chain(lines)
}

#[cfg(test)]
mod tests;
