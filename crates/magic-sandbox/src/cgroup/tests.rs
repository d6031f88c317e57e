//! Positions of this process on hosts that differ, from the text of their files.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::position::Positions;
use super::v1::Separate;
use super::{Groups, Limits, check_name, files, sweep};

const V1_MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

fn directory<'positions>(
    positions: &'positions Positions,
    controller: &str,
) -> Option<&'positions Path> {
    positions
        .of_controller(controller)
        .map(|position| position.directory.as_path())
}

#[test]
fn each_controller_has_its_own_position() {
    let groups = "4:memory:/service/one\n2:cpu,cpuacct:/\n0::/\n";
    let positions = Positions::parse(groups, V1_MOUNTS);
    assert_eq!(
        directory(&positions, "memory"),
        Some(Path::new("/sys/fs/cgroup/memory/service/one"))
    );
    assert_eq!(
        directory(&positions, "cpuacct"),
        Some(Path::new("/sys/fs/cgroup/cpu,cpuacct/"))
    );
    assert_eq!(directory(&positions, "pids"), None);
    let unified = positions.unified().expect("the version 2 tree is mounted");
    assert_eq!(unified.directory, Path::new("/sys/fs/cgroup/unified/"));
}

/// In a container the mounted part of the tree begins at the container's own group.
#[test]
fn a_bound_part_of_the_tree_is_followed() {
    let mounts = "9 1 0:5 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    let positions = Positions::parse("0::/docker/abc/worker\n", mounts);
    let unified = positions
        .unified()
        .expect("the path lies in the mounted part");
    assert_eq!(unified.directory, Path::new("/sys/fs/cgroup/worker"));
}

/// A process outside its own cgroup namespace's root sees a path that climbs; no directory is its own.
#[test]
fn a_path_that_climbs_is_no_position() {
    let mounts = "9 1 0:5 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
    let positions = Positions::parse("0::/../other\n", mounts);
    assert_eq!(positions.unified(), None);
    let elsewhere = "9 1 0:5 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
    assert_eq!(
        Positions::parse("0::/docker/xyz\n", elsewhere).unified(),
        None
    );
}

#[test]
fn spaces_in_mount_points_are_unescaped() {
    let mounts = "9 1 0:5 / /mnt/control\\040groups rw - cgroup2 cgroup rw\n";
    let positions = Positions::parse("0::/a\n", mounts);
    let unified = positions.unified().expect("the tree is mounted");
    assert_eq!(unified.directory, Path::new("/mnt/control groups/a"));
}

#[test]
fn keyed_files_are_read_by_whole_keys() {
    let events = "low 0\noom 3\noom_kill 2\noom_group_kill 1\n";
    assert_eq!(files::keyed(events, "oom_kill"), 2);
    assert_eq!(files::keyed(events, "kill"), 0);
}

#[test]
fn names_are_single_plain_components() {
    for name in ["", ".", "..", "a/b", "a b", "cgroup.procs", "x\n"] {
        assert!(check_name(name).is_err(), "{name:?}");
    }
    assert!(check_name("leaf-7_a").is_ok());
}

/// Without `cgroup.kill`: no new processes, and a signal to each until none is left.
#[test]
fn a_throttled_fork_bomb_dies_without_a_version_2_tree() {
    let positions = Positions::of_this_process().expect("control groups are mounted");
    let Ok(separate) = Separate::find(&positions) else {
        // A host with version 2 alone always has cgroup.kill (Linux 5.14).
        assert!(positions.unified().is_some());
        return;
    };
    let groups = Groups {
        hierarchy: Arc::new(separate.without_unified()),
        base: sweep::own_name("alone").expect("a name"),
    };
    for directory in groups.directories() {
        std::fs::create_dir(directory).expect("a group");
    }
    let leaf = groups.create_leaf("bomb").expect("a leaf");
    assert_eq!(groups.kind(), "v1");
    leaf.set_limits(&Limits {
        memory_bytes: Some(128 << 20),
        cpu_millicores: Some(100),
        pids: Some(30),
    })
    .expect("limits");
    let mut child = Command::new("/bin/sh")
        .args(["-c", "read go; bomb() { bomb | bomb & }; bomb; wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    leaf.attach(i32::try_from(child.id()).expect("a number"))
        .expect("it can be moved");
    drop(child.stdin.take());
    let killed = leaf.kill(Duration::from_secs(60));
    child.wait().expect("the shell is reaped");
    let removed = leaf.remove();
    groups.remove().expect("the subtree can be removed");
    killed.expect("the bomb can be killed");
    removed.expect("the leaf can be removed");
}
