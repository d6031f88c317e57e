//! What a controller's pointer is, and how each operation moves it: pure
//! decisions, made from what is read in the transaction that carries them out.

use super::{CanaryShare, Deployment, EventKind};

/// Which versions of one controller are served.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pointer {
    pub(super) active: String,
    /// Where a roll-back goes.
    pub(super) previous: Option<String>,
    pub(super) canary: Option<(String, CanaryShare)>,
}

/// A pointer as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    pub(super) pointer: Pointer,
    /// The number of the change that made it so.
    pub(super) generation: i64,
}

/// Whether a change that was decided on what was seen would overwrite something
/// that whoever decided did not see. A trial that is over meanwhile is no such
/// thing: the runtime ends them by itself, and no change builds on one but
/// promoting it, which names the canary.
pub(super) fn is_overtaken(seen: Option<&Deployment>, current: Option<&Standing>) -> bool {
    match (seen, current) {
        (None, None) => false,
        (Some(seen), Some(current)) => {
            let only_the_trial_ended = current.pointer.canary.is_none()
                && seen.canary.is_some()
                && seen.active.version == current.pointer.active
                && seen.previous == current.pointer.previous;
            seen.generation != current.generation && !only_the_trial_ended
        }
        (None, Some(_)) | (Some(_), None) => true,
    }
}

/// A change that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Move {
    /// `None` when the controller is not served any more.
    pub(super) to: Option<Pointer>,
    pub(super) event: EventKind,
    /// What the event is about.
    pub(super) version: String,
    /// What was active before, if that changes.
    pub(super) from: Option<String>,
    pub(super) percent: Option<u8>,
}

/// Why a pointer cannot be moved so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotMove {
    /// A canary stands beside something.
    #[error("a canary needs an active version beside it; deploy one without a canary first")]
    NothingActive,
    /// A version is not the canary of itself.
    #[error("version {version} is the active one already and cannot be its own canary")]
    AlreadyActive {
        /// The version.
        version: String,
    },
    /// There is no version before this one.
    #[error("version {active} has none before it to roll back to; name a version")]
    NoPrevious {
        /// What is active.
        active: String,
    },
    /// Another canary, or none.
    #[error("version {version} is not the canary; {}", match canary {
        Some(canary) => format!("the canary is {canary}"),
        None => "there is none".to_owned(),
    })]
    NotTheCanary {
        /// What was asked for.
        version: String,
        /// What is there.
        canary: Option<String>,
    },
}

/// Moves everything to one version; `None` when it has it already.
fn settle(current: Option<&Pointer>, version: &str, event: EventKind) -> Option<Move> {
    let from = current.map(|pointer| pointer.active.clone());
    let same = from.as_deref() == Some(version);
    if same && current.is_some_and(|pointer| pointer.canary.is_none()) {
        return None;
    }
    let previous = if same {
        current.and_then(|pointer| pointer.previous.clone())
    } else {
        from.clone()
    };
    Some(Move {
        to: Some(Pointer {
            active: version.to_owned(),
            previous,
            canary: None,
        }),
        event,
        version: version.to_owned(),
        from: from.filter(|_| !same),
        percent: None,
    })
}

/// All requests to this version. A canary that runs is over, whichever it is.
pub(super) fn deploy(current: Option<&Pointer>, version: &str) -> Option<Move> {
    settle(current, version, EventKind::Deploy)
}

/// A share of the requests to this version.
pub(super) fn begin_canary(
    current: Option<&Pointer>,
    version: &str,
    share: CanaryShare,
) -> Result<Option<Move>, CannotMove> {
    let current = current.ok_or(CannotMove::NothingActive)?;
    if current.active == version {
        return Err(CannotMove::AlreadyActive {
            version: version.to_owned(),
        });
    }
    let canary = Some((version.to_owned(), share));
    if current.canary == canary {
        return Ok(None);
    }
    Ok(Some(Move {
        to: Some(Pointer {
            canary,
            ..current.clone()
        }),
        event: EventKind::CanaryBegin,
        version: version.to_owned(),
        from: None,
        percent: Some(share.percent),
    }))
}

/// Back to the version before, or to a named one. Rolling back twice comes back
/// to where it began.
pub(super) fn roll_back(
    current: &Pointer,
    version: Option<&str>,
) -> Result<Option<Move>, CannotMove> {
    let target = version.or(current.previous.as_deref());
    let target = target.ok_or_else(|| CannotMove::NoPrevious {
        active: current.active.clone(),
    })?;
    Ok(settle(Some(current), target, EventKind::RollBack))
}

/// The canary's version to all requests, or to none any more.
pub(super) fn end_canary(
    current: &Pointer,
    version: &str,
    event: EventKind,
) -> Result<Move, CannotMove> {
    let canary = current.canary.as_ref().map(|(version, _)| version);
    if canary.is_none_or(|canary| canary != version) {
        return Err(CannotMove::NotTheCanary {
            version: version.to_owned(),
            canary: canary.cloned(),
        });
    }
    let promoted = event == EventKind::CanaryPromote;
    let to = if promoted {
        Pointer {
            active: version.to_owned(),
            previous: Some(current.active.clone()),
            canary: None,
        }
    } else {
        Pointer {
            canary: None,
            ..current.clone()
        }
    };
    Ok(Move {
        to: Some(to),
        event,
        version: version.to_owned(),
        from: promoted.then(|| current.active.clone()),
        percent: None,
    })
}

/// Nothing is served any more.
pub(super) fn delete(current: &Pointer) -> Move {
    Move {
        to: None,
        event: EventKind::Delete,
        version: current.active.clone(),
        from: Some(current.active.clone()),
        percent: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Canary, Placed};
    use super::*;
    use proptest::option;
    use proptest::prelude::*;

    const SHARE: CanaryShare = CanaryShare {
        percent: 10,
        error_margin: 0.02,
    };

    fn pointer(active: &str, previous: Option<&str>, canary: Option<&str>) -> Pointer {
        Pointer {
            active: active.to_owned(),
            previous: previous.map(str::to_owned),
            canary: canary.map(|canary| (canary.to_owned(), SHARE)),
        }
    }

    fn moved(change: Option<Move>) -> Option<Pointer> {
        change.map(|change| change.to.unwrap())
    }

    fn seen(pointer: &Pointer, generation: i64) -> Deployment {
        let placed = |version: &str| Placed {
            version: version.to_owned(),
            digest: String::new(),
            packages_digest: None,
        };
        Deployment {
            controller: "A".to_owned(),
            active: placed(&pointer.active),
            canary: pointer.canary.as_ref().map(|(version, share)| Canary {
                placed: placed(version),
                share: *share,
                since: jiff::Timestamp::UNIX_EPOCH,
            }),
            previous: pointer.previous.clone(),
            generation,
            changed_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn any_pointer() -> impl Strategy<Value = Pointer> {
        let number = || (1_u8..4).prop_map(|number| number.to_string());
        let parts = (number(), option::of(number()), option::of(number()));
        parts.prop_map(|(active, previous, canary)| {
            pointer(&active, previous.as_deref(), canary.as_deref())
        })
    }

    proptest! {
        /// Nothing that was seen is overtaken by itself. What another change left is,
        /// unless all that it did was to end the trial.
        #[test]
        fn what_changed_since_is_noticed(
            before in any_pointer(),
            after in any_pointer(),
            generation in 1_i64..100,
            later in 1_i64..100,
        ) {
            let looked = seen(&before, generation);
            let standing = |pointer: &Pointer, generation| Standing { pointer: pointer.clone(), generation };
            prop_assert!(!is_overtaken(Some(&looked), Some(&standing(&before, generation))));
            prop_assert!(is_overtaken(None, Some(&standing(&after, later))));
            prop_assert!(is_overtaken(Some(&looked), None));
            let without_trial = Pointer { canary: None, ..before.clone() };
            let harmless = before.canary.is_some() && after == without_trial;
            let overtaken = is_overtaken(Some(&looked), Some(&standing(&after, generation + later)));
            prop_assert_eq!(overtaken, !harmless);
        }
    }

    #[test]
    fn deploying_moves_the_pointer_once() {
        let at = |active, previous| Some(pointer(active, previous, None));
        assert_eq!(moved(deploy(None, "1")), at("1", None));
        let first = pointer("1", None, None);
        assert_eq!(moved(deploy(Some(&first), "2")), at("2", Some("1")));
        assert_eq!(deploy(Some(&first), "1"), None);
        // A canary ends, and what was before stays before.
        let halfway = pointer("2", Some("1"), Some("3"));
        assert_eq!(moved(deploy(Some(&halfway), "2")), at("2", Some("1")));
        assert_eq!(moved(deploy(Some(&halfway), "3")), at("3", Some("2")));
    }

    #[test]
    fn rolling_back_twice_returns() {
        let second = pointer("2", Some("1"), None);
        let first = moved(roll_back(&second, None).unwrap()).unwrap();
        assert_eq!(first, pointer("1", Some("2"), None));
        assert_eq!(
            moved(roll_back(&first, None).unwrap()),
            Some(pointer("2", Some("1"), None))
        );
        assert_eq!(roll_back(&second, Some("2")), Ok(None));
        assert!(matches!(
            roll_back(&pointer("1", None, None), None),
            Err(CannotMove::NoPrevious { .. })
        ));
    }

    #[test]
    fn canaries_begin_and_end() {
        let active = pointer("1", None, None);
        let running = pointer("1", None, Some("2"));
        let begun = begin_canary(Some(&active), "2", SHARE).unwrap();
        assert_eq!(moved(begun), Some(running.clone()));
        assert_eq!(begin_canary(Some(&running), "2", SHARE), Ok(None));
        assert_eq!(
            begin_canary(None, "2", SHARE),
            Err(CannotMove::NothingActive)
        );
        assert!(begin_canary(Some(&active), "1", SHARE).is_err());
        let end = |version, event| end_canary(&running, version, event);
        assert_eq!(
            end("2", EventKind::CanaryPromote).unwrap().to,
            Some(pointer("2", Some("1"), None))
        );
        assert_eq!(
            end("2", EventKind::CanaryReturn).unwrap().to,
            Some(active.clone())
        );
        assert!(end("3", EventKind::CanaryPromote).is_err());
        assert!(end_canary(&active, "2", EventKind::CanaryReturn).is_err());
    }
}
