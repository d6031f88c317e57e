//! Every setting there is, where it comes from, and what it is when nobody says anything.
//!
//! Flags win over the environment, the environment over `magic.toml`, and that over the defaults. All four are merged here, once,
//! before any command runs. A variable that is set but empty counts as not set.
//!
//! | flag | environment | magic.toml | default |
//! |---|---|---|---|
//! | `--config` | `MAGIC_CONFIG` | | `./magic.toml` if it exists |
//! | `--data-dir` | `MAGIC_DATA_DIR` | `data_dir` | `$XDG_DATA_HOME/magic`, else `~/.local/share/magic`; in production `/var/lib/magic` |
//! | | `MAGIC_NODE` | `node` | `node`; with a `MAGIC_STORE_URL` on PostgreSQL, the host's name |
//! | `--listen` of `dev` and `serve` | `MAGIC_LISTEN` | `listen` | `127.0.0.1:8080` |
//! | `--socket` | `MAGIC_SOCKET` | `socket` | `$XDG_RUNTIME_DIR/magic/magic.sock`; as root or in production `/run/magic/magic.sock`; else `magic.sock` in the data folder |
//! | `--python` | `MAGIC_PYTHON` | `python` | found by the runtime |
//! | | `MAGIC_WHEELS` | `wheels` | none; the folder of wheels that controllers' packages are taken from |
//! | `--policy` | `MAGIC_POLICY` | `policy` | the built-in policy of the environment |
//! | `--controllers` of `new` and `run`, `FOLDER` of `dev` and `serve` | `MAGIC_CONTROLLERS` | `controllers` | `./controllers` |
//! | `--url` of `list`, `logs` and `keys` | `MAGIC_URL` | `url` | none: the unix socket is used |
//! | | `MAGIC_API_KEY` | | none; the key that those commands send with a URL |
//! | | `MAGIC_SECRETS_DIR` | `secrets_dir` | none; see [`secrets`] |
//! | | `MAGIC_SECRETS_KEY` | | the key file in the data folder |
//! | | `DATABASE_URL` | `database_url` | `sqlite://` and `controllers.db` in the data folder; or `postgres://USER:PASSWORD@HOST/DATABASE` |
//! | | `MAGIC_STORE_URL` | `store_url` | `sqlite://` and `state.db` in the data folder; or `postgres://USER:PASSWORD@HOST/DATABASE` |
//! | | `DATABASE_RAW_ROLE` | `database_raw_role` | none; the PostgreSQL role that raw SQL runs in, without which production refuses it |
//! | | `REDIS_URL` | `redis_url` | none: queues in a file of the data folder, the cache in memory |
//! | | `MAGIC_EGRESS_CA` | `egress_ca` | none; a PEM file of certificate authorities to trust beside the public ones |
//! | | `ENVIRONMENT` | `environment` | `dev`; or `prod` |
//! | | `RUST_LOG` | `log` | `warn` for commands, `info` in production |
//!
//! How long log lines and executions are kept is in [`retention`]: `MAGIC_LOG_RETENTION` and others.
//!
//! Who may call is in [`auth`]: `ADMIN_API_KEY`, `JWT_SECRET` and others, and the table `[auth]`.
//!
//! Where spans go is in [`traces`]: `OTEL_EXPORTER_OTLP_ENDPOINT` and others, and the table `[traces]`.
//!
//! The table `[http]` of `magic.toml` holds the limits of the HTTP side; see [`http`].
//!
//! Paths in `magic.toml` are relative to its folder.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use magic_contract::DatabaseUrl;
use magic_contract::{Environment, Policy};
use serde::Deserialize;

use crate::cli::GlobalArguments;
use crate::terminal;

mod auth;
mod http;
mod retention;
mod secrets;
mod traces;

use auth::AuthTable;
pub(crate) use auth::{AuthSettings, KeySetPlace, Secret};
pub(crate) use http::HttpSettings;
pub(crate) use retention::RetentionSettings;
pub(crate) use secrets::SecretsSettings;
pub(crate) use traces::TraceSettings;
use traces::TraceTable;

/// The merged settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    /// This node's name: in its audit log, among the consumers of a Redis, and in a state that several share.
    pub(crate) node: String,
    pub(crate) listen: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) python: Option<PathBuf>,
    pub(crate) wheels: Option<PathBuf>,
    pub(crate) policy: Option<PathBuf>,
    pub(crate) controllers: PathBuf,
    pub(crate) url: Option<String>,
    pub(crate) database_url: DatabaseUrl,
    pub(crate) store_url: DatabaseUrl,
    pub(crate) database_raw_role: Option<String>,
    pub(crate) redis_url: Option<HiddenUrl>,
    pub(crate) api_key: Option<Secret>,
    pub(crate) auth: AuthSettings,
    pub(crate) egress_ca: Option<PathBuf>,
    pub(crate) environment: Environment,
    pub(crate) log_filter: String,
    pub(crate) http: HttpSettings,
    pub(crate) retention: RetentionSettings,
    pub(crate) secrets: SecretsSettings,
    /// `None` where no spans are made.
    pub(crate) traces: Option<TraceSettings>,
}

/// A URL that may hold a password, and is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct HiddenUrl(String);

impl HiddenUrl {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for HiddenUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(hidden)")
    }
}

/// What one source says. Read strictly from `magic.toml`: a misspelt key is an error there.
/// No `Debug`: a URL of a database holds a password until it is read.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    data_dir: Option<PathBuf>,
    node: Option<String>,
    listen: Option<String>,
    socket: Option<PathBuf>,
    python: Option<PathBuf>,
    wheels: Option<PathBuf>,
    policy: Option<PathBuf>,
    controllers: Option<PathBuf>,
    url: Option<String>,
    secrets_dir: Option<PathBuf>,
    /// As the file has it; read by ourselves, since errors of the file's reader show values.
    #[serde(rename = "database_url")]
    database_text: Option<String>,
    #[serde(skip)]
    database_url: Option<DatabaseUrl>,
    #[serde(rename = "store_url")]
    store_text: Option<String>,
    #[serde(skip)]
    store_url: Option<DatabaseUrl>,
    database_raw_role: Option<String>,
    redis_url: Option<HiddenUrl>,
    #[serde(skip)]
    api_key: Option<Secret>,
    auth: Option<AuthTable>,
    egress_ca: Option<PathBuf>,
    environment: Option<String>,
    log: Option<String>,
    log_retention: Option<String>,
    execution_retention: Option<String>,
    #[serde(default, deserialize_with = "retention::bytes")]
    log_bytes: Option<String>,
    http: Option<HttpSettings>,
    traces: Option<TraceTable>,
}

/// How the environment is read, so that tests need not change the process's own.
type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Settings {
    /// Merges the flags with the process's environment and the settings file.
    ///
    /// # Errors
    /// When a source says something that cannot be understood; the message names the source.
    pub(crate) fn load(flags: &GlobalArguments) -> anyhow::Result<Self> {
        let variables = |name: &str| std::env::var_os(name);
        let as_root = rustix::process::geteuid().is_root();
        Self::merge(flags, &variables, as_root)
    }

    fn merge(
        flags: &GlobalArguments,
        variables: Variables<'_>,
        as_root: bool,
    ) -> anyhow::Result<Self> {
        let flag = Source {
            data_dir: flags.data_dir.clone(),
            socket: flags.socket.clone(),
            python: flags.python.clone(),
            policy: flags.policy.clone(),
            ..Source::default()
        };
        let environment = Source::from_variables(variables)?;
        let named = flags
            .config
            .clone()
            .or_else(|| path_variable(variables, "MAGIC_CONFIG"));
        let file = Source::from_file(named.as_deref())?;
        let all = flag.or(environment).or(file);

        let environment = match all.environment.as_deref() {
            None => Environment::Development,
            Some(text) => environment_named(text)?,
        };
        let in_service = environment == Environment::Production;
        let data_dir = match all.data_dir {
            Some(folder) => folder,
            None => usual_data_dir(variables, in_service)?,
        };
        let socket =
            all.socket
                .unwrap_or_else(|| match path_variable(variables, "XDG_RUNTIME_DIR") {
                    _ if in_service => PathBuf::from("/run/magic/magic.sock"),
                    Some(folder) => folder.join("magic/magic.sock"),
                    None if as_root => PathBuf::from("/run/magic/magic.sock"),
                    None => data_dir.join("magic.sock"),
                });
        let database_url = all
            .database_url
            .unwrap_or_else(|| DatabaseUrl::sqlite(data_dir.join("controllers.db")));
        let store_url = all
            .store_url
            .unwrap_or_else(|| DatabaseUrl::sqlite(data_dir.join("state.db")));
        if store_url.file().is_some() && store_url == database_url {
            bail!(
                "MAGIC_STORE_URL and DATABASE_URL name the same file, and controllers would reach the runtime's own state; name two"
            );
        }
        let listen = all.listen.as_deref().unwrap_or("127.0.0.1:8080");
        let node = match all.node {
            Some(name) => node_name(&name)?,
            // Nobody else is there to be told apart from.
            None if store_url.file().is_some() => "node".to_owned(),
            None => host_name(),
        };
        Ok(Self {
            socket,
            node,
            listen: address(listen)?,
            python: all.python,
            wheels: all.wheels,
            policy: all.policy,
            controllers: all.controllers.unwrap_or_else(|| "controllers".into()),
            url: all.url,
            database_url,
            store_url,
            database_raw_role: all.database_raw_role,
            redis_url: all.redis_url,
            api_key: all.api_key,
            auth: AuthSettings::read(variables, all.auth.unwrap_or_default(), environment)?,
            egress_ca: all.egress_ca,
            environment,
            log_filter: all
                .log
                .unwrap_or_else(|| if in_service { "info" } else { "warn" }.to_owned()),
            http: all.http.unwrap_or_default(),
            retention: RetentionSettings::read(
                all.log_retention.as_deref(),
                all.execution_retention.as_deref(),
                all.log_bytes.as_deref(),
            )?,
            secrets: SecretsSettings::read(variables, all.secrets_dir)?,
            traces: TraceSettings::read(variables, all.traces.unwrap_or_default())?,
            data_dir,
        })
    }

    /// The same settings, with the supervisor's URL from a command's own flag if it was given.
    pub(crate) fn with_url(&self, url: Option<&String>) -> Self {
        Self {
            url: url.cloned().or_else(|| self.url.clone()),
            ..self.clone()
        }
    }

    /// The policy file's policy, or the environment's own.
    ///
    /// # Errors
    /// When the file cannot be read; its problems are in the message.
    pub(crate) fn read_policy(&self) -> anyhow::Result<Policy> {
        let Some(path) = &self.policy else {
            return Ok(match self.environment {
                Environment::Development => Policy::development(),
                Environment::Production => Policy::production(),
            });
        };
        let name = path.display().to_string();
        let text = std::fs::read(path).with_context(|| format!("cannot read the policy {name}"))?;
        Policy::parse(&text, &name).map_err(|problems| {
            anyhow::anyhow!(
                "{name} is not a valid policy\n\n{}",
                problems.render(terminal::color()).trim_end()
            )
        })
    }
}

impl Source {
    fn from_variables(variables: Variables<'_>) -> anyhow::Result<Self> {
        let text = |name: &str| text_variable(variables, name);
        let path = |name: &str| path_variable(variables, name);
        Ok(Self {
            data_dir: path("MAGIC_DATA_DIR"),
            node: text("MAGIC_NODE")?,
            listen: text("MAGIC_LISTEN")?,
            socket: path("MAGIC_SOCKET"),
            python: path("MAGIC_PYTHON"),
            wheels: path("MAGIC_WHEELS"),
            policy: path("MAGIC_POLICY"),
            controllers: path("MAGIC_CONTROLLERS"),
            url: text("MAGIC_URL")?,
            secrets_dir: path("MAGIC_SECRETS_DIR"),
            database_text: None,
            database_url: text("DATABASE_URL")?
                .map(|text| DatabaseUrl::parse(&text).context("DATABASE_URL is not understood"))
                .transpose()?,
            store_text: None,
            store_url: text("MAGIC_STORE_URL")?
                .map(|text| DatabaseUrl::parse(&text).context("MAGIC_STORE_URL is not understood"))
                .transpose()?,
            database_raw_role: text("DATABASE_RAW_ROLE")?,
            redis_url: text("REDIS_URL")?.map(HiddenUrl),
            api_key: text("MAGIC_API_KEY")?.map(Secret::from),
            auth: None,
            egress_ca: path("MAGIC_EGRESS_CA"),
            environment: text("ENVIRONMENT")?,
            log: text("RUST_LOG")?,
            log_retention: text("MAGIC_LOG_RETENTION")?,
            execution_retention: text("MAGIC_EXECUTION_RETENTION")?,
            log_bytes: text("MAGIC_LOG_BYTES")?,
            http: None,
            traces: None,
        })
    }

    /// A file that was named must exist; the usual one need not.
    fn from_file(named: Option<&Path>) -> anyhow::Result<Self> {
        let path = named.unwrap_or(Path::new("magic.toml"));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let mut source: Self =
            toml::from_str(&text).map_err(|error| invalid(path, &text, &error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for relative in [
            &mut source.data_dir,
            &mut source.socket,
            &mut source.python,
            &mut source.wheels,
            &mut source.policy,
            &mut source.controllers,
            &mut source.secrets_dir,
            &mut source.egress_ca,
        ] {
            *relative = relative.take().map(|path| folder.join(path));
        }
        if let Some(text) = source.database_text.take() {
            let url = DatabaseUrl::parse(&text)
                .with_context(|| format!("database_url of {} is not understood", path.display()))?;
            source.database_url = Some(url.below(folder));
        }
        if let Some(text) = source.store_text.take() {
            let url = DatabaseUrl::parse(&text)
                .with_context(|| format!("store_url of {} is not understood", path.display()))?;
            source.store_url = Some(url.below(folder));
        }
        source.auth = source.auth.map(|auth| auth.below(folder));
        source.traces = source.traces.map(|traces| traces.below(folder));
        Ok(source)
    }

    /// This source, and what it does not say from the other.
    fn or(self, other: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(other.data_dir),
            node: self.node.or(other.node),
            listen: self.listen.or(other.listen),
            socket: self.socket.or(other.socket),
            python: self.python.or(other.python),
            wheels: self.wheels.or(other.wheels),
            policy: self.policy.or(other.policy),
            controllers: self.controllers.or(other.controllers),
            url: self.url.or(other.url),
            secrets_dir: self.secrets_dir.or(other.secrets_dir),
            database_text: None,
            database_url: self.database_url.or(other.database_url),
            store_text: None,
            store_url: self.store_url.or(other.store_url),
            database_raw_role: self.database_raw_role.or(other.database_raw_role),
            redis_url: self.redis_url.or(other.redis_url),
            api_key: self.api_key.or(other.api_key),
            auth: self.auth.or(other.auth),
            egress_ca: self.egress_ca.or(other.egress_ca),
            environment: self.environment.or(other.environment),
            log: self.log.or(other.log),
            log_retention: self.log_retention.or(other.log_retention),
            execution_retention: self.execution_retention.or(other.execution_retention),
            log_bytes: self.log_bytes.or(other.log_bytes),
            http: self.http.or(other.http),
            traces: self.traces.or(other.traces),
        }
    }
}

/// What is wrong with the file, by its line and without showing it: the line may hold a password.
fn invalid(path: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    anyhow::anyhow!(
        "{}:{line}: not a valid settings file: {}",
        path.display(),
        error.message()
    )
}

/// A variable that is set to something.
fn set_variable(variables: Variables<'_>, name: &str) -> Option<OsString> {
    variables(name).filter(|value| !value.is_empty())
}

fn text_variable(variables: Variables<'_>, name: &str) -> anyhow::Result<Option<String>> {
    let text = set_variable(variables, name).map(OsString::into_string);
    text.transpose()
        .map_err(|_| anyhow::anyhow!("{name} is not valid UTF-8"))
}

fn path_variable(variables: Variables<'_>, name: &str) -> Option<PathBuf> {
    set_variable(variables, name).map(PathBuf::from)
}

/// A node's name becomes part of file names.
fn node_name(text: &str) -> anyhow::Result<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if (1..=63).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    bail!("MAGIC_NODE is 1 to 63 letters, digits, `-` and `_`")
}

/// The host's name, as far as it is a node's.
fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy().into_owned();
    let first = name.split('.').next().unwrap_or_default();
    node_name(first).unwrap_or_else(|_| "node".to_owned())
}

fn environment_named(text: &str) -> anyhow::Result<Environment> {
    match text {
        "dev" | "development" => Ok(Environment::Development),
        "prod" | "production" => Ok(Environment::Production),
        other => bail!("ENVIRONMENT={other}: write dev or prod"),
    }
}

fn usual_data_dir(variables: Variables<'_>, in_service: bool) -> anyhow::Result<PathBuf> {
    if in_service {
        return Ok("/var/lib/magic".into());
    }
    // The XDG rules have relative paths ignored.
    let base = path_variable(variables, "XDG_DATA_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| path_variable(variables, "HOME").map(|home| home.join(".local/share")));
    match base {
        Some(base) => Ok(base.join("magic")),
        None => bail!("there is no home folder to keep files in; name one with --data-dir"),
    }
}

/// An address to listen on, with `localhost` for people.
///
/// # Errors
/// When it is not an address and a port.
pub(crate) fn address(text: &str) -> anyhow::Result<SocketAddr> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        anyhow::anyhow!(
            "{text} is not an address to listen on: write it like 127.0.0.1:8080 or [::1]:8080"
        )
    })
}

#[cfg(test)]
mod tests;
