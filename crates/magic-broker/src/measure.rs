//! What a controller counts and observes about itself, under the names that its contract declares.

use crate::problem;
use magic_contract::{ErrorCode, Failure};
use serde::Deserialize;

/// How the methods begin that are no capability's.
pub(crate) const PREFIX: &str = "metrics.";

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measurement {
    /// Adds to a counter; never negative.
    Add(f64),
    /// One more value of a distribution.
    Observe(f64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Increment {
    name: String,
    #[serde(default = "one")]
    amount: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Observation {
    name: String,
    value: f64,
}

fn one() -> f64 {
    1.0
}

/// Reads a measurement from the verb after the prefix and the parameters.
///
/// # Errors
///
/// E2001 for another verb, E3003 for parameters that do not fit.
pub(crate) fn read(verb: &str, params: &str) -> Result<(String, Measurement), Failure> {
    let misuse = |_| problem::misuse("a measurement takes the name of a metric and a number");
    let (name, measurement) = match verb {
        "inc" => {
            let Increment { name, amount } = serde_json::from_str(params).map_err(misuse)?;
            (name, Measurement::Add(amount))
        }
        "observe" => {
            let Observation { name, value } = serde_json::from_str(params).map_err(misuse)?;
            (name, Measurement::Observe(value))
        }
        _ => {
            return Err(Failure::new(
                ErrorCode::CapabilityUndeclared,
                "metrics are counted with `metrics.inc` and observed with `metrics.observe`",
            )
            .with_detail("layer", "contract"));
        }
    };
    match measurement {
        Measurement::Add(amount) if amount < 0.0 => Err(problem::misuse(
            "a counter only rises; its amount is not negative",
        )),
        _ => Ok((name, measurement)),
    }
}

/// E2001, with the line to write.
pub(crate) fn undeclared(name: &str, controller: &str) -> Failure {
    let name: String = name.chars().take(64).collect();
    let line = format!("observability: {{ metrics: [{name}] }}");
    Failure::new(
        ErrorCode::CapabilityUndeclared,
        format!("{controller} does not declare the metric; write in its contract: {line}"),
    )
    .with_detail("capability", "metrics")
    .with_detail("layer", "contract")
    .with_detail("line", line)
}
