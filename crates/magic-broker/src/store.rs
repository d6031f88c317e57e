//! What the back ends of queue and cache have in common: how they fail, and how
//! long a call waits for them.
//!
//! A caller needs to know one thing of a failed store: whether the same call may
//! succeed later. The store's own words are for the operator's log; they may
//! name hosts and files, which are none of a controller's business.

use crate::problem;
use magic_contract::{ErrorCode, Failure};
use tokio::time::Instant;

/// The deepest nesting of a message or of a cache value. The same as for every
/// other document of the runtime: what one controller stores, another one's
/// interpreter has to read, and Python's reader recurses.
const DEEPEST: usize = 100;

/// A store behind a capability did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is busy, or is starting. Later it may answer.
    #[error("the {store} cannot be reached now: {note}")]
    Unreachable {
        /// Which store, in words.
        store: &'static str,
        /// What it said, for the operator.
        note: String,
    },
    /// It refuses, and will go on refusing until somebody mends something.
    #[error("the {store} failed: {note}")]
    Failed {
        /// Which store, in words.
        store: &'static str,
        /// What it said, for the operator.
        note: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without anybody's help.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let internal = error.to_string();
        match error {
            StoreError::Unreachable { store, .. } => problem::backend(
                format!("the {store} cannot be reached now; try again later"),
                true,
                internal,
            ),
            StoreError::Failed { store, .. } => problem::backend(
                format!("the {store} failed; the runtime's log says why"),
                false,
                internal,
            ),
        }
    }
}

/// Waits for a store, but not beyond the request's deadline.
///
/// # Errors
///
/// E3001 when the deadline comes first; else what the store said.
pub(crate) async fn within<T, E: Into<Failure>>(
    deadline: Instant,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match tokio::time::timeout_at(deadline, work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Failure::new(
            ErrorCode::Timeout,
            "the request's time was up before the store answered",
        )),
    }
}

/// Whether JSON text that is known to be well-formed is nested too deep to be
/// handed to an interpreter.
pub(crate) fn is_too_deep(json: &str) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > DEEPEST {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// The refusal of a value that [`is_too_deep`].
pub(crate) fn too_deep(what: &str) -> Failure {
    problem::misuse(format!(
        "{what} is nested deeper than {DEEPEST} levels; flatten it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Brackets inside strings do not count, whatever is escaped there.
    #[test]
    fn depth_is_that_of_the_structure() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(!is_too_deep(&nested(DEEPEST)));
        assert!(is_too_deep(&nested(DEEPEST + 1)));
        let text = serde_json::to_string(&format!("\\\"{}", nested(500))).unwrap();
        assert!(!is_too_deep(&text));
    }

    proptest! {
        /// The scan agrees with a reader that builds the tree.
        #[test]
        fn depth_agrees_with_a_parser(levels in 1_usize..120, text in ".{0,20}") {
            let leaf = serde_json::to_string(&text).unwrap();
            let json = format!("{}{leaf}{}", "[".repeat(levels), "]".repeat(levels));
            prop_assert_eq!(is_too_deep(&json), levels > DEEPEST);
        }
    }
}
