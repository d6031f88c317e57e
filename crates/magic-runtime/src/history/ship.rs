//! Bringing what was put down into the state.

use super::History;
use magic_store::state::{AuditHeadRefused, BATCH_LIMIT, ShippedLine, StateError};
use magic_store::{AuditLog, LogLine};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

/// How long lines and executions are gathered: many then share one commit.
const GATHER: Duration = Duration::from_millis(100);

/// About how many bytes go at once. Far below what the state takes, because a
/// byte can become several when it is written as JSON within JSON.
const AT_ONCE: usize = 2 << 20;

/// How long a state that is away is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// How often the end of the audit log is shown.
const HEAD_EVERY: Duration = Duration::from_secs(5);

/// Writes lines, for ever.
pub(super) async fn lines(history: Arc<History>) {
    let mut sequence = first_sequence(&history).await;
    loop {
        history.lines.filled().await;
        tokio::select! {
            () = sleep(GATHER) => {}
            () = history.lines_wanted.notified() => {}
        }
        loop {
            let (taken, upto) = history.lines.take(BATCH_LIMIT, AT_ONCE);
            let last = taken.len() < BATCH_LIMIT;
            let batch: Vec<ShippedLine> = taken
                .iter()
                .map(|line| {
                    sequence += 1;
                    shipped(line, sequence)
                })
                .collect();
            // The same numbers again, so that a commit that may have taken place does no harm.
            while let Err(error) = history.state.append_logs(&history.node, &batch).await {
                if !persist(&history, &error, "log lines", batch.len()).await {
                    break;
                }
            }
            history.lines_settled.send_replace(upto);
            if last {
                break;
            }
        }
    }
}

/// Writes executions, for ever.
pub(super) async fn executions(history: Arc<History>) {
    loop {
        history.executions.filled().await;
        tokio::select! {
            () = sleep(GATHER) => {}
            () = history.executions_wanted.notified() => {}
        }
        loop {
            let (batch, upto) = history.executions.take(BATCH_LIMIT, AT_ONCE);
            let last = batch.len() < BATCH_LIMIT;
            while let Err(error) = history.state.record_executions(&batch).await {
                if !persist(&history, &error, "executions", batch.len()).await {
                    break;
                }
            }
            history.executions_settled.send_replace(upto);
            if last {
                break;
            }
        }
    }
}

/// Whether to try again, after a pause. What the state says no to is lost and
/// counted: nothing may wait behind it for ever.
async fn persist(history: &History, error: &StateError, what: &str, count: usize) -> bool {
    let passes = error.is_unavailable() || matches!(error, StateError::Uncertain { .. });
    if passes {
        tracing::debug!(%error, "{what} wait for the state");
        sleep(AGAIN).await;
    } else {
        tracing::warn!(%error, count, "the state does not take {what}");
        let lost = u64::try_from(count).unwrap_or(u64::MAX);
        history.refused.fetch_add(lost, Ordering::Relaxed);
    }
    passes
}

/// Where this life of the node begins to count its lines: with the clock, in
/// microseconds, which no earlier life can have reached by counting lines, and
/// above what is kept, should the clock have been set back.
async fn first_sequence(history: &History) -> i64 {
    let clock = jiff::Timestamp::now().as_microsecond();
    loop {
        match history.state.newest_log_sequence(&history.node).await {
            Ok(kept) => return kept.map_or(clock, |kept| kept.max(clock)),
            Err(_) => sleep(AGAIN).await,
        }
    }
}

fn shipped(line: &LogLine, sequence: i64) -> ShippedLine {
    let mut fields = line.fields.clone();
    if line.truncated {
        fields.insert(super::read::TRUNCATED.to_owned(), true.into());
    }
    ShippedLine {
        sequence,
        controller: line.controller.clone(),
        version: line.version.clone(),
        request_id: line.request_id.clone().unwrap_or_default(),
        stream: line.stream.as_str().to_owned(),
        level: line.level.as_str().to_owned(),
        at: line.time,
        message: line.message.clone(),
        fields: (!fields.is_empty())
            .then(|| serde_json::to_string(&fields).ok())
            .flatten(),
    }
}

/// Shows where the audit log ends, for ever.
pub(super) async fn heads(history: Arc<History>, audit: AuditLog) {
    loop {
        head(&history, &audit).await;
        sleep(HEAD_EVERY).await;
    }
}

/// Shows where the audit log ends: what is on stable storage, never more.
pub(super) async fn head(history: &History, audit: &AuditLog) {
    let Some((sequence, hash)) = audit.durable_end() else {
        return;
    };
    let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
    let put = history
        .state
        .put_audit_head(&history.node, sequence, &hash)
        .await;
    match put {
        Err(AuditHeadRefused::State(error)) => {
            tracing::debug!(%error, "the end of the audit log could not be shown");
        }
        Err(refused) => {
            // Once is enough; it does not pass by itself.
            if !history.head_refused.swap(true, Ordering::Relaxed) {
                tracing::error!("{refused}");
            }
        }
        Ok(()) => history.head_refused.store(false, Ordering::Relaxed),
    }
}
