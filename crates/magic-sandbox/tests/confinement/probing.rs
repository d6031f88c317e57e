//! The forecast against the real thing.

use magic_sandbox::{Layer, probe};

use crate::support::{plan, run};

/// What the probe calls available stands in full in a program that was really started.
#[test]
fn the_probe_agrees_with_a_real_start() {
    let report = run(&plan("pass"), None).report;
    let probes = probe();
    assert_eq!(probes.len(), Layer::ALL.len());
    for found in probes {
        assert!(found.available, "{found:?}");
        assert_eq!(found.remedy, None);
        if found.layer != Layer::CgroupLimits {
            let standing = report.enforcement(found.layer).to_string();
            assert_eq!(standing, "full", "{}", found.layer);
        }
    }
}
