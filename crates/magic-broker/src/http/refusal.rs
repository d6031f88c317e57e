//! The E2003 answers of egress, each with the layer that said no and the line that would say yes.

use crate::http::address::Blocked;
use crate::http::{AddressRules, EgressTarget, TargetProblem};
use crate::problem;
use magic_contract::{Capability, Failure, Host, HostPattern, HttpMethod};
use serde_json::json;

/// A refusal that nothing in contract or policy lifts, and the rule of the runtime behind it.
pub(crate) fn by_runtime(rule: &'static str, message: impl Into<String>) -> Failure {
    problem::outside(message)
        .with_detail("capability", "http:egress")
        .with_detail("layer", "runtime")
        .with_detail("rule", rule)
}

/// The URL cannot be read in one way only.
///
/// The better spelling is told only where the contract lists its host, so that nothing is repeated in
/// other letters which nobody wrote down: a secret in base64 would not be found again in lower case.
pub(crate) fn unreadable(problem: TargetProblem, text: &str, capability: &Capability) -> Failure {
    let hint = match better_spelling(text, capability) {
        Some(better) => format!("; write `{better}`"),
        None => String::new(),
    };
    by_runtime("canonical_url", format!("{problem}{hint}"))
}

/// The same origin in lower case and without a dot at the end of the host, if that is all that was
/// wrong with it.
fn better_spelling(text: &str, capability: &Capability) -> Option<String> {
    let Capability::HttpEgress {
        allow: Some(listed),
        ..
    } = capability
    else {
        return None;
    };
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, port) = match rest[..end].split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (&rest[..end], None),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let mut better = format!("{}://{host}", scheme.to_ascii_lowercase());
    if let Some(port) = port {
        better.push(':');
        better.push_str(port);
    }
    let target = EgressTarget::parse(&better).ok()?;
    listed
        .iter()
        .any(|pattern| pattern.covers(target.host(), target.port()))
        .then_some(better)
}

/// The contract does not list the method.
pub(crate) fn method(capability: &Capability, asked: HttpMethod) -> Failure {
    let line = contract_line(capability, None, Some(asked));
    by_contract(
        format!(
            "the contract's `http:egress` does not list the method {}; write: {line}",
            asked.as_str()
        ),
        line,
    )
    .with_detail("method", asked.as_str())
}

/// Plain http to a host that is not listed with its port.
pub(crate) fn plain_http(capability: &Capability, target: &EgressTarget) -> Failure {
    let entry = format!("{}:{}", target.host(), target.port());
    let line = contract_line(capability, Some(&entry), None);
    by_contract(
        format!(
            "plain http goes only to a host that the contract lists with its port; use https, or write: {line}"
        ),
        line,
    )
    .with_detail("target", entry)
}

/// An address in place of a name, which a contract has to list.
pub(crate) fn address_literal(capability: &Capability, target: &EgressTarget) -> Failure {
    let entry = match target.port() {
        443 => target.host().to_string(),
        port => format!("{}:{port}", target.host()),
    };
    let line = contract_line(capability, Some(&entry), None);
    by_contract(
        format!("an IP address is called only if the contract lists it; write: {line}"),
        line,
    )
    .with_detail("target", entry)
}

/// The name leads to addresses that the policy does not open.
pub(crate) fn addresses(rules: &AddressRules, host: &Host, blocked: &[Blocked]) -> Failure {
    let Some(first) = blocked
        .iter()
        .find(|one| one.kind.is_closed())
        .or(blocked.first())
    else {
        return by_runtime("address", format!("`{host}` has no address to be judged"));
    };
    if first.kind.is_closed() {
        return by_runtime(
            "closed_addresses",
            format!(
                "`{host}` leads to {}, which is {} and opened by no policy",
                first.address,
                first.kind.as_str()
            ),
        )
        .with_detail("address_class", first.kind.as_str())
        .with_detail("address", first.address.to_string());
    }
    let line = rules.line_with(blocked);
    problem::outside(format!(
        "`{host}` leads to {}, which is {} and not of the public internet; the policy would allow it with: {line}",
        first.address,
        first.kind.as_str()
    ))
    .with_detail("capability", "http:egress")
    .with_detail("layer", "policy")
    .with_detail("address_class", first.kind.as_str())
    .with_detail("address", first.address.to_string())
    .with_detail("line", line)
}

fn by_contract(message: String, line: String) -> Failure {
    problem::outside(message)
        .with_detail("capability", "http:egress")
        .with_detail("layer", "contract")
        .with_detail("line", line)
}

/// The capability's line of the contract with one host or one method more.
fn contract_line(
    capability: &Capability,
    host: Option<&str>,
    method: Option<HttpMethod>,
) -> String {
    let (allow, methods): (Vec<String>, Option<Vec<&str>>) = match capability {
        Capability::HttpEgress { allow, methods } => (
            allow.iter().flatten().map(HostPattern::to_string).collect(),
            methods
                .as_ref()
                .map(|list| list.iter().map(|one| one.as_str()).collect()),
        ),
        _ => (Vec::new(), None),
    };
    let hosts: Vec<String> = allow
        .iter()
        .map(String::as_str)
        .chain(host)
        .map(scalar)
        .collect();
    let mut options = Vec::new();
    if !hosts.is_empty() {
        options.push(format!("allow: [{}]", hosts.join(", ")));
    }
    if let Some(mut methods) = methods {
        methods.extend(method.map(HttpMethod::as_str));
        options.push(format!("methods: [{}]", methods.join(", ")));
    }
    format!("- http:egress: {{ {} }}", options.join(", "))
}

/// A text as YAML reads it back inside brackets.
fn scalar(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    if text.bytes().all(plain) {
        text.to_owned()
    } else {
        json!(text).to_string()
    }
}
