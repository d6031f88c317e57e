//! Reading a stream of server-sent events.

/// The largest event that is taken, in bytes. Lines and steps are far smaller.
const LARGEST_EVENT: usize = 1024 * 1024;

/// One server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerEvent {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// Puts events together from the pieces that the network cuts.
#[derive(Debug, Default)]
pub(crate) struct EventReader {
    pending: Vec<u8>,
}

impl EventReader {
    /// The events that are complete now.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> anyhow::Result<Vec<ServerEvent>> {
        self.pending.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.pending.drain(..end + 2).collect();
            let block = String::from_utf8_lossy(&block);
            let mut event = ServerEvent::default();
            for line in block.lines() {
                match line.split_once(':') {
                    Some(("event", value)) => event.name = value.trim_start().to_owned(),
                    Some(("data", value)) => event
                        .data
                        .push_str(value.strip_prefix(' ').unwrap_or(value)),
                    // Comments keep the connection alive, ids are for browsers.
                    _ => {}
                }
            }
            events.push(event);
        }
        if self.pending.len() > LARGEST_EVENT {
            anyhow::bail!("the supervisor sent an event without an end");
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the stream is cut, the events are the same.
    #[test]
    fn events_survive_any_cut() {
        let stream = b":\n\nevent: line\nid: 1\ndata: {\"a\":1}\n\nevent: missed\ndata: {}\n\n";
        let named = |name: &str, data: &str| ServerEvent {
            name: name.to_owned(),
            data: data.to_owned(),
        };
        let expected = [
            named("", ""),
            named("line", "{\"a\":1}"),
            named("missed", "{}"),
        ];
        for size in 1..=stream.len() {
            let mut reader = EventReader::default();
            let events: Vec<_> = stream
                .chunks(size)
                .flat_map(|piece| reader.feed(piece).expect("small events"))
                .collect();
            assert_eq!(events, expected, "pieces of {size}");
        }
    }
}
