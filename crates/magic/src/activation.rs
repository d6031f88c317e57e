//! Sockets that a service manager passes at the start, as sd_listen_fds(3) describes: `LISTEN_FDS` of them from descriptor 3 on, for the
//! process that `LISTEN_PID` names, with names in `LISTEN_FDNAMES`.
//!
//! The manager keeps them when this process ends, so a restart refuses nobody. What it says is read strictly: a service that ignored what it
//! does not understand would listen somewhere else than its administrator wrote, and would say so to nobody.

use std::ffi::OsString;
use std::os::fd::OwnedFd;

use anyhow::Context;
use listenfd::ListenFd;

use crate::cli::Refused;

/// More than anybody has a use for; what is above is a mistake.
const MOST: usize = 16;

/// A socket that was passed.
#[derive(Debug)]
pub(crate) struct Passed {
    /// What the manager calls it, for messages.
    pub(crate) name: String,
    pub(crate) socket: OwnedFd,
}

/// Why the variables are refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ActivationError {
    #[error("LISTEN_FDS is {0:?}, which is not a number from 1 to {MOST}")]
    Count(OsString),
    #[error("LISTEN_FDS is set, but LISTEN_PID, which says whose sockets they are, is not")]
    NoProcess,
    #[error("LISTEN_PID is {0:?}, which is not the number of a process")]
    Process(OsString),
    #[error("LISTEN_FDNAMES has {names} names for the {count} sockets of LISTEN_FDS")]
    Names { names: usize, count: usize },
    #[error("LISTEN_FDNAMES is not valid UTF-8")]
    Text,
}

/// Takes what was passed. To be called before anything else opens descriptors or starts threads: the numbers are only what they are said to
/// be as long as nobody else has used them, and the variables are removed.
///
/// # Errors
/// When the variables are malformed, or one of the descriptors is no stream socket.
pub(crate) fn take() -> anyhow::Result<Vec<Passed>> {
    let names = announced(&|name| std::env::var_os(name), std::process::id())
        .context("the sockets that were passed cannot be taken")
        .context(Refused("the runtime refuses to start"))?;
    let mut sockets = match names.len() {
        0 => ListenFd::empty(),
        _ => ListenFd::from_env(),
    };
    let mut passed = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let socket = stream_socket(&mut sockets, index)
            .with_context(|| format!("the socket {name} that was passed cannot be taken"))
            .context(Refused("the runtime refuses to start"))?;
        passed.push(Passed { name, socket });
    }
    Ok(passed)
}

fn stream_socket(sockets: &mut ListenFd, index: usize) -> anyhow::Result<OwnedFd> {
    // Each checks the descriptor's kind first, and leaves it where it is if it is another.
    if let Ok(Some(listener)) = sockets.take_tcp_listener(index) {
        return Ok(listener.into());
    }
    match sockets.take_unix_listener(index) {
        Ok(Some(listener)) => Ok(listener.into()),
        Ok(None) => anyhow::bail!("it was not announced"),
        Err(_) => anyhow::bail!("it is neither a TCP nor a unix stream socket"),
    }
}

/// The names of what the variables announce. None if nothing was passed, or to another process.
fn announced(
    variable: &dyn Fn(&str) -> Option<OsString>,
    own: u32,
) -> Result<Vec<String>, ActivationError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let nothing = Vec::new();
    let Some(count) = set("LISTEN_FDS") else {
        return Ok(nothing);
    };
    let process = set("LISTEN_PID").ok_or(ActivationError::NoProcess)?;
    match number(&process).and_then(|number| u32::try_from(number).ok()) {
        None => return Err(ActivationError::Process(process)),
        // The variables were inherited from somebody for whom they were meant.
        Some(process) if process != own => return Ok(nothing),
        Some(_) => {}
    }
    let count = match number(&count) {
        Some(number) if (1..=MOST).contains(&number) => number,
        _ => return Err(ActivationError::Count(count)),
    };
    let names: Vec<String> = match set("LISTEN_FDNAMES") {
        // What sd_listen_fds_with_names(3) calls them then.
        None => vec!["unknown".to_owned(); count],
        Some(names) => names
            .to_str()
            .ok_or(ActivationError::Text)?
            .split(':')
            .map(str::to_owned)
            .collect(),
    };
    if names.len() != count {
        return Err(ActivationError::Names {
            names: names.len(),
            count,
        });
    }
    Ok(names)
}

/// Decimal digits and nothing else; `parse` alone would take a sign.
fn number(text: &OsString) -> Option<usize> {
    let text = text.to_str()?;
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: u32 = 4711;

    fn read(variables: &[(&str, &str)]) -> Result<Vec<String>, ActivationError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(one, _)| *one == name)?;
            Some(OsString::from(found.1))
        };
        announced(&variable, OWN)
    }

    /// Nothing, something for somebody else, and something for this process.
    #[test]
    fn what_is_announced_counts_for_whom_it_is_meant() {
        let none: Vec<String> = Vec::new();
        assert_eq!(read(&[]), Ok(none.clone()));
        assert_eq!(
            read(&[("LISTEN_FDS", ""), ("LISTEN_PID", "")]),
            Ok(none.clone())
        );
        assert_eq!(
            read(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "4712")]),
            Ok(none)
        );
        assert_eq!(
            read(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "4711")]),
            Ok(vec!["unknown".to_owned(), "unknown".to_owned()])
        );
        assert_eq!(
            read(&[
                ("LISTEN_FDS", "2"),
                ("LISTEN_PID", "4711"),
                ("LISTEN_FDNAMES", "http:local")
            ]),
            Ok(vec!["http".to_owned(), "local".to_owned()])
        );
    }

    /// What is malformed is refused and named.
    #[test]
    fn what_is_malformed_is_refused() {
        for (count, process, names, named) in [
            ("two", "4711", "", "LISTEN_FDS"),
            ("-1", "4711", "", "LISTEN_FDS"),
            ("+2", "4711", "", "LISTEN_FDS"),
            ("0", "4711", "", "LISTEN_FDS"),
            ("17", "4711", "", "LISTEN_FDS"),
            ("99999999999999999999", "4711", "", "LISTEN_FDS"),
            ("2", "", "", "LISTEN_PID"),
            ("2", "self", "", "LISTEN_PID"),
            ("2", "4711 ", "", "LISTEN_PID"),
            ("2", "4711", "http", "LISTEN_FDNAMES"),
            ("1", "4711", "http:local", "LISTEN_FDNAMES"),
        ] {
            let error = read(&[
                ("LISTEN_FDS", count),
                ("LISTEN_PID", process),
                ("LISTEN_FDNAMES", names),
            ])
            .expect_err(count);
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    proptest! {
        /// Whatever is set, the answer is a refusal or as many names as were announced to this process.
        #[test]
        fn any_variables_are_read(count in ".{0,6}", process in "4711|[0-9]{1,6}|.{0,6}", names in "[a-z:]{0,12}") {
            let variables = [("LISTEN_FDS", count.as_str()), ("LISTEN_PID", &process), ("LISTEN_FDNAMES", &names)];
            match read(&variables) {
                Ok(names) if names.is_empty() => prop_assert!(count.is_empty() || process != "4711"),
                Ok(names) => prop_assert_eq!(names.len().to_string(), count.trim_start_matches('0')),
                Err(_) => {}
            }
        }
    }
}
