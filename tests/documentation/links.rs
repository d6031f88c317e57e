//! Links of the documents lead to files and headings that exist, and README leads to every page.

use std::path::{Path, PathBuf};

use crate::{read, root};

/// Every page, by its path from the root.
fn pages() -> Vec<String> {
    let mut pages = vec![
        "README.md".to_owned(),
        "python-sdk/README.md".to_owned(),
        "bench/README.md".to_owned(),
    ];
    for entry in std::fs::read_dir(root().join("docs")).expect("the documents") {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("UTF-8");
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    pages
}

/// The targets of a page's links, without those that lead out of the repository.
fn targets(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.contains(' '))
        .collect()
}

/// A heading as it is named in a link.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|letter| {
            letter.is_alphanumeric() || *letter == ' ' || *letter == '-' || *letter == '_'
        })
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for page in pages() {
        let folder = root().join(Path::new(&page).parent().expect("a folder"));
        for target in targets(&read(&page)) {
            links += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path: PathBuf = if file.is_empty() {
                root().join(&page)
            } else {
                folder.join(file)
            };
            assert!(path.exists(), "{page} links to {target}");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&path).expect("a page");
                let there = text
                    .lines()
                    .any(|line| line.starts_with('#') && anchor(line) == heading);
                assert!(there, "{page} links to {target}");
            }
        }
    }
    assert!(links > 50, "{links}");
}

#[test]
fn readme_leads_to_every_page() {
    let readme = read("README.md");
    for page in pages() {
        assert!(
            page == "README.md" || readme.contains(&format!("({page})")),
            "{page}"
        );
    }
    assert!(readme.contains("(docs/llms.txt)"));
}
