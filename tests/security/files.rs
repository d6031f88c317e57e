//! Class B: files. Nothing of the host but the read-only view is readable, and nothing is writable.

use crate::probe::{Probe, Suite, probing};
use crate::support::server::Controllers;
use serde_json::json;

/// Folders that a controller finds inside, or that programs usually can write to.
const FOLDERS: [&str; 9] = [
    "/",
    "/tmp",
    "/usr",
    "/usr/lib/python3",
    "/etc",
    "/dev",
    "/magic",
    "/magic/sdk",
    "/magic/controller",
];
const REFUSALS: &[&str] = &["EROFS", "EACCES", "EPERM", "ENOENT"];

/// What every host has, and what this server has: all readable outside.
#[test]
fn files_of_the_host_are_not_there() {
    let controllers = probing(Controllers::new(), "files", "Neighbor", "");
    let suite = Suite::start_with("files", "", controllers, &[]);
    let server = &suite.server;
    let program = std::fs::read_link(format!("/proc/{}/exe", server.pid())).expect("its program");
    let mut probes = Vec::new();
    for path in [
        "/etc/shadow".as_ref(),
        "/etc/hostname".as_ref(),
        "/etc/os-release".as_ref(),
        "/root".as_ref(),
        "/var".as_ref(),
        "/var/log".as_ref(),
        "/proc/self/environ".as_ref(),
        "/proc/1/root/etc/passwd".as_ref(),
        "/sys/kernel".as_ref(),
        program.as_path(),
        server.data.path(),
        &server.data.path().join("data"),
        server.controllers.path(),
        &server.controllers.path().join("neighbor/controller.py"),
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")),
    ] {
        probes.push(Probe::refused(
            "read",
            json!({"path": path}),
            &["ENOENT", "EACCES"],
        ));
    }
    let socket = json!({"path": server.socket()});
    probes.push(Probe::refused("look_at", socket, &["ENOENT"]));
    // The root itself is in no rule of the Landlock domain, and above it is itself.
    for path in ["/", "/..", "/../..", "/proc/self/root"] {
        let place = json!({"path": path});
        probes.push(Probe::refused("read", place, &["EACCES", "ENOENT"]));
    }
    suite.check(&probes);
}

/// Every way to make something, in every folder that exists inside.
#[test]
fn nothing_can_be_made() {
    let suite = Suite::start("files");
    let scratch = tempfile::tempdir().expect("a folder");
    std::fs::write(scratch.path().join("source"), "text").expect("a file");
    let outside = json!({"folder": scratch.path()});
    let mut probes = Vec::new();
    for folder in FOLDERS {
        for name in [
            "make_file",
            "make_directory",
            "make_link",
            "make_pipe",
            "make_device",
            "make_nameless_file",
            "make_socket",
        ] {
            let inside = json!({"folder": folder});
            probes.push(Probe::refused(name, inside, REFUSALS).outside(outside.clone()));
        }
        let link = json!({"folder": folder, "source": "/etc/passwd"});
        let link_outside =
            json!({"folder": scratch.path(), "source": scratch.path().join("source")});
        probes.push(Probe::refused("make_hard_link", link, REFUSALS).outside(link_outside));
    }
    suite.check(&probes);
}

/// Every way to change a file that is there.
#[test]
fn nothing_can_be_changed() {
    let suite = Suite::start("files");
    let scratch = tempfile::tempdir().expect("a folder");
    let (file, other) = (scratch.path().join("file"), scratch.path().join("other"));
    for path in [&file, &other] {
        std::fs::write(path, "text").expect("a file");
    }
    let files = [
        "/etc/passwd",
        "/magic/sdk/magic/__init__.py",
        "/magic/controller/controller.py",
        "/magic/controller/contract.yaml",
    ];
    let mut probes = Vec::new();
    for path in files {
        let inside = json!({"path": path});
        for name in [
            "open_to_write",
            "truncate",
            "change_mode",
            "change_owner",
            "change_times",
            "set_attribute",
            "rename",
        ] {
            let probe = Probe::refused(name, inside.clone(), REFUSALS);
            probes.push(probe.outside(json!({"path": file})));
        }
        let exchange = |one: &std::path::Path, two: &std::path::Path| json!({"path": one, "other": two, "number": libc::SYS_renameat2});
        let probe = Probe::refused(
            "exchange",
            exchange(path.as_ref(), "/etc/group".as_ref()),
            &["EPERM"],
        );
        probes.push(probe.outside(exchange(&file, &other)));
        for (name, number) in [
            ("open_beneath", libc::SYS_openat2),
            ("handle_of", libc::SYS_name_to_handle_at),
        ] {
            let inside = json!({"path": path, "number": number});
            let outside = json!({"path": file, "number": number});
            probes.push(Probe::refused(name, inside, &["EPERM"]).outside(outside));
        }
    }
    // Last, since outside it can be done once.
    let probe = Probe::refused("remove", json!({"path": "/etc/passwd"}), REFUSALS);
    probes.push(probe.outside(json!({"path": file})));
    suite.check(&probes);
}

/// Not a table of places but all of them: every file and folder that can be found is tried.
#[test]
fn no_file_and_no_folder_is_writable() {
    let suite = Suite::start("files");
    let scratch = tempfile::tempdir().expect("a folder");
    std::fs::write(scratch.path().join("file"), "text").expect("a file");
    let roots = json!({"roots": []});
    let outside = json!({"roots": [scratch.path()]});
    let reported = suite.report("write_anywhere", &roots);
    assert!(!reported.0, "{reported:?}");
    let looked: u32 = reported
        .1
        .split(' ')
        .nth(2)
        .and_then(|n| n.parse().ok())
        .expect("a number");
    assert!(looked >= 500, "only {looked} places were found");
    let reports = crate::probe::outside("files", &[("write_anywhere", &outside)]);
    assert!(reports[0].0, "{reports:?}");
}

/// Files that a controller reads are read by others too: a lock on one would be a message to them.
#[test]
fn no_file_can_be_locked() {
    let suite = Suite::start("files");
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("file");
    std::fs::write(&file, "text").expect("a file");
    let mut probes = Vec::new();
    for path in ["/etc/passwd", "/magic/sdk/magic/__init__.py"] {
        for how in ["whole", "record", "open file", "asking", "lease"] {
            let inside = json!({"path": path, "how": how});
            let probe = Probe::refused("lock", inside, &["EPERM"]);
            probes.push(probe.outside(json!({"path": file, "how": how})));
        }
    }
    suite.check(&probes);
}

/// At the first line of a request exactly four descriptors are open: null, two pipes, the channel.
#[test]
fn a_request_begins_with_four_descriptors() {
    for isolation in ["request", "pristine"] {
        let contract = format!("isolation: {isolation}");
        let suite = Suite::start_with("files", &contract, Controllers::new(), &[]);
        let (_, open) = suite.report("descriptors", &json!({}));
        let mut kinds = open.split(", ");
        // The jail opens null once for reading; whether it could be written does not matter.
        assert!(
            kinds.next().is_some_and(|null| null.starts_with("0 c ")),
            "{open}"
        );
        let rest: Vec<&str> = kinds.collect();
        assert_eq!(rest, ["1 p 1", "2 p 1", "3 s 2"], "{isolation}: {open}");
    }
}
