//! Environment markers (PEP 508): for which interpreters a dependency is meant.
//!
//! A lock for all platforms says of each dependency where it holds, so whoever
//! takes packages from one has to judge. What cannot be judged for certain is an
//! error and never a guess: an operator that no version has, a name that is
//! unknown, and what describes the running kernel, which would make two deploys
//! of one lock differ. Crates that read markers keep every one they have seen in
//! a table that never shrinks, and a marker here is somebody else's text.

use pep440_rs::{Version, VersionSpecifier};
use std::str::FromStr;

/// The longest marker, and how deep its parentheses go. What tools write for
/// many forks is long and flat.
const LENGTH: usize = 16 * 1024;
const DEPTH: usize = 32;

/// The interpreter that runs controllers, as markers ask for it.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// Its version.
    pub(crate) version: (u32, u32, u32),
    /// The machine, as `x86_64`.
    pub(crate) machine: String,
}

/// Why a marker cannot be judged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MarkerError {
    #[error("it is longer than {LENGTH} bytes")]
    Long,
    #[error("its parentheses are more than {DEPTH} deep")]
    Deep,
    #[error("it cannot be read from byte {0} on")]
    Syntax(usize),
    #[error("`{0}` is not known here")]
    Variable(String),
    #[error("`{0}` would depend on the kernel that happens to run")]
    Kernel(String),
    #[error("`{0}` cannot be compared that way")]
    Comparison(String),
}

/// Whether a marker holds for the interpreter. No extra is asked for here:
/// those are sections of their own in a lock.
pub(crate) fn holds(marker: &str, environment: &Environment) -> Result<bool, MarkerError> {
    if marker.len() > LENGTH {
        return Err(MarkerError::Long);
    }
    let mut reader = Reader {
        text: marker,
        at: 0,
        environment,
    };
    let holds = reader.alternatives(0)?;
    reader.skip_space();
    if reader.at == marker.len() {
        Ok(holds)
    } else {
        Err(MarkerError::Syntax(reader.at))
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    environment: &'a Environment,
}

/// One side of a comparison.
enum Side<'a> {
    Variable(&'a str),
    Text(&'a str),
}

impl<'a> Reader<'a> {
    /// Both sides of `or` and `and` are read, whatever the first one says, so
    /// that a marker is judged as a whole or not at all.
    fn alternatives(&mut self, depth: usize) -> Result<bool, MarkerError> {
        let mut holds = self.conjunction(depth)?;
        while self.word("or") {
            holds |= self.conjunction(depth)?;
        }
        Ok(holds)
    }

    fn conjunction(&mut self, depth: usize) -> Result<bool, MarkerError> {
        let mut holds = self.term(depth)?;
        while self.word("and") {
            holds &= self.term(depth)?;
        }
        Ok(holds)
    }

    fn term(&mut self, depth: usize) -> Result<bool, MarkerError> {
        if !self.symbol("(") {
            return self.comparison();
        }
        if depth == DEPTH {
            return Err(MarkerError::Deep);
        }
        let holds = self.alternatives(depth + 1)?;
        if self.symbol(")") {
            Ok(holds)
        } else {
            Err(MarkerError::Syntax(self.at))
        }
    }

    fn comparison(&mut self) -> Result<bool, MarkerError> {
        let left = self.side()?;
        let operator = self.operator()?;
        let right = self.side()?;
        self.compare(&left, operator, &right)
    }

    fn side(&mut self) -> Result<Side<'a>, MarkerError> {
        self.skip_space();
        let rest = &self.text[self.at..];
        if let Some(quote) = rest.chars().next().filter(|first| "'\"".contains(*first)) {
            let end = rest[1..].find(quote).ok_or(MarkerError::Syntax(self.at))?;
            self.at += end + 2;
            return Ok(Side::Text(&rest[1..=end]));
        }
        let end = end_of_word(rest);
        if end == 0 {
            return Err(MarkerError::Syntax(self.at));
        }
        self.at += end;
        Ok(Side::Variable(&rest[..end]))
    }

    fn operator(&mut self) -> Result<&'static str, MarkerError> {
        // The longer ones first, of which the shorter are beginnings.
        for operator in ["===", "~=", "==", "!=", "<=", ">=", "<", ">"] {
            if self.symbol(operator) {
                return Ok(operator);
            }
        }
        if self.word("in") {
            return Ok("in");
        }
        if self.word("not") && self.word("in") {
            return Ok("not in");
        }
        Err(MarkerError::Syntax(self.at))
    }

    fn compare(
        &self,
        left: &Side<'_>,
        operator: &'static str,
        right: &Side<'_>,
    ) -> Result<bool, MarkerError> {
        let (variable, text, is_turned) = match (left, right) {
            (Side::Variable(variable), Side::Text(text)) => (*variable, *text, false),
            (Side::Text(text), Side::Variable(variable)) => (*variable, *text, true),
            (Side::Variable(other), Side::Variable(_)) | (Side::Text(other), Side::Text(_)) => {
                return Err(MarkerError::Comparison(shown(other)));
            }
        };
        let impossible =
            || MarkerError::Comparison(format!("{variable} {operator} {}", shown(text)));
        let value = self.value(variable)?;
        let (one, other) = if is_turned {
            (text, value.as_str())
        } else {
            (value.as_str(), text)
        };
        match operator {
            "in" => return Ok(other.contains(one)),
            "not in" => return Ok(!other.contains(one)),
            "===" => return Ok(one == other),
            _ => {}
        }
        if is_version(variable) {
            let operator = if is_turned {
                turned(operator)
            } else {
                operator
            };
            let wanted = VersionSpecifier::from_str(&format!("{operator}{text}"));
            let have = Version::from_str(&value);
            return match (wanted, have) {
                (Ok(wanted), Ok(have)) => Ok(wanted.contains(&have)),
                _ => Err(impossible()),
            };
        }
        match operator {
            "==" => Ok(one == other),
            "!=" => Ok(one != other),
            _ => Err(impossible()),
        }
    }

    fn value(&self, variable: &str) -> Result<String, MarkerError> {
        let (major, minor, patch) = self.environment.version;
        Ok(match variable {
            "python_version" => format!("{major}.{minor}"),
            "python_full_version" | "implementation_version" => format!("{major}.{minor}.{patch}"),
            "os_name" => "posix".to_owned(),
            "sys_platform" => "linux".to_owned(),
            "platform_system" => "Linux".to_owned(),
            "platform_machine" => self.environment.machine.clone(),
            "platform_python_implementation" => "CPython".to_owned(),
            "implementation_name" => "cpython".to_owned(),
            "extra" => String::new(),
            "platform_release" | "platform_version" => {
                return Err(MarkerError::Kernel(variable.to_owned()));
            }
            other => return Err(MarkerError::Variable(shown(other))),
        })
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        self.skip_space();
        let is_next = self.text[self.at..].starts_with(symbol);
        if is_next {
            self.at += symbol.len();
        }
        is_next
    }

    /// Takes a word if it is the next one as a whole.
    fn word(&mut self, word: &str) -> bool {
        self.skip_space();
        let rest = &self.text[self.at..];
        let is_next = &rest[..end_of_word(rest)] == word;
        if is_next {
            self.at += word.len();
        }
        is_next
    }
}

fn end_of_word(text: &str) -> usize {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.find(|letter| !is_letter(letter)).unwrap_or(text.len())
}

fn is_version(variable: &str) -> bool {
    matches!(
        variable,
        "python_version" | "python_full_version" | "implementation_version"
    )
}

/// The operator that says the same with its sides exchanged.
fn turned(operator: &'static str) -> &'static str {
    match operator {
        "<" => ">",
        ">" => "<",
        "<=" => ">=",
        ">=" => "<=",
        other => other,
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::{Environment, MarkerError, holds};
    use proptest::prelude::*;

    fn environment() -> Environment {
        Environment {
            version: (3, 11, 7),
            machine: "x86_64".to_owned(),
        }
    }

    #[test]
    fn markers_are_judged_for_the_interpreter() {
        for (marker, expected) in [
            ("python_version >= '3.10'", true),
            ("python_version < '3.9'", false),
            ("'3.9' < python_version", true),
            ("python_full_version < '3.11.3'", false),
            ("python_full_version == '3.11.*'", true),
            ("python_version ~= '3.8'", true),
            ("python_version != '3.11'", false),
            ("python_full_version === '3.11.7'", true),
            ("sys_platform == 'win32'", false),
            ("sys_platform == \"linux\" and os_name == 'posix'", true),
            ("platform_machine in 'x86_64 aarch64'", true),
            ("platform_machine not in 'x86_64 aarch64'", false),
            ("'linux' in sys_platform", true),
            ("extra == 'speed'", false),
            ("extra != 'extra-4-real-cpu'", true),
            (
                "implementation_name == 'cpython' or python_version < '3'",
                true,
            ),
            // `and` binds closer than `or`.
            (
                "os_name == 'posix' or os_name == 'nt' and os_name == 'nt'",
                true,
            ),
            (
                "(os_name == 'posix' or os_name == 'nt') and os_name == 'nt'",
                false,
            ),
            (
                "(python_version>='3.11'and(platform_system=='Linux'))",
                true,
            ),
        ] {
            assert_eq!(holds(marker, &environment()), Ok(expected), "{marker}");
        }
    }

    #[test]
    fn what_cannot_be_judged_is_no_guess() {
        for (marker, expected) in [
            ("", MarkerError::Syntax(0)),
            ("python_version", MarkerError::Syntax(14)),
            ("python_version >= '3", MarkerError::Syntax(18)),
            ("os_name == 'posix' or", MarkerError::Syntax(21)),
            (
                "os_name == 'posix' nor os_name == 'nt'",
                MarkerError::Syntax(19),
            ),
            ("(os_name == 'posix'", MarkerError::Syntax(19)),
            ("os_name == 'posix')", MarkerError::Syntax(18)),
            (
                "weather == 'fine'",
                MarkerError::Variable("weather".to_owned()),
            ),
            // Also where the other side decides already.
            (
                "os_name == 'posix' or weather == 'fine'",
                MarkerError::Variable("weather".to_owned()),
            ),
            (
                "platform_release > '6'",
                MarkerError::Kernel("platform_release".to_owned()),
            ),
            (
                "os_name ~= 'posix'",
                MarkerError::Comparison("os_name ~= posix".to_owned()),
            ),
            (
                "python_version >= 'new'",
                MarkerError::Comparison("python_version >= new".to_owned()),
            ),
            ("'a' == 'a'", MarkerError::Comparison("a".to_owned())),
        ] {
            assert_eq!(holds(marker, &environment()), Err(expected), "{marker}");
        }
        let deep = |depth| format!("{}os_name == 'nt'{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(holds(&deep(32), &environment()), Ok(false));
        assert_eq!(holds(&deep(33), &environment()), Err(MarkerError::Deep));
        let long = format!("os_name == '{}'", "x".repeat(16 * 1024));
        assert_eq!(holds(&long, &environment()), Err(MarkerError::Long));
    }

    fn marker() -> impl Strategy<Value = (String, bool)> {
        let leaf = prop::sample::select(vec![
            ("python_version >= '3.8'", true),
            ("'3.12' <= python_full_version", false),
            ("sys_platform != \"linux\"", false),
            ("platform_machine == 'x86_64'", true),
        ])
        .prop_map(|(text, holds)| (text.to_owned(), holds));
        leaf.prop_recursive(6, 64, 2, |inner| {
            (inner.clone(), inner, any::<bool>()).prop_map(|(one, other, is_and)| {
                let (word, holds) = if is_and {
                    ("and", one.1 && other.1)
                } else {
                    ("or", one.1 || other.1)
                };
                (format!("({}) {word} ({})", one.0, other.0), holds)
            })
        })
    }

    proptest! {
        #[test]
        fn combinations_hold_as_their_parts_do((text, expected) in marker()) {
            prop_assert_eq!(holds(&text, &environment()), Ok(expected));
        }

        #[test]
        fn any_text_is_judged_or_refused(text in "[()a-z_ '\"<>=!~.0-9é]{0,60}") {
            if let Err(error) = holds(&text, &environment()) {
                prop_assert!(!error.to_string().contains(char::is_control));
            }
        }
    }
}
