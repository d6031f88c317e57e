//! How much one session may ask for.
//!
//! A worker that may talk without end can starve the supervisor without ever
//! leaving its sandbox. Every message is charged here before it is acted upon.

/// What is left of a session's allowance.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Capability calls.
    pub calls: u32,
    /// Log notifications; those beyond are counted and dropped, since logging
    /// too much is no reason to fail a request.
    pub log_lines: u32,
    /// Bytes of log notifications.
    pub log_bytes: usize,
    /// Measurements; those beyond are dropped, since counting too much is no
    /// reason to fail a request.
    pub measurements: u32,
    /// Frames of any kind; beyond this the session breaks the protocol.
    pub frames: u32,
    /// Bytes of all frames together; beyond this the session breaks the
    /// protocol. Reading costs the supervisor more than writing costs a worker.
    pub bytes: u64,
    /// Capability calls that may be under way at once; a worker that asks for
    /// more is not read until one has ended.
    pub calls_at_once: usize,
    /// Bytes of parameters of calls under way and of answers not yet read by
    /// the worker; beyond this the worker is not read either.
    pub bytes_at_once: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            calls: 10_000,
            log_lines: 10_000,
            log_bytes: 1024 * 1024,
            measurements: 10_000,
            frames: 100_000,
            bytes: 128 * 1024 * 1024,
            calls_at_once: 64,
            bytes_at_once: 16 * 1024 * 1024,
        }
    }
}

impl Budget {
    /// Charges one frame; `false` when none is left.
    pub(crate) fn charge_frame(&mut self) -> bool {
        charge(&mut self.frames)
    }

    /// Charges one capability call; `false` when none is left.
    pub(crate) fn charge_call(&mut self) -> bool {
        charge(&mut self.calls)
    }

    /// Charges one measurement; `false` when it must be dropped.
    pub(crate) fn charge_measurement(&mut self) -> bool {
        charge(&mut self.measurements)
    }

    /// Charges one log line of `bytes`; `false` when it must be dropped.
    pub(crate) fn charge_log(&mut self, bytes: usize) -> bool {
        match self.log_bytes.checked_sub(bytes) {
            Some(left) if charge(&mut self.log_lines) => {
                self.log_bytes = left;
                true
            }
            _ => false,
        }
    }
}

fn charge(left: &mut u32) -> bool {
    match left.checked_sub(1) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}
