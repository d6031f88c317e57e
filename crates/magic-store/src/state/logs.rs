//! The lines that controllers wrote, of all nodes, in the order in which they came here.
//!
//! The order is a number that every line gets when it arrives. Appending takes
//! turns, so whoever has seen a number has seen all that is below it and may go on
//! from there, on any node and after any restart. What is kept is bounded: whoever
//! appends deletes the oldest lines in the same transaction, so the bound holds
//! without anybody sweeping.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::transaction::{Access, Row, Transaction, values};
use super::{State, StateError, batch, moment, time};

/// How many lines one page has at most, and how many go at once.
pub const PAGE_LIMIT: u32 = 1_000;
const SWEEP_BATCH: i64 = 2_000;

/// How many bytes a line has beside its texts, about.
const LINE_COST: usize = 100;

/// A line as a node ships it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippedLine {
    /// A number that this node never gives twice, not even after a restart; a line
    /// that comes again under it is not kept again.
    pub sequence: i64,
    /// The controller's name.
    pub controller: String,
    /// The version that ran.
    pub version: String,
    /// The request that it belongs to.
    pub request_id: String,
    /// Where it was written: `log`, `stdout` or `stderr`.
    pub stream: String,
    /// How important it is.
    pub level: String,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    pub message: String,
    /// Its fields, as JSON text.
    pub fields: Option<String>,
}

/// A line that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLine {
    /// Its number among all lines of all nodes.
    pub cursor: i64,
    /// The node that it comes from.
    pub node: String,
    /// The line.
    pub line: ShippedLine,
}

/// Which lines are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFilter {
    /// Every one.
    All,
    /// Those of a controller.
    Controller(String),
    /// Those of a request.
    Request(String),
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStart {
    /// Behind the line with this number; 0 is the beginning.
    After(i64),
    /// So that the last line is the last one that there is.
    Last,
}

/// Some lines, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The lines.
    pub lines: Vec<KeptLine>,
    /// What to go on after: everything up to it was looked at.
    pub next: i64,
    /// The number of the oldest line that is kept, of any controller; a reader that
    /// wanted to go on further back than that has missed lines.
    pub oldest: Option<i64>,
    /// Whether the reader asked for lines after one that was never written here: the
    /// state was restored from a backup since, and other lines will have its number.
    /// The page has the last lines, because nothing tells which of them it has seen.
    pub went_back: bool,
}

/// A statement that gives lines as [`kept`] reads them.
macro_rules! select_logs {
    ($which:literal) => {
        concat!(
            "SELECT cursor, node, sequence, controller, version, request_id, stream, level, at, message, fields FROM logs ",
            $which
        )
    };
}
#[derive(Serialize)]
struct Line {
    n: i64,
    c: String,
    v: String,
    r: String,
    s: String,
    l: String,
    a: i64,
    m: String,
    f: Option<String>,
    b: usize,
}

impl State {
    /// Keeps at most [`super::BATCH_LIMIT`] lines of a node, all or none, in their
    /// order, and forgets the oldest beyond the bound. Lines that came before are
    /// not kept again, so a batch may be sent again.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn append_logs(&self, node: &str, lines: &[ShippedLine]) -> Result<(), StateError> {
        if lines.is_empty() {
            return Ok(());
        }
        let step = "append log lines";
        let rows = batch::rows("a batch of log lines", lines.iter().map(prepared))?;
        let mut transaction = self.begin(Access::Append).await?;
        let statement = if transaction.is_postgres() {
            "INSERT INTO logs (node, sequence, controller, version, request_id, stream, level, at, message, fields, bytes)
             SELECT $2, n, c, v, r, s, l, a, m, f, b
               FROM json_to_recordset($1::json) AS x (n bigint, c text, v text, r text, s text, l text, a bigint, m text, f text, b bigint)
              ORDER BY n
             ON CONFLICT DO NOTHING RETURNING bytes"
        } else {
            "INSERT INTO logs (node, sequence, controller, version, request_id, stream, level, at, message, fields, bytes)
             SELECT $2, value ->> 'n', value ->> 'c', value ->> 'v', value ->> 'r', value ->> 's', value ->> 'l', value ->> 'a',
                    value ->> 'm', value ->> 'f', value ->> 'b'
               FROM json_each($1) WHERE true ORDER BY value ->> 'n'
             ON CONFLICT DO NOTHING RETURNING bytes"
        };
        let [node] = values![node];
        let added = transaction.fetch(step, statement, &[rows, node]).await?;
        let mut used = use_up(&mut transaction, sum(&added)?).await?;
        let bound = i64::try_from(self.inner.log_bytes).unwrap_or(i64::MAX);
        while used > bound {
            let gone = transaction
                .fetch(
                    "forget log lines",
                    FORGET_BYTES,
                    &values![used - bound, SWEEP_BATCH],
                )
                .await?;
            if gone.is_empty() {
                break;
            }
            used = use_up(&mut transaction, -sum(&gone)?).await?;
        }
        transaction.commit().await
    }

    /// The highest number that a node has given to a line that is kept.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn newest_log_sequence(&self, node: &str) -> Result<Option<i64>, StateError> {
        let mut transaction = self.begin(Access::Read).await?;
        let statement = "SELECT max(sequence) FROM logs WHERE node = $1";
        let step = "look for a node's last log line";
        let row = transaction
            .fetch_one(step, statement, &values![node])
            .await?;
        transaction.end().await?;
        row.map_or(Ok(None), |row| row.get(0))
    }

    /// One page of lines, at most `limit` and at most [`PAGE_LIMIT`].
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn logs(
        &self,
        filter: &LogFilter,
        start: LogStart,
        limit: u32,
    ) -> Result<LogPage, StateError> {
        let mut transaction = self.begin(Access::Read).await?;
        let ends = "SELECT min(cursor), max(cursor) FROM logs";
        let ends = transaction
            .fetch_one("look for log lines", ends, &[])
            .await?;
        let (oldest, newest): (Option<i64>, Option<i64>) = match ends {
            Some(row) => (row.get(0)?, row.get(1)?),
            None => (None, None),
        };
        let limit = limit.min(PAGE_LIMIT);
        // Forgetting begins with the oldest, so what is after the newest was never here.
        let went_back =
            matches!((start, newest), (LogStart::After(cursor), Some(newest)) if cursor > newest);
        let start = if went_back { LogStart::Last } else { start };
        let (statement, edge) = match (filter, start) {
            (LogFilter::All, LogStart::After(cursor)) => (
                select_logs!("WHERE cursor > $1 ORDER BY cursor LIMIT $2"),
                cursor,
            ),
            (LogFilter::All, LogStart::Last) => (
                select_logs!("WHERE cursor <= $1 ORDER BY cursor DESC LIMIT $2"),
                i64::MAX,
            ),
            (LogFilter::Controller(_), LogStart::After(cursor)) => (
                select_logs!("WHERE controller = $3 AND cursor > $1 ORDER BY cursor LIMIT $2"),
                cursor,
            ),
            (LogFilter::Controller(_), LogStart::Last) => (
                select_logs!(
                    "WHERE controller = $3 AND cursor <= $1 ORDER BY cursor DESC LIMIT $2"
                ),
                i64::MAX,
            ),
            (LogFilter::Request(_), LogStart::After(cursor)) => (
                select_logs!("WHERE request_id = $3 AND cursor > $1 ORDER BY cursor LIMIT $2"),
                cursor,
            ),
            (LogFilter::Request(_), LogStart::Last) => (
                select_logs!(
                    "WHERE request_id = $3 AND cursor <= $1 ORDER BY cursor DESC LIMIT $2"
                ),
                i64::MAX,
            ),
        };
        let mut values = values![edge, i64::from(limit)].to_vec();
        match filter {
            LogFilter::All => {}
            LogFilter::Controller(name) | LogFilter::Request(name) => {
                values.extend(values![name.as_str()]);
            }
        }
        let rows = transaction
            .fetch("read log lines", statement, &values)
            .await?;
        transaction.end().await?;
        let lines = rows.iter().map(kept).collect::<Result<Vec<_>, _>>();
        let mut lines = lines?;
        lines.sort_by_key(|line| line.cursor);
        // A page that is not full has seen everything up to the newest line.
        let full = u32::try_from(lines.len()).is_ok_and(|count| count >= limit);
        let before = match start {
            LogStart::After(cursor) => cursor,
            LogStart::Last => 0,
        };
        let next = match (start, lines.last()) {
            (LogStart::After(_), Some(line)) if full => line.cursor,
            (LogStart::After(_), None) if full => before,
            _ => newest.unwrap_or(before).max(before),
        };
        Ok(LogPage {
            lines,
            next,
            oldest,
            went_back,
        })
    }

    /// Forgets lines that came before others did and were written longer ago than
    /// `age`, and says how many there were; 0 when it is done.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn sweep_logs(&self, age: Duration) -> Result<u64, StateError> {
        let mut transaction = self.begin(Access::Append).await?;
        let statement = "DELETE FROM logs WHERE cursor IN (SELECT cursor FROM logs ORDER BY cursor LIMIT $2) AND at < $1 RETURNING bytes";
        let values = values![time::before(age), SWEEP_BATCH];
        let gone = transaction
            .fetch("forget log lines", statement, &values)
            .await?;
        use_up(&mut transaction, -sum(&gone)?).await?;
        transaction.commit().await?;
        Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
    }
}

/// Forgets as many of the oldest lines as have so many bytes together, or some of them.
const FORGET_BYTES: &str = "\
DELETE FROM logs WHERE cursor IN (
  SELECT cursor FROM (
    SELECT cursor, sum(bytes) OVER (ORDER BY cursor) - bytes AS before
      FROM (SELECT cursor, bytes FROM logs ORDER BY cursor LIMIT $2) AS oldest
  ) AS counted WHERE before < $1
) RETURNING bytes";

/// Counts bytes, and says how many there are now.
async fn use_up(transaction: &mut Transaction, bytes: i64) -> Result<i64, StateError> {
    let statement = "UPDATE log_usage SET bytes = bytes + $1 WHERE id = 1 RETURNING bytes";
    let row = transaction
        .fetch_one("count the bytes of log lines", statement, &values![bytes])
        .await?;
    row.ok_or_else(|| StateError::unreadable("the number of bytes of log lines"))?
        .get(0)
}

fn sum(rows: &[Row]) -> Result<i64, StateError> {
    rows.iter().map(|row| row.get::<i64>(0)).sum()
}

fn prepared(line: &ShippedLine) -> Line {
    let texts = [
        &line.controller,
        &line.version,
        &line.request_id,
        &line.stream,
        &line.level,
        &line.message,
    ];
    let length: usize = texts.iter().map(|text| text.len()).sum();
    let fields = line.fields.as_ref().map_or(0, String::len);
    Line {
        n: line.sequence,
        c: batch::text(&line.controller),
        v: batch::text(&line.version),
        r: batch::text(&line.request_id),
        s: batch::text(&line.stream),
        l: batch::text(&line.level),
        a: line.at.as_millisecond(),
        m: batch::text(&line.message),
        f: line.fields.as_deref().map(batch::text),
        b: length + fields + LINE_COST,
    }
}

fn kept(row: &Row) -> Result<KeptLine, StateError> {
    Ok(KeptLine {
        cursor: row.get(0)?,
        node: row.get(1)?,
        line: ShippedLine {
            sequence: row.get(2)?,
            controller: row.get(3)?,
            version: row.get(4)?,
            request_id: row.get(5)?,
            stream: row.get(6)?,
            level: row.get(7)?,
            at: moment(row.get(8)?)?,
            message: row.get(9)?,
            fields: row.get(10)?,
        },
    })
}
