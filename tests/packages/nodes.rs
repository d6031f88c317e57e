//! Packages of what was deployed, on nodes that have no wheels; and what goes from a node's disk when nothing uses it.

use crate::bundles::{contract, write};
use crate::service::Service;
use crate::support::postgres::Postgres;
use crate::support::server::wait_for;
use crate::wheels::{self, Wheel};
use magic_runtime::Bundle;
use serde_json::json;
use std::fs;
use std::path::Path;

/// A controller that says what its package says, with these requirements.
fn archive(version: &str, requirements: &str, module: &str) -> Vec<u8> {
    let root = tempfile::tempdir().expect("a temporary folder");
    let code = format!(
        "import {module}\nfrom magic import contract\n\n\n@contract('contract.yaml')\ndef says(input, ctx):\n    return {{'says': {module}.SAYS}}\n"
    );
    let folder = write(root.path(), "Says", &contract("Says", version, ""), &code);
    fs::write(folder.join("requirements.txt"), requirements).expect("our own file");
    let bundle = Bundle::read(&folder).expect("a bundle");
    bundle.to_archive().expect("an archive")
}

fn says(service: &Service) -> String {
    let answer = service.execute("Says", &json!({}));
    answer.body["result"]["says"]
        .as_str()
        .unwrap_or("nothing")
        .to_owned()
}

fn wait_until_says(what: &str, service: &Service, expected: &str) {
    wait_for(what, || (says(service) == expected).then_some(()));
}

/// What is kept of a kind, by name.
fn kept(place: &Path, kind: &str) -> Vec<String> {
    let entries = fs::read_dir(place.join("data").join(kind)).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

/// The wheels travel with the version. Only one of two nodes has them, and then none has: what was deployed is served all the same,
/// and a version that nobody deployed still needs them.
#[test]
fn a_node_without_wheels_serves_what_another_deployed() {
    let postgres = Postgres::start();
    let store = postgres.database("state");
    let folder = wheels::folder(vec![
        Wheel::of("plain"),
        Wheel::of("needs-plain").saying("Requires-Dist: plain"),
    ]);
    let wheels = folder.path().to_str().expect("UTF-8");
    let (north, south) = (tempfile::tempdir(), tempfile::tempdir());
    let (north, south) = (
        north.expect("a temporary folder"),
        south.expect("a temporary folder"),
    );
    let start = |place: &Path, name: &str, wheels: Option<&str>| {
        let mut environment = vec![("MAGIC_STORE_URL", store.as_str()), ("MAGIC_NODE", name)];
        environment.extend(wheels.map(|wheels| ("MAGIC_WHEELS", wheels)));
        Service::start(place, &environment)
    };
    let (with, without) = (
        start(north.path(), "north", Some(wheels)),
        start(south.path(), "south", None),
    );
    // Without hashes: which wheel it was is told by the state alone.
    let requirements = "plain==1.0\nneeds-plain==1.0\n";
    let first = archive("1.0.0", requirements, "plain");
    let refused = without.deploy(&first, "");
    assert_eq!(refused.code(), "E4001", "{refused:?}");
    assert!(refused.message().contains("MAGIC_WHEELS"), "{refused:?}");
    assert_eq!(with.deploy(&first, "").status, 201);
    wait_until_says("south follows", &without, "I am plain");
    let count = postgres.sql("state", "SELECT count(*) FROM magic_state.version_wheels");
    assert_eq!(count.trim(), "2");
    // The same again is no change, also where its wheels are not.
    let again = without.deploy(&first, "");
    assert!(again.status < 300, "{again:?}");
    let other = without.deploy(&archive("1.1.0", requirements, "plain"), "");
    assert_eq!(other.code(), "E4001", "{other:?}");

    // North loses its disk and its wheels.
    assert!(with.stop().success());
    for lost in ["bundles", "packages"] {
        fs::remove_dir_all(north.path().join("data").join(lost)).expect("it is there");
    }
    let with = start(north.path(), "north", None);
    assert_eq!(says(&with), "I am plain");
    assert_eq!(kept(north.path(), "packages").len(), 1);
    assert!(with.stop().success());

    // A wheel that was damaged in the state is not used, and who deploys again where the wheels are mends it.
    postgres.sql(
        "state",
        "UPDATE magic_state.wheel_pieces SET bytes = '\\x00'",
    );
    for lost in ["bundles", "packages"] {
        fs::remove_dir_all(north.path().join("data").join(lost)).expect("it is there");
    }
    let lost = start(north.path(), "north", None);
    assert_eq!(says(&lost), "nothing");
    let mender = tempfile::tempdir().expect("a temporary folder");
    let mending = start(mender.path(), "mender", Some(wheels));
    let mended = mending.deploy(&first, "");
    assert!(mended.status < 300, "{mended:?}");
    wait_until_says("north has it again", &lost, "I am plain");
    for service in [lost, without, mending] {
        assert!(service.stop().success());
    }
}

/// What a refused deploy leaves goes by itself. What serves stays, and what the state knows stays for a roll-back.
#[test]
fn what_nothing_uses_goes_from_the_disk() {
    let folder = wheels::folder(vec![Wheel::of("plain"), Wheel::of("other")]);
    let wheels = folder.path().to_str().expect("UTF-8");
    let place = tempfile::tempdir().expect("a temporary folder");
    let service = Service::start(place.path(), &[("MAGIC_WHEELS", wheels)]);
    let first = archive("1.0.0", "plain==1.0", "plain");
    assert_eq!(service.deploy(&first, "").status, 201);
    let (bundles, packages) = (
        kept(place.path(), "bundles"),
        kept(place.path(), "packages"),
    );
    assert_eq!((bundles.len(), packages.len()), (1, 1));

    // Its package is there, and its module is not.
    let refused = service.deploy(&archive("2.0.0", "other==1.0", "missing"), "");
    assert_eq!(refused.code(), "E4002", "{refused:?}");
    wait_for("the leftovers to go", || {
        (kept(place.path(), "bundles") == bundles && kept(place.path(), "packages") == packages)
            .then_some(())
    });
    assert_eq!(says(&service), "I am plain");

    // The twin is deployed and stays. Its predecessor's bundle may go; its packages take long to make and stay.
    let second = archive("2.0.0", "other==1.0", "other");
    assert_eq!(service.deploy(&second, "").status, 201);
    let refused = service.deploy(&archive("3.0.0", "plain==1.0\nother==1.0", "missing"), "");
    assert_eq!(refused.code(), "E4002", "{refused:?}");
    wait_for("the leftovers to go", || {
        let names = kept(place.path(), "packages");
        (names.len() == 2 && names.contains(&packages[0])).then_some(())
    });
    assert_eq!(says(&service), "I am other");
    assert_eq!(service.roll_back("Says", None).status, 200);
    assert_eq!(says(&service), "I am plain");
    assert!(service.stop().success());
}
