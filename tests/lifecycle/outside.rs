//! What a client of somebody else's making may send, at every route of the table, with the server's promises as the judge.

use crate::bundles::telling;
use crate::service::{KEY, Service, verify_audit};
use std::path::Path;
use std::process::Command;

const REQUESTS: &str = "2000";

#[test]
fn arbitrary_requests_get_documented_answers() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let service = Service::start(place.path(), &[]);
    assert_eq!(service.deploy(&telling("Echo", "1.0.0"), "").status, 201);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/lifecycle/outside.py");
    for seed in ["1", "2"] {
        let url = format!("http://{}", service.address);
        let output = Command::new("python3")
            .arg(&script)
            .args([&url, KEY, seed, REQUESTS])
            .output()
            .expect("Python runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    assert_eq!(service.get("/api/readyz").status, 200);
    assert!(service.stop().success());
    verify_audit(place.path());
}
