//! Class D: system calls and privileges.

use crate::probe::Inside::{Ends, Works};
use crate::probe::{Probe, Suite};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn reach(number: libc::c_long, arguments: Value) -> Value {
    json!({"number": number, "arguments": arguments})
}

/// Calls that exist, are dangerous, and answer "not permitted". Outside each reaches the kernel's own code.
#[test]
fn dangerous_calls_are_refused() {
    let suite = Suite::start("system_calls");
    let calls = [
        // Sockets by name, and what io_uring would do in their place.
        (libc::SYS_socket, json!([1, 1, 0])),
        (libc::SYS_bind, json!([1, "page", 16])),
        (libc::SYS_connect, json!([1, "page", 16])),
        (libc::SYS_listen, json!([1, 1])),
        (libc::SYS_accept4, json!([1, 0, 0, 0])),
        (libc::SYS_io_uring_setup, json!([1, "page"])),
        (libc::SYS_io_uring_enter, json!([1, 0, 0, 0, 0, 0])),
        (libc::SYS_io_uring_register, json!([1, 0, 0, 0])),
        // File systems.
        (libc::SYS_mount, json!(["none", "/nowhere", "tmpfs", 0, 0])),
        (libc::SYS_umount2, json!(["/nowhere", 0])),
        (libc::SYS_pivot_root, json!(["/nowhere", "/nowhere"])),
        (libc::SYS_chroot, json!(["/"])),
        (libc::SYS_fsopen, json!(["tmpfs", 0])),
        (libc::SYS_fsconfig, json!([1, 0, 0, 0, 0])),
        (libc::SYS_fsmount, json!([1, 0, 0])),
        (libc::SYS_fspick, json!([-100, "/", 0])),
        (libc::SYS_move_mount, json!([1, "", -100, "/nowhere", 4])),
        (libc::SYS_open_tree, json!([-100, "/", 1])),
        (
            libc::SYS_mount_setattr,
            json!([-100, "/nowhere", 0, "page", 32]),
        ),
        (libc::SYS_openat2, json!([-100, "/", "page", 24])),
        (libc::SYS_open_by_handle_at, json!([1, "page", 0])),
        (
            libc::SYS_name_to_handle_at,
            json!([-100, "/", "page", "page", 0]),
        ),
        (libc::SYS_mknodat, json!([-100, "/nowhere/x", 0o10644, 0])),
        (
            libc::SYS_linkat,
            json!([-100, "/nowhere", -100, "/nowhere", 0]),
        ),
        (libc::SYS_symlinkat, json!(["x", -100, "/nowhere/x"])),
        (
            libc::SYS_renameat2,
            json!([-100, "/nowhere", -100, "/nowhere", 2]),
        ),
        (libc::SYS_fchownat, json!([-100, "/nowhere", 0, 0, 0])),
        (libc::SYS_setxattr, json!(["/nowhere", "user.x", "1", 1, 0])),
        (libc::SYS_quotactl, json!([0, 0, 0, 0])),
        (libc::SYS_acct, json!(["/nowhere"])),
        (libc::SYS_inotify_init1, json!([0])),
        (libc::SYS_fanotify_init, json!([0, 0])),
        // Objects that outlive a process, and memory that two can share.
        (libc::SYS_shmget, json!([0, 4096, 0o1600])),
        (libc::SYS_semget, json!([0, 1, 0o1600])),
        (libc::SYS_msgget, json!([0, 0o1600])),
        (libc::SYS_mq_open, json!(["probe", 0o102, 0o600, 0])),
        (libc::SYS_memfd_create, json!(["probe", 0])),
        (libc::SYS_memfd_secret, json!([0])),
        (libc::SYS_add_key, json!(["user", "probe", "x", 1, -3])),
        (libc::SYS_request_key, json!(["user", "probe", 0, 0])),
        (libc::SYS_keyctl, json!([0, -3, 0])),
        // Others and the machine.
        (libc::SYS_ptrace, json!([0, 0, 0, 0])),
        (libc::SYS_pidfd_getfd, json!([1, 0, 0])),
        (libc::SYS_pidfd_send_signal, json!([1, 0, 0, 0])),
        (libc::SYS_process_madvise, json!([1, 0, 0, 0, 0])),
        (libc::SYS_perf_event_open, json!(["page", 0, -1, -1, 0])),
        (libc::SYS_sched_setaffinity, json!([0, 8, "page"])),
        (libc::SYS_sched_setattr, json!([0, "page", 0])),
        (libc::SYS_mlockall, json!([0])),
        (libc::SYS_sethostname, json!(["probe", 5])),
        (libc::SYS_setdomainname, json!(["probe", 5])),
        (libc::SYS_settimeofday, json!([0, 0])),
        (libc::SYS_clock_settime, json!([99, "page"])),
        (libc::SYS_adjtimex, json!(["page"])),
        (libc::SYS_splice, json!([1, 0, 1, 0, 0, 0])),
        (libc::SYS_vmsplice, json!([1, 0, 0, 0])),
        (libc::SYS_mincore, json!([0, 0, 0])),
        (libc::SYS_readahead, json!([1, 0, 0])),
        // cachestat
        (451, json!([1, "page", "page", 0])),
        (libc::SYS_sendmmsg, json!([1, "page", 1, 0])),
        (libc::SYS_recvmmsg, json!([1, "page", 1, 0, 0])),
        (libc::SYS_setsockopt, json!([1, 1, 50, "page", 4])),
        (libc::SYS_seccomp, json!([2, 0, "page"])),
        (libc::SYS_setuid, json!([0])),
        (libc::SYS_setgid, json!([0])),
        (libc::SYS_setresuid, json!([0, 0, 0])),
        (libc::SYS_setgroups, json!([0, 0])),
        (libc::SYS_capset, json!(["page", 0])),
        (libc::SYS_setsid, json!([])),
        (libc::SYS_setpgid, json!([0, 0])),
        (libc::SYS_setns, json!([1, 0])),
        (libc::SYS_personality, json!([0x0004_0000])),
        (libc::SYS_timer_create, json!([0, 0, "page"])),
        (libc::SYS_sync, json!([])),
    ];
    let probes: Vec<Probe> = calls
        .into_iter()
        .map(|(number, arguments)| {
            // A session leader cannot make a session, and setsid of a fork that is none succeeds.
            Probe::refused("reach", reach(number, arguments), &["EPERM"])
        })
        .collect();
    suite.check(&probes);
}

/// Calls without any innocent use end the process, and the answer says that the sandbox did it.
#[test]
fn hopeless_calls_end_in_e2005() {
    let suite = Suite::start("system_calls");
    let calls = [
        (libc::SYS_init_module, json!(["page", 1, ""])),
        (libc::SYS_finit_module, json!([99, "", 0])),
        (libc::SYS_delete_module, json!(["no_such_module", 0])),
        (libc::SYS_kexec_file_load, json!([99, 99, 0, "", 0])),
        (libc::SYS_reboot, json!([0, 0, 0, 0])),
        (libc::SYS_bpf, json!([99, "page", 8])),
        (libc::SYS_userfaultfd, json!([1])),
        (libc::SYS_process_vm_writev, json!([1, 0, 0, 0, 0, 0])),
        (libc::SYS_swapon, json!(["/nowhere", 0])),
    ];
    let mut probes = Vec::new();
    for (number, arguments) in calls {
        // In a fork the fork dies; in the worker itself the request has its code.
        let probe = Probe::refused("reach", reach(number, arguments), &["signal 31"]);
        // A kernel may be built without modules or without exchanging itself.
        let optional = [
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_kexec_file_load,
        ];
        probes.push(if optional.contains(&number) {
            probe.only_inside()
        } else {
            probe
        });
        let own = json!({"numbers": [number]});
        probes.push(Probe::new("sweep_unknown", own, Ends("E2005", "none")).only_inside());
    }
    suite.check(&probes);
}

/// No namespace by any of the calls that make or enter one. clone3 answers "no such call", so that C
/// libraries fall back to a call that can be judged.
#[test]
fn no_namespace_can_be_made() {
    let suite = Suite::start("system_calls");
    let mut probes = Vec::new();
    for flag in [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ] {
        let unshare = reach(libc::SYS_unshare, json!([flag]));
        probes.push(Probe::refused("answer", unshare, &["EPERM"]));
        let clone = json!({"number": libc::SYS_clone, "flags": flag});
        probes.push(Probe::refused("clone", clone, &["EPERM"]));
    }
    // CLONE_NEWTIME exists for unshare and clone3 alone.
    let time = reach(libc::SYS_unshare, json!([0x80]));
    probes.push(Probe::refused("answer", time, &["EPERM"]));
    let clone3 = reach(libc::SYS_clone3, json!(["page", 8]));
    probes.push(Probe::refused("reach", clone3, &["ENOSYS"]));
    suite.check(&probes);
}

#[test]
fn no_socket_of_any_family() {
    let suite = Suite::start("system_calls");
    let pair = |family: i32, kind: i32| json!({"family": family, "kind": kind});
    suite.check(&[
        Probe::refused("make_sockets", json!({}), &["EPERM"]),
        Probe::new("socket_pair", pair(libc::AF_UNIX, libc::SOCK_STREAM), Works),
        Probe::new(
            "socket_pair",
            pair(libc::AF_UNIX, libc::SOCK_SEQPACKET),
            Works,
        ),
        // A datagram socket can send to any name, even one of a pair.
        Probe::refused(
            "socket_pair",
            pair(libc::AF_UNIX, libc::SOCK_DGRAM),
            &["EPERM"],
        ),
        Probe::refused(
            "socket_pair",
            pair(libc::AF_UNIX, libc::SOCK_RAW),
            &["EPERM"],
        ),
        Probe::refused(
            "socket_pair",
            pair(libc::AF_TIPC, libc::SOCK_STREAM),
            &["EPERM"],
        )
        .only_inside(),
        Probe::refused("name_a_pair", json!({}), &["EPERM"]),
        Probe::refused("shared_memory_file", json!({}), &["ENOENT", "EACCES"]),
    ]);
}

/// Each hostile use of a call beside the ordinary ones, as Python makes them.
#[test]
fn sockets_and_files_are_used_in_ordinary_ways_only() {
    let suite = Suite::start("system_calls");
    let none = json!({});
    suite.check(&[
        Probe::new("ordinary_messages", none.clone(), Works),
        Probe::new("ordinary_options", none.clone(), Works),
        Probe::new("ordinary_reading", none.clone(), Works),
        Probe::refused("send_out_of_band", none.clone(), &["EPERM"]),
        Probe::refused("send_message_out_of_band", none.clone(), &["EPERM"]),
        Probe::refused("receive_out_of_band", none.clone(), &["EPERM"]),
        Probe::refused("handle_on_peer", none.clone(), &["EPERM"]),
        Probe::refused("handles_with_messages", none.clone(), &["EPERM"]),
        Probe::refused("attach_filter", none.clone(), &["EPERM"]),
        Probe::refused("ask_the_cache", none.clone(), &["EPERM"]),
        Probe::refused("empty_the_cache", none, &["EPERM"]),
    ]);
}

/// Options of prctl that would open the process, tie it to others or change how it is watched.
#[test]
fn processes_cannot_loosen_themselves() {
    let suite = Suite::start("system_calls");
    let mut probes: Vec<Probe> = [
        (libc::PR_SET_PDEATHSIG, json!([0])),
        (libc::PR_SET_DUMPABLE, json!([1])),
        (libc::PR_SET_KEEPCAPS, json!([0])),
        (libc::PR_SET_TIMING, json!([0])),
        (libc::PR_SET_SECCOMP, json!([2, "page"])),
        (libc::PR_CAPBSET_DROP, json!([0])),
        (libc::PR_SET_TSC, json!([1])),
        (libc::PR_SET_SECUREBITS, json!([0])),
        (libc::PR_SET_TIMERSLACK, json!([1])),
        (libc::PR_MCE_KILL, json!([0])),
        (libc::PR_SET_PTRACER, json!([-1])),
        (libc::PR_SET_CHILD_SUBREAPER, json!([1])),
        (libc::PR_SET_THP_DISABLE, json!([0])),
        (libc::PR_CAP_AMBIENT, json!([4])),
        (libc::PR_SET_SPECULATION_CTRL, json!([0, 2])),
        (libc::PR_SCHED_CORE, json!([0, 0, 0, 0])),
        // PR_SET_SYSCALL_USER_DISPATCH, off.
        (59, json!([0])),
    ]
    .into_iter()
    .map(|(option, rest)| {
        let mut arguments = vec![json!(option)];
        arguments.extend(rest.as_array().expect("a list").iter().cloned());
        arguments.resize(6, json!(0));
        Probe::refused(
            "reach",
            reach(libc::SYS_prctl, json!(arguments)),
            &["EPERM"],
        )
    })
    .collect();
    let privileges = json!({"number": libc::SYS_prctl});
    probes.push(Probe::refused(
        "regain_privileges",
        privileges,
        &["no new privileges"],
    ));
    for which in [
        "RLIMIT_STACK",
        "RLIMIT_CORE",
        "RLIMIT_NOFILE",
        "RLIMIT_MEMLOCK",
    ] {
        let refusals = &["EPERM", "not allowed to raise maximum limit"];
        let probe = Probe::refused("raise_limit", json!({"which": which}), refusals);
        // Root in a container may lack the right to raise what has an end already.
        let endless = ["RLIMIT_STACK", "RLIMIT_CORE"].contains(&which);
        probes.push(if endless { probe } else { probe.only_inside() });
    }
    let memory_map = reach(libc::SYS_prctl, json!([libc::PR_SET_MM, 99, 0, 0, 0, 0]));
    probes.push(Probe::refused("reach", memory_map, &["EPERM"]).only_inside());
    probes.push(Probe::new(
        "lower_limit",
        json!({"which": "RLIMIT_NOFILE"}),
        Works,
    ));
    suite.check(&probes);
}

/// Numbers that pass the filter with zeros as arguments. A change of this list is a change of the
/// sandbox, and must be meant.
#[cfg(target_arch = "x86_64")]
const PASSING: &str = include_str!("passing_calls.x86_64");

/// Every number there is and many that are not: what answers is on the list, and nothing hangs.
#[test]
#[cfg(target_arch = "x86_64")]
fn only_listed_numbers_answer() {
    let suite = Suite::start("system_calls");
    let listed: BTreeMap<u32, &str> = PASSING
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (number, name) = line.split_once(' ').expect("a number and a name");
            (number.parse().expect("a number"), name)
        })
        .collect();
    let numbers: Vec<u32> = (0..=600).collect();
    let passing = passing(&suite, &numbers, 0.05);
    let unlisted: Vec<u32> = passing
        .into_keys()
        .filter(|number| !listed.contains_key(number))
        .collect();
    // On a busy machine a refusal may come later than the alarm.
    let unlisted = self::passing(&suite, &unlisted, 5.0);
    assert_eq!(unlisted, BTreeMap::new(), "these passed and are not listed");

    // The numbers of x32, of the far future, and those that look negative.
    let unknown: Vec<u64> = (0..=550)
        .map(|number| 0x4000_0000 + number)
        .chain([1_000, 4_096, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])
        .collect();
    let reported = suite.report("sweep_unknown", &json!({"numbers": unknown}));
    assert_eq!(reported, (true, "{}".to_owned()));
}

/// Which of these numbers answer other than by a refusal, and how.
fn passing(suite: &Suite, numbers: &[u32], seconds: f64) -> BTreeMap<u32, String> {
    let (_, answers) = suite.report("sweep", &json!({"numbers": numbers, "seconds": seconds}));
    let answers: BTreeMap<String, String> = serde_json::from_str(&answers).expect("answers");
    assert_eq!(answers.len(), numbers.len());
    answers
        .into_iter()
        .filter(|(_, answer)| !["EPERM", "ENOSYS", "signal 31"].contains(&answer.as_str()))
        .map(|(number, answer)| (number.parse().expect("a number"), answer))
        .collect()
}
