//! Changing what is deployed. Each operation takes its turn, reads, decides, and
//! writes the pointer, the event and the number of the change, or nothing.
//!
//! Whoever asks for a change has looked before: they compared contracts, or loaded
//! what they go back to. So each operation is given what they saw, and changes
//! nothing if somebody else, on whichever node, has changed it since.

use super::super::transaction::{Access, Transaction, values};
use super::super::{State, StateError, time, wheels};
use super::pointer::{self, CannotMove, Move, Pointer, Standing};
use super::read;
use super::{Deployment, DeploymentError, Difference, EventKind, NewVersion, Outcome, Placement};

impl State {
    /// Deploys a version beside or over what was `seen`. The same version with the
    /// same content may be deployed again, which moves the pointer to it if it is
    /// elsewhere, and is no change if somebody did it in the meantime.
    ///
    /// # Errors
    ///
    /// [`DeploymentError`]; a version that exists with other content is
    /// [`DeploymentError::VersionConflict`], and what was seen and is not so any more
    /// [`DeploymentError::Overtaken`].
    pub async fn deploy(
        &self,
        new: &NewVersion,
        placement: Placement,
        seen: Option<&Deployment>,
    ) -> Result<Outcome, DeploymentError> {
        if let Placement::Canary(share) = placement
            && (!(1..=99).contains(&share.percent) || !(0.0..=1.0).contains(&share.error_margin))
        {
            return Err(DeploymentError::InvalidShare);
        }
        let mut transaction = self.begin(Access::Change).await?;
        let current = read::pointer(&mut transaction, &new.controller).await?;
        let there = is_there(&mut transaction, new).await?;
        let standing = current.as_ref().map(|standing| &standing.pointer);
        let change = match placement {
            Placement::Active => Ok(pointer::deploy(standing, &new.version)),
            Placement::Canary(share) => pointer::begin_canary(standing, &new.version, share),
        };
        let Some(change) = change.transpose() else {
            if there && note_wheels(&mut transaction, new).await? {
                return noted(transaction, current).await;
            }
            return unchanged(transaction, current).await;
        };
        unless_overtaken(&mut transaction, &new.controller, seen, current.as_ref()).await?;
        let change = change.map_err(|why| cannot_move(&new.controller, why))?;
        let generation = count(&mut transaction).await?;
        if !there {
            let statement = "INSERT INTO versions (controller, version, digest, packages_digest, contract, allow_breaking, deployed_at, deployed_by, generation)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
            let values = values![
                new.controller.as_str(),
                new.version.as_str(),
                new.digest.as_str(),
                new.packages_digest.as_deref(),
                new.contract.as_str(),
                new.allow_breaking,
                time::now(),
                new.by.as_str(),
                generation,
            ];
            transaction
                .execute("store a version", statement, &values)
                .await?;
        }
        note_wheels(&mut transaction, new).await?;
        let actor = Actor {
            by: &new.by,
            reason: new.reason.as_deref(),
        };
        self.carry_out(transaction, &new.controller, change, actor, generation)
            .await
    }

    /// Goes back to the named version, or to the one that was before when the
    /// controller was `seen`: of two who go back at once, the second does not come
    /// forward again. A canary that runs is over.
    ///
    /// # Errors
    ///
    /// [`DeploymentError`].
    pub async fn roll_back(
        &self,
        controller: &str,
        to: Option<&str>,
        seen: Option<&Deployment>,
        by: &str,
        reason: Option<&str>,
    ) -> Result<Outcome, DeploymentError> {
        let mut transaction = self.begin(Access::Change).await?;
        let current = served(&mut transaction, controller).await?;
        if let Some(version) = to {
            let statement = "SELECT 1 FROM versions WHERE controller = $1 AND version = $2";
            let step = "look for a version";
            let found = transaction
                .fetch_one(step, statement, &values![controller, version])
                .await?;
            if found.is_none() {
                return Err(read::no_such_version(&mut transaction, controller, version).await);
            }
        }
        let to = to.or(seen.and_then(|seen| seen.previous.as_deref()));
        let Some(change) = pointer::roll_back(&current.pointer, to).transpose() else {
            return unchanged(transaction, Some(current)).await;
        };
        unless_overtaken(&mut transaction, controller, seen, Some(&current)).await?;
        let change = change.map_err(|why| cannot_move(controller, why))?;
        let generation = count(&mut transaction).await?;
        let actor = Actor { by, reason };
        self.carry_out(transaction, controller, change, actor, generation)
            .await
    }

    /// Gives the canary's version to everybody. The version is named, so that of
    /// two nodes that judge the same canary the second one changes nothing.
    ///
    /// # Errors
    ///
    /// [`DeploymentError`]; [`CannotMove::NotTheCanary`] when somebody was faster.
    pub async fn promote_canary(
        &self,
        controller: &str,
        version: &str,
        seen: Option<&Deployment>,
        by: &str,
        reason: Option<&str>,
    ) -> Result<Outcome, DeploymentError> {
        let actor = Actor { by, reason };
        self.end_canary(controller, version, seen, EventKind::CanaryPromote, actor)
            .await
    }

    /// Gives the canary's version to nobody any more.
    ///
    /// # Errors
    ///
    /// As for [`State::promote_canary`].
    pub async fn return_canary(
        &self,
        controller: &str,
        version: &str,
        seen: Option<&Deployment>,
        by: &str,
        reason: Option<&str>,
    ) -> Result<Outcome, DeploymentError> {
        let actor = Actor { by, reason };
        self.end_canary(controller, version, seen, EventKind::CanaryReturn, actor)
            .await
    }

    async fn end_canary(
        &self,
        controller: &str,
        version: &str,
        seen: Option<&Deployment>,
        event: EventKind,
        actor: Actor<'_>,
    ) -> Result<Outcome, DeploymentError> {
        let mut transaction = self.begin(Access::Change).await?;
        let current = served(&mut transaction, controller).await?;
        unless_overtaken(&mut transaction, controller, seen, Some(&current)).await?;
        let change = pointer::end_canary(&current.pointer, version, event)
            .map_err(|why| cannot_move(controller, why))?;
        let generation = count(&mut transaction).await?;
        self.carry_out(transaction, controller, change, actor, generation)
            .await
    }

    /// Serves the controller no more. Its versions and its history stay, and a
    /// version keeps its content.
    ///
    /// # Errors
    ///
    /// [`DeploymentError`].
    pub async fn delete(
        &self,
        controller: &str,
        seen: Option<&Deployment>,
        by: &str,
        reason: Option<&str>,
    ) -> Result<Outcome, DeploymentError> {
        let mut transaction = self.begin(Access::Change).await?;
        let current = served(&mut transaction, controller).await?;
        unless_overtaken(&mut transaction, controller, seen, Some(&current)).await?;
        let generation = count(&mut transaction).await?;
        let actor = Actor { by, reason };
        let change = pointer::delete(&current.pointer);
        self.carry_out(transaction, controller, change, actor, generation)
            .await
    }

    async fn carry_out(
        &self,
        mut transaction: Transaction,
        controller: &str,
        change: Move,
        actor: Actor<'_>,
        generation: i64,
    ) -> Result<Outcome, DeploymentError> {
        let now = time::now();
        match &change.to {
            Some(pointer) => {
                write(&mut transaction, controller, pointer, generation, now).await?;
            }
            None => {
                let statement = "DELETE FROM deployments WHERE controller = $1";
                let step = "delete a deployment";
                transaction
                    .execute(step, statement, &values![controller])
                    .await?;
            }
        }
        let statement = "INSERT INTO events (controller, kind, version, from_version, percent, at, actor, reason, generation)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let values = values![
            controller,
            change.event.name(),
            change.version.as_str(),
            change.from.as_deref(),
            change.percent.map(i64::from),
            now,
            actor.by,
            actor.reason,
            generation,
        ];
        transaction
            .execute("write history", statement, &values)
            .await?;
        self.commit_and_tell(transaction).await?;
        Ok(Outcome {
            changed: true,
            generation,
            active: change.to.map(|pointer| pointer.active),
            replaced: change.from,
        })
    }
}

/// Who does it, and why.
struct Actor<'a> {
    by: &'a str,
    reason: Option<&'a str>,
}

/// Whether the version exists; if so, it is this one.
async fn is_there(
    transaction: &mut Transaction,
    new: &NewVersion,
) -> Result<bool, DeploymentError> {
    let statement =
        "SELECT digest, packages_digest FROM versions WHERE controller = $1 AND version = $2";
    let values = values![new.controller.as_str(), new.version.as_str()];
    let row = transaction
        .fetch_one("look for a version", statement, &values)
        .await?;
    if let Some(row) = row {
        let stored: String = row.get(0)?;
        let packages: Option<String> = row.get(1)?;
        let difference = if stored != new.digest {
            Difference::Content
        } else if packages != new.packages_digest {
            Difference::Packages
        } else {
            return Ok(true);
        };
        return Err(DeploymentError::VersionConflict {
            controller: new.controller.clone(),
            version: new.version.clone(),
            difference,
            stored,
        });
    }
    let statement = "SELECT 1 FROM bundles WHERE digest = $1";
    let step = "look for a bundle";
    let bundle = transaction
        .fetch_one(step, statement, &values![new.digest.as_str()])
        .await?;
    if bundle.is_none() {
        return Err(DeploymentError::NoSuchBundle {
            digest: new.digest.clone(),
        });
    }
    Ok(false)
}

async fn served(
    transaction: &mut Transaction,
    controller: &str,
) -> Result<Standing, DeploymentError> {
    match read::pointer(transaction, controller).await? {
        Some(standing) => Ok(standing),
        None => Err(read::no_such_controller(transaction, controller).await),
    }
}

/// Refuses a change that was decided on what is not so any more.
async fn unless_overtaken(
    transaction: &mut Transaction,
    controller: &str,
    seen: Option<&Deployment>,
    current: Option<&Standing>,
) -> Result<(), DeploymentError> {
    if !pointer::is_overtaken(seen, current) {
        return Ok(());
    }
    Err(DeploymentError::Overtaken {
        controller: controller.to_owned(),
        active: current.map(|standing| standing.pointer.active.clone()),
        by: read::last_event(transaction, controller)
            .await?
            .map(Box::new),
    })
}

/// Takes the next number.
async fn count(transaction: &mut Transaction) -> Result<i64, StateError> {
    let statement =
        "UPDATE revision SET generation = generation + 1 WHERE id = 1 RETURNING generation";
    let row = transaction
        .fetch_one("count a change", statement, &[])
        .await?;
    row.ok_or_else(|| StateError::unreadable("the number of the last change"))?
        .get(0)
}

async fn unchanged(
    mut transaction: Transaction,
    current: Option<Standing>,
) -> Result<Outcome, DeploymentError> {
    let generation = read::generation(&mut transaction).await?;
    transaction.end().await?;
    Ok(still(generation, current))
}

/// Nothing that is served has changed, but more of it is kept.
async fn noted(
    mut transaction: Transaction,
    current: Option<Standing>,
) -> Result<Outcome, DeploymentError> {
    let generation = read::generation(&mut transaction).await?;
    transaction.commit().await?;
    Ok(still(generation, current))
}

fn still(generation: i64, current: Option<Standing>) -> Outcome {
    Outcome {
        changed: false,
        generation,
        active: current.map(|standing| standing.pointer.active),
        replaced: None,
    }
}

async fn note_wheels(
    transaction: &mut Transaction,
    new: &NewVersion,
) -> Result<bool, DeploymentError> {
    let noted = wheels::note(transaction, &new.controller, &new.version, &new.wheels);
    noted.await
}

async fn write(
    transaction: &mut Transaction,
    controller: &str,
    pointer: &Pointer,
    generation: i64,
    now: i64,
) -> Result<(), StateError> {
    let statement = "INSERT INTO deployments (controller, active, previous, canary, canary_percent, canary_error_margin, canary_since, generation, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (controller) DO UPDATE SET active = excluded.active, previous = excluded.previous, canary = excluded.canary,
           canary_percent = excluded.canary_percent, canary_error_margin = excluded.canary_error_margin,
           canary_since = excluded.canary_since, generation = excluded.generation, changed_at = excluded.changed_at";
    let canary = pointer.canary.as_ref();
    let values = values![
        controller,
        pointer.active.as_str(),
        pointer.previous.as_deref(),
        canary.map(|(version, _)| version.as_str()),
        canary.map(|(_, share)| i64::from(share.percent)),
        canary.map(|(_, share)| share.error_margin),
        canary.map(|_| now),
        generation,
        now,
    ];
    transaction
        .execute("write a deployment", statement, &values)
        .await?;
    Ok(())
}

fn cannot_move(controller: &str, why: CannotMove) -> DeploymentError {
    DeploymentError::CannotMove {
        controller: controller.to_owned(),
        why,
    }
}
