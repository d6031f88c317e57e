//! The table of hostile entries. Every refusal has its permitted twin.

use super::LONG;
use super::writing::{
    Entry, declaring, file, of_kind, pax, raw_name, read, record, refusal, with_mode,
};
use tar::EntryType;

/// Entries beside the two honest ones: what the refusal says, then the entries
/// that are refused, then the nearest ones that are not.
#[test]
fn hostile_entries_are_refused_and_named_and_their_twins_are_not() {
    let deep = "d/".repeat(17) + "m.py";
    let twin_deep = "d/".repeat(16) + "m.py";
    let long = format!("{}.py", "n".repeat(253));
    let twin_long = format!("{}.py", "n".repeat(252));
    let long_path = format!("{}m.py", format!("{}/", "n".repeat(250)).repeat(4));
    let gnu_name = |name: &str| {
        of_kind(
            "././@LongLink",
            EntryType::GNULongName,
            [name.as_bytes(), b"\0"].concat(),
        )
    };
    let large = 33 * 1024 * 1024;
    let table: Vec<(&str, Vec<Entry>, Vec<Entry>)> = vec![
        (
            "leads out",
            vec![file("../evil.py", "x")],
            vec![file("..evil/a.py", "x")],
        ),
        (
            "leads out",
            vec![file("a/../../evil.py", "x")],
            vec![file("a/..b/evil.py", "x")],
        ),
        (
            "leads out",
            vec![file("./../evil.py", "x")],
            vec![file("./evil.py", "x")],
        ),
        (
            "leads out",
            vec![of_kind("..", EntryType::Directory, "")],
            vec![of_kind("./", EntryType::Directory, "")],
        ),
        (
            "absolute",
            vec![file("/etc/passwd", "x")],
            vec![file("etc/passwd", "x")],
        ),
        (
            "a symbolic link",
            vec![of_kind("m.py", EntryType::Symlink, "")],
            vec![file("m.py", "")],
        ),
        (
            "a hard link",
            vec![of_kind("m.py", EntryType::Link, "")],
            vec![file("m.py", "")],
        ),
        (
            "a device",
            vec![of_kind("null", EntryType::Char, "")],
            vec![file("null", "")],
        ),
        (
            "a device",
            vec![of_kind("disk", EntryType::Block, "")],
            vec![file("disk", "")],
        ),
        (
            "a named pipe",
            vec![of_kind("pipe", EntryType::Fifo, "")],
            vec![file("pipe", "")],
        ),
        (
            "a sparse file",
            vec![of_kind("m.py", EntryType::GNUSparse, "")],
            vec![file("m.py", "")],
        ),
        (
            "an unknown kind",
            vec![of_kind("m.py", EntryType::Continuous, "")],
            vec![file("m.py", "")],
        ),
        (
            "an unknown kind",
            vec![of_kind("m.py", EntryType::new(b'M'), "")],
            vec![file("m.py", "")],
        ),
        (
            "set-user-id",
            vec![with_mode("m.py", 0o4755)],
            vec![with_mode("m.py", 0o755)],
        ),
        (
            "set-user-id",
            vec![with_mode("m.py", 0o2644)],
            vec![with_mode("m.py", 0o000)],
        ),
        (
            "set-user-id",
            vec![with_mode("m.py", 0o1644)],
            vec![with_mode("m.py", 0o777)],
        ),
        (
            "it is there twice",
            vec![file("m.py", "x"), file("m.py", "y")],
            vec![file("m.py", "x"), file("n.py", "y")],
        ),
        (
            "it is there twice",
            vec![file("m.py", "x"), file("./m.py", "y")],
            vec![file("m/a.py", "x"), file("./m/b.py", "y")],
        ),
        (
            "it is there twice",
            vec![file("controller.py", "evil")],
            vec![file("controllers.py", "x")],
        ),
        (
            "in the case of letters",
            vec![file("m.py", "x"), file("M.py", "y")],
            vec![file("M.py", "y")],
        ),
        (
            "in the case of letters",
            vec![file("a/m.py", "x"), file("A/n.py", "y")],
            vec![file("a/m.py", "x"), file("a/n.py", "y")],
        ),
        (
            "in the case of letters",
            vec![file("é.py", "x"), file("É.py", "y")],
            vec![file("é.py", "x"), file("e.py", "y")],
        ),
        (
            "a file and a folder",
            vec![file("a", "x"), file("a/m.py", "y")],
            vec![file("a", "x"), file("b/m.py", "y")],
        ),
        (
            "a file and a folder",
            vec![file("a/m.py", "y"), file("a", "x")],
            vec![file("a/m.py", "y"), file("a/a", "x")],
        ),
        (
            "a file and a folder",
            vec![of_kind("a/", EntryType::Directory, ""), file("a", "x")],
            vec![
                of_kind("a/", EntryType::Directory, ""),
                of_kind("a", EntryType::Directory, ""),
                file("a/m.py", "x"),
            ],
        ),
        (
            "empty part",
            vec![file("a//m.py", "x")],
            vec![file("a/m.py", "x")],
        ),
        (
            "empty part",
            vec![file("a/./m.py", "x")],
            vec![file("a/.m/m.py", "x")],
        ),
        (
            "empty part",
            vec![file("m.py/", "x")],
            vec![of_kind("m/", EntryType::Directory, "")],
        ),
        ("empty name", vec![raw_name(b"")], vec![raw_name(b"m")]),
        (
            "the character \\u{a}",
            vec![file("a\nb.py", "x")],
            vec![file("a b.py", "x")],
        ),
        (
            "the character \\u{5c}",
            vec![file("..\\evil.py", "x")],
            vec![file("evil.py", "x")],
        ),
        (
            "the character \\u{1b}",
            vec![file("\u{1b}[2J.py", "x")],
            vec![file("[2J.py", "x")],
        ),
        (
            "the character \\u{202e}",
            vec![file("a\u{202e}yp.exe", "x")],
            vec![file("añß漢.py", "x")],
        ),
        (
            "the character \\u{0}",
            vec![pax("path", "m.py\0evil"), file("x", "x")],
            vec![pax("path", "m.pyevil"), file("x", "x")],
        ),
        (
            "goes on behind its end",
            vec![raw_name(b"m.py\0evil")],
            vec![raw_name(b"m.py\0")],
        ),
        (
            "not UTF-8",
            vec![raw_name(b"m\xff.py")],
            vec![raw_name("m\u{ff}.py".as_bytes())],
        ),
        (
            "too long",
            vec![pax("path", &long), file("x", "x")],
            vec![pax("path", &twin_long), file("x", "x")],
        ),
        (
            "too long",
            vec![gnu_name(&long_path), file("x", "x")],
            vec![gnu_name(&long_path[251..]), file("x", "x")],
        ),
        (
            "deeper than",
            vec![file(&deep, "x")],
            vec![file(&twin_deep, "x")],
        ),
        // What extended headers say.
        (
            "leads out",
            vec![pax("path", "../evil.py"), file("m.py", "x")],
            vec![pax("path", LONG), file("m.py", "x")],
        ),
        (
            "absolute",
            vec![gnu_name("/etc/passwd"), file("m.py", "x")],
            vec![gnu_name(LONG), file("m.py", "x")],
        ),
        (
            "it is there twice",
            vec![pax("path", "controller.py"), file("m.py", "x")],
            vec![pax("path", "n.py"), file("m.py", "x")],
        ),
        (
            "the record `size`",
            vec![pax("size", "0"), file("m.py", "x")],
            vec![pax("mtime", "0.5"), file("m.py", "x")],
        ),
        (
            "the record `linkpath`",
            vec![pax("linkpath", "/etc"), file("m.py", "x")],
            vec![pax("comment", "/etc"), file("m.py", "x")],
        ),
        (
            "the record `GNU.sparse.realsize`",
            vec![pax("GNU.sparse.realsize", "9"), file("m.py", "x")],
            vec![pax("SCHILY.xattr.user.a", "9"), file("m.py", "x")],
        ),
        (
            "the record `hdrcharset`",
            vec![pax("hdrcharset", "BINARY"), file("m.py", "x")],
            vec![pax("uname", "me"), file("m.py", "x")],
        ),
        (
            "the record `path`",
            vec![
                of_kind("g", EntryType::XGlobalHeader, record("path", "m.py")),
                file("n.py", "x"),
            ],
            vec![
                of_kind("g", EntryType::XGlobalHeader, record("comment", "0123abc")),
                file("n.py", "x"),
            ],
        ),
        (
            "path, twice",
            vec![
                of_kind(
                    "x",
                    EntryType::XHeader,
                    [record("path", "a.py"), record("path", "b.py")].concat(),
                ),
                file("n.py", "x"),
            ],
            vec![
                of_kind(
                    "x",
                    EntryType::XHeader,
                    [record("path", "a.py"), record("mtime", "1")].concat(),
                ),
                file("n.py", "x"),
            ],
        ),
        (
            "malformed pax",
            vec![
                of_kind("x", EntryType::XHeader, "999 path=m.py\n"),
                file("n.py", "x"),
            ],
            vec![pax("path", "m.py"), file("n.py", "x")],
        ),
        (
            "two extended headers",
            vec![pax("path", "a.py"), pax("path", "b.py"), file("n.py", "x")],
            vec![
                pax("path", "a.py"),
                file("m.py", "x"),
                pax("path", "b.py"),
                file("n.py", "x"),
            ],
        ),
        (
            "two extended headers",
            vec![pax("path", "a.py"), gnu_name("b.py"), file("n.py", "x")],
            vec![
                pax("path", "a.py"),
                file("n.py", "x"),
                gnu_name("b.py"),
                file("m.py", "x"),
            ],
        ),
        (
            "in the middle",
            vec![pax("path", "a.py")],
            vec![pax("path", "a.py"), file("m.py", "")],
        ),
        (
            "the name of a link",
            vec![of_kind("././@LongLink", EntryType::GNULongLink, "/etc\0")],
            vec![gnu_name("m.py"), file("m", "")],
        ),
        (
            "declares",
            vec![declaring("x", u64::MAX >> 1)],
            vec![declaring("x", 0)],
        ),
        (
            "declares",
            vec![declaring("x", large)],
            vec![file("x", "x".repeat(1 << 20))],
        ),
        (
            "declares",
            vec![Entry {
                size: large,
                ..pax("path", "m.py")
            }],
            vec![pax("path", "m.py"), file("x", "")],
        ),
        (
            "declares 5",
            vec![of_kind("a/", EntryType::Directory, "12345")],
            vec![of_kind("a/", EntryType::Directory, "")],
        ),
        (
            "bytes of files",
            vec![file("a", vec![0; 17 << 20]), file("b", vec![0; 17 << 20])],
            vec![file("a", vec![0; 15 << 20]), file("b", vec![0; 15 << 20])],
        ),
        (
            "more than 2000 files",
            (0..1_999)
                .map(|number| file(&format!("m{number}.py"), ""))
                .collect(),
            (0..1_998)
                .map(|number| file(&format!("m{number}.py"), ""))
                .collect(),
        ),
        (
            "more than 8000 entries",
            (0..1_000_000_u32)
                .map_while(|number| {
                    (number < 8_000).then(|| of_kind("a/", EntryType::Directory, ""))
                })
                .collect(),
            (0..7_998)
                .map(|_| of_kind("a/", EntryType::Directory, ""))
                .collect(),
        ),
    ];
    for (says, hostile, twin) in table {
        let named = hostile
            .last()
            .map(|entry| format!("{:?}", String::from_utf8_lossy(&entry.name)));
        let message = refusal(read(hostile));
        assert!(
            message.contains(says),
            "{named:?}: expected {says:?} in {message:?}"
        );
        assert!(!message.contains(char::is_control), "{message:?}");
        if let Err(failure) = read(twin) {
            panic!(
                "the twin of {named:?} ({says}) is refused: {}",
                failure.message
            );
        }
    }
}

#[test]
fn the_refused_entry_is_named() {
    let message = refusal(read(vec![file(
        "docs/../../../root/.ssh/authorized_keys",
        "x",
    )]));
    assert!(
        message.contains("`docs/../../../root/.ssh/authorized_keys`"),
        "{message}"
    );
}
