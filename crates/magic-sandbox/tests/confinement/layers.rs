//! Each layer alone: an attack that only this layer stops works with only this layer off.
//!
//! Layers overlap on purpose, so an attack that one layer stops is often stopped by a second. To credit
//! a layer with its own work, the others that would stop the same attack are off in *both* runs, and
//! are named beside it.

use std::net::TcpListener;

use magic_sandbox::{Confined, Descriptors, Ended, Enforcement, Groups, Layer, Level, Limits};

use crate::support::{null, plan, run, run_outside, spawner, wait};

/// Runs `attack` with `layer` off and with it on; both times with `also_off` off. The attack prints
/// `reached` when it worked.
fn only_this_layer_stops(layer: Layer, also_off: &[Layer], attack: &str) {
    let mut with = plan(attack);
    for other in also_off {
        with.layers = with.layers.with(*other, Level::Off);
    }
    let mut without = with.clone();
    without.layers = without.layers.with(layer, Level::Off);

    let open = run(&without, None);
    assert_eq!(open.stdout, "reached\n", "{layer} off: {}", open.stderr);
    assert_eq!(open.report.enforcement(layer), &Enforcement::Off);
    let closed = run(&with, None);
    assert_eq!(closed.stdout, "refused\n", "{layer} on: {}", closed.stderr);
    assert_eq!(closed.report.enforcement(layer), &Enforcement::Full);
    assert_eq!(closed.ended, Ended::Exited(0));
}

/// Python code that prints `reached` unless `attempt` raises an `OSError`.
fn unless_refused(attempt: &str) -> String {
    format!(
        "import os, socket, ctypes\ntry:\n    {attempt}\n    print('reached')\nexcept OSError:\n    print('refused')\n"
    )
}

/// Python code that prints `reached` if `condition` holds.
fn if_true(condition: &str) -> String {
    format!("import os, ctypes\nprint('reached' if {condition} else 'refused')")
}

#[test]
fn every_layer_stands_in_full() {
    let groups = Groups::discover("full").expect("control groups can be made");
    let leaf = groups.create_leaf("one").expect("a leaf");
    leaf.set_limits(&Limits {
        memory_bytes: Some(256 << 20),
        cpu_millicores: Some(1_000),
        pids: Some(16),
    })
    .expect("limits");
    let mut plan = plan("print('up')");
    plan.layers = plan.layers.with(Layer::CgroupLimits, Level::Required);
    let outcome = run(&plan, Some(&leaf));
    leaf.remove().expect("the leaf is empty");
    groups.remove().expect("the subtree is empty");
    assert_eq!(outcome.stdout, "up\n", "{}", outcome.stderr);
    assert!(outcome.report.is_full(), "{:?}", outcome.report);
}

#[test]
fn user_namespace_hides_the_host_identity() {
    only_this_layer_stops(Layer::User, &[], &if_true("os.getuid() != 1000"));
}

#[test]
fn pid_namespace_hides_the_supervisor() {
    // Without the right to signal it, a process that exists answers EPERM and one that does not, ESRCH.
    let attack = format!(
        "import os\ntry:\n    os.kill({}, 0)\n    print('reached')\nexcept PermissionError:\n    print('reached')\nexcept ProcessLookupError:\n    print('refused')",
        std::process::id()
    );
    assert_eq!(run_outside(&attack), "reached\n");
    only_this_layer_stops(Layer::Pid, &[Layer::Seccomp, Layer::Landlock], &attack);
}

#[test]
fn private_root_hides_the_files_of_the_host() {
    let attack = unless_refused("open('/etc/group').read()");
    assert_eq!(run_outside(&attack), "reached\n");
    only_this_layer_stops(Layer::Mount, &[Layer::Landlock], &attack);
}

#[test]
fn network_namespace_hides_the_loopback_of_the_host() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let attack = unless_refused(&format!(
        "socket.create_connection(('127.0.0.1', {port}), 5)"
    ));
    assert_eq!(run_outside(&attack), "reached\n");
    only_this_layer_stops(Layer::Network, &[Layer::Seccomp, Layer::Landlock], &attack);
}

#[test]
fn ipc_namespace_hides_shared_memory_of_the_host() {
    let key = 0x6d61_6700 + i64::from(std::process::id() & 0xff);
    // IPC_CREAT | IPC_EXCL | 0666
    let made = run_outside(&format!(
        "import ctypes; print(ctypes.CDLL(None).shmget({key}, 4096, 0o3666))"
    ));
    let id: i64 = made.trim().parse().expect("a segment id");
    assert!(id >= 0, "the segment could not be made");
    let attack = if_true(&format!("ctypes.CDLL(None).shmget({key}, 0, 0) >= 0"));
    let outcome = std::panic::catch_unwind(|| {
        only_this_layer_stops(Layer::Ipc, &[Layer::Seccomp], &attack);
    });
    // IPC_RMID
    run_outside(&format!(
        "import ctypes; ctypes.CDLL(None).shmctl({id}, 0, None)"
    ));
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn uts_namespace_hides_the_name_of_the_host() {
    only_this_layer_stops(
        Layer::Uts,
        &[],
        &if_true("os.uname().nodename != 'sandbox'"),
    );
}

#[test]
fn cgroup_namespace_hides_the_groups_of_the_host() {
    let groups = Groups::discover("hidden").expect("control groups can be made");
    let leaf = groups.create_leaf("one").expect("a leaf");
    let attack = if_true("'magic-hidden' in open('/proc/self/cgroup').read()");
    let mut with = plan(&attack);
    // Without a private root there is a /proc to read the paths from.
    for other in [Layer::Mount, Layer::Landlock] {
        with.layers = with.layers.with(other, Level::Off);
    }
    with.layers = with.layers.with(Layer::CgroupLimits, Level::Required);
    let mut without = with.clone();
    without.layers = without.layers.with(Layer::CgroupNamespace, Level::Off);
    let open = run(&without, Some(&leaf));
    let closed = run(&with, Some(&leaf));
    leaf.remove().expect("the leaf is empty");
    groups.remove().expect("the subtree is empty");
    assert_eq!(open.stdout, "reached\n", "{}", open.stderr);
    assert_eq!(closed.stdout, "refused\n", "{}", closed.stderr);
}

/// The root itself is in no rule of the domain, though every file in it is world-readable.
#[test]
fn landlock_keeps_the_program_to_the_listed_paths() {
    only_this_layer_stops(Layer::Landlock, &[], &unless_refused("os.listdir('/')"));
}

#[test]
fn landlock_stops_tcp_without_the_other_two() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let attack = unless_refused(&format!(
        "socket.create_connection(('127.0.0.1', {port}), 5)"
    ));
    only_this_layer_stops(Layer::Landlock, &[Layer::Seccomp, Layer::Network], &attack);
}

/// A process of the same user id outside the domain: only the scope protects it. Inside one domain
/// signals pass, which is why every worker of a template enters another one.
#[test]
fn landlock_stops_signals_to_processes_outside_the_domain() {
    let victim = run_victim();
    let attack = unless_refused(&format!("os.kill({}, 0)", victim.pid));
    let others = [Layer::Seccomp, Layer::Pid, Layer::User];
    // Without user namespaces attacker and victim are one user on the host.
    only_this_layer_stops(Layer::Landlock, &others, &attack);
    victim.pidfd.kill().expect("the victim can be killed");
    wait(&victim.pidfd);
}

/// A confined process with the same host identity as the attacker, waiting for a byte that never comes.
fn run_victim() -> Confined {
    let (silence, never) = std::io::pipe().expect("a pipe");
    let mut plan = plan("import os; os.read(0, 1)");
    plan.layers = plan.layers.with(Layer::User, Level::Off);
    let descriptors = Descriptors::new(silence.into(), null(), null()).and(never.into());
    spawner()
        .spawn(&plan, descriptors, None)
        .expect("the victim starts")
}

#[test]
fn seccomp_stops_sockets() {
    let attack = unless_refused("socket.socket(socket.AF_INET, socket.SOCK_DGRAM)");
    assert_eq!(run_outside(&attack), "reached\n");
    only_this_layer_stops(Layer::Seccomp, &[], &attack);
}

#[test]
fn capabilities_are_gone_from_the_bounding_set() {
    // PR_CAPBSET_READ of CAP_SYS_ADMIN
    let attack = if_true("ctypes.CDLL(None).prctl(23, 21, 0, 0, 0) == 1");
    only_this_layer_stops(Layer::Capabilities, &[], &attack);
}

#[test]
fn resource_limits_bound_open_files() {
    let attack = unless_refused("[os.dup(1) for _ in range(300)]");
    only_this_layer_stops(Layer::ResourceLimits, &[], &attack);
}

#[test]
fn group_limits_bound_memory() {
    let groups = Groups::discover("memory").expect("control groups can be made");
    let attack = "block = b'x' * (192 << 20)\nprint('reached', flush=True)";
    let limited = groups.create_leaf("limited").expect("a leaf");
    limited
        .set_limits(&Limits {
            memory_bytes: Some(64 << 20),
            ..Limits::default()
        })
        .expect("limits");
    let mut plan = plan(attack);
    let open = run(&plan, Some(&limited));
    plan.layers = plan.layers.with(Layer::CgroupLimits, Level::Required);
    let closed = run(&plan, Some(&limited));
    let usage = limited.usage().expect("counters");
    limited.remove().expect("the leaf is empty");
    groups.remove().expect("the subtree is empty");
    assert_eq!(open.stdout, "reached\n", "{}", open.stderr);
    assert_eq!(closed.stdout, "");
    assert_eq!(closed.ended, Ended::Signaled(9));
    assert!(usage.oom_kills >= 1, "{usage:?}");
}
