//! Workers of one template share a user id and a process namespace, so each is an enemy of the others.
//!
//! Every attack sweeps all process numbers there are: among them a running sibling, the stocked workers
//! and the template. Nothing may be reached, and no number may answer differently from the others, since
//! that alone would tell who exists.

use crate::probe::{Probe, Suite};
use crate::support::traces;
use serde_json::{Value, json};

/// Calls that take the number of a process, each with its arguments.
fn attacks() -> Vec<(libc::c_long, Value)> {
    // SIGURG, which does nothing by default.
    let harmless = libc::SIGURG;
    vec![
        (libc::SYS_kill, json!(["pid", 0])),
        (libc::SYS_kill, json!(["pid", harmless])),
        (libc::SYS_kill, json!(["-pid", harmless])),
        (libc::SYS_tkill, json!(["pid", harmless])),
        (libc::SYS_tgkill, json!(["pid", "pid", harmless])),
        (
            libc::SYS_rt_sigqueueinfo,
            json!(["pid", harmless, "information"]),
        ),
        (libc::SYS_clock_gettime, json!(["clock", "page"])),
        (libc::SYS_clock_getres, json!(["clock", "page"])),
        (
            libc::SYS_rt_tgsigqueueinfo,
            json!(["pid", "pid", harmless, "information"]),
        ),
        (libc::SYS_pidfd_open, json!(["pid", 0])),
        (libc::SYS_ptrace, json!([0x4206, "pid", 0, 0])),
        (
            libc::SYS_process_vm_readv,
            json!(["pid", "vector", 1, "vector", 1, 0]),
        ),
        (libc::SYS_kcmp, json!(["pid", "self", 0, 0, 0])),
        (libc::SYS_prlimit64, json!(["pid", 7, 0, "page"])),
        (libc::SYS_setpriority, json!([0, "pid", 0])),
        (libc::SYS_getpriority, json!([0, "pid"])),
        (libc::SYS_sched_setscheduler, json!(["pid", 0, "page"])),
        (libc::SYS_sched_setparam, json!(["pid", "page"])),
        (libc::SYS_sched_getaffinity, json!(["pid", 128, "page"])),
        (libc::SYS_sched_getscheduler, json!(["pid"])),
        (libc::SYS_sched_getparam, json!(["pid", "page"])),
        (libc::SYS_sched_getattr, json!(["pid", "page", 48, 0])),
        (libc::SYS_sched_rr_get_interval, json!(["pid", "page"])),
        (libc::SYS_getpgid, json!(["pid"])),
        (libc::SYS_getsid, json!(["pid"])),
        (libc::SYS_get_robust_list, json!(["pid", "page", "page"])),
        (libc::SYS_ioprio_get, json!([1, "pid"])),
        (libc::SYS_ioprio_set, json!([1, "pid", 0])),
        (libc::SYS_migrate_pages, json!(["pid", 64, "page", "page"])),
        (libc::SYS_move_pages, json!(["pid", 0, 0, 0, 0, 0])),
    ]
}

#[test]
fn no_process_can_be_seen_signalled_or_changed() {
    let suite = Suite::start("neighbours");
    // A request of the same controller is under way, two workers are in stock.
    let sibling = suite.hold("sibling");
    let before = traces::descendants(suite.server.pid());
    let mut probes = Vec::new();
    for (number, arguments) in attacks() {
        let inside = json!({"number": number, "arguments": arguments});
        let mut outside = inside.clone();
        outside["neighbours"] = json!(3);
        probes.push(Probe::refused("attack_all", inside, &["EPERM"]).outside(outside));
    }
    let capget = json!({"number": libc::SYS_capget});
    let capget_outside = json!({"number": libc::SYS_capget, "neighbours": 3});
    probes.push(Probe::refused("ask_capabilities", capget, &["EPERM"]).outside(capget_outside));
    for whom in [-1, 0] {
        let group = json!({"number": libc::SYS_kill, "whom": whom});
        let mut outside = group.clone();
        outside["neighbours"] = json!(1);
        probes.push(Probe::refused("signal_group", group, &["EPERM"]).outside(outside));
    }
    let owner = json!({"number": libc::SYS_fcntl});
    probes.push(Probe::refused("signal_by_descriptor", owner, &["EPERM"]));
    let clone = json!({"number": libc::SYS_clone});
    probes.push(Probe::refused("adopt", clone, &["EPERM"]));
    let others = Probe::refused("wait_for_others", json!({}), &["ECHILD"]);
    probes.push(others.outside(json!({"neighbours": 1})));
    suite.check(&probes);

    let after = traces::descendants(suite.server.pid());
    assert!(after.contains(&sibling.1), "the sibling is gone");
    let template = traces::parent(sibling.1).expect("the sibling lives");
    assert!(before.contains(&template) && after.contains(&template));
}
