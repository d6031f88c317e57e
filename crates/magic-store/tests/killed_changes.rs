//! A process that is killed at any write of a change leaves the change made or not made, never a part of it.
//!
//! The test runs itself as the process that is killed: once for every write, until it gets to its end. Its file lies on the
//! disk that forgets, so after every death everything that was not synced is gone as well, as after a power cut; with
//! PostgreSQL the server lives on and sees a client that breaks off in the middle of a message.

#[path = "../../../tests/crash/disk.rs"]
#[expect(dead_code, reason = "the tests of the binary use the rest")]
mod disk;
#[path = "../../../tests/support/postgres.rs"]
#[expect(dead_code, reason = "the tests of the binary use the rest")]
mod postgres_server;

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use magic_contract::DatabaseUrl;
use magic_store::state::{
    Deployment, DeploymentError, EventKind, NewVersion, Outcome, Placement, State, StateError,
    StateOptions,
};

use disk::Disk;
use postgres_server::Postgres;

/// What the process that is killed is told: the store, the controller, the change, and the file that arms.
const JOB: &str = "MAGIC_STORE_TEST_JOB";

const CHANGES: [&str; 3] = ["deploy", "rollback", "delete"];

/// More writes than any change has; reaching it means that something is not counted.
const MOST: u32 = 200;

#[test]
fn a_killed_change_of_a_file_is_whole_or_absent_after_a_power_cut() {
    if let Some(job) = std::env::var_os(JOB) {
        return act(job.to_str().expect("UTF-8"));
    }
    let root = tempfile::tempdir().expect("a temporary folder");
    let root = root.path().canonicalize().expect("our own folder");
    let name = "a_killed_change_of_a_file_is_whole_or_absent_after_a_power_cut";
    let disk = Disk::below(&root);
    let file = root.join("data/state.db");
    let url = format!("sqlite://{}", file.display());
    let mut environment = disk.environment();
    for (key, value) in &mut environment {
        if *key == "LD_PRELOAD" {
            *value = format!("{}:{value}", library(&root).display());
        }
    }
    kill_everywhere(name, &root, &url, &environment, || {
        disk.cut_power("data");
        // A copy is looked at, since looking writes.
        let copy = tempfile::tempdir().expect("a temporary folder");
        for entry in std::fs::read_dir(root.join("data")).expect("our own folder") {
            let entry = entry.expect("our own folder");
            let to = copy.path().join(entry.file_name());
            std::fs::copy(entry.path(), to).expect("our own file");
        }
        let url = format!("sqlite://{}", copy.path().join("state.db").display());
        (url, Some(copy))
    });
}

#[test]
fn a_killed_change_in_postgresql_is_whole_or_absent() {
    if let Some(job) = std::env::var_os(JOB) {
        return act(job.to_str().expect("UTF-8"));
    }
    let root = tempfile::tempdir().expect("a temporary folder");
    let name = "a_killed_change_in_postgresql_is_whole_or_absent";
    let server = Postgres::start();
    let url = server.database("state");
    let environment = [("LD_PRELOAD", library(root.path()).display().to_string())];
    kill_everywhere(name, root.path(), &url, &environment, || {
        (url.clone(), None)
    });
}

/// A disk that fails a commit is not trusted with another one; what was there before is still read.
#[test]
fn a_disk_that_fails_a_commit_gets_no_more_of_them() {
    if let Some(job) = std::env::var_os(JOB) {
        return fail_syncs(job.to_str().expect("UTF-8"));
    }
    let root = tempfile::tempdir().expect("a temporary folder");
    let root = root.path().canonicalize().expect("our own folder");
    let disk = Disk::below(&root);
    let url = format!("sqlite://{}", root.join("data/state.db").display());
    let ended = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_disk_that_fails_a_commit_gets_no_more_of_them"])
        .arg("--nocapture")
        .envs(disk.environment())
        .env(JOB, url)
        .stdout(Stdio::null())
        .status();
    assert!(ended.expect("this program runs").success());
}

fn fail_syncs(url: &str) {
    let mark = std::env::var_os("FAULTS_BREAK").expect("a disk that can fail");
    runtime().block_on(async {
        let state = open(url).await;
        let (one, two) = (
            new(&state, "A", "1.0.0").await,
            new(&state, "A", "2.0.0").await,
        );
        let done = deploy(&state, &one, Placement::Active).await;
        assert!(done.expect("a sound disk").changed);
        std::fs::write(&mark, "state.db").expect("our own file");
        let failed = deploy(&state, &two, Placement::Active).await;
        assert!(
            matches!(
                &failed,
                Err(DeploymentError::State(StateError::Uncertain { .. }))
            ),
            "{failed:?}"
        );
        // The disk seems to work again, and nothing is built on it all the same.
        std::fs::remove_file(&mark).expect("our own file");
        let seen = state.deployment("A").await.expect("what was there");
        for refused in [
            deploy(&state, &two, Placement::Active).await,
            state.delete("A", seen.as_ref(), "ada", None).await,
        ] {
            assert!(
                matches!(
                    &refused,
                    Err(DeploymentError::State(StateError::Unavailable { .. }))
                ),
                "{refused:?}"
            );
        }
        let snapshot = state.snapshot().await.expect("what was there");
        assert_eq!(snapshot.deployments.len(), 1);
        state.close().await;
        let state = open(url).await;
        assert!(deploy(&state, &two, Placement::Active).await.is_ok());
    });
}

/// Runs each change again and again, killed one write later every time, and looks at what is left.
fn kill_everywhere(
    test: &str,
    root: &Path,
    url: &str,
    environment: &[(&'static str, String)],
    mut survey: impl FnMut() -> (String, Option<tempfile::TempDir>),
) {
    let armed = root.join("armed");
    for change in CHANGES {
        // Whether it was killed, and whether the change was made.
        let mut run = |step: u32, committed: bool| {
            let controller = format!("C{change}{step}");
            let _ = std::fs::remove_file(&armed);
            let job = format!("{url}\n{controller}\n{change}\n{}", armed.display());
            let mut command = Command::new(std::env::current_exe().expect("this program"));
            command
                .args(["--exact", test, "--nocapture"])
                .envs(environment.iter().map(|(key, value)| (*key, value)))
                .env(JOB, job)
                .env("KILL_ARMED", &armed)
                .env("KILL_AT", step.to_string())
                .stdout(Stdio::null());
            if committed {
                command.env("KILL_COMMITTED", "yes");
            }
            let ended = command.status().expect("this program runs");
            let killed = ended.signal() == Some(9);
            assert!(killed || ended.success(), "{change} {step}: {ended}");
            let (url, _copy) = survey();
            let made = look(&url, &controller, change);
            assert!(killed || made, "{change}: acknowledged and not there");
            (killed, made)
        };
        let mut step = 1;
        while let (true, _) = run(step, false) {
            step += 1;
            assert!(step < MOST, "{change} does not end");
        }
        assert!(
            step > 5,
            "{change} has only {step} writes, so not all are seen"
        );
        assert_eq!(
            run(MOST, true),
            (true, true),
            "{change} is made when it was committed, though nobody was told"
        );
    }
}

/// The process that is killed: prepares its controller, and then makes one change.
fn act(job: &str) {
    let [url, controller, change, armed] = job.split('\n').collect::<Vec<_>>()[..] else {
        panic!("four lines");
    };
    let armed = PathBuf::from(armed);
    runtime().block_on(async {
        let state = open(url).await;
        for version in ["1.0.0", "2.0.0"] {
            let new = new(&state, controller, version).await;
            let done = deploy(&state, &new, Placement::Active).await;
            done.expect("an earlier change");
        }
        let third = new(&state, controller, "3.0.0").await;
        let seen = state.deployment(controller).await.expect("a whole state");
        let seen = seen.as_ref();
        std::fs::File::create(&armed).expect("our own file");
        let done = match change {
            "deploy" => state.deploy(&third, Placement::Active, seen).await,
            "rollback" => state.roll_back(controller, None, seen, "ada", None).await,
            _ => state.delete(controller, seen, "ada", None).await,
        };
        std::fs::remove_file(&armed).expect("our own file");
        assert!(done.expect("the change").changed);
        state.close().await;
    });
}

/// Deploys on what there is.
async fn deploy(
    state: &State,
    new: &NewVersion,
    placement: Placement,
) -> Result<Outcome, DeploymentError> {
    let seen = state.deployment(&new.controller).await?;
    state.deploy(new, placement, seen.as_ref()).await
}

/// Whether the change was made. All that it consists of must say the same.
fn look(url: &str, controller: &str, change: &str) -> bool {
    runtime().block_on(async {
        let state = open(url).await;
        // What takes its turn waits for whatever the dead process left to the server.
        let refused = state.delete("Nobody", None, "ada", None).await;
        assert!(matches!(
            refused,
            Err(DeploymentError::NoSuchController { .. })
        ));
        let snapshot = state.snapshot().await.expect("a whole state");
        let served = snapshot
            .deployments
            .iter()
            .find(|one| one.controller == controller);
        let events = state.history(controller, 10).await.expect("a whole state");
        let versions = state.versions(controller).await.expect("a whole state");
        let made = events.len() == 3;
        let (active, previous, kind) = match (change, made) {
            (_, false) => (Some("2.0.0"), Some("1.0.0"), EventKind::Deploy),
            ("deploy", true) => (Some("3.0.0"), Some("2.0.0"), EventKind::Deploy),
            ("rollback", true) => (Some("1.0.0"), Some("2.0.0"), EventKind::RollBack),
            (_, true) => (None, None, EventKind::Delete),
        };
        let said = |read: fn(&Deployment) -> Option<&str>| served.and_then(read);
        assert_eq!(said(|one| Some(&one.active.version)), active);
        assert_eq!(said(|one| one.previous.as_deref()), previous);
        assert_eq!(events[0].kind, kind);
        // The number of the last change is that of the last event, of this controller.
        assert_eq!(events[0].generation, snapshot.generation);
        if let Some(served) = served {
            assert_eq!(served.generation, snapshot.generation);
        }
        let expected = if change == "deploy" && made { 3 } else { 2 };
        assert_eq!(versions.len(), expected);
        for version in &versions {
            let bundle = state.bundle(&version.placed.digest).await;
            bundle.expect("what a version is made of");
        }
        state.close().await;
        made
    })
}

async fn open(url: &str) -> State {
    let url = DatabaseUrl::parse(url).expect("a URL");
    let opened = State::open(StateOptions::new(url)).await;
    opened.expect("a state that opens")
}

async fn new(state: &State, controller: &str, version: &str) -> NewVersion {
    let bytes = format!("{controller} {version}").repeat(500);
    NewVersion {
        controller: controller.to_owned(),
        version: version.to_owned(),
        digest: state.put_bundle(bytes.as_bytes()).await.expect("a bundle"),
        packages_digest: None,
        wheels: Vec::new(),
        contract: "name: Test".to_owned(),
        allow_breaking: false,
        by: "ada".to_owned(),
        reason: None,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("an event loop")
}

/// What kills, compiled.
fn library(folder: &Path) -> PathBuf {
    let library = folder.join("kill.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/killed_changes/kill.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"])
        .arg("-o")
        .arg(&library)
        .arg(source)
        .status()
        .expect("a C compiler is missing; on Debian: apt-get install gcc");
    assert!(compiled.success());
    library
}
