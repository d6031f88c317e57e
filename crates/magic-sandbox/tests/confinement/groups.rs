//! Control groups of this host, whichever kind it has.

use std::process::{Command, Stdio};
use std::time::Duration;

use magic_sandbox::{Ended, Groups, Layer, Layers, Leaf, Level, Limits, PidFd, Plan};

use crate::support::{PATIENCE, plan, run, wait};

fn with_leaf(name: &str, test: impl FnOnce(&Leaf) + std::panic::UnwindSafe) {
    let groups = Groups::discover(name).expect("control groups can be made");
    let leaf = groups.create_leaf("leaf").expect("a leaf");
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&leaf)));
    leaf.kill(PATIENCE).expect("the leaf can be emptied");
    let directories = leaf.directories();
    leaf.remove().expect("the leaf can be removed");
    groups.remove().expect("the subtree can be removed");
    assert!(directories.iter().all(|directory| !directory.exists()));
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// The plan's layers for tests of groups, which hold on hosts with an older Landlock too.
fn only_groups_matter(plan: &Plan) -> Layers {
    plan.layers
        .with(Layer::CgroupLimits, Level::BestEffort)
        .with(Layer::Landlock, Level::BestEffort)
}

#[test]
fn a_fork_bomb_stays_inside_and_dies() {
    with_leaf("bomb", |leaf| {
        leaf.set_limits(&Limits {
            pids: Some(20),
            cpu_millicores: Some(100),
            ..Limits::default()
        })
        .expect("limits");
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read go; bomb() { bomb | bomb & }; bomb; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let pid = i32::try_from(child.id()).expect("a process number");
        leaf.attach(pid).expect("it can be moved");
        assert_eq!(leaf.pids().expect("its number"), [pid]);
        drop(child.stdin.take());
        leaf.kill(PATIENCE).expect("the bomb can be killed");
        assert!(leaf.is_empty().expect("its processes"));
        child.wait().expect("the shell is reaped");
    });
}

#[test]
fn limits_can_rise_and_fall() {
    with_leaf("limits", |leaf| {
        for memory in [64 << 20, 128 << 20, 32 << 20] {
            let limits = Limits {
                memory_bytes: Some(memory),
                cpu_millicores: Some(500),
                pids: Some(5),
            };
            leaf.set_limits(&limits).expect("limits");
        }
        leaf.set_limits(&Limits::default()).expect("no limits");
    });
}

#[test]
fn processes_beyond_the_limit_are_refused() {
    with_leaf("pids", |leaf| {
        leaf.set_limits(&Limits {
            pids: Some(4),
            ..Limits::default()
        })
        .expect("limits");
        let code = "
import os, sys
made = 0
try:
    for _ in range(10):
        if os.fork() == 0:
            os.read(0, 1)
            os._exit(0)
        made += 1
except BlockingIOError:
    pass
print(made, flush=True)
os._exit(0)
";
        let mut plan = plan(code);
        plan.layers = only_groups_matter(&plan);
        let outcome = run(&plan, Some(leaf));
        let made: u32 = outcome.stdout.trim().parse().expect("a number");
        assert!(made < 4, "{made}");
    });
}

/// Reading before and after gives what one program used.
#[test]
fn counters_only_grow() {
    with_leaf("usage", |leaf| {
        let before = leaf.usage().expect("counters");
        let mut plan = plan("x = b'x' * (20 << 20)\nsum(range(1000000))");
        plan.layers = only_groups_matter(&plan);
        assert_eq!(run(&plan, Some(leaf)).ended, Ended::Exited(0));
        let after = leaf.usage().expect("counters");
        assert!(after.cpu_micros > before.cpu_micros, "{after:?}");
        assert!(after.memory_peak_bytes >= 20 << 20, "{after:?}");
        assert_eq!(after.oom_kills, before.oom_kills);
    });
}

/// A group that is used again tells of each program by itself.
#[test]
fn laps_tell_of_one_program() {
    with_leaf("laps", |leaf| {
        let used_by = |code: &str| {
            let mut plan = plan(code);
            plan.layers = only_groups_matter(&plan);
            assert_eq!(run(&plan, Some(leaf)).ended, Ended::Exited(0));
            leaf.lap()
        };
        let large = used_by("x = b'x' * (40 << 20)\nsum(range(3000000))");
        assert!(large.cpu_micros.expect("it is counted") > 0, "{large:?}");
        assert!(large.memory_peak_bytes >= Some(40 << 20), "{large:?}");
        let small = used_by("pass");
        assert!(small.cpu_micros < large.cpu_micros, "{small:?} {large:?}");
        // Where the kernel cannot count anew, it says nothing.
        assert!(
            small.memory_peak_bytes < large.memory_peak_bytes,
            "{small:?} {large:?}"
        );
        assert_eq!(leaf.lap().cpu_micros, Some(0));
    });
}

/// The subtree of a supervisor that was killed is gone after the next one has started.
#[test]
fn the_next_supervisor_sweeps_what_a_dead_one_left() {
    let first = Groups::discover("swept").expect("control groups can be made");
    let own = first.directories();
    // The same names, with the number of a process that does not exist.
    let stale: Vec<_> = own
        .iter()
        .map(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let mut parts: Vec<&str> = name.rsplitn(3, '-').collect();
            parts[1] = "4194305";
            parts.reverse();
            path.with_file_name(parts.join("-"))
        })
        .collect();
    for path in &stale {
        std::fs::create_dir(path).expect("a group");
        std::fs::create_dir(path.join("leaf")).expect("a group");
    }
    let mut orphan = Command::new("/bin/sleep")
        .arg("600")
        .spawn()
        .expect("a process");
    let pid = i32::try_from(orphan.id()).expect("a process number");
    for path in &stale {
        std::fs::write(path.join("leaf/cgroup.procs"), pid.to_string()).expect("it can be moved");
    }
    let process = PidFd::open(pid).expect("it lives");
    let second = Groups::discover("sweeping").expect("control groups can be made");
    assert_eq!(wait(&process), Ended::Signaled(9));
    // The standard library's handle must not try to reap it once more.
    let _ = orphan.try_wait();
    // The orphan was a zombie while the sweep ran, so that one more look may be needed.
    second.remove().expect("the subtree can be removed");
    let third = Groups::discover("sweeping").expect("control groups can be made");
    third.remove().expect("the subtree can be removed");
    assert!(
        own.iter().all(|path| path.exists()),
        "a living owner keeps its groups"
    );
    first.remove().expect("the subtree can be removed");
    assert!(stale.iter().all(|path| !path.exists()), "{stale:?}");
}

#[test]
fn killing_an_empty_leaf_is_nothing() {
    with_leaf("empty", |leaf| {
        leaf.kill(Duration::ZERO)
            .expect("there is nothing to wait for");
    });
}
