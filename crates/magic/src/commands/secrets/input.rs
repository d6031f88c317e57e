//! Reading a value from standard input: all of a pipe, or one line of a terminal that does not show it.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Stdin, Write};
use std::os::fd::AsFd;

use anyhow::Context;
use magic_contract::SecretName;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// What a terminal sends for Ctrl-C while it makes no signals of keys.
const INTERRUPT: u8 = 3;

/// Reads the value of a secret; of a longer one as much as tells that it is too long.
///
/// # Errors
/// When standard input cannot be read, or somebody at the terminal gives up.
pub(super) fn read(name: &SecretName, limit: usize) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return line(&stdin, name);
    }
    // A line ending may follow, and one byte more tells that it is not the end. The reader of the
    // standard library keeps what it read in a buffer of its own.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 64));
    whole(&stdin)?
        .take(u64::try_from(limit + 3)?)
        .read_to_end(&mut bytes)
        .context("standard input cannot be read")?;
    Ok(bytes)
}

/// One line. Terminals cut lines at 4,095 bytes (`N_TTY`, termios(3)); longer values come by pipe.
fn line(stdin: &Stdin, name: &SecretName) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut stderr = io::stderr().lock();
    let hidden =
        Hidden::start(stdin).context("the terminal cannot be kept from showing the value")?;
    let _ = write!(stderr, "Value of {name} (not shown): ").and_then(|()| stderr.flush());
    let mut bytes = Zeroizing::new(vec![0; 4096]);
    let length = whole(stdin)?
        .read(&mut bytes)
        .context("the terminal cannot be read")?;
    drop(hidden);
    bytes.truncate(length);
    anyhow::ensure!(!bytes.contains(&INTERRUPT), "given up; nothing was set");
    Ok(bytes)
}

/// Standard input without a buffer that would keep what was read.
fn whole(stdin: &Stdin) -> anyhow::Result<File> {
    let descriptor = stdin.as_fd().try_clone_to_owned();
    Ok(File::from(
        descriptor.context("standard input cannot be read")?,
    ))
}

/// A terminal that does not show what is typed, until this is dropped. It also makes no signals of
/// keys: a process that ended here by Ctrl-C would leave it like that.
struct Hidden<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn start(stdin: &'a Stdin) -> io::Result<Self> {
        let before = tcgetattr(stdin)?;
        let mut modes = before.clone();
        modes.local_modes &= !(LocalModes::ECHO | LocalModes::ISIG);
        modes.local_modes |= LocalModes::ICANON | LocalModes::ECHONL;
        tcsetattr(stdin, OptionalActions::Flush, &modes)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.stdin, OptionalActions::Now, &self.before);
    }
}
