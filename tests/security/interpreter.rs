//! Class A: hostile Python. None of it is blocked in the language; all of it must be harmless.

use crate::probe::Inside::{Ends, Refused};
use crate::probe::{Probe, Suite};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Every way to start a program, by the library and by raw calls.
#[test]
fn no_program_starts() {
    // The path that is executed must exist inside, or its absence would be what refuses.
    let python = std::fs::canonicalize("/usr/bin/python3").expect("an interpreter");
    let python = python.to_str().expect("UTF-8");
    let words = [python, "-I", "-S", "-c", "pass"];
    let suite = Suite::start_with(
        "interpreter",
        "resources: {memory: 64Mi, timeout: 60s}",
        crate::support::server::Controllers::new(),
        &[("MAGIC_PYTHON", python)],
    );
    let program = json!({"program": words});
    let with_number = |number: libc::c_long| json!({"program": words, "number": number});
    suite.check(&[
        Probe::refused("walk_to_popen", program.clone(), &["EPERM"]),
        Probe::refused("replace_program", program.clone(), &["EPERM"]),
        Probe::refused("replace_program_by_descriptor", program.clone(), &["EPERM"]),
        Probe::refused("spawn_program", program.clone(), &["EPERM"]),
        Probe::refused("run_in_shell", json!({}), &["status 127"]),
        Probe::refused("start_through_loader", program.clone(), &["EPERM"]),
        Probe::refused("execute_memory", program, &["EPERM"]),
        Probe::refused("execute_at", with_number(libc::SYS_execveat), &["EPERM"]),
        Probe::refused("guess_addresses", with_number(libc::SYS_execve), &["EPERM"]),
    ]);
}

/// The supervisor's environment does not reach a controller; what does is a constant.
#[test]
fn the_environment_is_a_constant() {
    let suite = Suite::start_with(
        "interpreter",
        "",
        crate::support::server::Controllers::new(),
        &[("PROBE_CANARY", "canary")],
    );
    suite.check(&[Probe::refused(
        "read_variable",
        json!({"name": "PROBE_CANARY"}),
        &["no such variable"],
    )]);
    let (_, variables) = suite.report("all_variables", &json!({}));
    assert_eq!(
        variables,
        "[('HOME', '/'), ('LANG', 'C.UTF-8'), ('LD_BIND_NOW', '1'), ('MKL_NUM_THREADS', '1'), ('NUMEXPR_NUM_THREADS', '1'), ('OMP_NUM_THREADS', '1'), ('OPENBLAS_NUM_THREADS', '1'), ('PATH', '/nonexistent')]"
    );
}

/// Objects, frames, and the raw pages of the process hold nothing of earlier or concurrent requests.
#[test]
fn nothing_of_another_request_is_in_memory() {
    let suite = Suite::start("interpreter");
    let canaries: Vec<String> = (0..4)
        .map(|_| format!("canary-{:032x}", ulid::Ulid::generate().0))
        .collect();
    let digests: Vec<String> = canaries
        .iter()
        .map(|canary| {
            let digest = Sha256::digest(canary.as_bytes());
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        })
        .collect();
    for canary in &canaries {
        // An input that carries the canary, as another caller's would.
        let input = json!({"name": canary});
        assert!(!suite.report("read_variable", &input).0);
    }
    let arguments = json!({"digests": digests});
    let mut planted = arguments.clone();
    planted["plant"] = Value::from(canaries[0].clone());
    let search =
        |name, inside| Probe::new(name, arguments.clone(), inside).outside(planted.clone());
    suite.check(&[search("search_memory", Refused(&["not found"]))]);
    for name in ["search_objects", "search_memory"] {
        // Control: the same search inside finds what is there.
        assert!(suite.report(name, &planted).0, "{name} finds nothing");
        assert!(!suite.report(name, &arguments).0, "{name} finds a canary");
    }
}

/// A process that destroys itself is answered for, and the next request is served.
#[test]
fn crashes_are_answered() {
    let suite = Suite::start("interpreter");
    let crash = |how: &str| Probe::new("crash", json!({"how": how}), Ends("E3003", "signal"));
    suite.check(&[
        crash("null").ends_outside("signal 11"),
        crash("bytecode").ends_outside("signal 11"),
        crash("jump").ends_outside("signal 11"),
        crash("free").only_inside(),
        crash("stack").ends_outside("signal 11"),
        Probe::new(
            "nest_regular_expression",
            json!({}),
            Ends("E3003", "raised"),
        )
        .only_inside(),
    ]);
}
