//! Names with rules: what a controller, table, queue, key or secret may be called.
//!
//! Each kind of name is a type of its own that only its parser makes, so that the place that later
//! builds a path, a query or a key from a name cannot be handed text that was never looked at. The
//! alphabets are small on purpose: every name here ends up in file names, log lines, metric labels
//! or identifiers of a back end, and none of those should ever need quoting.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The text breaks the rule of its kind of name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct NameProblem {
    /// The kind of name.
    pub what: &'static str,
    /// What is accepted.
    pub rule: &'static str,
}

/// Makes a name type from its word, its rule in words, and its rule as a predicate.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// What the name is called in messages.
            pub const WHAT: &'static str = $what;
            /// The rule, in words.
            pub const RULE: &'static str = $rule;

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameProblem;

            fn from_str(text: &str) -> Result<Self, NameProblem> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameProblem { what: $what, rule: $rule })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The name of a controller, such as `InvoiceSync`.
    ControllerName, "controller name",
    "PascalCase: a capital letter, then letters and digits, at most 64 characters",
    |text| text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl ControllerName {
    /// The name in snake_case, as used for folders and contract files: `InvoiceSync` is
    /// `invoice_sync`, `HTTPCheck2` is `http_check2`.
    #[must_use]
    pub fn to_snake_case(&self) -> String {
        let bytes = self.0.as_bytes();
        let mut snake = String::with_capacity(bytes.len() + 4);
        for (index, byte) in bytes.iter().enumerate() {
            if byte.is_ascii_uppercase() && index > 0 {
                let after_lower = !bytes[index - 1].is_ascii_uppercase();
                let before_lower = bytes.get(index + 1).is_some_and(u8::is_ascii_lowercase);
                if after_lower || before_lower {
                    snake.push('_');
                }
            }
            snake.push(char::from(byte.to_ascii_lowercase()));
        }
        snake
    }

    /// Turns free text such as `invoice-sync` into the PascalCase name that it was probably meant
    /// to be, for suggestions. Nothing comes back if no name can be made of it.
    #[must_use]
    pub fn suggestion(text: &str) -> Option<Self> {
        let mut pascal = String::new();
        for word in text.split(|character: char| !character.is_ascii_alphanumeric()) {
            let mut characters = word.chars();
            if let Some(first) = characters.next() {
                pascal.push(first.to_ascii_uppercase());
                pascal.extend(characters);
            }
        }
        pascal.parse().ok()
    }
}

name_type! {
    /// A table of the controllers' database, optionally with its schema: `billing.invoices`.
    TableName, "table name",
    "letters, digits and underscores, not starting with a digit, optionally after a schema name and a dot, at most 63 characters each",
    |text| {
        let parts: Vec<&str> = text.split('.').collect();
        parts.len() <= 2 && parts.iter().all(|part| is_identifier(part, 63))
    }
}

name_type! {
    /// A message queue.
    QueueName, "queue name",
    "lower-case letters, digits, dots, hyphens and underscores, starting with a letter or digit, at most 64 characters",
    |text| text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_'))
}

name_type! {
    /// The name of a secret.
    SecretName, "secret name",
    "letters, digits and underscores, not starting with a digit, at most 128 characters",
    |text| is_identifier(text, 128)
}

name_type! {
    /// A pattern for cache keys: literal text, with one `*` allowed at the very end.
    CacheKeyPattern, "cache key pattern",
    "1 to 200 printable ASCII characters without spaces; `*` only once and only at the end, after at least one other character",
    |text| {
        let stem = text.strip_suffix('*').unwrap_or(text);
        !stem.is_empty() && text.len() <= 200
            && stem.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*')
    }
}

impl CacheKeyPattern {
    /// Whether the pattern covers this key.
    #[must_use]
    pub fn covers(&self, key: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(stem) => key.starts_with(stem),
            None => key == self.0,
        }
    }
}

name_type! {
    /// A metric that the controller reports.
    MetricName, "metric name",
    "lower-case letters, digits and underscores, starting with a letter, at most 100 characters",
    |text| text.len() <= 100
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

name_type! {
    /// A field of the log that the contract declares.
    FieldName, "field name",
    "letters, digits and underscores, not starting with a digit, at most 64 characters",
    |text| is_identifier(text, 64)
}

fn is_identifier(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests;
