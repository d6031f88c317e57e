//! Whether a new version of a contract breaks whoever relied on the old one.
//!
//! Callers rely on two things: that what they send is accepted, and that what they receive is of
//! the described form. So the new input schema must accept everything that the old one accepted,
//! and everything that the new output schema accepts must have been valid under the old one. Rights,
//! limits, triggers and isolation are between the controller and its operator, and break no caller.
//!
//! Defaults count as they work: a member with a default may be left out of an input and is always
//! there in an output. One thing is let pass on purpose: an optional field may be added to an input
//! that tolerated any field, although somebody may have sent a field of that name in vain.
//!
//! Where compatibility can be neither shown nor refuted, a changed schema counts as a break: whoever
//! knows better can say so when deploying, while a caller who was broken cannot take it back.

use std::fmt;

use semver::{Prerelease, Version};
use serde_json::{Value, json};

use crate::contract::Contract;
use crate::error_code::ErrorCode;
use crate::failure::Failure;
use crate::schema::{Moment, Schema, on_deep_stack};

mod facts;
mod proof;
mod walk;
mod words;

/// How many breakages a failure lists.
const LISTED: usize = 20;
/// How many characters of a field's path are shown.
const LONGEST_FIELD: usize = 200;

/// The half of a contract that callers meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// What is sent.
    Input,
    /// What is received.
    Output,
}

impl Side {
    /// The section of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// Who is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whom {
    /// Callers who send the field, or a certain value of it.
    CallersWhoSend,
    /// Callers who leave the field out.
    CallersWhoOmit,
    /// Callers who read the field.
    CallersWhoRead,
}

/// What of the old contract's promise the new one does not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Breakage {
    /// Where the promise stood.
    pub side: Side,
    /// The field as people write it, such as `customer.id` or `lines[].price`; empty for the whole.
    pub field: String,
    /// What happened to it, as the end of a sentence that starts with the field.
    pub change: String,
    /// Who is broken.
    pub whom: Whom,
}

impl Breakage {
    /// Who is broken, with the field: "callers who leave `customer.id` out".
    #[must_use]
    pub fn whom(&self) -> String {
        let field = match (self.side, self.field.as_str()) {
            (Side::Input, "") => "such an input".to_owned(),
            (Side::Output, "") => "the output".to_owned(),
            (_, field) => format!("`{field}`"),
        };
        match self.whom {
            Whom::CallersWhoSend => format!("callers who send {field}"),
            Whom::CallersWhoOmit => format!("callers who leave {field} out"),
            Whom::CallersWhoRead => format!("callers who read {field}"),
        }
    }

    fn to_json(&self) -> Value {
        json!({ "side": self.side.as_str(), "field": self.field, "change": self.change })
    }
}

impl fmt::Display for Breakage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => write!(formatter, "the {} {}", self.side.as_str(), self.change),
            field => write!(
                formatter,
                "{} field `{field}` {}",
                self.side.as_str(),
                self.change
            ),
        }
    }
}

/// Everything that the new contract does not keep of the old one's promise: none if every caller of
/// the old one can go on. The time is bounded, and what could not be compared within it counts.
#[must_use]
pub fn breakages(old: &Contract, new: &Contract) -> Vec<Breakage> {
    let mut found = broken_by_schema(Side::Input, &old.input, &new.input);
    found.extend(broken_by_schema(Side::Output, &old.output, &new.output));
    found
}

/// Whether the step from one version to the other announces a break.
///
/// From 1.0.0 on that is another major version; before it, where everything may change, another
/// minor version too. Leaving a pre-release, or going from one to the next, announces one as well:
/// a pre-release promises nothing yet. Entering a pre-release of an otherwise compatible version
/// does not: `1.3.0-rc.1` says that 1.3.0 is to come, and callers of 1.2 will meet it. A lower
/// version announces nothing.
#[must_use]
pub fn announces_break(old: &Version, new: &Version) -> bool {
    if new <= old {
        return false;
    }
    let is_bigger_step = if old.major == 0 && new.major == 0 {
        new.minor > old.minor
    } else {
        new.major > old.major
    };
    is_bigger_step || old.pre != Prerelease::EMPTY
}

/// The refusal (E4003) of a version that breaks callers without announcing it, if it is one.
///
/// The message names the first breakage and what to type; `details.breakages` lists up to twenty.
#[must_use]
pub fn unannounced_break(old: &Contract, new: &Contract) -> Option<Failure> {
    if announces_break(&old.version, &new.version) {
        return None;
    }
    refusal(&old.version, &new.version, &breakages(old, new))
}

fn refusal(old: &Version, new: &Version, found: &[Breakage]) -> Option<Failure> {
    let first = found.first()?;
    let more = match found.len() - 1 {
        0 => String::new(),
        1 => " (and 1 more)".to_owned(),
        more => format!(" (and {more} more)"),
    };
    let enough = announcing_version(old.max(new));
    let message = format!(
        "version {new} breaks {} of version {old}: {first}{more}; set `version: {enough}` in the contract, or deploy with `--allow-breaking`",
        first.whom(),
    );
    let listed: Vec<Value> = found.iter().take(LISTED).map(Breakage::to_json).collect();
    let failure = Failure::new(ErrorCode::VersionConflict, message)
        .with_detail("old_version", old.to_string())
        .with_detail("new_version", new.to_string())
        .with_detail("announcing_version", enough.to_string())
        .with_detail("breakages", listed)
        .with_detail("breakages_found", found.len());
    Some(failure)
}

/// The least release that announces a break after this version.
fn announcing_version(version: &Version) -> Version {
    match version.major {
        0 => Version::new(0, version.minor.saturating_add(1), 0),
        major => Version::new(major.saturating_add(1), 0, 0),
    }
}

fn broken_by_schema(side: Side, old: &Schema, new: &Schema) -> Vec<Breakage> {
    if old.as_value() == new.as_value() {
        return Vec::new();
    }
    let (narrow, wide, moment) = match side {
        Side::Input => (old, new, Moment::Sent),
        Side::Output => (new, old, Moment::Received),
    };
    let mut found = on_deep_stack(|| compare(side, narrow, wide, moment))
        .flatten()
        .unwrap_or_else(|| {
            let change = "was changed in a way that cannot be shown to be compatible";
            vec![of_the_whole(side, change)]
        });
    for breakage in &mut found {
        if let Some((end, _)) = breakage.field.char_indices().nth(LONGEST_FIELD) {
            breakage.field.truncate(end);
            breakage.field.push('…');
        }
    }
    found
}

fn compare(side: Side, narrow: &Schema, wide: &Schema, moment: Moment) -> Option<Vec<Breakage>> {
    let narrow = narrow.effective(moment)?;
    let wide = wide.effective(moment)?;
    let askable = proof::is_askable(&narrow) && proof::is_askable(&wide);
    let covered = askable
        .then(|| proof::covers(&wide.document, &narrow.document))
        .flatten();
    if covered == Some(true) {
        return Some(Vec::new());
    }
    let mut walk = walk::Walk::new(side, &narrow.document, &wide.document, askable)?;
    let mut found = walk.run(&narrow.document, &wide.document);
    if found.is_empty() && covered == Some(false) && !walk.lenient {
        let change = match side {
            Side::Input => "does not accept everything any more that it accepted",
            Side::Output => "can be something now that it could not be",
        };
        found.push(of_the_whole(side, change));
    }
    Some(found)
}

fn of_the_whole(side: Side, change: &str) -> Breakage {
    Breakage {
        side,
        field: String::new(),
        change: change.to_owned(),
        whom: match side {
            Side::Input => Whom::CallersWhoSend,
            Side::Output => Whom::CallersWhoRead,
        },
    }
}

#[cfg(test)]
mod tests;
