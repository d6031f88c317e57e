//! Where a database is, in a form that cannot give its password away.
//!
//! The controllers' database and the runtime's own state are named in the same
//! way, by two settings that know nothing of each other, so what may stand there
//! is decided here, once. The text holds a password: no error says a part of it,
//! and `Debug` and `Display` show the place without the password. What cannot be
//! understood is refused before anything connects: a password with an unescaped
//! `@`, `/`, `?` or `#` would otherwise be taken for a host, a port or a
//! database and be shown as one.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

/// The parameters that a PostgreSQL URL may have; a misspelt one would silently
/// mean less safety (`sslmod=verify-full`).
const PARAMETERS: [&str; 10] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "dbname",
    "user",
    "application_name",
    "statement-cache-capacity",
];

/// Where a database is.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(DatabasePlace);

/// What a [`DatabaseUrl`] names, for whoever opens it. `Debug` leaves out the
/// password of the whole URL.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabasePlace {
    /// The file of a SQLite database.
    Sqlite(PathBuf),
    /// The whole URL of a PostgreSQL database.
    Postgres(Url),
}

/// A database URL cannot be used. No variant holds any of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseUrlProblem {
    /// Neither of the two schemes.
    #[error("write it as sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Scheme,
    /// No file, or one that lives in memory.
    #[error(
        "a SQLite database is a file, which several connections share and which outlives the process: write sqlite://FILE"
    )]
    NoFile,
    /// Parameters after a file.
    #[error("a sqlite:// URL takes no parameters: leave out what stands from `?` or `#` on")]
    FileParameters,
    /// Not a URL.
    #[error(
        "it is not a valid URL: write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with `@`, `/`, `:`, `?`, `#` and `%` of the password as %40, %2F, %3A, %3F, %23 and %25"
    )]
    Malformed,
    /// A parameter that is not known.
    #[error(
        "it has a parameter that is not known; known are sslmode, sslrootcert, sslcert, sslkey, host, port, dbname, user, application_name and statement-cache-capacity, and the password belongs before the `@`"
    )]
    Parameter,
}

impl DatabaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`DatabaseUrlProblem`], which says what to write and repeats nothing.
    pub fn parse(text: &str) -> Result<Self, DatabaseUrlProblem> {
        if let Some(path) = text
            .strip_prefix("sqlite://")
            .or_else(|| text.strip_prefix("sqlite:"))
        {
            if path.is_empty() || path.contains(":memory:") {
                return Err(DatabaseUrlProblem::NoFile);
            }
            if path.contains(['?', '#']) {
                return Err(DatabaseUrlProblem::FileParameters);
            }
            return Ok(Self::sqlite(path));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(DatabaseUrlProblem::Scheme);
        }
        let url = Url::parse(text).map_err(|_| DatabaseUrlProblem::Malformed)?;
        let misplaced = |part: &str| part.contains('@');
        if url.fragment().is_some()
            || misplaced(url.path())
            || misplaced(url.query().unwrap_or_default())
        {
            return Err(DatabaseUrlProblem::Malformed);
        }
        if url
            .query_pairs()
            .any(|(key, _)| !PARAMETERS.contains(&&*key))
        {
            return Err(DatabaseUrlProblem::Parameter);
        }
        Ok(Self(DatabasePlace::Postgres(url)))
    }

    /// A SQLite database in this file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(DatabasePlace::Sqlite(path.into()))
    }

    /// The same place, with the path of a file taken as relative to a folder.
    #[must_use]
    pub fn below(self, folder: &Path) -> Self {
        match self.0 {
            DatabasePlace::Sqlite(path) => Self::sqlite(folder.join(path)),
            DatabasePlace::Postgres(_) => self,
        }
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            DatabasePlace::Sqlite(path) => Some(path),
            DatabasePlace::Postgres(_) => None,
        }
    }

    /// Host and port of a server, for whoever must keep others away from it; a
    /// file has none, and neither has a server on a unix socket.
    #[must_use]
    pub fn endpoint(&self) -> Option<(String, u16)> {
        let DatabasePlace::Postgres(url) = &self.0 else {
            return None;
        };
        let named = |name: &str| {
            let mut pairs = url.query_pairs();
            let found = pairs.find(|(key, _)| key == name);
            found.map(|(_, value)| value.into_owned())
        };
        let host = named("host").or_else(|| url.host_str().map(str::to_owned))?;
        let port = named("port").and_then(|port| port.parse().ok());
        let port = port.or_else(|| url.port()).unwrap_or(5432);
        (!host.starts_with('/')).then_some((host, port))
    }

    /// File or server, with the password.
    #[must_use]
    pub fn place(&self) -> &DatabasePlace {
        &self.0
    }
}

impl fmt::Debug for DatabasePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite://{}", path.display()),
            Self::Postgres(url) => {
                let mut shown = url.clone();
                // Fails only where there is no host and so no password.
                let _ = shown.set_password(None);
                formatter.write_str(shown.as_str())
            }
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, and how it is shown.
    #[test]
    fn places() {
        for (text, shown) in [
            ("sqlite:///var/lib/a.db", "sqlite:///var/lib/a.db"),
            ("sqlite://a.db", "sqlite://a.db"),
            ("sqlite:a.db", "sqlite://a.db"),
            (
                "postgres://ada:s3cret@db.example.org:5433/shop?sslmode=verify-full",
                "postgres://ada@db.example.org:5433/shop?sslmode=verify-full",
            ),
            (
                "postgresql://ada@localhost/shop?host=/run/postgresql",
                "postgresql://ada@localhost/shop?host=/run/postgresql",
            ),
            ("postgres://ada:s%40cr%2Fet@h/d", "postgres://ada@h/d"),
        ] {
            let url = DatabaseUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
        let below = DatabaseUrl::sqlite("a.db").below(Path::new("/etc/magic"));
        assert_eq!(below.to_string(), "sqlite:///etc/magic/a.db");
    }

    /// A password that breaks the URL is never taken for another part, and no message repeats it.
    #[test]
    fn broken_urls_say_nothing_of_themselves() {
        for text in [
            "",
            "s3cret",
            "mysql://ada:s3cret@h/d",
            "sqlite://",
            "sqlite::memory:",
            "sqlite://a.db?mode=s3cret",
            "postgres://ada:s3cret#x@h/d",
            "postgres://ada:12/s3cret@h/d",
            "postgres://ada:12?s3cret@h/d",
            "postgres://ada@h/d?password=s3cret",
            "postgres://ada@h/d?s3cret=1",
            "postgres://[s3cret/d",
        ] {
            let problem = DatabaseUrl::parse(text).unwrap_err();
            assert!(!problem.to_string().contains("s3cret"), "{text}: {problem}");
            assert!(!format!("{problem:?}").contains("s3cret"), "{text}");
        }
    }
}
