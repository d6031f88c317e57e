//! Showing text that somebody else wrote on a terminal.
//!
//! A controller's output may hold escape sequences that move the cursor, change the title or forge a line. They are shown, not
//! obeyed.

use std::fmt::Write as _;
use std::io::{IsTerminal, stderr};

use magic_contract::Color;

/// Colors if standard error is a terminal and the user has not asked for none (<https://no-color.org>).
pub(crate) fn color() -> Color {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted && stderr().is_terminal() {
        Color::Always
    } else {
        Color::Never
    }
}

/// The text with every control character, and every mark that turns the direction of writing, in escaped form.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => shown.push('\t'),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
            }
            character if character.is_control() => shown.extend(character.escape_default()),
            character => shown.push(character),
        }
    }
    shown
}

/// The text as one word of a POSIX shell, for lines that are meant to be pasted.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a hostile line looks like when it is shown.
    #[test]
    fn control_characters_are_shown() {
        assert_eq!(escaped("a\u{1b}[2Jb\r\nc\td é"), "a\\u{1b}[2Jb\\r\\nc\td é");
        assert_eq!(escaped("\u{202e}txt"), "\\u{202e}txt");
    }

    /// Quoting survives a shell.
    #[test]
    fn shell_words_are_quoted() {
        assert_eq!(shell_word("a/b-c"), "a/b-c");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word("$HOME `x`"), "'$HOME `x`'");
    }
}
