//! Locks as uv writes them, and as it would never write one.

use super::super::marker::Environment;
use super::super::wheel::{CLibrary, WheelSupport};
use super::{LockError, read};
use proptest::prelude::*;

fn environment(minor: u32) -> Environment {
    Environment {
        version: (3, minor, 7),
        machine: "x86_64".to_owned(),
    }
}

fn support(minor: u32) -> WheelSupport {
    WheelSupport {
        minor,
        abi_flags: String::new(),
        machine: "x86_64".to_owned(),
        library: CLibrary::Glibc(2, 36),
    }
}

/// What a lock gives an interpreter, each with the number of its hashes.
fn pins(lock: &str, minor: u32) -> Result<Vec<(String, usize)>, LockError> {
    let pins = read(lock.as_bytes())?.pins("Real", &environment(minor), &support(minor))?;
    Ok(pins
        .into_iter()
        .map(|pin| {
            let extras = match pin.extras.as_slice() {
                [] => String::new(),
                extras => format!("[{}]", extras.join(",")),
            };
            (
                format!("{}{extras}=={}", pin.name, pin.version),
                pin.hashes.len(),
            )
        })
        .collect())
}

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// One package of an index with a wheel for every interpreter.
fn package(name: &str, version: &str, more: &str) -> String {
    let module = name.replace('-', "_");
    format!(
        "
[[package]]
name = \"{name}\"
version = \"{version}\"
source = {{ registry = \"https://pypi.org/simple\" }}
{more}
wheels = [
    {{ url = \"https://example.org/a/{module}-{version}-py3-none-any.whl\", hash = \"sha256:{HASH}\", size = 100 }},
]
"
    )
}

/// A lock of the project `real` with these dependencies and packages.
fn lock(dependencies: &str, packages: &[String]) -> String {
    format!(
        "version = 1
revision = 3
requires-python = \">=3.11\"

[[package]]
name = \"real\"
version = \"0.1.0\"
source = {{ virtual = \".\" }}
dependencies = [{dependencies}]
{}",
        packages.concat()
    )
}

/// `tests/packages/uv/uv.lock` was written by uv.
const REAL: &str = include_str!("../../../../../tests/packages/uv/uv.lock");

#[test]
fn a_lock_of_uv_gives_each_interpreter_its_own() {
    let all = |minor| {
        let pins = pins(REAL, minor).expect("a lock");
        pins.into_iter().map(|(pin, _)| pin).collect::<Vec<_>>()
    };
    let eleven = all(11);
    assert!(eleven.contains(&"numpy==2.4.6".to_owned()), "{eleven:?}");
    // By way of others, and not at all.
    assert!(
        eleven
            .iter()
            .any(|pin| pin.starts_with("typing-inspection==")),
        "{eleven:?}"
    );
    for absent in ["colorama", "tomli", "pytest", "real"] {
        assert!(
            !eleven.iter().any(|pin| pin.starts_with(absent)),
            "{eleven:?}"
        );
    }
    let twelve = all(12);
    assert!(twelve.contains(&"numpy==2.5.5".to_owned()), "{twelve:?}");
    assert_eq!(twelve.len(), eleven.len());
}

#[test]
fn what_is_reached_is_taken_and_nothing_else() {
    let packages = [
        package(
            "one",
            "1.0",
            "dependencies = [{ name = \"two\", marker = \"sys_platform == 'linux'\" }, { name = \"win\", marker = \"sys_platform == 'win32'\" }]",
        ),
        package("three", "3.0", ""),
        package("win", "1.0", ""),
        package("dev", "1.0", ""),
    ];
    // With a table of its own, which comes after its wheels.
    let two = format!(
        "
[[package]]
name = \"two\"
version = \"2.0\"
source = {{ registry = \"x\" }}
dependencies = [{{ name = \"one\" }}, {{ name = \"magic-runtime\" }}]
wheels = [{{ filename = \"two-2.0-py3-none-any.whl\", hash = \"sha256:{HASH}\" }}]
[package.optional-dependencies]
Fast_Path = [{{ name = \"three\" }}]
"
    );
    let packages = [&packages[..], &[two]].concat();
    let names = |text: &str| {
        let pins = pins(text, 11).expect("a lock");
        pins.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(&lock("", &packages)), Vec::<String>::new());
    assert_eq!(
        names(&lock("{ name = \"one\" }", &packages)),
        ["one==1.0", "two==2.0"]
    );
    assert_eq!(
        names(&lock(
            "{ name = \"two\", extra = [\"fast-path\", \"none\"] }",
            &packages
        )),
        ["one==1.0", "three==3.0", "two[fast-path,none]==2.0"]
    );
}

#[test]
fn what_leaves_a_choice_or_another_source_is_refused_with_what_to_type() {
    let one = || package("one", "1.0", "");
    let asks = "{ name = \"one\" }";
    let sourced = |source: &str| one().replace("registry = \"https://pypi.org/simple\"", source);
    let refused = |text: &str, says: &str| {
        let error = pins(text, 11).expect_err(says).to_string();
        assert!(error.contains(says), "{says}: {error}");
    };
    assert_eq!(
        pins(&lock(asks, &[one()]), 11),
        Ok(vec![("one==1.0".to_owned(), 1)])
    );
    for (text, says) in [
        (
            lock(asks, &[]),
            "real needs one, which it has not; type `uv lock`",
        ),
        (
            lock(asks, &[one(), package("one", "2.0", "")]),
            "one in several versions (1.0, 2.0)",
        ),
        (
            lock(
                "{ name = \"one\", version = \"1.0\" }, { name = \"one\", version = \"2.0\" }",
                &[one(), package("one", "2.0", "")],
            ),
            "one in several versions (1.0, 2.0)",
        ),
        (
            lock(
                asks,
                &[sourced("git = \"https://example.org/one?rev=1#1\"")],
            ),
            "one comes from a repository",
        ),
        (
            lock(asks, &[sourced("url = \"https://example.org/one.whl\"")]),
            "from a link",
        ),
        (
            lock(asks, &[sourced("path = \"../one.whl\"")]),
            "from a file",
        ),
        (
            lock(asks, &[sourced("editable = \"../one\"")]),
            "from a folder",
        ),
        (
            lock(asks, &[sourced("ether = \"x\"")]),
            "a source that is not known here",
        ),
        (
            lock(asks, &[one().replace("    {", "#   {")]),
            "no wheel of one==1.0, only its source",
        ),
        (
            lock(
                asks,
                &[one().replace("py3-none-any", "cp311-cp311-win_amd64")],
            ),
            "was built for this interpreter",
        ),
        (
            lock(asks, &[one().replace("/one-1.0", "/two-1.0")]),
            "was built for this interpreter",
        ),
        (
            lock(asks, &[one().replace("hash", "hush")]),
            "has no SHA-256",
        ),
        (
            lock(asks, &[one().replace("sha256:0", "sha512:0")]),
            "has no SHA-256",
        ),
        (
            lock(
                "{ name = \"one\", marker = \"weather == 'fine'\" }",
                &[one()],
            ),
            "`weather` is not known",
        ),
        (
            lock(
                "{ name = \"../one\" }",
                &[one().replace("\"one\"", "\"../one\"")],
            ),
            "no name of a package",
        ),
        (
            lock(asks, &[one().replace("\"1.0\"", "\"1.*\"")]),
            "no name of a package",
        ),
        (
            lock(asks, &[one()]).replace("\"real\"", "\"other\""),
            "it is the lock of `other`",
        ),
        (
            lock(asks, &[one()]).replace("virtual = \".\"", "virtual = \"sub\""),
            "no project of its own folder",
        ),
        (
            lock(asks, &[one()]).replace(">=3.11", ">=3.13"),
            "it is for Python >=3.13",
        ),
        (
            lock(asks, &[one()]).replace("version = 1\n", "version = 2\n"),
            "the format 2",
        ),
        (
            lock(asks, &[one()]).replace("revision = 3", "revision ="),
            "it is not such a file",
        ),
        (
            "version = 1\n[[package]]\nname = 3".to_owned(),
            "it is not such a file",
        ),
        (
            format!("version = 1\na = {}", "[".repeat(10_000)),
            "it is not such a file",
        ),
    ] {
        refused(&text, says);
    }
    let many: Vec<String> = (0..=300)
        .map(|number| package(&format!("p{number}"), "1.0", ""))
        .collect();
    let asks: Vec<String> = (0..=300)
        .map(|number| format!("{{ name = \"p{number}\" }}"))
        .collect();
    refused(&lock(&asks.join(","), &many), "more than 300 packages");
    assert!(pins(&lock(&asks[..300].join(","), &many), 11).is_ok());
    let large = format!("version = 1\n#{}", "x".repeat(8 << 20));
    assert_eq!(read(large.as_bytes()).err(), Some(LockError::Large));
}

/// The fork that a version belongs to decides where a dependency names none.
#[test]
fn forks_are_told_apart_by_their_markers() {
    let fork = |version, marker: &str| {
        package(
            "one",
            version,
            &format!("resolution-markers = [\"{marker}\"]"),
        )
    };
    let text = lock(
        "{ name = \"one\" }",
        &[
            fork("1.0", "python_full_version < '3.12'"),
            fork("2.0", "python_full_version >= '3.12'"),
        ],
    );
    assert_eq!(pins(&text, 11), Ok(vec![("one==1.0".to_owned(), 1)]));
    assert_eq!(pins(&text, 12), Ok(vec![("one==2.0".to_owned(), 1)]));
}

/// A small one, since the large one takes its time to be read.
const SMALL: &str = include_str!("../../../../../fuzz/seeds/uv_lock/lock");

proptest! {
    /// Whatever is done to a lock, what comes out is pinned, has hashes and goes into a message as it is.
    #[test]
    fn damage_never_panics(
        at in 0..SMALL.len(),
        length in 0..200_usize,
        with in prop::sample::select(vec!["", "\"", "]", "{ name = \"numpy\" }", "\u{1b}[2J", "version = \"1\"\n", "editable"]),
    ) {
        let mut text = SMALL.as_bytes().to_vec();
        let end = (at + length).min(text.len());
        text.splice(at..end, with.bytes());
        let read = read(&text).and_then(|lock| lock.pins("real", &environment(11), &support(11)));
        match read {
            Ok(pins) => for pin in pins {
                prop_assert!(!pin.hashes.is_empty() && !pin.version.contains(char::is_control));
            },
            Err(error) => prop_assert!(!error.to_string().contains(char::is_control), "{}", error),
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = read(&bytes) {
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }
}

/// What is small to write and long to work through is refused: names with tags of tags, and the same choice again and again.
#[test]
fn work_is_bounded() {
    let tags = ".".repeat(10_000);
    let crossed = format!(
        "\n[[package]]\nname = \"a\"\nversion = \"1.0\"\nsource = {{ registry = \"https://example.org\" }}\nwheels = [{{ url = \"https://example.org/a-1.0-{tags}-{tags}-{tags}.whl\", hash = \"sha256:{HASH}\" }}]\n"
    );
    let refused = pins(&lock("{ name = \"a\" }", &[crossed]), 11);
    assert_eq!(refused, Err(LockError::NoFittingWheel("a==1.0".to_owned())));

    let fork = |number: usize| {
        let version = format!("1.{number}");
        let marker = if number == 0 {
            "python_full_version >= '3.11'"
        } else {
            "python_full_version < '3.11'"
        };
        package(
            "a",
            &version,
            &format!("resolution-markers = [\"{marker}\"]"),
        )
    };
    let forks: Vec<String> = (0..20).map(fork).collect();
    let once = pins(&lock("{ name = \"a\" }", &forks), 11);
    assert_eq!(once, Ok(vec![("a==1.0".to_owned(), 1)]));
    let often = vec!["{ name = \"a\" }"; 40_000].join(", ");
    assert_eq!(pins(&lock(&often, &forks), 11), Err(LockError::Entangled));
}
