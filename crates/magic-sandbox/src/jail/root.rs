//! The private root: a small read-only tmpfs with read-only binds, and nothing else.
//!
//! A privileged supervisor opens the sources before the process changes its identity
//! (`open_tree(2)` with `OPEN_TREE_CLONE`), since the mapped identity may be unable to traverse the way
//! to them: an interpreter under root's home (mode 0700) is the everyday case. The trees carry
//! read-only, nosuid and nodev before they are attached, so that there is no moment without.
//!
//! Sources come from the supervisor's own plan and may be symbolic links. Targets are made below a
//! descriptor of the new root, component by component, and a symbolic link on the way is refused:
//! nothing here ever resolves a path that a program of an earlier run could have written.
//!
//! A plan may ask for one writable directory. It is a tmpfs of its own, mounted after the root has become
//! read-only, without devices, set-user-id or programs.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::plan::{Root, Scratch};
use crate::protocol::{JailFailure, Step};
use crate::sys::mount::add_attributes;

const READ_ONLY_DATA: u64 =
    libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
/// Devices lose the set-user-id and exec meaning, but must stay devices. Writing to a device node is
/// not writing to its file system, so the mount is read-only all the same.
const READ_ONLY_DEVICE: u64 =
    libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;

/// The mounts to attach, opened and restricted, shallow targets first.
pub(super) struct Sources(Vec<Source>);

struct Source {
    tree: OwnedFd,
    target: PathBuf,
    device: bool,
}

impl Sources {
    /// Opens every source of the plan.
    pub(super) fn open(root: &Root) -> Result<Self, JailFailure> {
        let mut sources = Vec::with_capacity(root.binds.len() + root.devices.len());
        for bind in &root.binds {
            sources.push(Source::open(&bind.source, &bind.target, false)?);
        }
        for device in &root.devices {
            sources.push(Source::open(device, device, true)?);
        }
        sources.sort_by_key(|source| source.target.components().count());
        Ok(Self(sources))
    }
}

impl Source {
    fn open(path: &Path, target: &Path, device: bool) -> Result<Self, JailFailure> {
        let failed = |error: io::Error| {
            JailFailure::new(
                Step::OpenSources,
                format!("open {}", path.display()),
                &error,
            )
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree =
            rustix::mount::open_tree(CWD, path, flags).map_err(|error| failed(error.into()))?;
        let attributes = if device {
            READ_ONLY_DEVICE
        } else {
            READ_ONLY_DATA
        };
        add_attributes(&tree, attributes).map_err(failed)?;
        Ok(Self {
            tree,
            target: target.to_path_buf(),
            device,
        })
    }
}

/// Builds the root, makes it the process's own and forgets the host's.
pub(super) fn enter(root: &Root, sources: Option<Sources>) -> Result<(), JailFailure> {
    let failed = |detail: &'static str| {
        move |error: Errno| JailFailure::new(Step::Root, detail, &error.into())
    };
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(failed("make all mounts private"))?;
    // Before anything is mounted over: the new root may cover the way to a source.
    let sources = match sources {
        Some(sources) => sources,
        None => Sources::open(root)?,
    };
    let place = ["/tmp", "/proc", "/run", "/mnt"]
        .into_iter()
        .find(|place| Path::new(place).is_dir())
        .ok_or_else(|| JailFailure::refused(Step::Root, "no directory to mount the root on"))?;
    let options = std::ffi::CString::new(format!(
        "size={},nr_inodes={},mode=0755",
        root.size_bytes, root.inodes
    ))
    .map_err(|_| JailFailure::refused(Step::Root, "options of the root"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("magic", place, "tmpfs", flags, options.as_c_str())
        .map_err(failed("mount the root's tmpfs"))?;
    let top = rustix::fs::open(
        place,
        OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed("open the root"))?;

    populate(&top, root)?;
    for source in &sources.0 {
        attach(&top, source)?;
    }
    let scratch_point = root
        .scratch
        .as_ref()
        .map(|scratch| directory(&top, &scratch.path).map_err(|error| named(&scratch.path, &error)))
        .transpose()?;
    add_attributes(&top, READ_ONLY_DATA | libc::MOUNT_ATTR_NOEXEC)
        .map_err(|error| JailFailure::new(Step::Root, "make the root read-only", &error))?;
    if let (Some(scratch), Some(point)) = (&root.scratch, scratch_point) {
        mount_scratch(scratch, &point)?;
    }

    rustix::process::fchdir(&top).map_err(failed("enter the root"))?;
    drop(top);
    // With the same directory twice, the old root ends up mounted over the new one, from where one
    // unmount removes it (pivot_root(2)).
    rustix::process::pivot_root(".", ".").map_err(failed("pivot into the root"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed("detach the old root"))?;
    rustix::process::chdir("/").map_err(failed("enter the new root"))?;
    check(&sources)?;
    root.scratch.as_ref().map_or(Ok(()), check_scratch)
}

const SCRATCH_FLAGS: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// Mounts the writable directory on a descriptor of its mount point. It belongs to the user that mounts
/// it, who is the program's by now, and lets nobody else in; the limits are the kernel's, so that no file is ever counted by us.
fn mount_scratch(scratch: &Scratch, point: &OwnedFd) -> Result<(), JailFailure> {
    let failed = |error: io::Error| {
        let detail = format!("mount the writable {}", scratch.path.display());
        JailFailure::new(Step::Root, detail, &error)
    };
    let options = std::ffi::CString::new(format!(
        "size={},nr_inodes={},mode=0700",
        scratch.size_bytes, scratch.inodes
    ))
    .map_err(|_| JailFailure::refused(Step::Root, "options of the writable directory"))?;
    // mount(2) takes a path; the descriptor is entered so that the path is `.` and nothing is resolved.
    rustix::process::fchdir(point).map_err(|error| failed(error.into()))?;
    rustix::mount::mount("magic", ".", "tmpfs", SCRATCH_FLAGS, options.as_c_str())
        .map_err(|error| failed(error.into()))
}

fn check_scratch(scratch: &Scratch) -> Result<(), JailFailure> {
    let wanted = StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV | StatVfsMountFlags::NOEXEC;
    check_flags(&scratch.path, wanted)
}

/// Files, links and directories of the root's own tmpfs.
fn populate(top: &OwnedFd, root: &Root) -> Result<(), JailFailure> {
    for path in &root.directories {
        directory(top, path).map_err(|error| named(path, &error))?;
    }
    for file in &root.files {
        small_file(top, &file.path, &file.content, file.mode)
            .map_err(|error| named(&file.path, &error))?;
    }
    for link in &root.links {
        let made = parent(top, &link.path)
            .and_then(|(folder, name)| Ok(rustix::fs::symlinkat(&link.points_to, &folder, name)?));
        made.map_err(|error| named(&link.path, &error))?;
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> JailFailure {
    JailFailure::new(Step::Root, format!("make {}", path.display()), error)
}

fn small_file(top: &OwnedFd, path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let (folder, name) = parent(top, path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&folder, name, flags, Mode::RUSR)?;
    let mut rest = content.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = &rest[written..];
    }
    Ok(rustix::fs::fchmod(
        &file,
        Mode::from_raw_mode(mode & 0o777),
    )?)
}

fn attach(top: &OwnedFd, source: &Source) -> Result<(), JailFailure> {
    let failed = |error: io::Error| {
        let detail = format!("mount {}", source.target.display());
        JailFailure::new(Step::Root, detail, &error)
    };
    let kind = rustix::fs::fstat(&source.tree).map_err(|error| failed(error.into()))?;
    let target = if FileType::from_raw_mode(kind.st_mode) == FileType::Directory {
        directory(top, &source.target)
    } else {
        mount_point(top, &source.target)
    }
    .map_err(failed)?;
    rustix::mount::move_mount(
        &source.tree,
        "",
        &target,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
    .map_err(|error| failed(error.into()))
}

/// An empty file to mount a file on, or whatever file an earlier bind has there.
fn mount_point(top: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let (folder, name) = parent(top, path)?;
    let open = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&folder, name, open, Mode::empty()) {
        Err(Errno::NOENT) => {
            let make = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
            drop(rustix::fs::openat(&folder, name, make, Mode::RUSR)?);
            Ok(rustix::fs::openat(&folder, name, open, Mode::empty())?)
        }
        other => Ok(other?),
    }
}

/// The directory at `path` below `top`, made where it is missing.
fn directory(top: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let mut here = top.try_clone()?;
    for name in components(path)? {
        here = step_into(here.as_fd(), name)?;
    }
    Ok(here)
}

/// The directory that `path` lies in, and the last component.
fn parent<'path>(top: &OwnedFd, path: &'path Path) -> io::Result<(OwnedFd, &'path OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = directory(top, path.parent().unwrap_or(Path::new("/")))?;
    Ok((folder, name))
}

fn step_into(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            let open_to_all = Mode::from_raw_mode(0o755);
            rustix::fs::mkdirat(folder, name, open_to_all)?;
            Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?)
        }
        other => Ok(other?),
    }
}

/// The names on the way to an absolute path. Anything but plain names is refused.
fn components(path: &Path) -> io::Result<Vec<&OsStr>> {
    let mut parts = path.components();
    if parts.next() != Some(Component::RootDir) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    parts
        .map(|part| match part {
            Component::Normal(name) => Ok(name),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        })
        .collect()
}

/// Reads the flags back from the kernel, and tries to write. A plan of mounts proves nothing: a bind
/// that a remount missed has poisoned every later run of somebody else's service before.
fn check(sources: &Sources) -> Result<(), JailFailure> {
    let data = StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV;
    let device = StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOSUID | StatVfsMountFlags::NOEXEC;
    check_flags(Path::new("/"), data | StatVfsMountFlags::NOEXEC)?;
    for source in &sources.0 {
        check_flags(&source.target, if source.device { device } else { data })?;
    }
    match rustix::fs::mkdirat(CWD, "/.writable", Mode::RWXU) {
        Err(Errno::ROFS) => {}
        Ok(()) => {
            return Err(JailFailure::refused(
                Step::RootCheck,
                "the root is still writable",
            ));
        }
        Err(error) => {
            let detail = "try to write to the root";
            return Err(JailFailure::new(Step::RootCheck, detail, &error.into()));
        }
    }
    // Nothing of the old root may be left: `..` of the root is the root itself.
    let same = |path| rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
    match (same("/"), same("/..")) {
        (Ok(root), Ok(above)) if (root.st_dev, root.st_ino) == (above.st_dev, above.st_ino) => {
            Ok(())
        }
        _ => Err(JailFailure::refused(
            Step::RootCheck,
            "something is above the root",
        )),
    }
}

fn check_flags(path: &Path, wanted: StatVfsMountFlags) -> Result<(), JailFailure> {
    let found = rustix::fs::statvfs(path).map_err(|error| {
        let detail = format!("read back the mount flags of {}", path.display());
        JailFailure::new(Step::RootCheck, detail, &error.into())
    })?;
    if found.f_flag.contains(wanted) {
        return Ok(());
    }
    Err(JailFailure::refused(
        Step::RootCheck,
        format!("{} is not mounted as asked", path.display()),
    ))
}
