//! Reading what is deployed: each answer is one moment.

use super::super::transaction::{Access, Row, Transaction, values};
use super::super::{State, StateError, moment};
use super::pointer::{Pointer, Standing};
use super::{
    Canary, CanaryShare, Deployment, DeploymentError, Event, EventKind, Placed, Snapshot,
    StoredVersion,
};

/// How many names an error lists.
const LISTED: i64 = 50;

/// A statement that gives what is served as [`deployment`] reads it.
macro_rules! select_deployments {
    ($which:literal) => {
        concat!(
            "SELECT d.controller, d.active, a.digest, a.packages_digest, d.previous, d.generation, d.changed_at,
                    d.canary, c.digest, c.packages_digest, d.canary_percent, d.canary_error_margin, d.canary_since
               FROM deployments d
               JOIN versions a ON a.controller = d.controller AND a.version = d.active
               LEFT JOIN versions c ON c.controller = d.controller AND c.version = d.canary",
            $which
        )
    };
}

impl State {
    /// Everything that is served.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn snapshot(&self) -> Result<Snapshot, StateError> {
        let step = "read what is deployed";
        let mut transaction = self.begin(Access::Read).await?;
        let generation = generation(&mut transaction).await?;
        let statement = select_deployments!("");
        let rows = transaction.fetch(step, statement, &[]).await?;
        transaction.end().await?;
        let deployments = rows.iter().map(deployment).collect::<Result<Vec<_>, _>>();
        let mut deployments = deployments?;
        // Here, because databases sort texts by rules of their own.
        deployments.sort_by(|one, other| one.controller.cmp(&other.controller));
        Ok(Snapshot {
            generation,
            deployments,
        })
    }

    /// What is served of one controller; nothing if it is not deployed.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn deployment(&self, controller: &str) -> Result<Option<Deployment>, StateError> {
        let step = "read a deployment";
        let mut transaction = self.begin(Access::Read).await?;
        let statement = select_deployments!(" WHERE d.controller = $1");
        let row = transaction
            .fetch_one(step, statement, &values![controller])
            .await?;
        transaction.end().await?;
        row.as_ref().map(deployment).transpose()
    }

    /// Every version of a controller that was ever deployed, the newest first;
    /// those of a deleted controller too.
    ///
    /// # Errors
    ///
    /// [`DeploymentError::NoSuchController`], or the state fails.
    pub async fn versions(&self, controller: &str) -> Result<Vec<StoredVersion>, DeploymentError> {
        let mut transaction = self.begin(Access::Read).await?;
        let statement = "SELECT controller, version, digest, packages_digest, allow_breaking, deployed_at, deployed_by, generation
               FROM versions WHERE controller = $1 ORDER BY generation DESC";
        let rows = transaction
            .fetch("read versions", statement, &values![controller])
            .await?;
        if rows.is_empty() {
            let error = no_such_controller(&mut transaction, controller).await;
            transaction.end().await?;
            return Err(error);
        }
        transaction.end().await?;
        Ok(rows
            .iter()
            .map(stored_version)
            .collect::<Result<Vec<_>, _>>()?)
    }

    /// One version, with the text of its contract.
    ///
    /// # Errors
    ///
    /// [`DeploymentError::NoSuchController`] or [`DeploymentError::NoSuchVersion`],
    /// or the state fails.
    pub async fn version(
        &self,
        controller: &str,
        version: &str,
    ) -> Result<(StoredVersion, String), DeploymentError> {
        let mut transaction = self.begin(Access::Read).await?;
        let statement = "SELECT controller, version, digest, packages_digest, allow_breaking, deployed_at, deployed_by, generation, contract
               FROM versions WHERE controller = $1 AND version = $2";
        let row = transaction
            .fetch_one("read a version", statement, &values![controller, version])
            .await?;
        let found = match row {
            Some(row) => Ok((stored_version(&row)?, row.get(8)?)),
            None => Err(no_such_version(&mut transaction, controller, version).await),
        };
        transaction.end().await?;
        found
    }

    /// What has happened to a controller, the newest first, at most `limit` events.
    /// A controller that never was has no history.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn history(&self, controller: &str, limit: u32) -> Result<Vec<Event>, StateError> {
        let mut transaction = self.begin(Access::Read).await?;
        let events = events(&mut transaction, controller, limit).await?;
        transaction.end().await?;
        Ok(events)
    }
}

async fn events(
    transaction: &mut Transaction,
    controller: &str,
    limit: u32,
) -> Result<Vec<Event>, StateError> {
    let statement =
        "SELECT controller, kind, version, from_version, percent, at, actor, reason, generation
           FROM events WHERE controller = $1 ORDER BY id DESC LIMIT $2";
    let values = values![controller, i64::from(limit)];
    let rows = transaction
        .fetch("read history", statement, &values)
        .await?;
    rows.iter().map(event).collect()
}

/// What happened to a controller last.
pub(super) async fn last_event(
    transaction: &mut Transaction,
    controller: &str,
) -> Result<Option<Event>, StateError> {
    Ok(events(transaction, controller, 1).await?.pop())
}

/// The number of the last change.
pub(super) async fn generation(transaction: &mut Transaction) -> Result<i64, StateError> {
    let statement = "SELECT generation FROM revision WHERE id = 1";
    let row = transaction
        .fetch_one("read the number of the last change", statement, &[])
        .await?;
    row.ok_or_else(|| StateError::unreadable("the number of the last change"))?
        .get(0)
}

/// What is served of one controller.
pub(super) async fn pointer(
    transaction: &mut Transaction,
    controller: &str,
) -> Result<Option<Standing>, StateError> {
    let statement = "SELECT active, previous, canary, canary_percent, canary_error_margin, generation FROM deployments WHERE controller = $1";
    let row = transaction
        .fetch_one("read a deployment", statement, &values![controller])
        .await?;
    let Some(row) = row else { return Ok(None) };
    let canary: Option<String> = row.get(2)?;
    let canary = canary
        .map(|version| Ok::<_, StateError>((version, share(&row, 3)?)))
        .transpose()?;
    Ok(Some(Standing {
        pointer: Pointer {
            active: row.get(0)?,
            previous: row.get(1)?,
            canary,
        },
        generation: row.get(5)?,
    }))
}

pub(super) async fn no_such_controller(
    transaction: &mut Transaction,
    controller: &str,
) -> DeploymentError {
    let statement = "SELECT controller FROM deployments ORDER BY controller LIMIT $1";
    match names(transaction, statement, None).await {
        Ok(there) => DeploymentError::NoSuchController {
            controller: controller.to_owned(),
            there,
        },
        Err(error) => error.into(),
    }
}

pub(super) async fn no_such_version(
    transaction: &mut Transaction,
    controller: &str,
    version: &str,
) -> DeploymentError {
    let statement =
        "SELECT version FROM versions WHERE controller = $2 ORDER BY generation DESC LIMIT $1";
    match names(transaction, statement, Some(controller)).await {
        Ok(there) if there.is_empty() => no_such_controller(transaction, controller).await,
        Ok(there) => DeploymentError::NoSuchVersion {
            controller: controller.to_owned(),
            version: version.to_owned(),
            there,
        },
        Err(error) => error.into(),
    }
}

async fn names(
    transaction: &mut Transaction,
    statement: &'static str,
    controller: Option<&str>,
) -> Result<Vec<String>, StateError> {
    let values = values![LISTED, controller];
    let used = if controller.is_some() { 2 } else { 1 };
    let rows = transaction
        .fetch("list what there is", statement, &values[..used])
        .await?;
    rows.iter().map(|row| row.get(0)).collect()
}

fn share(row: &Row, index: usize) -> Result<CanaryShare, StateError> {
    Ok(CanaryShare {
        percent: percent(row, index)?
            .ok_or_else(|| StateError::unreadable("the share of a canary"))?,
        error_margin: row
            .get::<Option<f64>>(index + 1)?
            .ok_or_else(|| StateError::unreadable("the margin of a canary"))?,
    })
}

fn percent(row: &Row, index: usize) -> Result<Option<u8>, StateError> {
    row.get::<Option<i64>>(index)?
        .map(u8::try_from)
        .transpose()
        .map_err(|_| StateError::unreadable("the share of a canary"))
}

fn deployment(row: &Row) -> Result<Deployment, StateError> {
    let canary: Option<String> = row.get(7)?;
    let canary = match canary {
        None => None,
        Some(version) => Some(Canary {
            placed: Placed {
                version,
                digest: row
                    .get::<Option<String>>(8)?
                    .ok_or_else(|| StateError::unreadable("the version of a canary"))?,
                packages_digest: row.get(9)?,
            },
            share: share(row, 10)?,
            since: moment(row.get::<Option<i64>>(12)?.unwrap_or_default())?,
        }),
    };
    Ok(Deployment {
        controller: row.get(0)?,
        active: Placed {
            version: row.get(1)?,
            digest: row.get(2)?,
            packages_digest: row.get(3)?,
        },
        canary,
        previous: row.get(4)?,
        generation: row.get(5)?,
        changed_at: moment(row.get(6)?)?,
    })
}

fn stored_version(row: &Row) -> Result<StoredVersion, StateError> {
    Ok(StoredVersion {
        controller: row.get(0)?,
        placed: Placed {
            version: row.get(1)?,
            digest: row.get(2)?,
            packages_digest: row.get(3)?,
        },
        allow_breaking: row.get::<i64>(4)? != 0,
        deployed_at: moment(row.get(5)?)?,
        deployed_by: row.get(6)?,
        generation: row.get(7)?,
    })
}

fn event(row: &Row) -> Result<Event, StateError> {
    let kind: String = row.get(1)?;
    Ok(Event {
        controller: row.get(0)?,
        kind: EventKind::named(&kind).ok_or_else(|| StateError::unreadable("an event"))?,
        version: row.get::<Option<String>>(2)?.unwrap_or_default(),
        from: row.get(3)?,
        percent: percent(row, 4)?,
        at: moment(row.get(5)?)?,
        by: row.get(6)?,
        reason: row.get(7)?,
        generation: row.get(8)?,
    })
}
