//! What `requirements.txt` says: which packages, exactly, and which bytes.
//!
//! Only the part of the format that names one version of one package is taken:
//! `name==version`, with extras and hashes if there are any. Everything else
//! (ranges, markers, links, other files, other indexes) would leave something
//! to be decided at the moment of the deploy, and a deploy of the same folder
//! would then not be the same deploy. What tools write for a lock has this form:
//! `pip-compile`, `uv pip compile`, `uv export`, `pip freeze`.

use std::collections::BTreeMap;

/// The most packages that one controller may have.
pub(crate) const PACKAGES: usize = 300;

/// The largest file, in bytes: some ten thousand hashes.
const LENGTH: usize = 4 << 20;

/// The most extras of one package.
const EXTRAS: usize = 100;

/// One package, pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    /// Its name, normalized.
    pub(crate) name: String,
    /// Its version, as written.
    pub(crate) version: String,
    /// Extras that are wanted of it.
    pub(crate) extras: Vec<String>,
    /// SHA-256 of the files that are acceptable, in hexadecimal; of any if empty.
    pub(crate) hashes: Vec<String>,
}

/// Why the file is not acceptable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequirementError {
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error(
        "line {line}, `{text}`: write `name==version`; `uv pip compile` and `pip-compile` write such a file from one with ranges"
    )]
    NotPinned { line: usize, text: String },
    #[error(
        "line {line}: markers are not possible here; leave away what this interpreter does not need, as `uv pip compile` does without --universal"
    )]
    Marker { line: usize },
    #[error(
        "line {line}: the option `{option}` is not possible here; the operator's wheels are the only source"
    )]
    Option { line: usize, option: String },
    #[error("line {line}: `{text}` is not a hash; write --hash=sha256: and 64 hexadecimal digits")]
    Hash { line: usize, text: String },
    #[error("line {line}: `{name}` is there twice")]
    Twice { line: usize, name: String },
    #[error("it has more than {PACKAGES} packages")]
    TooMany,
    #[error("it is larger than {} MiB", LENGTH >> 20)]
    Large,
}

/// Reads the file, in the order of names.
pub(crate) fn parse(content: &[u8]) -> Result<Vec<Pin>, RequirementError> {
    if content.len() > LENGTH {
        return Err(RequirementError::Large);
    }
    let text = std::str::from_utf8(content).map_err(|_| RequirementError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut pins = BTreeMap::new();
    for (line, text) in logical_lines(text) {
        let Some(pin) = read_line(line, &text)? else {
            continue;
        };
        let name = pin.name.clone();
        if pins.insert(name.clone(), pin).is_some() {
            return Err(RequirementError::Twice { line, name });
        }
        if pins.len() > PACKAGES {
            return Err(RequirementError::TooMany);
        }
    }
    Ok(pins.into_values().collect())
}

/// Lines with those that follow a backslash joined and comments taken away,
/// each with the number of its first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (number, line) in text.lines().enumerate() {
        let line = match line.find('#') {
            Some(0) => "",
            Some(at) if line[..at].ends_with(char::is_whitespace) => &line[..at],
            _ => line,
        };
        let (part, goes_on) = match line.trim_end().strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| continues) {
            Some((_, whole)) => {
                whole.push(' ');
                whole.push_str(part);
            }
            None if part.trim().is_empty() && !goes_on => {}
            None => lines.push((number + 1, part.to_owned())),
        }
        continues = goes_on;
    }
    lines
}

fn read_line(line: usize, text: &str) -> Result<Option<Pin>, RequirementError> {
    let mut words = text.split_whitespace().peekable();
    let Some(first) = words.peek() else {
        return Ok(None);
    };
    if first.starts_with('-') {
        // The two that only repeat what holds here anyway.
        let harmless = ["--require-hashes", "--only-binary"];
        if harmless.iter().any(|known| first.starts_with(known)) {
            return Ok(None);
        }
        let option = shortened(first);
        return Err(RequirementError::Option { line, option });
    }
    let mut requirement = String::new();
    let mut hashes = Vec::new();
    for word in words {
        if let Some(hash) = word.strip_prefix("--hash=") {
            hashes.push(read_hash(line, hash)?);
        } else if word.starts_with('-') {
            let option = shortened(word);
            return Err(RequirementError::Option { line, option });
        } else {
            requirement.push_str(word);
        }
    }
    let not_pinned = || RequirementError::NotPinned {
        line,
        text: shortened(&requirement),
    };
    if requirement.contains(';') {
        return Err(RequirementError::Marker { line });
    }
    let (project, version) = requirement.split_once("==").ok_or_else(not_pinned)?;
    let (name, extras) = match project.strip_suffix(']') {
        Some(open) => open.split_once('[').ok_or_else(not_pinned)?,
        None => (project, ""),
    };
    let extras: Vec<String> = extras
        .split(',')
        .filter(|extra| !extra.is_empty())
        .map(normalized)
        .collect();
    if !is_name(name)
        || extras.len() > EXTRAS
        || !extras.iter().all(|extra| is_name(extra))
        || !is_version(version)
    {
        return Err(not_pinned());
    }
    Ok(Some(Pin {
        name: normalized(name),
        version: version.to_owned(),
        extras,
        hashes,
    }))
}

fn read_hash(line: usize, text: &str) -> Result<String, RequirementError> {
    sha256(text).ok_or_else(|| RequirementError::Hash {
        line,
        text: shortened(text),
    })
}

/// A hash as `sha256:` and its digits in either case.
pub(crate) fn sha256(text: &str) -> Option<String> {
    text.strip_prefix("sha256:")
        .filter(|digits| {
            digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        })
        .map(str::to_ascii_lowercase)
}

/// A project's name, or an extra's.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
}

/// One version and not a pattern of several.
pub(crate) fn is_version(version: &str) -> bool {
    version.starts_with(|first: char| first.is_ascii_alphanumeric())
        && version
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || ".+!-_".contains(letter))
}

/// A project's name as all of its spellings are compared (PEP 503).
pub(crate) fn normalized(name: &str) -> String {
    name.split(['-', '_', '.'])
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
        .to_ascii_lowercase()
}

/// Somebody else's text as it may stand in a message.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::{RequirementError, parse};

    #[test]
    fn locks_are_read_as_tools_write_them() {
        let hash = "0123456789abcdef".repeat(4);
        let text = format!(
            "# made by a tool\n--only-binary :all:\n\nnumpy==2.4.6 \\\n    --hash=sha256:{hash} \\\n    --hash=sha256:{}\n    # via me\nTyping_Extensions == 4.16.0 # why\npydantic[email,dotenv]==2.14.4\n",
            hash.to_uppercase()
        );
        let pins = parse(text.as_bytes()).expect("a lock");
        let names: Vec<_> = pins
            .iter()
            .map(|pin| (pin.name.as_str(), pin.version.as_str(), pin.extras.len()))
            .collect();
        assert_eq!(
            names,
            [
                ("numpy", "2.4.6", 0),
                ("pydantic", "2.14.4", 2),
                ("typing-extensions", "4.16.0", 0)
            ]
        );
        assert_eq!(pins[0].hashes, [hash.clone(), hash]);
    }

    #[test]
    fn sizes_are_bounded() {
        let blank = "\n".repeat(4 << 20);
        assert_eq!(parse(blank.as_bytes()), Ok(Vec::new()));
        let larger = blank + "\n";
        assert_eq!(parse(larger.as_bytes()), Err(RequirementError::Large));
        let extras = |count: usize| format!("a[{}]==1", vec!["x"; count].join(","));
        assert_eq!(parse(extras(100).as_bytes()).map(|pins| pins.len()), Ok(1));
        let refused = parse(extras(101).as_bytes());
        assert!(matches!(refused, Err(RequirementError::NotPinned { .. })));
    }

    #[test]
    fn what_leaves_something_open_is_refused_with_its_line() {
        for (text, expected) in [
            ("a==1\nnumpy>=2", "line 2, `numpy>=2`: write"),
            ("numpy", "line 1, `numpy`"),
            ("numpy==2.*", "write `name==version`"),
            ("numpy===2", "write `name==version`"),
            ("numpy==1,==2", "write `name==version`"),
            (
                "numpy @ https://example.org/numpy.whl",
                "write `name==version`",
            ),
            ("https://example.org/numpy.whl", "write `name==version`"),
            ("./numpy.whl", "write `name==version`"),
            ("../../etc/passwd==1", "write `name==version`"),
            ("numpy==1 ; python_version < '4'", "markers"),
            ("-e .", "`-e`"),
            ("-r other.txt", "`-r`"),
            ("--index-url https://example.org", "--index-url"),
            ("numpy==1 --global-option=x", "--global-option"),
            ("numpy==1 --hash=md5:00", "is not a hash"),
            ("numpy==1 --hash=sha256:zz", "is not a hash"),
            ("numpy==1\nNumPy==2", "line 2: `numpy` is there twice"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
        assert_eq!(parse(b"\xff"), Err(RequirementError::NotUtf8));
        assert_eq!(parse(b"\n# nothing\n"), Ok(Vec::new()));
    }
}
