//! What became of requests, for whoever asks for one by its identifier.
//!
//! Not the record that must not be lost, which is the audit log: nodes write these
//! in batches after the answers have left. Callers may choose identifiers of
//! requests, so one may name several executions.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::transaction::{Access, Row, values};
use super::{State, StateError, batch, moment, time};

/// How many executions of one identifier are read, and how many one sweep deletes.
const READ_LIMIT: i64 = 20;
const SWEEP_BATCH: i64 = 5_000;

/// One execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The request's identifier.
    pub request_id: String,
    /// The controller's name.
    pub controller: String,
    /// The version that ran.
    pub version: String,
    /// Where it ran.
    pub node: String,
    /// Who asked, if that is known.
    pub caller: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// `ok`, or the code of its error.
    pub outcome: String,
    /// How long it took, in microseconds.
    pub duration_us: i64,
    /// How much processor time it used, in milliseconds.
    pub cpu_ms: Option<i64>,
    /// How much memory it used at most.
    pub peak_memory_bytes: Option<i64>,
    /// What it did, as JSON text.
    pub timeline: Option<String>,
}

#[derive(Serialize)]
struct Line {
    r: String,
    s: i64,
    n: String,
    c: String,
    v: String,
    w: Option<String>,
    o: String,
    d: i64,
    u: Option<i64>,
    m: Option<i64>,
    t: Option<String>,
}

impl State {
    /// Writes down at most [`super::BATCH_LIMIT`] executions, all or none. Those
    /// that were written before stay as they are, so a batch may be sent again.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn record_executions(&self, executions: &[Execution]) -> Result<(), StateError> {
        if executions.is_empty() {
            return Ok(());
        }
        let lines = executions.iter().map(|one| Line {
            r: batch::text(&one.request_id),
            s: one.started_at.as_millisecond(),
            n: batch::text(&one.node),
            c: batch::text(&one.controller),
            v: batch::text(&one.version),
            w: one.caller.as_deref().map(batch::text),
            o: batch::text(&one.outcome),
            d: one.duration_us,
            u: one.cpu_ms,
            m: one.peak_memory_bytes,
            t: one.timeline.as_deref().map(batch::text),
        });
        let rows = batch::rows("a batch of executions", lines)?;
        let mut transaction = self.begin(Access::Write).await?;
        let statement = if transaction.is_postgres() {
            "INSERT INTO executions (request_id, started_at, node, controller, version, caller, outcome, duration_us, cpu_ms, peak_memory_bytes, timeline)
             SELECT r, s, n, c, v, w, o, d, u, m, t
               FROM json_to_recordset($1::json) AS x (r text, s bigint, n text, c text, v text, w text, o text, d bigint, u bigint, m bigint, t text)
             ON CONFLICT DO NOTHING"
        } else {
            "INSERT INTO executions (request_id, started_at, node, controller, version, caller, outcome, duration_us, cpu_ms, peak_memory_bytes, timeline)
             SELECT value ->> 'r', value ->> 's', value ->> 'n', value ->> 'c', value ->> 'v', value ->> 'w', value ->> 'o',
                    value ->> 'd', value ->> 'u', value ->> 'm', value ->> 't'
               FROM json_each($1) WHERE true
             ON CONFLICT DO NOTHING"
        };
        transaction
            .execute("write executions", statement, &[rows])
            .await?;
        transaction.commit().await
    }

    /// The executions of a request, the newest first, at most 20.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn executions(&self, request_id: &str) -> Result<Vec<Execution>, StateError> {
        let mut transaction = self.begin(Access::Read).await?;
        let statement = "SELECT request_id, started_at, node, controller, version, caller, outcome, duration_us, cpu_ms, peak_memory_bytes, timeline
               FROM executions WHERE request_id = $1 ORDER BY started_at DESC LIMIT $2";
        let rows = transaction
            .fetch(
                "read executions",
                statement,
                &values![request_id, READ_LIMIT],
            )
            .await?;
        transaction.end().await?;
        rows.iter().map(execution).collect()
    }

    /// Forgets executions older than `age`, and the oldest beyond `keep`: at most
    /// 5,000 of each, and says how many there were. To be called again while it
    /// finds as many.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn sweep_executions(&self, age: Duration, keep: u32) -> Result<u64, StateError> {
        let step = "forget executions";
        let mut transaction = self.begin(Access::Write).await?;
        let old = "DELETE FROM executions WHERE (request_id, started_at, node) IN (
               SELECT request_id, started_at, node FROM executions WHERE started_at < $1 ORDER BY started_at LIMIT $2)";
        let mut swept = transaction
            .execute(step, old, &values![time::before(age), SWEEP_BATCH])
            .await?;
        let count = "SELECT count(*) FROM executions";
        let row = transaction.fetch_one(step, count, &[]).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.get(0))?;
        let excess = count.saturating_sub(i64::from(keep)).min(SWEEP_BATCH);
        if excess > 0 {
            let oldest = "DELETE FROM executions WHERE (request_id, started_at, node) IN (
                   SELECT request_id, started_at, node FROM executions ORDER BY started_at LIMIT $1)";
            swept += transaction.execute(step, oldest, &values![excess]).await?;
        }
        transaction.commit().await?;
        Ok(swept)
    }
}

fn execution(row: &Row) -> Result<Execution, StateError> {
    Ok(Execution {
        request_id: row.get(0)?,
        started_at: moment(row.get(1)?)?,
        node: row.get(2)?,
        controller: row.get(3)?,
        version: row.get(4)?,
        caller: row.get(5)?,
        outcome: row.get(6)?,
        duration_us: row.get(7)?,
        cpu_ms: row.get(8)?,
        peak_memory_bytes: row.get(9)?,
        timeline: row.get(10)?,
    })
}
