//! Reading folders, good and hostile.

use super::Bundle;
use magic_contract::{ErrorCode, Failure};
use std::fs;
use std::path::Path;

const CONTRACT: &str =
    "name: Echo\nversion: 1.0.0\ninput: {type: object}\noutput: {type: object}\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("controller.py"), "x = 1\n").unwrap();
    fs::write(folder.path().join("contract.yaml"), CONTRACT).unwrap();
    folder
}

fn refusal(folder: &Path) -> Failure {
    Bundle::read(folder).expect_err("the folder is refused")
}

#[test]
fn the_digest_is_of_the_content_alone() {
    let (one, other) = (folder(), folder());
    fs::create_dir(other.path().join("__pycache__")).unwrap();
    fs::write(other.path().join("__pycache__/x.pyc"), "junk").unwrap();
    fs::write(other.path().join(".hidden"), "junk").unwrap();
    let digest = Bundle::read(one.path()).unwrap().digest;
    assert_eq!(digest, Bundle::read(other.path()).unwrap().digest);
    fs::write(other.path().join("controller.py"), "x = 2\n").unwrap();
    assert_ne!(digest, Bundle::read(other.path()).unwrap().digest);
}

#[test]
fn what_is_kept_is_what_was_read() {
    let source = folder();
    fs::create_dir_all(source.path().join("package/inner")).unwrap();
    fs::write(source.path().join("package/inner/module.py"), "y = 1\n").unwrap();
    let kept = tempfile::tempdir().unwrap();
    let bundle = Bundle::read(source.path()).unwrap();
    fs::write(source.path().join("package/inner/module.py"), "changed\n").unwrap();
    let place = bundle.keep(kept.path()).unwrap();
    assert_eq!(
        fs::read_to_string(place.join("package/inner/module.py")).unwrap(),
        "y = 1\n"
    );
    assert_eq!(
        bundle.keep(kept.path()).unwrap(),
        place,
        "keeping twice is keeping once"
    );
    assert_eq!(
        fs::read_dir(kept.path()).unwrap().count(),
        1,
        "no staging folder is left"
    );
}

#[test]
fn links_and_special_files_are_refused() {
    let source = folder();
    std::os::unix::fs::symlink("/etc/passwd", source.path().join("data.txt")).unwrap();
    assert_eq!(refusal(source.path()).code, ErrorCode::InvalidBundle);

    let source = folder();
    nix::unistd::mkfifo(&source.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(refusal(source.path()).code, ErrorCode::InvalidBundle);
}

#[test]
fn missing_and_double_parts_are_named() {
    let source = folder();
    fs::remove_file(source.path().join("controller.py")).unwrap();
    assert!(refusal(source.path()).message.contains("controller.py"));

    let source = folder();
    fs::remove_file(source.path().join("contract.yaml")).unwrap();
    assert!(refusal(source.path()).message.contains("no contract"));

    let source = folder();
    fs::write(source.path().join("echo.contract.json"), "{}").unwrap();
    assert!(
        refusal(source.path())
            .message
            .contains("more than one contract")
    );
}

#[test]
fn a_folder_without_end_is_refused() {
    let source = folder();
    let mut deep = source.path().to_owned();
    for _ in 0..20 {
        deep.push("d");
    }
    fs::create_dir_all(deep).unwrap();
    assert_eq!(refusal(source.path()).code, ErrorCode::InvalidBundle);
}
