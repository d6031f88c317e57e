//! Asking for what is kept, on behalf of people.

use super::History;
use crate::lifecycle::refusal;
use crate::runtime::{Runtime, Shared};
use magic_contract::Failure;
use magic_store::state::{Execution, KeptLine, LogFilter, LogStart, StateError};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How a line that was cut off is marked among its fields while it is kept. A
/// controller that writes such a field itself makes the same mark, to no harm.
pub(super) const TRUNCATED: &str = "truncated";

/// How long a reader waits for what this node has not written down yet.
const CATCH_UP: Duration = Duration::from_secs(2);

/// How long whoever asks for an execution waits for its end to be told: its
/// process is cleaned up after the answer.
const TELLS_WITHIN: Duration = Duration::from_millis(500);

/// How often a reader looks for lines of other nodes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Some kept lines of one controller, the oldest first.
#[derive(Debug, Clone)]
pub struct KeptLogs {
    /// The lines, as their JSON form has them.
    pub lines: Vec<KeptLogLine>,
    /// What to go on after.
    pub next: i64,
    /// Whether lines between what was asked for and the first of these may have
    /// been forgotten.
    pub missed: bool,
}

/// One kept line.
#[derive(Debug, Clone, Serialize)]
pub struct KeptLogLine {
    /// Its number among all lines of all nodes; a reader goes on after it.
    pub cursor: i64,
    /// The node that wrote it.
    pub node: String,
    /// When it was written.
    pub time: jiff::Timestamp,
    /// Who wrote it.
    pub controller: String,
    /// Which version of it.
    pub version: String,
    /// During which request; a template that is still loading has none.
    pub request_id: Option<String>,
    /// `log`, `stdout`, `stderr` or `runtime`.
    pub stream: String,
    /// How much it matters.
    pub level: String,
    /// The text.
    pub message: String,
    /// The structured part.
    pub fields: Map<String, Value>,
    /// Whether part of the line was cut off.
    pub truncated: bool,
}

/// What is known of a node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeSummary {
    /// Its name.
    pub name: String,
    /// Whether it is the one that answers.
    pub this: bool,
    /// The version of its program.
    pub program: String,
    /// The hash of its policy.
    pub policy: String,
    /// The number of the last change of deployments that it serves.
    pub generation: i64,
    /// When it was heard last, by its own clock.
    pub heard_at: jiff::Timestamp,
    /// Where its audit log ended when it told so last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_head: Option<AuditHead>,
}

/// The end of an audit log.
#[derive(Debug, Clone, Serialize)]
pub struct AuditHead {
    /// The number of the last record.
    pub sequence: i64,
    /// The hash of the chain there.
    pub hash: String,
    /// When it was shown.
    pub at: jiff::Timestamp,
}

impl Runtime {
    /// Kept lines of a controller, perhaps of one request, of all nodes in the
    /// order in which they came: those after a number, or the last ones. At most
    /// `limit`, and at most 1,000.
    ///
    /// # Errors
    ///
    /// E4005 while the state is away.
    pub async fn kept_logs(
        &self,
        controller: &str,
        request_id: Option<&str>,
        after: Option<i64>,
        limit: u32,
    ) -> Result<KeptLogs, Failure> {
        logs(&self.shared, controller, request_id, after, limit).await
    }

    /// Ends when there may be new lines to read.
    pub async fn wait_for_kept_logs(&self) {
        wait_for_lines(&self.shared).await;
    }

    /// What became of a request, on whichever node it ran: the newest first, for
    /// callers may use an identifier again.
    ///
    /// # Errors
    ///
    /// E4005 while the state is away.
    pub async fn executions(&self, request_id: &str) -> Result<Vec<Execution>, Failure> {
        executions(&self.shared, request_id).await
    }

    /// The nodes that share the state, this one included.
    ///
    /// # Errors
    ///
    /// E4005 while the state is away.
    pub async fn nodes(&self) -> Result<Vec<NodeSummary>, Failure> {
        nodes(&self.shared).await
    }
}

fn history(shared: &Shared) -> Result<&Arc<History>, Failure> {
    shared.history.as_ref().ok_or_else(refusal::no_state)
}

/// Lines of one controller, perhaps of one request, with everything that this
/// node has written by now.
async fn logs(
    shared: &Shared,
    controller: &str,
    request_id: Option<&str>,
    after: Option<i64>,
    limit: u32,
) -> Result<KeptLogs, Failure> {
    let history = history(shared)?;
    if timeout(CATCH_UP, history.flush_lines()).await.is_err() {
        return Err(refusal::behind());
    }
    let filter = match request_id {
        Some(request_id) => LogFilter::Request(request_id.to_owned()),
        None => LogFilter::Controller(controller.to_owned()),
    };
    let start = after.map_or(LogStart::Last, LogStart::After);
    let page = history
        .state
        .logs(&filter, start, limit)
        .await
        .map_err(|error| refusal::of_state(&error))?;
    let forgotten = match (after, page.oldest) {
        (Some(after), Some(oldest)) => after > 0 && oldest > after.saturating_add(1),
        _ => false,
    };
    Ok(KeptLogs {
        lines: page
            .lines
            .into_iter()
            .filter(|kept| kept.line.controller == controller)
            .map(shown)
            .collect(),
        next: page.next,
        missed: forgotten || page.went_back,
    })
}

/// Ends when there may be new lines.
async fn wait_for_lines(shared: &Shared) {
    match &shared.history {
        Some(history) => {
            let mut settled = history.lines_settled.subscribe();
            // Other nodes do not tell.
            let _ = timeout(LOOK_EVERY, settled.changed()).await;
        }
        None => tokio::time::sleep(LOOK_EVERY).await,
    }
}

fn shown(kept: KeptLine) -> KeptLogLine {
    let KeptLine { cursor, node, line } = kept;
    let mut fields: Map<String, Value> = line
        .fields
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let truncated = fields.get(TRUNCATED) == Some(&Value::Bool(true));
    if truncated {
        fields.remove(TRUNCATED);
    }
    KeptLogLine {
        cursor,
        node,
        time: line.at,
        controller: line.controller,
        version: line.version,
        request_id: (!line.request_id.is_empty()).then_some(line.request_id),
        stream: line.stream,
        level: line.level,
        message: line.message,
        fields,
        truncated,
    }
}

/// The executions of a request, the newest first.
async fn executions(shared: &Shared, request_id: &str) -> Result<Vec<Execution>, Failure> {
    let history = history(shared)?;
    let until = Instant::now() + TELLS_WITHIN;
    let mut settled = history.executions_settled.subscribe();
    loop {
        settled.mark_unchanged();
        // One that is not written in time is not found; others are.
        let _ = timeout_at(until, history.flush_executions()).await;
        let found = history
            .state
            .executions(request_id)
            .await
            .map_err(|error| refusal::of_state(&error))?;
        if !found.is_empty() || timeout_at(until, settled.changed()).await.is_err() {
            return Ok(found);
        }
    }
}

/// Every node that was heard of late.
async fn nodes(shared: &Shared) -> Result<Vec<NodeSummary>, Failure> {
    let history = history(shared)?;
    let of_state = |error: StateError| refusal::of_state(&error);
    let nodes = history.state.nodes().await.map_err(of_state)?;
    let heads = history.state.audit_heads().await.map_err(of_state)?;
    Ok(nodes
        .into_iter()
        .map(|node| NodeSummary {
            this: node.heartbeat.node == history.node,
            audit_head: heads
                .iter()
                .find(|head| head.node == node.heartbeat.node)
                .map(|head| AuditHead {
                    sequence: head.sequence,
                    hash: head.hash.clone(),
                    at: head.at,
                }),
            name: node.heartbeat.node,
            program: node.heartbeat.program,
            policy: node.heartbeat.policy,
            generation: node.heartbeat.generation,
            heard_at: node.at,
        })
        .collect())
}
