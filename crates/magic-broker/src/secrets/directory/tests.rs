//! Files, links, and everything that a directory can hold instead of a secret.

use super::*;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

fn folder() -> (TempDir, Directory) {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("secrets");
    std::fs::create_dir(&inside).expect("a directory");
    let directory = Directory::new(inside);
    (folder, directory)
}

fn get(directory: &Directory, name: &str) -> Result<Option<String>, DirectoryError> {
    let found = directory.get(&name.parse().expect("a name"))?;
    Ok(found.map(|value| value.expose().to_owned()))
}

/// The layout of a Kubernetes volume: links inside, one of which is exchanged to rotate.
#[test]
fn links_inside_are_followed() {
    let (_folder, directory) = folder();
    let at = |name: &str| directory.path().join(name);
    for (version, text) in [("..1", "old\n"), ("..2", "new\n")] {
        std::fs::create_dir(at(version)).expect("a version");
        std::fs::write(at(version).join("KEY"), text).expect("a file");
    }
    symlink("..1", at("..data")).expect("a link");
    symlink("..data/KEY", at("KEY")).expect("a link");
    assert_eq!(
        get(&directory, "KEY").expect("read").as_deref(),
        Some("old")
    );
    symlink("..2", at("..data_tmp")).expect("a link");
    std::fs::rename(at("..data_tmp"), at("..data")).expect("exchanged");
    std::fs::remove_dir_all(at("..1")).expect("removed");
    assert_eq!(
        get(&directory, "KEY").expect("read").as_deref(),
        Some("new")
    );
    let names: Vec<String> = directory
        .list()
        .expect("a list")
        .into_iter()
        .map(|(name, _)| name.to_string())
        .collect();
    assert_eq!(names, ["KEY"]);
}

/// No link leads out, neither by an absolute path nor by climbing; its twin inside is read.
#[test]
fn links_out_are_refused() {
    let (folder, directory) = folder();
    let at = |name: &str| directory.path().join(name);
    let outside = folder.path().join("OUTSIDE");
    std::fs::write(&outside, "outside").expect("a file");
    std::fs::write(at("INSIDE"), "inside").expect("a file");
    symlink(&outside, at("ABSOLUTE")).expect("a link");
    symlink("../OUTSIDE", at("CLIMBING")).expect("a link");
    symlink("INSIDE", at("STAYING")).expect("a link");
    symlink(at("INSIDE"), at("ABSOLUTE_INSIDE")).expect("a link");
    symlink("..", at("up")).expect("a link");
    symlink("up/OUTSIDE", at("CLIMBING_BY_A_LINK")).expect("a link");
    symlink("ITSELF", at("ITSELF")).expect("a link");
    symlink("/proc/self/environ", at("MAGIC_LINK")).expect("a link");
    for name in [
        "ABSOLUTE",
        "CLIMBING",
        "ABSOLUTE_INSIDE",
        "CLIMBING_BY_A_LINK",
        "ITSELF",
        "MAGIC_LINK",
    ] {
        let error = get(&directory, name).expect_err(name);
        assert!(
            matches!(error, DirectoryError::LeadsOut { .. }),
            "{name}: {error}"
        );
    }
    assert_eq!(
        get(&directory, "STAYING").expect("read").as_deref(),
        Some("inside")
    );
    assert_eq!(directory.list().expect("a list").len(), 2);
}

/// What is there and is no secret is an error; what is not there is none.
#[test]
fn only_whole_text_files_are_secrets() {
    let (folder, directory) = folder();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("EMPTY"), "").expect("a file");
    std::fs::write(at("NEWLINE"), "\n").expect("a file");
    std::fs::write(at("BINARY"), [0xff, 0xfe]).expect("a file");
    std::fs::write(at("LARGE"), vec![b'x'; SecretValue::LIMIT + 1]).expect("a file");
    std::fs::write(at("HUGE"), vec![b'x'; 2 * SecretValue::LIMIT]).expect("a file");
    std::fs::write(
        at("MOST"),
        [&vec![b'x'; SecretValue::LIMIT][..], b"\r\n"].concat(),
    )
    .expect("a file");
    std::fs::create_dir(at("FOLDER")).expect("a folder");
    rustix::fs::mknodat(CWD, at("PIPE"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)
        .expect("a pipe");
    for (name, passing) in [
        ("EMPTY", true),
        ("NEWLINE", true),
        ("BINARY", false),
        ("LARGE", false),
        ("HUGE", false),
        ("FOLDER", false),
        ("PIPE", false),
    ] {
        let error = get(&directory, name).expect_err(name);
        assert_eq!(error.is_passing(), passing, "{name}: {error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let most = get(&directory, "MOST").expect("read").expect("there");
    assert_eq!(most.len(), SecretValue::LIMIT);
    assert_eq!(get(&directory, "ABSENT").expect("read"), None);
    assert_eq!(get(&directory, "most").expect("read"), None);
    let missing = Directory::new(folder.path().join("missing"));
    assert_eq!(get(&missing, "MOST").expect("read"), None);
    assert_eq!(missing.list().expect("a list"), []);
    let file = Directory::new(at("MOST"));
    let error = get(&file, "MOST").expect_err("not a directory");
    assert!(matches!(error, DirectoryError::Open { .. }), "{error}");
}

/// While a value is exchanged without end, every reader sees one of the two, whole.
#[test]
fn a_value_is_old_or_new() {
    let (folder, directory) = folder();
    let values = ["a".repeat(SecretValue::LIMIT), "b".repeat(1000)];
    let publish = |version: usize| {
        let name = format!("..{version}");
        let inside = directory.path().join(&name);
        std::fs::create_dir(&inside).expect("a version");
        std::fs::write(inside.join("KEY"), &values[version % 2]).expect("a file");
        let link = folder.path().join("link");
        symlink(&name, &link).expect("a link");
        std::fs::rename(&link, directory.path().join("..data")).expect("exchanged");
        if version > 0 {
            let before = directory.path().join(format!("..{}", version - 1));
            std::fs::remove_dir_all(before).expect("removed");
        }
    };
    symlink("..data/KEY", directory.path().join("KEY")).expect("a link");
    publish(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (1..200).for_each(publish);
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let value = get(&directory, "KEY").expect("read").expect("there");
            assert!(values.contains(&value));
        }
    });
}
