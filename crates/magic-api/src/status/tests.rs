//! The page of errors says what the catalogue says.

use std::fmt::Write as _;
use std::path::Path;

use magic_contract::{Category, ErrorCode, Reason};

use super::status_of;

const BEGIN: &str = "<!-- From the catalogue; `MAGIC_WRITE_DOCS=1 cargo test -p magic-api the_page_of_errors` writes it. -->\n";
const END: &str = "<!-- End of the catalogue. -->\n";

/// The part of the page that is made.
fn catalogue() -> String {
    let mut text = String::new();
    let mut category: Option<Category> = None;
    for code in ErrorCode::ALL {
        if category != Some(code.category()) {
            category = Some(code.category());
            let _ = write!(
                text,
                "\n## {}\n\n| code | status | means | what to do |\n|---|---|---|---|\n",
                code.category()
            );
        }
        let _ = writeln!(
            text,
            "| {code} | {} | {} | {} |",
            status_of(*code).as_u16(),
            code.meaning(),
            code.resolution()
        );
    }
    text.push('\n');
    text
}

/// Fails when the catalogue has changed and the page has not.
#[test]
fn the_page_of_errors_is_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("where it begins");
    let (written, after) = rest.split_once(END).expect("where it ends");
    if std::env::var_os("MAGIC_WRITE_DOCS").is_some() {
        let page = format!("{before}{BEGIN}{}{END}{after}", catalogue());
        std::fs::write(&path, page).expect("the page can be written");
        return;
    }
    assert_eq!(written, catalogue(), "see the first line of the made part");
    for reason in Reason::ALL {
        let row = format!("| `{}` |", reason.as_str());
        assert!(after.contains(&row), "{row} is not on the page");
    }
}
