//! Where the runtime's state is, in a form that cannot give its password away.
//!
//! What cannot be understood is refused before anything connects, and no error
//! repeats a part of the text: a password with an unescaped `@`, `/`, `?` or `#`
//! would otherwise be taken for a host, a port or a database and be shown as one.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

/// The parameters that a PostgreSQL URL may have; a misspelt one would silently
/// mean less safety (`sslmod=verify-full`).
const PARAMETERS: [&str; 9] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "dbname",
    "user",
    "application_name",
];

/// Where the runtime's state is.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(Place);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The file.
    Sqlite(PathBuf),
    /// The whole URL.
    Postgres(Url),
}

/// The URL of a store cannot be used. No variant holds any of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreUrlProblem {
    /// Neither of the two schemes.
    #[error("write it as sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Scheme,
    /// No file, or one that lives in memory.
    #[error("the state outlives the process: write sqlite://FILE with the name of a file")]
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
        "it has a parameter that is not known; known are sslmode, sslrootcert, sslcert, sslkey, host, port, dbname, user and application_name, and the password belongs before the `@`"
    )]
    Parameter,
}

impl StoreUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`StoreUrlProblem`], which says what to write and repeats nothing.
    pub fn parse(text: &str) -> Result<Self, StoreUrlProblem> {
        let file = text
            .strip_prefix("sqlite://")
            .or_else(|| text.strip_prefix("sqlite:"));
        if let Some(path) = file {
            return match path {
                "" => Err(StoreUrlProblem::NoFile),
                path if path.contains(":memory:") => Err(StoreUrlProblem::NoFile),
                path if path.contains(['?', '#']) => Err(StoreUrlProblem::FileParameters),
                path => Ok(Self::sqlite(path)),
            };
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(StoreUrlProblem::Scheme);
        }
        let url = Url::parse(text).map_err(|_| StoreUrlProblem::Malformed)?;
        let rest = [url.path(), url.query().unwrap_or_default()];
        if url.fragment().is_some() || rest.iter().any(|part| part.contains('@')) {
            return Err(StoreUrlProblem::Malformed);
        }
        let mut names = url.query_pairs().map(|(name, _)| name);
        if names.any(|name| !PARAMETERS.contains(&&*name)) {
            return Err(StoreUrlProblem::Parameter);
        }
        Ok(Self(Place::Postgres(url)))
    }

    /// A SQLite database in this file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Place::Sqlite(path.into()))
    }

    /// The same place, with the path of a file taken as relative to a folder.
    #[must_use]
    pub fn below(self, folder: &Path) -> Self {
        match self.0 {
            Place::Sqlite(path) => Self::sqlite(folder.join(path)),
            Place::Postgres(_) => self,
        }
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Place::Sqlite(path) => Some(path),
            Place::Postgres(_) => None,
        }
    }

    /// Host and port of a server, for whoever must keep others away from it; a
    /// file has none, and neither has a server on a unix socket.
    #[must_use]
    pub fn endpoint(&self) -> Option<(String, u16)> {
        let Place::Postgres(url) = &self.0 else {
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

    pub(super) fn place(&self) -> &Place {
        &self.0
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(path) => write!(formatter, "sqlite://{}", path.display()),
            Place::Postgres(url) => {
                let mut shown = url.clone();
                // Fails only where there is no host and so no password.
                let _ = shown.set_password(None);
                formatter.write_str(shown.as_str())
            }
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, and how it is shown.
    #[test]
    fn places() {
        for (text, shown) in [
            ("sqlite:///var/lib/state.db", "sqlite:///var/lib/state.db"),
            ("sqlite:state.db", "sqlite://state.db"),
            (
                "postgres://magic:s3cret@db.example.org:5433/state?sslmode=verify-full",
                "postgres://magic@db.example.org:5433/state?sslmode=verify-full",
            ),
            ("postgresql://a:s%40cr%2Fet@h/d", "postgresql://a@h/d"),
        ] {
            let url = StoreUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
        let below = StoreUrl::sqlite("state.db").below(Path::new("/etc/magic"));
        assert_eq!(below.file(), Some(Path::new("/etc/magic/state.db")));
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
            let problem = StoreUrl::parse(text).unwrap_err();
            assert!(!problem.to_string().contains("s3cret"), "{text}: {problem}");
            assert!(!format!("{problem:?}").contains("s3cret"), "{text}");
        }
    }
}
