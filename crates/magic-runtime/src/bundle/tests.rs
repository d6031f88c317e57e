//! Reading folders, good and hostile.

use super::Bundle;
use magic_contract::{ErrorCode, Failure};
use std::fs;
use std::path::Path;

pub(super) const CONTRACT: &str =
    "name: Echo\nversion: 1.0.0\ninput: {type: object}\noutput: {type: object}\n";

pub(super) fn folder() -> tempfile::TempDir {
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
    let lease = bundle.keep(kept.path()).unwrap();
    let place = lease.path().to_owned();
    assert_eq!(
        fs::read_to_string(place.join("package/inner/module.py")).unwrap(),
        "y = 1\n"
    );
    assert_eq!(
        bundle.keep(kept.path()).unwrap().path(),
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

/// Two deploys of one content at one moment must not take each other's files.
#[test]
fn keeping_the_same_content_at_once_keeps_all_of_it() {
    let source = folder();
    for number in 0..200 {
        fs::write(source.path().join(format!("m{number}.py")), "y = 1\n").unwrap();
    }
    let bundle = Bundle::read(source.path()).unwrap();
    for _ in 0..10 {
        let kept = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let deploys: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| bundle.keep(kept.path()).expect("it is kept")))
                .collect();
            for deploy in deploys {
                let lease = deploy.join().expect("no panic");
                assert_eq!(Bundle::read(lease.path()).unwrap().digest, bundle.digest);
            }
        });
        assert_eq!(fs::read_dir(kept.path()).unwrap().count(), 1);
    }
}

/// What a process that ended in the middle has left under its number is not in the way.
#[test]
fn a_leftover_of_an_earlier_life_is_not_in_the_way() {
    let source = folder();
    let bundle = Bundle::read(source.path()).unwrap();
    let kept = tempfile::tempdir().unwrap();
    for number in 0..1_000 {
        let name = format!(".{}-{}-{number}", bundle.digest, std::process::id());
        fs::create_dir(kept.path().join(&name)).unwrap();
        fs::write(kept.path().join(name).join("controller.py"), "half").unwrap();
    }
    let lease = bundle.keep(kept.path()).expect("it is kept");
    let place = lease.path().to_owned();
    assert_eq!(Bundle::read(&place).unwrap().digest, bundle.digest);
}

/// A folder that is exchanged for a link while it is read never leads out.
#[test]
fn a_folder_that_becomes_a_link_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.py"), "secret\n").unwrap();
    let source = folder();
    let inner = source.path().join("inner");
    let (real, link) = (source.path().join(".real"), source.path().join(".link"));
    fs::create_dir(&inner).unwrap();
    std::os::unix::fs::symlink(outside.path(), &link).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                fs::rename(&inner, &real).unwrap();
                fs::rename(&link, &inner).unwrap();
                fs::rename(&inner, &link).unwrap();
                fs::rename(&real, &inner).unwrap();
            }
        });
        let leaked = (0..5_000).any(|_| {
            Bundle::read(source.path())
                .is_ok_and(|bundle| bundle.files.contains_key("inner/secret.py"))
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(!leaked, "a link was followed");
    });
}

/// Whatever was changed, added or taken away under a kept name is found.
#[test]
fn kept_files_that_were_changed_are_not_used() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 5] = [
        ("nothing", |_| {}),
        ("other content", |place| {
            fs::write(place.join("controller.py"), "x = 2\n").unwrap();
        }),
        ("one file more", |place| {
            fs::write(place.join("sitecustomize.py"), "").unwrap();
        }),
        ("a hidden file", |place| {
            fs::create_dir(place.join("__pycache__")).unwrap();
            fs::write(place.join("__pycache__/controller.cpython-311.pyc"), "").unwrap();
        }),
        ("a link", |place| {
            fs::remove_file(place.join("controller.py")).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", place.join("controller.py")).unwrap();
        }),
    ];
    let source = folder();
    let bundle = Bundle::read(source.path()).unwrap();
    for (what, change) in changes {
        let kept = tempfile::tempdir().unwrap();
        let lease = bundle.keep(kept.path()).unwrap();
        let place = lease.path().to_owned();
        change(&place);
        let sound = what == "nothing";
        assert_eq!(super::is_unchanged(&place, &bundle.digest), sound, "{what}");
        assert_eq!(bundle.keep(kept.path()).is_ok(), sound, "{what}");
    }
    // A folder that is exchanged as a whole, for one with the same content.
    let kept = tempfile::tempdir().unwrap();
    let lease = bundle.keep(kept.path()).unwrap();
    let place = lease.path().to_owned();
    fs::rename(&place, kept.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(kept.path().join("elsewhere"), &place).unwrap();
    assert!(bundle.keep(kept.path()).is_err());
}

/// What a process left half-written goes at the next start; what one still writes, and what is kept, stays.
#[test]
fn leftovers_are_swept_and_nothing_else() {
    let source = folder();
    let kept = tempfile::tempdir().unwrap();
    let lease = Bundle::read(source.path())
        .unwrap()
        .keep(kept.path())
        .unwrap();
    let place = lease.path();
    let writing = super::keep::Staging::begin(kept.path(), "writing").unwrap();
    let left = kept.path().join(".left-1-0");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("half"), "half").unwrap();
    super::keep::sweep(kept.path()).unwrap();
    assert!(!left.exists() && place.is_dir() && writing.path().is_dir());
    let path = writing.path().to_owned();
    drop(writing);
    assert!(!path.exists());
}

/// A folder goes when its last lease has, if it may, and comes back whole when somebody wants it again.
#[test]
fn only_what_nobody_has_a_lease_of_is_removed() {
    use super::keep::{Lease, has_digest, remove_unused};
    let source = folder();
    let kept = tempfile::tempdir().unwrap();
    let bundle = Bundle::read(source.path()).unwrap();
    let one = bundle.keep(kept.path()).unwrap();
    let other = Lease::take(one.path()).unwrap().unwrap();
    let place = one.path().to_owned();
    let remove = || remove_unused(kept.path(), has_digest).unwrap();
    assert!(remove().is_empty());
    drop(one);
    assert!(remove().is_empty() && place.is_dir());
    drop(other);
    assert!(remove_unused(kept.path(), |_, _| false).unwrap().is_empty());
    assert_eq!(remove(), std::slice::from_ref(&bundle.digest));
    assert!(Lease::take(&place).unwrap().is_none());
    assert_eq!(fs::read_dir(kept.path()).unwrap().count(), 0);

    let again = bundle.keep(kept.path()).unwrap();
    assert!(super::is_unchanged(again.path(), &bundle.digest));
    drop(again);
    // What somebody has changed stays for whoever looks into it, and so does what is being written.
    fs::write(place.join("controller.py"), "changed\n").unwrap();
    let writing = super::keep::Staging::begin(kept.path(), "writing").unwrap();
    assert!(remove().is_empty() && place.is_dir() && writing.path().is_dir());
}

/// Whoever keeps a bundle while others remove it has it whole, as long as the lease lives.
#[test]
fn keeping_and_removing_at_once_go_together() {
    use super::keep::{has_digest, remove_unused};
    let source = folder();
    let kept = tempfile::tempdir().unwrap();
    let bundle = Bundle::read(source.path()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let lease = bundle.keep(kept.path()).expect("it is kept");
                    assert!(super::is_unchanged(lease.path(), &bundle.digest));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..100 {
                remove_unused(kept.path(), has_digest).expect("our own folder");
            }
        });
    });
}
