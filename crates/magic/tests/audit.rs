//! `magic audit`: what it shows, what it verifies, and how it ends.

use magic_store::{AuditLog, AuditOptions, Decision, Kind, Record};
use serde_json::Value;

use crate::command::run;
use crate::folder::Folder;

/// A folder whose log has three calls and a deployment; record n has number n + 1, since a log begins with a signature.
fn logged() -> Folder {
    let folder = Folder::new();
    let options = AuditOptions::below(&folder.path().join("data"), "node-1");
    let call = |table: &str, decision| {
        Record {
            request_id: Some("req_1".to_owned()),
            controller: Some("InvoiceSync".to_owned()),
            capability: Some("db:read".to_owned()),
            decision: Some(decision),
            ..Record::new(Kind::Call)
        }
        .with_field("table", table)
    };
    let records = [
        Record {
            controller: Some("InvoiceSync".to_owned()),
            ..Record::new(Kind::Deploy)
        },
        call("customers", Decision::Allow),
        call("invoices", Decision::Allow),
        call("\u{1b}[2Jusers", Decision::Deny),
    ];
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(async {
            let log = AuditLog::open(&options).expect("a log");
            for record in &records {
                log.append(record).durable().await.expect("durable");
            }
            log.close().await.expect("it ends in order");
        });
    folder
}

fn edit(folder: &Folder, change: impl Fn(&str) -> String) {
    let path = folder
        .path()
        .join("data/audit/node-1.00000000000000000001.jsonl");
    let text = std::fs::read_to_string(&path).expect("a log");
    let changed = change(&text);
    assert_ne!(text, changed);
    std::fs::write(&path, changed).expect("written");
}

/// Records for people and for programs, all or some.
#[test]
fn listing() {
    let folder = logged();
    let shown = run(&folder, &["audit", "list"]).with_status(0);
    assert_eq!(shown.stdout.lines().count(), 5, "{shown:?}");
    assert!(shown.stdout.contains("table=customers"), "{shown:?}");
    assert!(!shown.stdout.contains('\u{1b}'), "{shown:?}");

    let last = run(&folder, &["audit", "list", "-n", "1", "--json"]).with_status(0);
    assert_eq!(last.json()["seq"], 5);
    let denied = run(
        &folder,
        &[
            "audit",
            "list",
            "--json",
            "--decision",
            "deny",
            "--since",
            "1h",
        ],
    )
    .with_status(0);
    assert_eq!(denied.json()["capability"], "db:read");
    for (filter, records) in [
        (["--controller", "InvoiceSync"], 4),
        (["--controller", "Other"], 0),
        (["--request", "req_1"], 3),
        (["--capability", "db:read"], 3),
        (["--kind", "deploy"], 1),
        (["--until", "1h"], 0),
    ] {
        let arguments = [&["audit", "list", "--json"], filter.as_slice()].concat();
        let found = run(&folder, &arguments).with_status(0);
        assert_eq!(found.stdout.lines().count(), records, "{filter:?}");
    }
    let wrong = run(&folder, &["audit", "list", "--kind", "nothing"]).with_status(2);
    assert!(wrong.stderr.contains("call, intent"), "{wrong:?}");
}

/// Exports are for programs; spreadsheets do not compute what a controller wrote.
#[test]
fn exporting() {
    let folder = logged();
    let lines = run(&folder, &["audit", "export"]).with_status(0);
    let first: Value =
        serde_json::from_str(lines.stdout.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        (&first["seq"], &first["kind"]),
        (&2.into(), &"deploy".into())
    );
    assert!(lines.stderr.contains("4 records"), "{lines:?}");
    let table = run(
        &folder,
        &["audit", "export", "--format", "csv", "--kind", "call"],
    );
    let table = table.with_status(0);
    assert_eq!(table.stdout.lines().count(), 4, "{table:?}");
    assert!(table.stdout.starts_with("seq,time,kind,"), "{table:?}");
    assert!(
        table
            .stdout
            .contains("\"{\"\"table\"\":\"\"customers\"\"}\""),
        "{table:?}"
    );
}

/// A log as it was written verifies; each change is named with the first bad record, and ends in 1.
#[test]
fn verifying() {
    let folder = logged();
    let good = run(&folder, &["audit", "verify"]).with_status(0);
    assert!(good.stdout.starts_with("verified: 4 records"), "{good:?}");
    assert!(good.stderr.contains("--public-key"), "{good:?}");
    let good = run(&folder, &["audit", "verify", "--json"]).with_status(0);
    assert_eq!(good.json()["verified"]["head"], 6);

    type Change = fn(&str) -> String;
    let table: [(&str, Change, u64); 4] = [
        ("edit", |text| text.replace("customers", "costumers"), 3),
        (
            "delete",
            |text| {
                let mut lines: Vec<_> = text.lines().collect();
                lines.remove(3);
                lines.join("\n") + "\n"
            },
            4,
        ),
        (
            "reorder",
            |text| {
                let mut lines: Vec<_> = text.lines().collect();
                lines.swap(2, 3);
                lines.join("\n") + "\n"
            },
            3,
        ),
        (
            "cut tail",
            |text| {
                let lines: Vec<_> = text.lines().take(4).collect();
                lines.join("\n") + "\n"
            },
            5,
        ),
    ];
    for (name, change, seq) in table {
        let folder = logged();
        edit(&folder, change);
        let bad = run(&folder, &["audit", "verify", "--json"]).with_status(1);
        assert_eq!(bad.json()["first_bad"]["seq"], seq, "{name}: {bad:?}");
        let bad = run(&folder, &["audit", "verify"]).with_status(1);
        assert_eq!(bad.stdout, format!("first bad record: {seq}\n"), "{name}");
    }
}

/// Head and key from elsewhere, from nowhere, and from somebody else.
#[test]
fn heads_and_keys() {
    let folder = logged();
    let kept = folder.path().join("kept");
    std::fs::create_dir(&kept).expect("a folder");
    for (file, copy) in [
        ("data/audit-head/node-1.json", "head.json"),
        ("data/audit-key.pub.pem", "key.pem"),
    ] {
        std::fs::copy(folder.path().join(file), kept.join(copy)).expect("copied");
    }
    let pinned = [
        "audit",
        "verify",
        "--head",
        "kept/head.json",
        "--public-key",
        "kept/key.pem",
    ];
    let good = run(&folder, &pinned).with_status(0);
    assert!(!good.stderr.contains("--public-key"), "{good:?}");

    // Somebody replaces everything by a log of their own.
    let other = logged();
    std::fs::remove_dir_all(folder.path().join("data")).expect("removed");
    std::fs::rename(other.path().join("data"), folder.path().join("data")).expect("moved");
    run(&folder, &["audit", "verify"]).with_status(0);
    run(&folder, &pinned).with_status(1);

    std::fs::remove_file(folder.path().join("data/audit-head/node-1.json")).expect("removed");
    let bad = run(&folder, &["audit", "verify"]).with_status(1);
    assert!(bad.stderr.contains("--no-head"), "{bad:?}");
    let good = run(&folder, &["audit", "verify", "--no-head"]).with_status(0);
    assert!(good.stderr.contains("without a head"), "{good:?}");
    let wrong = run(
        &folder,
        &["audit", "verify", "--public-key", "kept/nothing"],
    );
    wrong.with_status(2);
}

/// The logs of several nodes in one call, which fails if one of them does and says of each what it found.
#[test]
fn several_logs_in_one_call() {
    let (one, other) = (logged(), logged());
    let data = |folder: &Folder| {
        let data = folder.path().join("data");
        data.to_str().expect("UTF-8").to_owned()
    };
    let (first, second) = (data(&one), data(&other));
    let elsewhere = Folder::new();
    let verify = |more: &[&str]| run(&elsewhere, &[&["audit", "verify"], more].concat());
    let both = [first.as_str(), &second, "--json"];
    let verdicts = |printed: &Value| {
        let logs = printed["logs"].as_array().expect("a list").iter();
        logs.map(|log| log["valid"].as_bool()).collect::<Vec<_>>()
    };
    let good = verify(&both).with_status(0).json();
    assert_eq!(good["valid"], true, "{good}");
    assert_eq!(verdicts(&good), [Some(true), Some(true)]);
    // One alone is told as a log is told without naming it.
    let alone = verify(&[&first, "--json"]).with_status(0).json();
    assert_eq!(alone, good["logs"][0]);

    edit(&other, |text| text.replacen("\"kind\"", "\"kinds\"", 1));
    let bad = verify(&both).with_status(1).json();
    assert_eq!(bad["valid"], false, "{bad}");
    assert_eq!(verdicts(&bad), [Some(true), Some(false)]);
    let bad = verify(&[&second, &first]).with_status(1);
    assert!(bad.stdout.contains("first bad record"), "{bad:?}");
    assert!(bad.stdout.contains("verified:"), "{bad:?}");
    assert!(bad.stderr.contains(&second), "it says which: {bad:?}");
    // A head belongs to one log, and a folder without a log is no log that is whole.
    verify(&[&first, "--head", "head.json"]).with_status(2);
    verify(&[&first, elsewhere.path().to_str().expect("UTF-8")]).with_status(2);
}

/// Where there is no log: nothing to list, nothing to verify, and a removed log is not an empty one.
#[test]
fn without_a_log() {
    let empty = Folder::new();
    let listed = run(&empty, &["audit", "list"]).with_status(0);
    assert!(listed.stderr.contains("no such records"), "{listed:?}");
    run(&empty, &["audit", "verify"]).with_status(2);

    let folder = logged();
    std::fs::remove_dir_all(folder.path().join("data/audit")).expect("removed");
    let bad = run(&folder, &["audit", "verify", "--json"]).with_status(1);
    assert_eq!(bad.json()["first_bad"]["seq"], 1);
}
