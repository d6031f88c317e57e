//! `fs.temp`: the path of the directory that the sandbox lends to this request.
//!
//! The directory was made with the sandbox and ends with it; nothing is made,
//! opened or removed here, and no name that the controller chooses is ever
//! resolved with the supervisor's authority. What the record can say is that
//! the directory was asked for: what is done in it, the kernel allows or
//! refuses without telling anybody.

use crate::call::Call;
use crate::problem;
use magic_contract::Failure;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Answers with the path inside the sandbox.
pub(crate) fn temporary(
    call: &mut Call<'_>,
    params: &str,
    path: Option<&str>,
) -> Result<String, Failure> {
    let Nothing {} = problem::parameters(call.method, params)?;
    call.fact("operation", "lend");
    let Some(path) = path else {
        return Err(problem::misuse(
            "this version was put into service without a temporary directory; deploy it again",
        ));
    };
    let hash = Sha256::digest(path.as_bytes());
    let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    call.fact("path_hash", hash);
    Ok(json!({ "path": path }).to_string())
}
