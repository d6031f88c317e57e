//! `CONTROLLER_ALLOWLIST`: the controllers that may run, or be deployed, on this node.

use std::sync::Arc;

use magic_contract::ControllerName;

/// The list; without one, every controller may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControllerAllowlist(Option<Arc<[String]>>);

/// The list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a controller; write names, separated by commas")]
pub struct NotAnAllowlist(String);

impl ControllerAllowlist {
    /// Reads names that are separated by commas. A text without a name is a list that allows nothing.
    ///
    /// # Errors
    /// [`NotAnAllowlist`] for what cannot be a name, above all `*`: patterns would look like they worked.
    pub fn parse(text: &str) -> Result<Self, NotAnAllowlist> {
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| match name.parse::<ControllerName>() {
                Ok(_) => Ok(name.to_owned()),
                Err(_) => Err(NotAnAllowlist(name.chars().take(64).collect())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Some(names.into())))
    }

    /// Whether the controller may run here.
    #[must_use]
    pub fn covers(&self, controller: &str) -> bool {
        self.0
            .as_deref()
            .is_none_or(|names| names.iter().any(|name| name == controller))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No list is no limit; a list is exact; an empty list allows nothing.
    #[test]
    fn lists() {
        assert!(ControllerAllowlist::default().covers("Echo"));
        let list = ControllerAllowlist::parse("Echo, Other,").expect("a list");
        assert!(list.covers("Echo") && list.covers("Other"));
        assert!(!list.covers("echo") && !list.covers("Third"));
        assert!(
            !ControllerAllowlist::parse(" , ")
                .expect("a list")
                .covers("Echo")
        );
        for bad in ["*", "Ec*", "Echo;Other", "a/b"] {
            assert!(ControllerAllowlist::parse(bad).is_err(), "{bad}");
        }
    }
}
