//! Where spans go, by the names that OpenTelemetry gives to its variables; see `docs/observability.md`.
//!
//! | environment | `[traces]` of magic.toml | default |
//! |---|---|---|
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | `endpoint` | none: no spans are made; the collector's address, to which `/v1/traces` is added |
//! | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | | the above; the whole URL |
//! | `OTEL_EXPORTER_OTLP_CERTIFICATE` | `certificate` | the public ones; a PEM file of the authorities that the collector is believed by |
//! | `OTEL_EXPORTER_OTLP_TIMEOUT` | | 10000; milliseconds that the collector may take for a batch |
//! | `OTEL_EXPORTER_OTLP_HEADERS`, `..._COMPRESSION` | | none; read by the exporter itself |
//! | `OTEL_TRACES_SAMPLER` | `sampler` | `parentbased_always_on` |
//! | `OTEL_TRACES_SAMPLER_ARG` | `ratio` | 1; the share of traces, for the samplers of a ratio |
//! | `OTEL_SERVICE_NAME` | `service_name` | `magic` |
//! | `OTEL_RESOURCE_ATTRIBUTES` | | none; `name=value`, separated by commas |
//! | `OTEL_BSP_MAX_QUEUE_SIZE` | | 2048; spans that may wait |
//! | `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` | | 512; spans that go out at once |
//! | `OTEL_BSP_SCHEDULE_DELAY` | | 5000; milliseconds that the first of a batch waits for others |
//! | `OTEL_TRACES_EXPORTER` | | `otlp` if there is an endpoint; `none` turns everything off, as `OTEL_SDK_DISABLED=true` does |
//!
//! `OTEL_EXPORTER_OTLP_TRACES_...` wins over `OTEL_EXPORTER_OTLP_...`. Headers have no place in `magic.toml`, because they may hold a
//! secret and that file is shared and copied.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use magic_otlp::Sampling;
use serde::Deserialize;

use super::{Variables, text_variable};

/// Where spans go.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TraceSettings {
    pub(crate) endpoint: String,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) sampling: Sampling,
    pub(crate) follows_parent: bool,
    pub(crate) service_name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) queue: usize,
    pub(crate) batch: usize,
    pub(crate) delay: Duration,
}

/// The table of the file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceTable {
    endpoint: Option<String>,
    certificate: Option<PathBuf>,
    sampler: Option<String>,
    ratio: Option<f64>,
    service_name: Option<String>,
}

impl TraceTable {
    /// The same with paths below the file's folder.
    pub(super) fn below(mut self, folder: &Path) -> Self {
        self.certificate = self.certificate.map(|path| folder.join(path));
        self
    }
}

impl TraceSettings {
    /// Reads variables and table; `None` if nobody wants spans.
    ///
    /// # Errors
    /// When something cannot be understood; the message names it, and says what to write.
    pub(super) fn read(
        variables: Variables<'_>,
        table: TraceTable,
    ) -> anyhow::Result<Option<Self>> {
        let text = |name: &str| text_variable(variables, name);
        let of_exporter = |what: &str| {
            let own = text(&format!("OTEL_EXPORTER_OTLP_TRACES_{what}"))?;
            let common = || text(&format!("OTEL_EXPORTER_OTLP_{what}"));
            own.map_or_else(common, |own| Ok(Some(own)))
        };
        if text("OTEL_SDK_DISABLED")?.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let is_asked_for = match text("OTEL_TRACES_EXPORTER")?.as_deref() {
            None => false,
            Some("otlp") => true,
            Some("none") => return Ok(None),
            Some(other) => bail!("OTEL_TRACES_EXPORTER={other}: write otlp or none"),
        };
        let common = text("OTEL_EXPORTER_OTLP_ENDPOINT")?
            .or(table.endpoint)
            .or_else(|| is_asked_for.then(|| "http://localhost:4318".to_owned()))
            .map(|address| format!("{}/v1/traces", address.trim_end_matches('/')));
        let Some(endpoint) = text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")?.or(common) else {
            return Ok(None);
        };
        let endpoint = endpoint_of(&endpoint)?;
        match of_exporter("PROTOCOL")?.as_deref() {
            None | Some("http/protobuf") => {}
            Some(other) => {
                bail!("OTEL_EXPORTER_OTLP_PROTOCOL={other}: only http/protobuf is spoken")
            }
        }
        let ratio = text("OTEL_TRACES_SAMPLER_ARG")?
            .map(|text| text.parse().context("OTEL_TRACES_SAMPLER_ARG is no number"))
            .transpose()?
            .or(table.ratio);
        let sampler = text("OTEL_TRACES_SAMPLER")?.or(table.sampler);
        let (sampling, follows_parent) = sampling(sampler.as_deref(), ratio)?;
        let number = |name: &str, text: Option<String>, usual: u64| match text {
            None => Ok(usual),
            Some(text) => match text.parse::<u64>() {
                Ok(number) if number > 0 => Ok(number),
                _ => bail!("{name}={text} is no whole number above zero"),
            },
        };
        let size = |name: &str, usual| {
            let size = number(name, text(name)?, usual)?;
            usize::try_from(size).with_context(|| format!("{name}={size} is too large"))
        };
        let delay = "OTEL_BSP_SCHEDULE_DELAY";
        let timeout = number(
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            of_exporter("TIMEOUT")?,
            10_000,
        )?;
        Ok(Some(Self {
            endpoint,
            certificate: of_exporter("CERTIFICATE")?
                .map(PathBuf::from)
                .or(table.certificate),
            timeout: Duration::from_millis(timeout),
            sampling,
            follows_parent,
            service_name: text("OTEL_SERVICE_NAME")?
                .or(table.service_name)
                .unwrap_or_else(|| "magic".to_owned()),
            attributes: attributes(text("OTEL_RESOURCE_ATTRIBUTES")?.as_deref())?,
            queue: size("OTEL_BSP_MAX_QUEUE_SIZE", 2048)?,
            batch: size("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?,
            delay: Duration::from_millis(number(delay, text(delay)?, 5000)?),
        }))
    }
}

/// The address as it was understood, in the letters that every reader of addresses takes. No error shows any of it, since people
/// write credentials into addresses.
fn endpoint_of(text: &str) -> anyhow::Result<String> {
    let url = url::Url::parse(text).ok();
    let Some(url) = url.filter(|url| ["http", "https"].contains(&url.scheme())) else {
        bail!("OTEL_EXPORTER_OTLP_ENDPOINT: write a URL like http://127.0.0.1:4318");
    };
    // They would not be sent, and would stand in what is told of a collector that is not there.
    if !url.username().is_empty() || url.password().is_some() {
        bail!(
            "OTEL_EXPORTER_OTLP_ENDPOINT: there is no user and no password in it; put a proxy that knows them before the collector"
        );
    }
    Ok(url.into())
}

/// What a sampler's name means, and whether a client that records decides.
fn sampling(name: Option<&str>, ratio: Option<f64>) -> anyhow::Result<(Sampling, bool)> {
    let ratio = ratio.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&ratio) {
        bail!("OTEL_TRACES_SAMPLER_ARG={ratio}: write a number from 0 to 1");
    }
    let name = name.unwrap_or("parentbased_always_on");
    let root = name.strip_prefix("parentbased_");
    let sampling = match root.unwrap_or(name) {
        "always_on" => Sampling::Always,
        "always_off" => Sampling::Never,
        "traceidratio" => Sampling::Ratio(ratio),
        _ => bail!(
            "OTEL_TRACES_SAMPLER={name}: write always_on, always_off or traceidratio, or one of them behind parentbased_"
        ),
    };
    Ok((sampling, root.is_some()))
}

fn attributes(text: Option<&str>) -> anyhow::Result<Vec<(String, String)>> {
    let pairs = text.into_iter().flat_map(|text| text.split(','));
    pairs
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .context("OTEL_RESOURCE_ATTRIBUTES: write name=value, separated by commas")?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn read(said: &[(&str, &str)], table: &str) -> anyhow::Result<Option<TraceSettings>> {
        let variables = |name: &str| {
            let found = said.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        TraceSettings::read(&variables, toml::from_str(table).expect("a table"))
    }

    /// Nothing is on that nobody asked for, and what was asked for can be turned off.
    #[test]
    fn on_and_off() {
        let address = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");
        for said in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "a")],
            &[address, ("OTEL_SDK_DISABLED", "true")],
            &[address, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert_eq!(read(said, "").expect("no mistake"), None, "{said:?}");
        }
        let on = |said: &[_], table| read(said, table).expect("no mistake").expect("on");
        assert_eq!(on(&[address], "").endpoint, "http://c:4318/v1/traces");
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://d/x");
        assert_eq!(on(&[address, whole], "").endpoint, "https://d/x");
        let usual = on(&[("OTEL_TRACES_EXPORTER", "otlp")], "");
        assert_eq!(usual.endpoint, "http://localhost:4318/v1/traces");
        assert_eq!(
            (usual.sampling, usual.follows_parent),
            (Sampling::Always, true)
        );
        assert_eq!((usual.queue, usual.batch), (2048, 512));
    }

    /// Variables win over the file, those of traces over the common ones.
    #[test]
    fn order() {
        let table = "endpoint = 'http://file'\nsampler = 'traceidratio'\nratio = 0.25\nservice_name = 'file'";
        let by_file = read(&[], table).expect("no mistake").expect("on");
        assert_eq!(by_file.endpoint, "http://file/v1/traces");
        assert_eq!(by_file.sampling, Sampling::Ratio(0.25));
        assert_eq!(
            (by_file.follows_parent, &*by_file.service_name),
            (false, "file")
        );
        let said = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://env"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "7"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "8"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=1, b = 2,"),
        ];
        let by_variables = read(&said, table).expect("no mistake").expect("on");
        assert_eq!(by_variables.endpoint, "http://env/v1/traces");
        assert_eq!(by_variables.sampling, Sampling::Ratio(0.5));
        assert_eq!(by_variables.timeout, Duration::from_millis(8));
        let pairs = [("a", "1"), ("b", "2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(by_variables.attributes, pairs);
    }

    #[test]
    fn an_endpoint_is_told_to_the_exporter_as_it_was_understood() {
        let address = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/a b^");
        let read = read(&[address], "").expect("settings").expect("traces");
        assert_eq!(read.endpoint, "http://c/a%20b^");
    }

    /// Mistakes say what to write, and do not repeat a URL.
    #[test]
    fn mistakes() {
        let address = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c");
        for (name, value, expected) in [
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "grpc://user:hidden@c",
                "like http://",
            ),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "http://user:hidden@c",
                "no user and no password",
            ),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "http://user:hid^den hidden@c:4318",
                "no user and no password",
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "only http/protobuf"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
            ("OTEL_TRACES_SAMPLER", "some", "always_on"),
            ("OTEL_TRACES_SAMPLER_ARG", "2", "from 0 to 1"),
            ("OTEL_TRACES_SAMPLER_ARG", "x", "no number"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "above zero"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a", "name=value"),
        ] {
            let error = read(&[(name, value), address], "").expect_err(expected);
            let told = format!("{error:#}");
            assert!(
                told.contains(expected) && !told.contains("hidden"),
                "{told}"
            );
        }
    }
}
