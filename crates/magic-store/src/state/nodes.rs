//! What nodes say of themselves, and the heads of their audit logs.
//!
//! A node says now and then that it lives and what it serves. The head of its
//! audit log is kept here as well, where whoever holds the node cannot change it:
//! a head that went back, or changed under the same number, tells that a log was
//! cut or rewritten, so it is refused and the one that was kept stays.

use std::time::Duration;

use jiff::Timestamp;

use super::transaction::{Access, Row, values};
use super::{State, StateError, moment, time};

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The node's name.
    pub node: String,
    /// The version of the program.
    pub program: String,
    /// The hash of its policy.
    pub policy: String,
    /// The number of the last change that it serves.
    pub generation: i64,
    /// Where others reach it, if they do.
    pub address: Option<String>,
}

/// A node, as it was heard last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it said.
    pub heartbeat: Heartbeat,
    /// When, by its own clock.
    pub at: Timestamp,
}

/// The end of a node's audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAuditHead {
    /// The node's name.
    pub node: String,
    /// The number of the last record.
    pub sequence: i64,
    /// The hash of the chain there.
    pub hash: String,
    /// When it was shipped.
    pub at: Timestamp,
}

/// The head of an audit log was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditHeadRefused {
    /// The state failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// It does not continue the one that is kept.
    #[error(
        "the audit log of {node} does not continue what was seen of it: it ends with record {sequence}, and record {} was seen before with the hash {}",
        kept.sequence,
        kept.hash
    )]
    NotContinued {
        /// The node.
        node: String,
        /// What was shipped.
        sequence: i64,
        /// What stays.
        kept: Box<NodeAuditHead>,
    },
}

impl State {
    /// Says that a node lives.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), StateError> {
        let mut transaction = self.begin(Access::Write).await?;
        let statement = "INSERT INTO nodes (name, program, policy, generation, address, at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (name) DO UPDATE SET program = excluded.program, policy = excluded.policy,
               generation = excluded.generation, address = excluded.address, at = excluded.at";
        let values = values![
            heartbeat.node.as_str(),
            heartbeat.program.as_str(),
            heartbeat.policy.as_str(),
            heartbeat.generation,
            heartbeat.address.as_deref(),
            time::now(),
        ];
        transaction
            .execute("write a heartbeat", statement, &values)
            .await?;
        transaction.commit().await
    }

    /// Every node that was heard and not forgotten, by name.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn nodes(&self) -> Result<Vec<Node>, StateError> {
        let mut transaction = self.begin(Access::Read).await?;
        let statement = "SELECT name, program, policy, generation, address, at FROM nodes";
        let rows = transaction.fetch("read nodes", statement, &[]).await?;
        transaction.end().await?;
        let nodes = rows.iter().map(node).collect::<Result<Vec<_>, _>>();
        let mut nodes = nodes?;
        nodes.sort_by(|one, other| one.heartbeat.node.cmp(&other.heartbeat.node));
        Ok(nodes)
    }

    /// Forgets nodes that were not heard for so long, and says how many there were.
    /// The heads of their audit logs stay.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn sweep_nodes(&self, silent_for: Duration) -> Result<u64, StateError> {
        let mut transaction = self.begin(Access::Write).await?;
        let statement = "DELETE FROM nodes WHERE at < $1";
        let values = values![time::before(silent_for)];
        let swept = transaction
            .execute("forget nodes", statement, &values)
            .await?;
        transaction.commit().await?;
        Ok(swept)
    }

    /// Keeps the head of a node's audit log. The same head again changes nothing.
    ///
    /// # Errors
    ///
    /// [`AuditHeadRefused::NotContinued`] when the log was cut or rewritten, or a
    /// new one was begun under an old name; or the state fails.
    pub async fn put_audit_head(
        &self,
        node: &str,
        sequence: i64,
        hash: &str,
    ) -> Result<(), AuditHeadRefused> {
        let mut transaction = self.begin(Access::Write).await?;
        // One statement, so that two heads of one node cannot pass each other.
        let statement = "INSERT INTO audit_heads AS h (node, sequence, hash, at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (node) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash, at = excluded.at
             WHERE h.sequence < excluded.sequence OR (h.sequence = excluded.sequence AND h.hash = excluded.hash)";
        let values = values![node, sequence, hash, time::now()];
        let taken = transaction
            .execute("keep the head of an audit log", statement, &values)
            .await?;
        if taken == 1 {
            return Ok(transaction.commit().await?);
        }
        let statement = "SELECT node, sequence, hash, at FROM audit_heads WHERE node = $1";
        let step = "read the head of an audit log";
        let row = transaction
            .fetch_one(step, statement, &values![node])
            .await?;
        transaction.end().await?;
        let row = row.ok_or_else(|| StateError::unreadable("the head of an audit log"))?;
        Err(AuditHeadRefused::NotContinued {
            node: node.to_owned(),
            sequence,
            kept: Box::new(audit_head(&row)?),
        })
    }

    /// Forgets where a node's audit log ended, for a log that does not go on.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn forget_audit_head(&self, node: &str) -> Result<(), StateError> {
        let mut transaction = self.begin(Access::Write).await?;
        let statement = "DELETE FROM audit_heads WHERE node = $1";
        let step = "forget the head of an audit log";
        transaction.execute(step, statement, &values![node]).await?;
        transaction.commit().await
    }

    /// The heads of all audit logs that were shipped, by node.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn audit_heads(&self) -> Result<Vec<NodeAuditHead>, StateError> {
        let mut transaction = self.begin(Access::Read).await?;
        let statement = "SELECT node, sequence, hash, at FROM audit_heads";
        let step = "read the heads of audit logs";
        let rows = transaction.fetch(step, statement, &[]).await?;
        transaction.end().await?;
        let heads = rows.iter().map(audit_head).collect::<Result<Vec<_>, _>>();
        let mut heads = heads?;
        heads.sort_by(|one, other| one.node.cmp(&other.node));
        Ok(heads)
    }
}

fn node(row: &Row) -> Result<Node, StateError> {
    Ok(Node {
        heartbeat: Heartbeat {
            node: row.get(0)?,
            program: row.get(1)?,
            policy: row.get(2)?,
            generation: row.get(3)?,
            address: row.get(4)?,
        },
        at: moment(row.get(5)?)?,
    })
}

fn audit_head(row: &Row) -> Result<NodeAuditHead, StateError> {
    Ok(NodeAuditHead {
        node: row.get(0)?,
        sequence: row.get(1)?,
        hash: row.get(2)?,
        at: moment(row.get(3)?)?,
    })
}
