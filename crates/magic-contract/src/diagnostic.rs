//! Problems of a text that people write: where each is, what is wrong, and what is accepted.
//!
//! A reader should be able to mend a file from these without opening the documentation, so every
//! diagnostic carries the place, the offending source line and, where there is one, the accepted
//! form and a suggestion. Everything found is kept in one list, ordered by place, because mending
//! one error per run is what makes people hate validators. The list is bounded all the same.

use std::fmt;
use std::ops::Range;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::error_code::ErrorCode;
use crate::failure::Failure;

mod render;

/// How many problems one file reports at most.
const LONGEST_LIST: usize = 100;
/// How much of a source line is shown, in characters.
const SNIPPET_CHARACTERS: usize = 160;

/// How serious a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is accepted; the author should look at this.
    Warning,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Whether rendered text carries terminal colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Color {
    /// Plain text.
    #[default]
    Never,
    /// ANSI escape sequences.
    Always,
}

/// One problem of one file.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// The code of the catalogue.
    pub code: ErrorCode,
    /// How serious it is.
    pub severity: Severity,
    /// The file, as it was named by whoever asked.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// The place in the document, as a JSON Pointer.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What is accepted.
    pub expected: Option<String>,
    /// What to type instead.
    pub hint: Option<String>,
    /// The source line, cut to a readable length.
    pub snippet: String,
    /// The bytes of the source that are meant.
    pub(crate) span: Range<usize>,
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Diagnostic", 10)?;
        fields.serialize_field("code", &self.code)?;
        fields.serialize_field("severity", self.severity.as_str())?;
        fields.serialize_field("file", &self.file)?;
        fields.serialize_field("line", &self.line)?;
        fields.serialize_field("column", &self.column)?;
        fields.serialize_field("path", &self.path)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("expected", &self.expected)?;
        fields.serialize_field("hint", &self.hint)?;
        fields.serialize_field("snippet", &self.snippet)?;
        fields.end()
    }
}

/// What a reader knows about a problem before the place is looked up.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) code: ErrorCode,
    pub(crate) severity: Severity,
    pub(crate) path: String,
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) expected: Option<String>,
    pub(crate) hint: Option<String>,
}

/// All problems of one file, with its text for rendering.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostics {
    file: String,
    source: String,
    list: Vec<Diagnostic>,
    left_out: usize,
}

impl Diagnostics {
    /// An empty list for a file.
    pub(crate) fn new(file: &str, source: &str) -> Self {
        Self {
            file: file.to_owned(),
            source: source.to_owned(),
            list: Vec::new(),
            left_out: 0,
        }
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        if self.list.len() >= LONGEST_LIST {
            self.left_out += 1;
            return;
        }
        let span = clamp(&self.source, problem.span);
        let place = Place::of(&self.source, span.start);
        self.list.push(Diagnostic {
            code: problem.code,
            severity: problem.severity,
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            path: problem.path,
            message: problem.message,
            expected: problem.expected,
            hint: problem.hint,
            snippet: place.snippet,
            span,
        });
    }

    /// Splits into what refuses the file and what does not, each ordered by place.
    pub(crate) fn split(mut self) -> (Self, Self) {
        self.list.sort_by_key(|diagnostic| diagnostic.span.start);
        let mut warnings = Self::new(&self.file, &self.source);
        let is_warning = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Warning;
        warnings.list = self
            .list
            .iter()
            .filter(|diagnostic| is_warning(diagnostic))
            .cloned()
            .collect();
        self.list.retain(|diagnostic| !is_warning(diagnostic));
        (self, warnings)
    }

    /// Adds what another reader found in the same file.
    pub fn extend(&mut self, other: Self) {
        self.left_out += other.left_out;
        self.list.extend(other.list);
    }

    /// The problems, ordered by place.
    #[must_use]
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.list
    }

    /// Goes through the problems, ordered by place.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The code that stands for the whole list: that of the first problem.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.list
            .first()
            .map_or(ErrorCode::InvalidContract, |first| first.code)
    }

    /// The list as one failure, with every problem in `details.problems`.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        let message = match self.list.as_slice() {
            [] => self.code().meaning().to_owned(),
            [only] => only.to_string(),
            [first, rest @ ..] => format!("{first} (and {} more)", rest.len() + self.left_out),
        };
        let problems: Vec<Value> = self
            .list
            .iter()
            .filter_map(|diagnostic| serde_json::to_value(diagnostic).ok())
            .collect();
        Failure::new(self.code(), message).with_detail("problems", problems)
    }

    /// The list for people: each problem with its source lines and what to type.
    #[must_use]
    pub fn render(&self, color: Color) -> String {
        render::render(self, color)
    }
}

impl Serialize for Diagnostics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.list)
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                formatter.write_str("; ")?;
            }
            diagnostic.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

struct Place {
    line: usize,
    column: usize,
    snippet: String,
}

impl Place {
    fn of(source: &str, offset: usize) -> Self {
        let before = &source[..offset];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = source[offset..]
            .find(['\n', '\r'])
            .map_or(source.len(), |length| offset + length);
        let escape = |character: char| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        };
        Self {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: source[start..offset].chars().count() + 1,
            snippet: source[start..end]
                .chars()
                .take(SNIPPET_CHARACTERS)
                .map(escape)
                .collect(),
        }
    }
}

/// Moves a range to the nearest character boundaries inside the source.
fn clamp(source: &str, span: Range<usize>) -> Range<usize> {
    let start = source.floor_char_boundary(span.start.min(source.len()));
    let end = source.ceil_char_boundary(span.end.clamp(start, source.len()));
    start..end
}
