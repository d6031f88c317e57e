//! Class R: using up what is limited. The request ends in its code, and neighbors notice nothing.

use crate::probe::Inside::{Ends, Works};
use crate::probe::{Probe, Suite, outside, probing, wait_until_gone};
use crate::support::server::{Controllers, wait_for};
use crate::support::traces;
use serde_json::json;

/// More memory than the contract's 64 MiB, by every way to get some.
#[test]
fn memory_ends_at_the_limit() {
    let suite = Suite::start("resources");
    let take = |how: &str| json!({"how": how, "size": 160});
    let exceeded = Ends("E3002", "none");
    suite.check(&[
        Probe::new("take_memory", take("list"), exceeded),
        Probe::new("take_memory", take("mapping"), exceeded),
        Probe::refused("take_memory", take("memory file"), &["EPERM"]),
        // A full set of pipes is kernel memory of the same group.
        Probe::new("fill_pipes", json!({"count": 60}), Works),
    ]);
    // How large a user's pipes may be is the kernel's to say, so either limit may come first.
    let answer = suite.run("fill_pipes", &json!({"count": 400}));
    let no_more = answer.body["result"]["detail"] == "EMFILE";
    assert!(no_more || answer.code() == "E3002", "{answer:?}");
    // A child may be killed instead of the worker, which then goes on and tells.
    for how in ["shared by a child", "children"] {
        let small = json!({"how": how, "size": 16});
        let reports = outside("resources", &[("take_memory", &small)]);
        assert!(reports[0].0, "{how}: {reports:?}");
        let answer = suite.run("take_memory", &take(how));
        let told = answer.body["result"]["detail"] == "signal 9";
        assert!(told || answer.code() == "E3002", "{how}: {answer:?}");
    }
}

/// Processes, threads and descriptors beyond the contract's numbers.
#[test]
fn numbers_end_at_the_limit() {
    let suite = Suite::start("resources");
    suite.check(&[
        Probe::refused("make_processes", json!({"count": 200}), &["EAGAIN"]),
        Probe::refused("make_zombies", json!({"count": 200}), &["EAGAIN"]),
        Probe::refused(
            "make_threads",
            json!({"count": 200}),
            &["can't start new thread"],
        ),
        Probe::refused("open_many", json!({"count": 500}), &["EMFILE"]),
    ]);
}

/// Code that never returns, wherever in the interpreter it is, ends at the deadline; nothing of it is left.
#[test]
fn nothing_outlives_its_deadline() {
    let contract = "resources: {cpu: 2.0, memory: 64Mi, timeout: 400ms, pids: 24}";
    let suite = Suite::start_with("resources", contract, Controllers::new(), &[]);
    // Descendants at rest: the template and its stock.
    let at_rest = wait_for("a full stock", || {
        let all = traces::descendants(suite.server.pid());
        (all.len() == 3).then_some(all.len())
    });
    let mut probes: Vec<Probe> = [
        "expression",
        "power",
        "native",
        "ignoring signals",
        "threads",
    ]
    .into_iter()
    .map(|how| Probe::new("never_return", json!({"how": how}), Ends("E3001", "none")))
    .collect();
    // The interpreter's own end waits for a thread that holds its lock for ever.
    let exiting = Ends("E3001", "none");
    probes.push(Probe::new("never_return", json!({"how": "exit"}), exiting).only_inside());
    suite.check(&probes);
    wait_for("every process of a request to be gone", || {
        (traces::descendants(suite.server.pid()).len() <= at_rest).then_some(())
    });
}

/// A grandchild that ignores signals is gone soon after the answer.
#[test]
fn nothing_outlives_its_request() {
    let suite = Suite::start("resources");
    let before = traces::descendants(suite.server.pid());
    for _ in 0..5 {
        assert!(suite.report("leave_daemon", &json!({})).0);
    }
    wait_for("the stock alone", || {
        (traces::descendants(suite.server.pid()).len() <= before.len().max(3)).then_some(())
    });
}

/// One controller uses up everything that its contract gives, again and again; another is served all the while.
#[test]
fn neighbours_are_served_meanwhile() {
    let limits = "resources: {cpu: 0.5, memory: 64Mi, timeout: 2s, pids: 24}\nconcurrency: 4";
    let controllers = probing(Controllers::new(), "resources", "Greedy", limits);
    let suite = Suite::start_with("files", "", controllers, &[]);
    let server = &suite.server;
    std::thread::scope(|scope| {
        for probe in [
            json!({"probe": "make_processes", "arguments": {"count": 10_000}}),
            json!({"probe": "take_memory", "arguments": {"how": "mapping", "size": 500}}),
            json!({"probe": "never_return", "arguments": {"how": "expression"}}),
            json!({"probe": "fill_pipes", "arguments": {"count": 100}}),
        ] {
            scope.spawn(move || {
                for _ in 0..2 {
                    server.execute("Greedy", &probe);
                }
            });
        }
        for _ in 0..40 {
            let (served, mode) = suite.report("look_at", &json!({"path": "/magic/sdk"}));
            assert!(served, "{mode}");
        }
    });
    let all = traces::descendants(server.pid());
    drop(suite);
    wait_until_gone(&all);
}
