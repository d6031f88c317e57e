//! The error catalogue: every code that an answer may carry, and nothing about transport.
//!
//! Callers write programs against these codes, so the set is part of the published interface:
//! codes are added, never renumbered and never given a new meaning. What an HTTP server makes of a
//! code (status, headers) is decided in the crate that speaks HTTP, not here, because the same
//! codes travel over the command line, the audit log and the worker's channel.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The family of a code: its first digit, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// The contract, or a value that the contract governs, is wrong (E1xxx).
    Contract,
    /// A capability was refused (E2xxx).
    Capability,
    /// The controller ran and did not succeed, or could not be run (E3xxx).
    Execution,
    /// A bundle, version or deployment is wrong or missing (E4xxx).
    Deployment,
    /// The caller may not do this (E5xxx).
    Auth,
}

impl Category {
    /// The spelling used in error bodies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contract => "CONTRACT",
            Self::Capability => "CAPABILITY",
            Self::Execution => "EXECUTION",
            Self::Deployment => "DEPLOYMENT",
            Self::Auth => "AUTH",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Writes the enum and everything that is listed once per code, so that no table can miss a row.
macro_rules! catalogue {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $category:ident, $meaning:literal, $resolution:literal;)+) => {
        /// One code of the catalogue.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)+ }

        impl ErrorCode {
            /// Every code, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The spelling used in error bodies, such as `E1001`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The family that the code belongs to.
            #[must_use]
            pub const fn category(self) -> Category {
                match self { $(Self::$variant => Category::$category,)+ }
            }

            /// What the code says, in one line that does not depend on the case at hand.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What the reader can do about it.
            #[must_use]
            pub const fn resolution(self) -> &'static str {
                match self { $(Self::$variant => $resolution,)+ }
            }
        }

        impl FromStr for ErrorCode {
            type Err = UnknownErrorCode;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text { $($code => Ok(Self::$variant),)+ _ => Err(UnknownErrorCode) }
            }
        }
    };
}

catalogue! {
    /// The contract file is not a valid contract.
    InvalidContract = "E1001", Contract, "contract file is not a valid contract",
        "run `magic validate` and mend the lines that it names";
    /// The contract lacks a section that every contract must have.
    MissingSection = "E1002", Contract, "contract lacks a required section",
        "add the named section to the contract";
    /// The input breaks the contract's input schema.
    InvalidInput = "E1003", Contract, "input violates the input schema",
        "send a value that the named rule of the input schema accepts";
    /// The request body cannot be read as JSON, or is too large, or has the wrong type.
    UnacceptableBody = "E1004", Contract, "request body is not acceptable",
        "send one JSON document within the limits, as application/json";
    /// A schema uses something that is not supported or not safe.
    UnsupportedSchema = "E1005", Contract, "schema uses something unsupported or unsafe",
        "rewrite the named part of the schema with what is supported";
    /// The controller used a capability that its contract does not declare.
    CapabilityUndeclared = "E2001", Capability, "capability not declared in the contract",
        "declare the capability in the contract, or stop using it";
    /// The policy does not allow the capability.
    CapabilityDenied = "E2002", Capability, "capability denied by policy",
        "narrow the contract, or ask the operator for the policy rule that is named";
    /// The target lies outside what the contract allows.
    TargetNotAllowed = "E2003", Capability, "target outside the contract's allowance",
        "add the target to the capability's list in the contract";
    /// The capability's budget is used up.
    BudgetExceeded = "E2004", Capability, "capability budget exceeded",
        "use the capability less in one request, or raise its budget";
    /// The kernel stopped the controller for something forbidden.
    SandboxViolation = "E2005", Capability, "sandbox violation stopped by the kernel",
        "remove the forbidden operation from the controller";
    /// The request took longer than the contract allows.
    Timeout = "E3001", Execution, "timeout",
        "make the controller faster, or raise `resources.timeout`";
    /// The controller used more memory than the contract allows.
    MemoryExceeded = "E3002", Execution, "memory limit exceeded",
        "use less memory, or raise `resources.memory`";
    /// The controller raised, crashed or broke the protocol.
    ControllerFailed = "E3003", Execution, "controller raised, crashed or broke the protocol",
        "read `details.reason` and the controller's log";
    /// The output breaks the contract's output schema.
    InvalidOutput = "E3004", Execution, "output violates the output schema",
        "return a value that the named rule of the output schema accepts";
    /// There is no room for the request now.
    NoCapacity = "E3005", Execution, "no capacity, or rate limited",
        "try again after the time in Retry-After";
    /// The uploaded bundle is malformed or unsafe.
    InvalidBundle = "E4001", Deployment, "bundle is malformed or unsafe",
        "build the bundle with `magic deploy`";
    /// The controller cannot be imported or has no entry point.
    DoesNotLoad = "E4002", Deployment, "controller does not load",
        "run `magic validate` and mend the import or the entry point";
    /// The version exists with other content, or breaks callers without a major version.
    VersionConflict = "E4003", Deployment, "version conflict",
        "raise `version` in the contract";
    /// There is no such controller or version.
    UnknownController = "E4004", Deployment, "no such controller or version",
        "look at `magic list`";
    /// The deployment failed for a reason inside the runtime.
    DeploymentFailed = "E4005", Deployment, "deployment failed inside the runtime",
        "try again; if it persists, look at the runtime's log";
    /// No credentials were sent.
    CredentialsMissing = "E5001", Auth, "credentials missing",
        "send X-API-Key or a bearer token";
    /// The credentials are not valid.
    CredentialsInvalid = "E5002", Auth, "credentials invalid",
        "check the key or token";
    /// The credentials were valid once.
    CredentialsExpired = "E5003", Auth, "credentials expired",
        "ask for a new key or token";
    /// The credentials' role does not allow this.
    RoleInsufficient = "E5004", Auth, "role not sufficient",
        "use credentials that have the named role";
    /// The key is bound to other controllers.
    OutOfScope = "E5005", Auth, "controller outside the key's scope",
        "use a key that covers this controller";
}

/// The text is not a code of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an error code of the catalogue")]
pub struct UnknownErrorCode;

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes are unique, ascending, and the first digit says the category.
    #[test]
    fn the_catalogue_is_consistent() {
        let first_digits = |category| match category {
            Category::Contract => '1',
            Category::Capability => '2',
            Category::Execution => '3',
            Category::Deployment => '4',
            Category::Auth => '5',
        };
        for pair in ErrorCode::ALL.windows(2) {
            assert!(pair[0].as_str() < pair[1].as_str());
        }
        for code in ErrorCode::ALL {
            assert_eq!(
                code.as_str().chars().nth(1),
                Some(first_digits(code.category()))
            );
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
        assert_eq!(ErrorCode::ALL.len(), 25);
    }
}
