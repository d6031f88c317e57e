//! What the host sees of a worker, a stocked worker and a template: read from /proc, not asked of them.

use crate::probe::Suite;
use crate::support::server::wait_for;
use crate::support::traces;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A running worker and all other processes of its server's sandboxes.
fn confined(suite: &Suite) -> (std::net::TcpStream, Vec<u32>) {
    let (connection, pid) = suite.hold("watched");
    let all = wait_for("a worker in stock beside the running one", || {
        let all = traces::descendants(suite.server.pid());
        (all.len() >= 3).then_some(all)
    });
    assert!(all.contains(&pid));
    (connection, all)
}

fn status(pid: u32) -> BTreeMap<String, String> {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .expect("a living process")
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect()
}

#[test]
fn processes_have_no_privileges() {
    let suite = Suite::start("files");
    let (_connection, all) = confined(&suite);
    for pid in all {
        let status = status(pid);
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status[set], "0000000000000000", "{set} of {pid}");
        }
        assert_eq!(status["NoNewPrivs"], "1");
        assert_eq!(status["Seccomp"], "2");
        assert_eq!(status["Seccomp_filters"], "4");
        assert_eq!(status["Groups"], "");
        assert_eq!(status["Umask"], "0077");
        let uids: Vec<u32> = status["Uid"]
            .split_whitespace()
            .map(|uid| uid.parse().expect("a number"))
            .collect();
        assert!(
            uids.iter().all(|uid| *uid == uids[0] && *uid >= 1_000_000),
            "{uids:?}"
        );
        // Of a process that cannot be dumped, /proc belongs to root and not to its user.
        let folder = std::fs::metadata(format!("/proc/{pid}/mem")).expect("a living process");
        assert_eq!(folder.uid(), 0, "{pid} can be dumped");
        // Field 7 of stat: the terminal.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
        let after_name = stat.rsplit_once(')').expect("a name").1;
        assert_eq!(
            after_name.split_whitespace().nth(4),
            Some("0"),
            "a terminal"
        );
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
        let core = limits.lines().find(|line| line.starts_with("Max core"));
        let core: Vec<&str> = core.expect("the limit").split_whitespace().collect();
        // One byte: at this value the kernel runs no handler of core dumps.
        assert_eq!(core[4..6], ["1", "1"]);
    }
}

#[test]
fn processes_share_no_namespace_with_the_host() {
    let suite = Suite::start("files");
    let (_connection, all) = confined(&suite);
    for pid in all {
        for namespace in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"] {
            let of = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}"));
            let (own, inside) = (of(std::process::id()), of(pid));
            assert_ne!(own.expect("a link"), inside.expect("a link"), "{namespace}");
        }
        let network = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).expect("interfaces");
        let up: Vec<&str> = network.lines().skip(2).collect();
        assert!(
            up.len() == 1 && up[0].trim().starts_with("lo:"),
            "{network}"
        );
    }
}

/// Every mount is read-only, without devices and set-user-id files; below them lies nothing else.
#[test]
fn the_root_holds_what_the_plan_says() {
    let suite = Suite::start("files");
    let (_connection, all) = confined(&suite);
    let pid = all[0];
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mounts");
    let mut targets = Vec::new();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let options: Vec<&str> = fields[5].split(',').collect();
        assert!(
            options.contains(&"ro") && options.contains(&"nosuid"),
            "{line}"
        );
        let device = fields[4].starts_with("/dev/");
        assert!(
            options.contains(&if device { "noexec" } else { "nodev" }),
            "{line}"
        );
        targets.push(PathBuf::from(fields[4]));
    }
    let devices: Vec<_> = targets
        .iter()
        .filter(|path| path.starts_with("/dev"))
        .collect();
    assert_eq!(devices.len(), 2, "{devices:?}");
    // What is not a mount is the root's own: directories on the way, and these files.
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let mut own = Vec::new();
    let mut folders = vec![PathBuf::from("/")];
    while let Some(folder) = folders.pop() {
        let here = root.join(folder.strip_prefix("/").expect("absolute"));
        for entry in std::fs::read_dir(here).expect("a folder").flatten() {
            let path = folder.join(entry.file_name());
            if targets.contains(&path) {
                continue;
            }
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() {
                folders.push(path);
            } else if !kind.is_symlink() {
                own.push(path);
            }
        }
    }
    own.sort();
    assert_eq!(own, [Path::new("/etc/group"), Path::new("/etc/passwd")]);
    for hidden in [
        "/proc", "/sys", "/root", "/home", "/var", "/run", "/srv", "/opt", "/boot",
    ] {
        let shown = targets.iter().any(|path| path.starts_with(hidden));
        let there = root.join(hidden.trim_start_matches('/')).exists();
        assert!(!there || shown, "{hidden} is there");
    }
}

/// Descriptors of every confined process, from outside: four, no directory among them.
#[test]
fn processes_hold_four_descriptors() {
    let suite = Suite::start("files");
    let (_connection, all) = confined(&suite);
    for pid in all {
        let mut open: Vec<(u32, String)> = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("a living process")
            .flatten()
            .map(|entry| {
                let number = entry
                    .file_name()
                    .to_string_lossy()
                    .parse()
                    .expect("a number");
                let target = std::fs::read_link(entry.path()).expect("a link");
                (number, target.to_string_lossy().into_owned())
            })
            .collect();
        open.sort();
        let kinds: Vec<&str> = open
            .iter()
            .map(|(_, target)| target.split(':').next().unwrap_or_default())
            .collect();
        assert_eq!(
            kinds,
            ["/dev/null", "pipe", "pipe", "socket"],
            "{pid}: {open:?}"
        );
        assert!(open.iter().map(|(number, _)| *number).eq(0..4));
    }
}

/// Whatever the supervisor opens is closed by an exec, even one that nobody meant.
#[test]
fn the_supervisor_leaks_no_descriptor() {
    let suite = Suite::start("files");
    let (_connection, _) = confined(&suite);
    let server = suite.server.pid();
    for entry in std::fs::read_dir(format!("/proc/{server}/fdinfo"))
        .expect("the server")
        .flatten()
    {
        let number: u32 = entry
            .file_name()
            .to_string_lossy()
            .parse()
            .expect("a number");
        if number < 3 {
            continue;
        }
        // What this test inherited, its server did too; nothing of it is the server's own.
        let target = |pid: &str| std::fs::read_link(format!("/proc/{pid}/fd/{number}")).ok();
        if target("self") == target(&server.to_string()) {
            continue;
        }
        // It may be closed by now.
        let Ok(text) = std::fs::read_to_string(entry.path()) else {
            continue;
        };
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        let kept = flags.expect("flags") & libc::O_CLOEXEC.cast_unsigned() == 0;
        let target = std::fs::read_link(format!("/proc/{server}/fd/{number}"));
        assert!(!kept, "{number} stays open over exec: {target:?}");
    }
}
