//! What a process of a sandbox holds, read from the host's /proc.
//!
//! A fork shares whatever its parent holds. The sandbox gives a template four
//! descriptors, one thread and no shared memory; anything beyond that was made
//! by the controller's code at import and would connect its requests.

use std::io;
use std::path::PathBuf;

/// Descriptors of a template: null, two pipes, the control channel.
const DESCRIPTORS: usize = 4;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Surroundings {
    threads: usize,
    /// `None` where the supervisor may not look, as an ordinary user may not
    /// look into a process that cannot be dumped.
    descriptors: Option<usize>,
    shared_writable: Option<usize>,
}

/// Reads what process `pid` holds.
pub(crate) fn of(pid: i32) -> io::Result<Surroundings> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let status = std::fs::read_to_string(process.join("status"))?;
    let threads = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok())
        .ok_or_else(|| io::Error::other("no line of threads in the status"))?;
    let descriptors = std::fs::read_dir(process.join("fd"))
        .map(Iterator::count)
        .ok();
    let shared_writable = std::fs::read_to_string(process.join("maps"))
        .map(|maps| count_shared_writable(&maps))
        .ok();
    Ok(Surroundings {
        threads,
        descriptors,
        shared_writable,
    })
}

/// Counts mappings that are writable and shared, by the permission column
/// (`rw-s`) of the format that proc(5) describes.
fn count_shared_writable(maps: &str) -> usize {
    maps.lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(1))
        .filter(|permissions| permissions.contains('w') && permissions.ends_with('s'))
        .count()
}

impl Surroundings {
    /// Why forks of this process would share something, if they would.
    pub(crate) fn unforkable(&self) -> Option<String> {
        if self.threads > 1 {
            return Some(format!(
                "the import left {} threads running",
                self.threads - 1
            ));
        }
        match (self.descriptors, self.shared_writable) {
            (Some(count), _) if count > DESCRIPTORS => Some(format!(
                "the import left {} descriptors open",
                count - DESCRIPTORS
            )),
            (_, Some(count)) if count > 0 => {
                Some(format!("the import left {count} shared writable mappings"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Surroundings, count_shared_writable};

    const PLAIN: Surroundings = Surroundings {
        threads: 1,
        descriptors: Some(4),
        shared_writable: Some(0),
    };

    #[test]
    fn only_what_a_fork_would_share_counts() {
        assert_eq!(PLAIN.unforkable(), None);
        assert!(
            Surroundings {
                threads: 2,
                ..PLAIN
            }
            .unforkable()
            .is_some()
        );
        assert!(
            Surroundings {
                descriptors: Some(5),
                ..PLAIN
            }
            .unforkable()
            .is_some()
        );
        assert!(
            Surroundings {
                shared_writable: Some(1),
                ..PLAIN
            }
            .unforkable()
            .is_some()
        );
        assert_eq!(
            Surroundings {
                descriptors: None,
                shared_writable: None,
                ..PLAIN
            }
            .unforkable(),
            None
        );
    }

    #[test]
    fn shared_writable_mappings_are_told_from_private_ones() {
        let maps = "7f00-7f01 rw-p 0 00:00 0\n7f01-7f02 rw-s 0 00:01 9 /dev/zero (deleted)\n7f02-7f03 r--s 0 00:01 9 /x\n";
        assert_eq!(count_shared_writable(maps), 1);
    }
}
