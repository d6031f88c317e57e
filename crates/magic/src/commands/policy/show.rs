//! `magic policy show`: the policy in full. What is printed is a policy that says the same.

use serde_json::json;

use crate::cli::Ended;
use crate::output::Output;
use crate::settings::Settings;

pub(super) fn run(settings: &Settings, output: Output) -> anyhow::Result<Ended> {
    let policy = super::configured(settings)?;
    if output.is_json() {
        output.json(&json!({
            "file": policy.file, "hash": policy.hash(), "policy": policy.to_json(),
        }))?;
        return Ok(Ended::Done);
    }
    output.data(&format!(
        "# {}, hash {}\n{}",
        policy.file,
        policy.hash(),
        policy.to_yaml().trim_end()
    ))?;
    Ok(Ended::Done)
}
