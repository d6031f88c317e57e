//! Draws diagnostics for people, in the manner of the Rust compiler.
//!
//! The source may be hostile: a line of 200 kilobytes, or one full of escape sequences. So only a
//! window of a few short lines around the place is handed to the renderer, and control characters
//! are replaced first. Replacing keeps every character's length in bytes, so spans stay right.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};

use super::{Color, Diagnostic, Diagnostics, Severity};
use crate::violation::shorten_to;

/// How many bytes of a line are kept on each side of the place.
const WINDOW: usize = 2000;

pub(super) fn render(diagnostics: &Diagnostics, color: Color) -> String {
    let renderer = match color {
        Color::Never => Renderer::plain(),
        Color::Always => Renderer::styled(),
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    for diagnostic in &diagnostics.list {
        text.push_str(&render_one(diagnostics, diagnostic, &renderer));
        text.push_str("\n\n");
    }
    if diagnostics.left_out > 0 {
        text.push_str(&format!("and {} more problems\n", diagnostics.left_out));
    }
    text
}

fn render_one(diagnostics: &Diagnostics, diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let (window, span) = cut(&diagnostics.source, &diagnostic.span);
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    // The pointer is made of keys of the file, which may hold anything.
    let path = shorten_to(&diagnostic.path, 120);
    let label = (!path.is_empty()).then_some(path.as_str());
    let snippet = Snippet::source(window.as_str())
        .path(diagnostic.file.as_str())
        .line_start(diagnostic.line)
        .fold(false)
        .annotation(AnnotationKind::Primary.span(span).label(label));
    let mut group = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code.as_str())
        .element(snippet);
    if let Some(expected) = &diagnostic.expected {
        group = group.element(Level::NOTE.with_name("accepted").message(expected.as_str()));
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    renderer.render(&[group])
}

/// The part of the first line around the span, and the span inside that part.
fn cut(source: &str, span: &Range<usize>) -> (String, Range<usize>) {
    let line_start = source[..span.start]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let line_end = source[span.start..]
        .find('\n')
        .map_or(source.len(), |length| span.start + length);
    let from = source.floor_char_boundary(span.start.saturating_sub(WINDOW).max(line_start));
    let to = source.ceil_char_boundary((span.start + WINDOW).min(line_end));
    let window = source[from..to].chars().map(harmless).collect::<String>();
    let start = span.start - from;
    let end = span.end.clamp(span.start, to) - from;
    // An empty span at the end of a line is drawn as one caret after it.
    (window, start..end.max(start))
}

/// A control character becomes as many plain bytes as it had.
fn harmless(character: char) -> char {
    match character {
        // One byte each.
        '\0'..='\u{1f}' | '\u{7f}' => ' ',
        // Two bytes each; this replacement has two as well.
        '\u{80}'..='\u{9f}' => '\u{b7}',
        // Three bytes each: marks that turn the direction of text or cannot be seen.
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '\u{fffd}',
        other => other,
    }
}
