//! A caller: what authentication found out.

use std::sync::Arc;

use super::rate::Rate;
use super::role::{Role, Roles};

/// Which controllers a caller may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of them, and what belongs to none.
    Everything,
    /// Those of these names alone, compared letter by letter. An empty list is none.
    Only(Arc<[String]>),
}

impl Scope {
    /// Whether the controller is within it.
    #[must_use]
    pub fn covers(&self, controller: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Only(names) => names.iter().any(|name| name == controller),
        }
    }
}

/// Who asks. A clone is a handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    subject: Arc<str>,
    roles: Roles,
    scope: Scope,
    key_id: Option<Arc<str>>,
    rate: Option<Rate>,
}

/// How the subjects of other callers than tokens begin. A token whose subject begins so is refused, or it could take another
/// caller's idempotency keys and name in the records.
const RESERVED: [&str; 3] = ["key:", "uid:", "magic:"];

impl Caller {
    /// Whoever reaches a server without authentication.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            subject: "anonymous".into(),
            roles: Roles::NONE.and(Role::Admin),
            scope: Scope::Everything,
            key_id: None,
            rate: None,
        }
    }

    /// The owner of the administrator's key.
    pub(crate) fn administrator() -> Self {
        Self {
            subject: "magic:admin".into(),
            ..Self::anonymous()
        }
    }

    /// A local user, by the unix socket.
    pub(crate) fn local(uid: u32, roles: Roles) -> Self {
        Self {
            subject: format!("uid:{uid}").into(),
            roles,
            scope: Scope::Everything,
            key_id: None,
            rate: None,
        }
    }

    /// The owner of a stored key.
    pub(crate) fn of_key(id: &str, roles: Roles, scope: Scope) -> Self {
        Self {
            subject: format!("key:{id}").into(),
            roles,
            scope,
            key_id: Some(id.into()),
            rate: None,
        }
    }

    /// The same with a rate of their own, or without.
    pub(crate) fn at(self, rate: Option<Rate>) -> Self {
        Self { rate, ..self }
    }

    /// The subject of a token, if a token may have it: 1 to 200 bytes, no control characters, no name of somebody else.
    pub(crate) fn of_token(subject: &str, roles: Roles, scope: Scope) -> Option<Self> {
        let usable = (1..=200).contains(&subject.len())
            && !subject.chars().any(char::is_control)
            && subject != "anonymous"
            && !RESERVED.iter().any(|prefix| subject.starts_with(prefix));
        usable.then(|| Self {
            subject: subject.into(),
            roles,
            scope,
            key_id: None,
            rate: None,
        })
    }

    /// A stable name: `key:ID`, `uid:NUMBER`, `magic:admin`, `anonymous`, or a token's `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What they may do.
    #[must_use]
    pub fn roles(&self) -> Roles {
        self.roles
    }

    /// Which controllers they may touch.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The public name of the key, if it is a stored one.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// How often they may ask, if that is not what holds for everybody.
    pub(crate) fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// The caller as the runtime passes it on.
    pub(crate) fn to_runtime(&self) -> magic_runtime::Caller {
        magic_runtime::Caller {
            subject: self.subject.as_ref().to_owned(),
            roles: self.roles.words().map(str::to_owned).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token cannot take the name of a key, a local user or the administrator.
    #[test]
    fn subjects_of_others_are_reserved() {
        let longest = "x".repeat(200);
        for (subject, taken) in [
            ("ada", true),
            ("ada@example.com", true),
            (longest.as_str(), true),
            ("", false),
            ("a\nb", false),
            ("anonymous", false),
            ("key:0011223344556677", false),
            ("uid:0", false),
            ("magic:admin", false),
        ] {
            let caller = Caller::of_token(subject, Roles::NONE, Scope::Everything);
            assert_eq!(caller.is_some(), taken, "{subject}");
        }
        let too_long = "x".repeat(201);
        assert!(Caller::of_token(&too_long, Roles::NONE, Scope::Everything).is_none());
    }

    /// Names are compared as they are; an empty scope covers nothing.
    #[test]
    fn scopes() {
        let only = Scope::Only(["Echo".to_owned()].into());
        assert!(only.covers("Echo"));
        for other in ["echo", "Echo ", "Echo/", "*", ""] {
            assert!(!only.covers(other), "{other}");
        }
        assert!(!Scope::Only([].into()).covers("Echo"));
        assert!(Scope::Everything.covers("Echo"));
    }
}
