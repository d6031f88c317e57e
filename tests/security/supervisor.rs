//! The end of the supervisor is the end of everything that it started.

use crate::probe::{Suite, wait_until_gone};
use crate::support::server::{Controllers, Server, wait_for};
use crate::support::traces;
use serde_json::json;

/// Killed without a chance to clean up: its processes go with it, and the next start removes the groups.
#[test]
fn a_killed_supervisor_leaves_no_process_and_its_groups_are_swept() {
    let suite = Suite::start("resources");
    let (_connection, _) = suite.hold("watched");
    assert!(suite.report("leave_daemon", &json!({})).0);
    let server = suite.server.pid();
    let all = traces::descendants(server);
    assert!(all.len() >= 2, "{all:?}");
    // Looked at before the end: servers of other tests sweep, too.
    assert!(!traces::control_groups(server).is_empty());
    let mounts = traces::mounts();
    drop(suite);
    wait_until_gone(&all);
    assert_eq!(traces::mounts(), mounts);
    let next = Server::start(Controllers::new());
    let left = traces::control_groups(server);
    assert!(left.is_empty(), "{left:?}");
    drop(next);
}

/// A template that is killed or stopped from outside is replaced; meanwhile every request has an answer.
#[test]
fn a_template_that_fails_is_replaced() {
    use rustix::process::{Pid, Signal, kill_process};

    let suite = Suite::start("fork_state");
    for (signal, fatal) in [(Signal::KILL, true), (Signal::STOP, false)] {
        let (connection, worker) = suite.hold("watched");
        let template = traces::parent(worker).expect("the worker lives");
        drop(connection);
        let pid = i32::try_from(template).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a number"), signal).expect("it lives");
        let served = wait_for("another template", || {
            let answer = suite.run("number", &json!({}));
            let expected = [("none", "none"), ("E3005", "queue"), ("E3003", "signal")];
            assert!(
                expected.contains(&(answer.code(), answer.reason())),
                "{answer:?}"
            );
            let templates = traces::descendants(suite.server.pid());
            (answer.status == 200 && !templates.contains(&template)).then_some(answer)
        });
        assert_eq!(served.status, 200, "fatal: {fatal}");
    }
}
