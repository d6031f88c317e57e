//! A process's standard output and error, line by line and bounded.
//!
//! The pipes are always drained, or a controller that prints would block; what
//! exceeds the bound is read and thrown away, and the last kept line says how
//! much. Bytes become text by escaping, so that neither a terminal sequence
//! nor a fake log line can be smuggled into a log. Before that the request's
//! secrets are taken out, and so lines are cut where no secret lies across.

use magic_broker::secrets::Redactor;
use magic_store::{Level, LogLine, RunLogs, Stream};
use serde_json::{Map, json};
use std::io;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// A longer line is cut and goes on in the next.
const LINE_BYTES: usize = 8 * 1024;

/// Whose output it is.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The controller's name.
    pub(crate) controller: String,
    /// Its version.
    pub(crate) version: String,
    /// The request, for the output of a worker.
    pub(crate) request_id: Option<String>,
}

impl Source {
    /// Appends one line of this source.
    pub(crate) fn append(
        &self,
        logs: &RunLogs,
        stream: Stream,
        level: Level,
        message: String,
        fields: Map<String, serde_json::Value>,
    ) {
        logs.append(LogLine {
            sequence: 0,
            time: jiff::Timestamp::now(),
            controller: self.controller.clone(),
            version: self.version.clone(),
            request_id: self.request_id.clone(),
            stream,
            level,
            message,
            truncated: fields.contains_key("dropped_bytes"),
            fields,
        });
    }
}

/// Drains one pipe to its end, keeping at most `limit` bytes of it.
pub(crate) async fn drain(
    mut pipe: pipe::Receiver,
    stream: Stream,
    source: Source,
    logs: RunLogs,
    redactor: Redactor,
    limit: usize,
) {
    let mut lines = Lines::new(limit, redactor);
    // Most requests print nothing: the buffer is made when something arrives.
    let mut chunk = Vec::new();
    loop {
        if chunk.is_empty() && pipe.readable().await.is_ok() {
            chunk.resize(64 * 1024, 0);
        }
        match pipe.read(&mut chunk).await {
            Ok(0) => break,
            Ok(count) => lines.feed(&chunk[..count], |line| emit(&source, &logs, stream, line)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Nothing more can be read of it; the request does not depend on it.
            Err(_) => break,
        }
    }
    let dropped = lines.finish(|line| emit(&source, &logs, stream, line));
    if dropped > 0 {
        let fields = Map::from_iter([("dropped_bytes".to_owned(), json!(dropped))]);
        let message =
            format!("output truncated: {dropped} bytes beyond the first {limit} were dropped");
        source.append(&logs, stream, Level::Warning, message, fields);
    }
}

fn emit(source: &Source, logs: &RunLogs, stream: Stream, line: &[u8]) {
    let level = if matches!(stream, Stream::Stderr) {
        Level::Warning
    } else {
        Level::Info
    };
    source.append(logs, stream, level, escape(line), Map::new());
}

/// Cuts a byte stream into lines within a budget, and takes secrets out of them.
#[derive(Debug)]
struct Lines {
    redactor: Redactor,
    partial: Vec<u8>,
    left: usize,
    dropped: u64,
}

impl Lines {
    fn new(limit: usize, redactor: Redactor) -> Self {
        Self {
            redactor,
            partial: Vec::new(),
            left: limit,
            dropped: 0,
        }
    }

    fn feed(&mut self, chunk: &[u8], mut line: impl FnMut(&[u8])) {
        let kept = chunk.len().min(self.left);
        self.left -= kept;
        self.dropped += (chunk.len() - kept) as u64;
        let mut rest = &chunk[..kept];
        while !rest.is_empty() {
            // Beyond a cut so much is looked at as the longest secret could take.
            let most = LINE_BYTES + self.redactor.reach();
            let room = most.saturating_sub(self.partial.len()).max(1);
            let window = &rest[..rest.len().min(room)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(&window[..end]);
                rest = &rest[end + 1..];
                self.end_line(&mut line);
            } else {
                self.partial.extend_from_slice(window);
                rest = &rest[window.len()..];
                if self.partial.len() >= most {
                    self.cut(&mut line);
                }
            }
        }
    }

    /// Yields a whole line, in pieces if it is long.
    fn end_line(&mut self, line: &mut impl FnMut(&[u8])) {
        while self.partial.len() > LINE_BYTES {
            self.cut(line);
        }
        self.emit(self.partial.len(), line);
    }

    /// Yields the beginning of a line that is too long.
    fn cut(&mut self, line: &mut impl FnMut(&[u8])) {
        let at = self
            .redactor
            .cut(&self.partial, LINE_BYTES.min(self.partial.len()));
        self.emit(at, line);
    }

    fn emit(&mut self, end: usize, line: &mut impl FnMut(&[u8])) {
        let piece = &self.partial[..end];
        match self.redactor.bytes(piece) {
            Some(redacted) => line(&redacted),
            None => line(piece),
        }
        self.partial.drain(..end);
    }

    /// Yields an unfinished last line and returns how many bytes were dropped.
    fn finish(mut self, mut line: impl FnMut(&[u8])) -> u64 {
        if self.dropped > 0 {
            // What was kept may end within a secret, of which the beginning
            // would not be recognized.
            let kept = self.partial.len().saturating_sub(self.redactor.reach());
            self.dropped += (self.partial.len() - kept) as u64;
            self.partial.truncate(kept);
        }
        if !self.partial.is_empty() {
            self.end_line(&mut line);
        }
        self.dropped
    }
}

/// Text in which every control character and every invalid byte is visible.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\t' => text.push('\t'),
                // Also the marks that change the direction of text, by which a
                // line can be made to read as another.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => {
                    text.extend(character.escape_unicode());
                }
                other if other.is_control() => text.extend(other.escape_default()),
                other => text.push(other),
            }
        }
        for byte in chunk.invalid() {
            text.extend(std::ascii::escape_default(*byte).map(char::from));
        }
    }
    text
}

#[cfg(test)]
mod tests;
