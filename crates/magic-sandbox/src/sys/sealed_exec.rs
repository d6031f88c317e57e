//! `execve(2)` from three secret addresses.
//!
//! The system call filter can only compare numbers. If it allows `execve` just for one triple of
//! pointers, and the pages behind them vanish with the exec, then that exec is the last: the program
//! cannot know the numbers, and guessing them means guessing about a hundred bits.

use std::ffi::{CStr, CString};
use std::io;
use std::ptr::NonNull;

use super::random::random_number;

/// The bits of user address space in which the pages are placed. Linux gives 47 bits on x86_64; an
/// aarch64 kernel may be built with as few as 39.
#[cfg(target_arch = "x86_64")]
const ADDRESS_BITS: u32 = 46;
#[cfg(not(target_arch = "x86_64"))]
const ADDRESS_BITS: u32 = 38;

const PAGE: usize = 4096;

/// A program, its arguments and its environment, laid out at addresses that nobody else knows.
pub(crate) struct SealedExec {
    path: SecretPage,
    arguments: SecretPage,
    environment: SecretPage,
}

impl SealedExec {
    /// Lays out the three parts.
    pub(crate) fn prepare(
        path: &CStr,
        arguments: &[CString],
        environment: &[CString],
    ) -> io::Result<Self> {
        Ok(Self {
            path: SecretPage::with_bytes(path.to_bytes_with_nul())?,
            arguments: SecretPage::with_strings(arguments)?,
            environment: SecretPage::with_strings(environment)?,
        })
    }

    /// The three pointers, in the order of the arguments of `execve`.
    pub(crate) fn addresses(&self) -> [u64; 3] {
        [
            self.path.address(),
            self.arguments.address(),
            self.environment.address(),
        ]
    }

    /// Becomes the program. Returns only if that failed.
    pub(crate) fn execute(&self) -> io::Error {
        // SAFETY: the path is NUL-terminated, both tables end in a null pointer, every pointer in
        // them leads to a NUL-terminated string in the same mapping, and the mappings live as long
        // as `self`. The raw call is used because a wrapper might pass other pointers.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_execve,
                self.path.start.as_ptr(),
                self.arguments.start.as_ptr(),
                self.environment.start.as_ptr(),
            )
        };
        match super::checked(answer) {
            Ok(_) => io::Error::from_raw_os_error(libc::EINVAL),
            Err(error) => error,
        }
    }
}

/// One anonymous mapping at a random address. It is never unmapped: the exec does that.
struct SecretPage {
    start: NonNull<u8>,
}

impl SecretPage {
    fn address(&self) -> u64 {
        self.start.as_ptr().addr() as u64
    }

    fn with_bytes(bytes: &[u8]) -> io::Result<Self> {
        let page = Self::map(bytes.len())?;
        // SAFETY: `map` gave at least `bytes.len()` writable bytes from `start` on, fresh and
        // therefore not overlapping `bytes`.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), page.start.as_ptr(), bytes.len());
        }
        Ok(page)
    }

    /// A null-terminated table of pointers, followed by the strings that they point to.
    fn with_strings(strings: &[CString]) -> io::Result<Self> {
        let table = (strings.len() + 1) * size_of::<usize>();
        let text: usize = strings.iter().map(|s| s.as_bytes_with_nul().len()).sum();
        let page = Self::map(table + text)?;
        let base = page.start.as_ptr().addr();
        let mut bytes = Vec::with_capacity(table + text);
        let mut next = base + table;
        for string in strings {
            bytes.extend_from_slice(&next.to_ne_bytes());
            next += string.as_bytes_with_nul().len();
        }
        bytes.extend_from_slice(&0_usize.to_ne_bytes());
        for string in strings {
            bytes.extend_from_slice(string.as_bytes_with_nul());
        }
        // SAFETY: `map` gave `table + text` writable bytes, exactly what `bytes` holds.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), page.start.as_ptr(), bytes.len());
        }
        Ok(page)
    }

    fn map(length: usize) -> io::Result<Self> {
        // One page more than needed leaves room for a random start inside the first page.
        let size = (length + PAGE).next_multiple_of(PAGE);
        let mut last = io::Error::from_raw_os_error(libc::ENOMEM);
        for _ in 0..64 {
            let random = random_number()?;
            let page = (random >> 16) & ((1 << ADDRESS_BITS) - 1) & !(PAGE as u64 - 1);
            let offset = (random & 0xff0) as usize;
            let wanted = usize::try_from(page).map_err(io::Error::other)?;
            // SAFETY: an anonymous mapping with MAP_FIXED_NOREPLACE never replaces an existing one,
            // so no memory that Rust knows of changes (mmap(2)).
            let answer = unsafe {
                libc::mmap(
                    std::ptr::without_provenance_mut(wanted),
                    size,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
                    -1,
                    0,
                )
            };
            if answer == libc::MAP_FAILED {
                last = io::Error::last_os_error();
                continue;
            }
            // SAFETY: `offset` is below one page and the mapping is more than one page long.
            let start = unsafe { answer.cast::<u8>().add(offset) };
            if let Some(start) = NonNull::new(start) {
                return Ok(Self { start });
            }
        }
        Err(last)
    }
}
