//! A problem found in a controller's Python, in the same form as a contract's problems.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};
use magic_contract::{Color, ErrorCode, Severity};
use serde::{Serialize, Serializer};

use crate::terminal::escaped;

/// How much of a source line is shown, in characters.
const LONGEST_LINE: usize = 200;

/// One problem, at one place of one file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// The code that a deploy or a request would end with.
    pub(crate) code: ErrorCode,
    #[serde(serialize_with = "severity_word")]
    pub(crate) severity: Severity,
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    pub(crate) message: String,
    /// What is accepted.
    pub(crate) expected: Option<String>,
    /// What to type.
    pub(crate) hint: Option<String>,
    /// The line itself.
    pub(crate) snippet: String,
    /// How many characters are meant.
    #[serde(skip)]
    pub(crate) width: usize,
}

/// serde hands over a reference.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde decides how it is called"
)]
fn severity_word<S: Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(severity.as_str())
}

impl Finding {
    /// A finding whose snippet is taken from the source.
    pub(crate) fn at(
        severity: Severity,
        code: ErrorCode,
        file: &str,
        source: &str,
        place: Place,
        message: String,
    ) -> Self {
        let snippet = source
            .lines()
            .nth(place.line.saturating_sub(1))
            .unwrap_or_default()
            .chars()
            .take(LONGEST_LINE)
            .collect();
        Self {
            code,
            severity,
            file: file.to_owned(),
            line: place.line,
            column: place.column,
            message,
            expected: None,
            hint: None,
            snippet,
            width: place.width,
        }
    }

    pub(crate) fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn hinting(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The finding for people.
    pub(crate) fn render(&self, color: Color) -> String {
        let renderer = match color {
            Color::Never => Renderer::plain(),
            Color::Always => Renderer::styled(),
        };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let shown = escaped(&self.snippet);
        let message = escaped(&self.message);
        let span = self.span_in(&shown);
        let snippet = Snippet::source(shown.as_str())
            .path(self.file.as_str())
            .line_start(self.line)
            .fold(false)
            .annotation(AnnotationKind::Primary.span(span));
        let mut group = level
            .primary_title(message.as_str())
            .id(self.code.as_str())
            .element(snippet);
        if let Some(expected) = &self.expected {
            group = group.element(Level::NOTE.with_name("accepted").message(expected.as_str()));
        }
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }

    /// The bytes of the shown line that are meant. If escaping moved things, the whole line.
    fn span_in(&self, shown: &str) -> Range<usize> {
        if shown != self.snippet {
            return 0..shown.len();
        }
        let offset = |characters: usize| {
            shown
                .char_indices()
                .nth(characters)
                .map_or(shown.len(), |(index, _)| index)
        };
        let start = self.column.saturating_sub(1);
        offset(start)..offset(start + self.width.max(1))
    }
}

/// A place in a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) width: usize,
}
