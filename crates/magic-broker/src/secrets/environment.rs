//! Secrets in variables of the supervisor's own environment.
//!
//! The prefix is there on purpose: without it every variable that somebody sets for the supervisor
//! would be one contract line away from every controller. Variables are read once; they cannot
//! change afterwards from outside. They stay readable in `/proc/PID/environ` to root and to the
//! same user for as long as the process lives, which is why the other two sources exist.

use super::value::{SecretValue, ValueProblem};
use magic_contract::SecretName;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use zeroize::Zeroizing;

/// What a variable's name begins with.
const PREFIX: &str = "MAGIC_SECRET_";

/// A variable that cannot be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the variable MAGIC_SECRET_{name} cannot be used: {problem}")]
pub struct VariableError {
    /// What follows the prefix.
    pub name: SecretName,
    /// What is wrong with its value.
    pub problem: ValueProblem,
}

/// The secrets of the environment.
#[derive(Debug, Default)]
pub(super) struct Variables(BTreeMap<SecretName, SecretValue>);

impl Variables {
    /// Picks the secrets out of an environment. An empty variable counts as not set. What follows
    /// the prefix and cannot be the name of a secret could never be asked for, and is skipped.
    pub(super) fn read(
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, VariableError> {
        let mut found = BTreeMap::new();
        for (name, value) in environment {
            let name = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            let Some(Ok(name)) = name.map(str::parse::<SecretName>) else {
                continue;
            };
            match SecretValue::new(Zeroizing::new(value.into_vec())) {
                Ok(value) => {
                    found.insert(name, value);
                }
                Err(ValueProblem::Empty) => {}
                Err(problem) => return Err(VariableError { name, problem }),
            }
        }
        Ok(Self(found))
    }

    pub(super) fn get(&self, name: &SecretName) -> Option<SecretValue> {
        self.0.get(name).cloned()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &SecretName> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &[u8])]) -> Result<Variables, VariableError> {
        Variables::read(
            pairs
                .iter()
                .map(|(name, value)| (OsString::from(name), OsString::from_vec(value.to_vec()))),
        )
    }

    /// Only the prefix makes a variable a secret, and names are taken letter by letter.
    #[test]
    fn only_prefixed_variables_are_secrets() {
        let variables = read(&[
            ("DATABASE_URL", b"postgres://own"),
            ("MAGIC_SECRETS_KEY", b"own"),
            ("MAGIC_SECRET_", b"no name"),
            ("MAGIC_SECRET_A-B", b"no name either"),
            ("magic_secret_LOWER", b"another prefix"),
            ("MAGIC_SECRET_EMPTY", b""),
            ("MAGIC_SECRET_STRIPE_KEY", b"sk_live\n"),
        ])
        .unwrap();
        let names: Vec<&str> = variables.names().map(SecretName::as_str).collect();
        assert_eq!(names, ["STRIPE_KEY"]);
        let get = |name: &str| variables.get(&name.parse().unwrap());
        assert_eq!(get("STRIPE_KEY").unwrap().expose(), "sk_live\n");
        assert_eq!(get("stripe_key"), None);
        assert_eq!(get("STRIPE_KE"), None);
        assert_eq!(get("DATABASE_URL"), None);
    }

    /// What is no text is refused by name, without showing it.
    #[test]
    fn a_variable_that_is_no_text_is_refused() {
        let error = read(&[("MAGIC_SECRET_K", b"\xff\xfe")]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the variable MAGIC_SECRET_K cannot")
        );
    }
}
