//! Who may call, and from where; see `docs/authentication.md`.
//!
//! | environment | `[auth]` of magic.toml | default |
//! |---|---|---|
//! | `ADMIN_API_KEY` | | none; a key with the role `admin` |
//! | `JWT_SECRET` | | none; the secret of tokens with HS256 |
//! | `MAGIC_JWKS` | `jwks` | none; the issuer's public keys, `https://...` or a file |
//! | `MAGIC_JWT_AUDIENCE` | `audience` | none: `aud` is not looked at |
//! | `MAGIC_JWT_ISSUER` | `issuer` | none: `iss` is not looked at |
//! | `MAGIC_SOCKET_GROUP` | `socket_group` | none; a group, by name or number, that may use the unix socket |
//! | `MAGIC_SOCKET_ROLE` | `socket_role` | `execute`; what that group may do |
//! | `MAGIC_KEY_STALENESS` | `key_staleness` | `60s`; how long stored keys hold when the store is out of reach |
//! | `ALLOWED_ORIGINS` | `allowed_origins` | none; origins of web pages that may ask, separated by commas |
//! | `CONTROLLER_ALLOWLIST` | `controller_allowlist` | all; the controllers that may run here, separated by commas |
//!
//! The two secrets have no place in `magic.toml`, because that file is shared and copied. In production they must have at least 32
//! characters, of which 8 are different.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use magic_api::{AllowedOrigins, ControllerAllowlist, Role, SocketGroup, TokenRules};
use magic_contract::Environment;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Variables, text_variable};

/// The fewest characters of a secret in production, and how many of them must be different.
const SECRET_LENGTH: usize = 32;
const SECRET_LETTERS: usize = 8;

const USUAL_STALENESS: Duration = Duration::from_secs(60);

/// A secret that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<String>);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl Secret {
    pub(crate) fn expose(&self) -> &Zeroizing<String> {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(hidden)")
    }
}

/// Where an issuer's public keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySetPlace {
    Url(String),
    File(PathBuf),
}

/// The merged settings of authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthSettings {
    pub(crate) administrator: Option<Secret>,
    pub(crate) token_secret: Option<Secret>,
    pub(crate) key_set: Option<KeySetPlace>,
    pub(crate) token_rules: TokenRules,
    pub(crate) socket_group: Option<SocketGroup>,
    pub(crate) key_staleness: Duration,
    pub(crate) allowed_origins: AllowedOrigins,
    pub(crate) controller_allowlist: ControllerAllowlist,
}

/// The table of the file.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthTable {
    jwks: Option<String>,
    audience: Option<String>,
    issuer: Option<String>,
    socket_group: Option<String>,
    socket_role: Option<String>,
    key_staleness: Option<String>,
    allowed_origins: Option<String>,
    controller_allowlist: Option<String>,
}

impl AuthTable {
    /// Takes a file's path as relative to a folder.
    pub(super) fn below(mut self, folder: &Path) -> Self {
        self.jwks = self.jwks.map(|text| match place(&text) {
            Ok(KeySetPlace::File(path)) => folder.join(path).display().to_string(),
            _ => text,
        });
        self
    }
}

impl AuthSettings {
    /// What the environment says, and the file where it says nothing.
    ///
    /// # Errors
    /// When something cannot be understood or is too weak for production; the message says what to type.
    pub(super) fn read(
        variables: Variables<'_>,
        table: AuthTable,
        environment: Environment,
    ) -> anyhow::Result<Self> {
        let variable = |name: &str| text_variable(variables, name);
        let secret = |name: &str| secret(variables, name, environment);
        let either = |name: &str, of_file: Option<String>| -> anyhow::Result<Option<String>> {
            Ok(variable(name)?.or(of_file))
        };
        let allowlist = either("CONTROLLER_ALLOWLIST", table.controller_allowlist)?;
        if allowlist.is_none() && variables("CONTROLLER_ALLOWLIST").is_some() {
            // Elsewhere an empty variable counts as none. Here one reader would take it for all controllers and another for none.
            bail!(
                "CONTROLLER_ALLOWLIST is empty: unset it to allow every controller, or list some"
            );
        }
        let role = either("MAGIC_SOCKET_ROLE", table.socket_role)?;
        let group = either("MAGIC_SOCKET_GROUP", table.socket_group)?;
        Ok(Self {
            administrator: secret("ADMIN_API_KEY")?,
            token_secret: secret("JWT_SECRET")?,
            key_set: either("MAGIC_JWKS", table.jwks)?
                .as_deref()
                .map(place)
                .transpose()?,
            token_rules: TokenRules {
                audience: either("MAGIC_JWT_AUDIENCE", table.audience)?,
                issuer: either("MAGIC_JWT_ISSUER", table.issuer)?,
            },
            socket_group: socket_group(group.as_deref(), role.as_deref())?,
            key_staleness: either("MAGIC_KEY_STALENESS", table.key_staleness)?
                .map_or(Ok(USUAL_STALENESS), |text| staleness(&text))?,
            allowed_origins: either("ALLOWED_ORIGINS", table.allowed_origins)?
                .map(|text| AllowedOrigins::parse(&text))
                .transpose()
                .context("ALLOWED_ORIGINS")?
                .unwrap_or_default(),
            controller_allowlist: allowlist
                .map(|text| ControllerAllowlist::parse(&text))
                .transpose()
                .context("CONTROLLER_ALLOWLIST")?
                .unwrap_or_default(),
        })
    }
}

/// A secret of the environment. In production one that is set must be strong, and one that is set to nothing is a mistake of whoever
/// set it.
fn secret(
    variables: Variables<'_>,
    name: &str,
    environment: Environment,
) -> anyhow::Result<Option<Secret>> {
    let Some(value) = variables(name) else {
        return Ok(None);
    };
    let Ok(text) = value.into_string().map(Zeroizing::new) else {
        bail!("{name} is not valid UTF-8");
    };
    let text = Zeroizing::new(text.trim().to_owned());
    let in_production = environment == Environment::Production;
    if in_production && !is_strong(&text) {
        bail!(
            "{name} is too weak for production: it needs {SECRET_LENGTH} characters or more, of which {SECRET_LETTERS} are different; \
             type: export {name}=\"$(openssl rand -base64 48)\" (or unset it)"
        );
    }
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) && name == "ADMIN_API_KEY" {
        bail!(
            "{name} can only be sent in a header if it has no spaces and no letters beyond ASCII"
        );
    }
    Ok(Some(Secret(text)))
}

fn is_strong(secret: &str) -> bool {
    let mut letters: Vec<char> = secret.chars().collect();
    let length = letters.len();
    letters.sort_unstable();
    letters.dedup();
    length >= SECRET_LENGTH && letters.len() >= SECRET_LETTERS
}

fn place(text: &str) -> anyhow::Result<KeySetPlace> {
    match text.split_once("://") {
        Some(("https", _)) => Ok(KeySetPlace::Url(text.to_owned())),
        Some(("file", path)) => Ok(KeySetPlace::File(path.into())),
        Some(_) => bail!("MAGIC_JWKS is neither an https:// URL nor a file"),
        None => Ok(KeySetPlace::File(text.into())),
    }
}

fn socket_group(group: Option<&str>, role: Option<&str>) -> anyhow::Result<Option<SocketGroup>> {
    let role = match role {
        None => Role::Execute,
        Some(word) => Role::parse(word).with_context(|| {
            format!("MAGIC_SOCKET_ROLE={word}: write execute, read, deploy or admin")
        })?,
    };
    let Some(group) = group else {
        return Ok(None);
    };
    let gid = match group.parse() {
        Ok(number) => number,
        Err(_) => group_number(group).with_context(|| {
            format!("MAGIC_SOCKET_GROUP={group}: /etc/group has no such group; write its number")
        })?,
    };
    Ok(Some(SocketGroup { gid, role }))
}

/// The number of a group of this machine; groups of a directory service are given by number.
fn group_number(name: &str) -> Option<u32> {
    std::fs::read_to_string("/etc/group")
        .ok()?
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
        })
}

fn staleness(text: &str) -> anyhow::Result<Duration> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|parsed| Duration::try_from(parsed).ok())
        .with_context(|| format!("MAGIC_KEY_STALENESS={text}: write a time such as 60s or 5m"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn read(variables: &[(&str, &str)], environment: Environment) -> anyhow::Result<AuthSettings> {
        let lookup = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        };
        AuthSettings::read(&lookup, AuthTable::default(), environment)
    }

    const STRONG: &str = "0123456789abcdef0123456789abcdef";

    /// In production a weak secret refuses the start and says what to type; it is never shown.
    #[test]
    fn weak_secrets_are_refused_in_production() {
        for name in ["ADMIN_API_KEY", "JWT_SECRET"] {
            for weak in ["", " ", "hunter2", &"a".repeat(64), &STRONG[1..]] {
                let error = read(&[(name, weak)], Environment::Production).expect_err(weak);
                let said = error.to_string();
                assert!(
                    said.contains(name) && said.contains("openssl rand"),
                    "{said}"
                );
                assert!(!said.contains("hunter2"), "{said}");
                read(&[(name, weak)], Environment::Development).expect("only for production");
            }
            let settings = read(&[(name, STRONG)], Environment::Production).expect("strong");
            assert!(!format!("{settings:?}").contains(STRONG));
        }
        let nothing = read(&[], Environment::Production).expect("nothing is not weak");
        assert_eq!(nothing.administrator, None);
    }

    /// Mistakes name the variable.
    #[test]
    fn mistakes_are_named() {
        for (name, value) in [
            ("ALLOWED_ORIGINS", "*"),
            ("ALLOWED_ORIGINS", "https://a.example/path"),
            ("CONTROLLER_ALLOWLIST", "*"),
            ("CONTROLLER_ALLOWLIST", ""),
            ("MAGIC_JWKS", "http://issuer.example/keys"),
            ("MAGIC_SOCKET_ROLE", "root"),
            ("MAGIC_SOCKET_GROUP", "no-such-group-here"),
            ("MAGIC_KEY_STALENESS", "soon"),
            ("ADMIN_API_KEY", "two words"),
        ] {
            let error = read(&[(name, value)], Environment::Development).expect_err(value);
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
    }

    /// Groups are found by name and taken by number.
    #[test]
    fn groups() {
        for (name, gid) in [("root", 0), ("4242", 4242)] {
            let settings = read(
                &[("MAGIC_SOCKET_GROUP", name), ("MAGIC_SOCKET_ROLE", "read")],
                Environment::Development,
            )
            .expect("a group");
            let role = Role::Read;
            assert_eq!(settings.socket_group, Some(SocketGroup { gid, role }));
        }
    }
}
