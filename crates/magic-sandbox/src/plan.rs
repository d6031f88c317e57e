//! What to run and in which surroundings: a plain value, built by the caller and obeyed by the jail.
//!
//! The plan crosses a process boundary (it is sent to the jail over a socket), so it holds no handles
//! and nothing that has to be looked up. It is trusted: whoever can write a plan can run programs as
//! the supervisor anyway. Nothing in it may ever come from the confined program.
//!
//! All paths are absolute and valid UTF-8, since they travel as JSON.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::layers::Layers;

/// The user id that the program sees as its own inside the user namespace.
pub const INSIDE_UID: u32 = 1000;

/// The group id that the program sees as its own inside the user namespace.
pub const INSIDE_GID: u32 = 1000;

/// One program and everything that surrounds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Path of the program as seen inside the root.
    pub program: PathBuf,
    /// Arguments after the program's name.
    pub arguments: Vec<String>,
    /// The whole environment. Nothing is inherited.
    pub environment: Vec<(String, String)>,
    /// Working directory inside the root.
    pub working_directory: PathBuf,
    /// Host name inside the UTS namespace.
    pub hostname: String,
    /// The file system that the program sees.
    pub root: Root,
    /// Further files that may be executed while the program starts. The program itself and the
    /// loader that its ELF header names are always among them.
    pub executables: Vec<PathBuf>,
    /// Whom the program runs as.
    pub identity: Identity,
    /// Limits of the process.
    pub limits: ResourceLimits,
    /// How much each layer is wanted.
    pub layers: Layers,
}

impl Plan {
    /// A plan for `program` with an empty root, the caller's own identity and every layer required.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            working_directory: PathBuf::from("/"),
            hostname: "sandbox".to_owned(),
            root: Root::default(),
            executables: Vec::new(),
            identity: Identity::Own,
            limits: ResourceLimits::default(),
            layers: Layers::default(),
        }
    }
}

/// The content of the private root. Everything else is absent, `/proc` and `/sys` included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Files and directories of the host, read-only and without set-user-id or device semantics.
    /// Mounts below a source are not carried along.
    pub binds: Vec<Bind>,
    /// Device nodes of the host, at their own paths.
    pub devices: Vec<PathBuf>,
    /// Symbolic links.
    pub links: Vec<Link>,
    /// Small files made for this root.
    pub files: Vec<SmallFile>,
    /// Empty directories.
    pub directories: Vec<PathBuf>,
    /// The one place where the program can write, if it has one.
    pub scratch: Option<Scratch>,
    /// Size limit of the root's own tmpfs, in bytes. Binds do not count.
    pub size_bytes: u64,
    /// Limit of the number of files, links and directories in the root's own tmpfs.
    pub inodes: u64,
}

impl Default for Root {
    fn default() -> Self {
        Self {
            binds: Vec::new(),
            devices: Vec::new(),
            links: Vec::new(),
            files: Vec::new(),
            directories: Vec::new(),
            scratch: None,
            size_bytes: 1 << 20,
            inodes: 4096,
        }
    }
}

impl Root {
    /// Adds a read-only bind of `path` at its own path.
    #[must_use]
    pub fn bind(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_path_buf();
        self.binds.push(Bind {
            source: path.clone(),
            target: path,
        });
        self
    }

    /// Adds a read-only bind of `source` at `target`.
    #[must_use]
    pub fn bind_at(mut self, source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        self.binds.push(Bind {
            source: source.into(),
            target: target.into(),
        });
        self
    }

    /// Adds a device node.
    #[must_use]
    pub fn device(mut self, path: impl Into<PathBuf>) -> Self {
        self.devices.push(path.into());
        self
    }

    /// Adds a small file that everyone inside may read.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, content: impl Into<String>) -> Self {
        self.files.push(SmallFile {
            path: path.into(),
            content: content.into(),
            mode: 0o444,
        });
        self
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(mut self, path: impl Into<PathBuf>, points_to: impl Into<PathBuf>) -> Self {
        self.links.push(Link {
            path: path.into(),
            points_to: points_to.into(),
        });
        self
    }

    /// Adds the writable directory.
    #[must_use]
    pub fn scratch(mut self, scratch: Scratch) -> Self {
        self.scratch = Some(scratch);
        self
    }

    /// Adds an empty directory.
    #[must_use]
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directories.push(path.into());
        self
    }
}

/// A writable directory of the sandbox's own: a tmpfs that nobody outside sees, that ends with the
/// sandbox, and whose pages are charged to the control group of whoever writes them. Every process of
/// one sandbox shares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scratch {
    /// Where it lies.
    pub path: PathBuf,
    /// The most that its files take together, in bytes.
    pub size_bytes: u64,
    /// The most files and directories in it.
    pub inodes: u64,
}

/// A part of the host's file system, shown read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Path on the host; symbolic links are followed.
    pub source: PathBuf,
    /// Path inside the root.
    pub target: PathBuf,
}

/// A symbolic link inside the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Where the link lies.
    pub path: PathBuf,
    /// Where it points; it is never followed while the root is built.
    pub points_to: PathBuf,
}

/// A small file made for the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmallFile {
    /// Where the file lies.
    pub path: PathBuf,
    /// Its whole content.
    pub content: String,
    /// Its permission bits.
    pub mode: u32,
}

/// Whom the program runs as, seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// An unprivileged host identity of its own; only a privileged supervisor can give one.
    /// Host uid 0 and gid 0 are refused.
    Mapped {
        /// Host user id.
        host_uid: u32,
        /// Host group id.
        host_gid: u32,
    },
    /// The supervisor's own user and group. An ordinary user has no other choice.
    Own,
}

/// Limits of the process, as `setrlimit(2)` knows them. Soft and hard limit are the same number,
/// except for the soft limit of the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// Open descriptors.
    pub open_files: u64,
    /// Stack of the first thread in bytes; also the default of further threads.
    pub stack_bytes: u64,
    /// Locked memory in bytes.
    pub locked_bytes: u64,
    /// Queued signals of the user id.
    pub pending_signals: u64,
    /// Address space in bytes.
    pub address_space_bytes: Option<u64>,
    /// Data segment and private writable mappings in bytes.
    pub data_bytes: Option<u64>,
    /// Processes and threads of the user id in its user namespace.
    pub processes: Option<u64>,
    /// Size of a file that the program writes, in bytes. Pipes and sockets do not count.
    pub file_size_bytes: Option<u64>,
    /// Processor time in seconds.
    pub cpu_seconds: Option<u64>,
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self {
            open_files: 256,
            stack_bytes: 8 << 20,
            locked_bytes: 64 << 10,
            pending_signals: 64,
            address_space_bytes: None,
            data_bytes: None,
            processes: None,
            file_size_bytes: None,
            cpu_seconds: None,
        }
    }
}
