//! The page of promises names tests, and they exist.

use crate::{files, read};

#[test]
fn every_promise_names_tests_that_exist() {
    let page = read("docs/promises.md");
    let sources: String = [files("crates", ".rs"), files("tests", ".rs")]
        .concat()
        .iter()
        .map(read)
        .collect();
    let python: String = files("python-sdk/tests", ".py").iter().map(read).collect();
    let mut promises = 0;
    let mut held = 0;
    for line in page.lines() {
        if line.starts_with("## ") {
            assert!(
                promises == held,
                "promise {promises} names no test and does not say why"
            );
            promises += 1;
        }
        if line.starts_with("Not held yet: ") {
            held += 1;
        }
        let Some(names) = line.strip_prefix("Tests: ") else {
            continue;
        };
        held += 1;
        for name in names
            .split([',', ' '])
            .map(|name| name.trim_matches(['`', '.', ',']))
            .filter(|name| !name.is_empty())
        {
            let function = name.rsplit("::").next().unwrap_or(name);
            let exists = sources.contains(&format!("fn {function}("))
                || python.contains(&format!("def {function}("));
            assert!(
                exists,
                "docs/promises.md names a test that does not exist: {name}"
            );
        }
    }
    assert_eq!(
        (promises, held),
        (8, 8),
        "eight promises, each with its tests or with why it has none yet"
    );
}
