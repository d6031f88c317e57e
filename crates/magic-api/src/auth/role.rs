//! What callers may be allowed to do.
//!
//! Four words, of which two contain others: who may change what is deployed must be able to see it, so `deploy` contains `read`;
//! `admin` contains everything. `execute` and `read` stand apart, because a program that runs a controller has no business with
//! its source or its logs.

use std::fmt;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Nothing; the route tells nothing that a stranger may not know.
    Public,
    /// Run controllers.
    Execute,
    /// See what is deployed, and its logs.
    Read,
    /// Change what is deployed; contains `Read`.
    Deploy,
    /// Everything.
    Admin,
}

impl Role {
    /// The roles that a caller can have, which is all but `Public`.
    pub const GRANTABLE: [Self; 4] = [Self::Execute, Self::Read, Self::Deploy, Self::Admin];

    /// The word in keys, tokens and settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Execute => "execute",
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }

    /// The grantable role of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::GRANTABLE
            .into_iter()
            .find(|role| role.as_str() == word)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Public => 0,
            Self::Execute => 1,
            Self::Read => 2,
            Self::Deploy => 4,
            Self::Admin => 8,
        }
    }

    /// This role and those that it contains.
    const fn reach(self) -> u8 {
        match self {
            Self::Public | Self::Execute | Self::Read => self.bit(),
            Self::Deploy => Self::Deploy.bit() | Self::Read.bit(),
            Self::Admin => 15,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The roles of one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(u8);

impl Roles {
    /// None; such a caller is known and may do nothing.
    pub const NONE: Self = Self(0);

    /// With one more.
    #[must_use]
    pub const fn and(self, role: Role) -> Self {
        Self(self.0 | role.bit())
    }

    /// The roles among these words. Others mean something to somebody else, as the scopes of a token often do.
    pub fn among<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        words
            .into_iter()
            .filter_map(Role::parse)
            .fold(Self::NONE, Self::and)
    }

    /// Whether they are enough for what a route asks.
    #[must_use]
    pub fn allow(self, wanted: Role) -> bool {
        match wanted {
            Role::Public => true,
            _ => Role::GRANTABLE
                .into_iter()
                .any(|held| self.0 & held.bit() != 0 && held.reach() & wanted.bit() != 0),
        }
    }

    /// The words, as they were given and not as they reach.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Role::GRANTABLE
            .into_iter()
            .filter(move |role| self.0 & role.bit() != 0)
            .map(Role::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table of who reaches what.
    #[test]
    fn what_contains_what() {
        for (held, reached) in [
            (Role::Execute, &[Role::Execute][..]),
            (Role::Read, &[Role::Read]),
            (Role::Deploy, &[Role::Deploy, Role::Read]),
            (
                Role::Admin,
                &[Role::Execute, Role::Read, Role::Deploy, Role::Admin],
            ),
        ] {
            let roles = Roles::NONE.and(held);
            assert!(roles.allow(Role::Public));
            for wanted in Role::GRANTABLE {
                assert_eq!(
                    roles.allow(wanted),
                    reached.contains(&wanted),
                    "{held} {wanted}"
                );
            }
        }
        assert!(!Role::GRANTABLE.iter().any(|role| Roles::NONE.allow(*role)));
    }

    /// Words are exact, and `public` cannot be had.
    #[test]
    fn words() {
        let roles = Roles::among(["openid", "read", "Admin", "execute ", "public", "execute"]);
        assert_eq!(roles.words().collect::<Vec<_>>(), ["execute", "read"]);
    }
}
