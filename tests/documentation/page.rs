//! A page as a script: what its indented blocks say to write and to type.
//!
//! A line `$ COMMAND` is typed, and what follows in its block is what it prints. A line `# PATH` that names a file begins that file, which
//! goes on to the end of the block or to the next such line. Other blocks only show something.

/// Where the pages' servers listen, which may be taken on a machine that runs tests.
const ADDRESS: &str = "127.0.0.1:8080";

/// Endings of files that pages write.
const ENDINGS: [&str; 5] = [".yaml", ".py", ".sql", ".toml", ".json"];

/// One thing that a page says to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A file with this text.
    Write(String, String),
    /// A command, and what is shown below it.
    Type(String, Vec<String>),
}

/// What a page, or a section of it, says to do, in its order.
pub(crate) fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    // Whether the lines that come belong to the last step.
    let mut goes_on = false;
    for line in text.lines() {
        let Some(line) = line.strip_prefix("    ") else {
            // A blank line may lie inside of a file, or between the lines that a command prints.
            if !line.trim().is_empty() {
                goes_on = false;
            } else if let (true, Some(Step::Write(_, text))) = (goes_on, steps.last_mut()) {
                text.push('\n');
            }
            continue;
        };
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step::Type(command.to_owned(), Vec::new()));
            goes_on = true;
        } else if let Some(path) = file_named_by(line) {
            steps.push(Step::Write(path.to_owned(), String::new()));
            goes_on = true;
        } else if goes_on {
            match steps.last_mut() {
                Some(Step::Write(_, text)) => *text += &format!("{line}\n"),
                Some(Step::Type(_, shown)) => shown.extend(normal(line)),
                None => {}
            }
        }
    }
    steps
}

/// The path that a line like `# controllers/hello/controller.py` names.
fn file_named_by(line: &str) -> Option<&str> {
    let path = line.strip_prefix("# ")?;
    let part_of_path = |letter: char| letter.is_ascii_alphanumeric() || "_-./".contains(letter);
    let is_path = path.contains('/') && path.chars().all(part_of_path);
    (is_path && ENDINGS.iter().any(|ending| path.ends_with(ending))).then_some(path)
}

/// One shell that does it all, as people have one. Before each command it prints a line that says its number, and what it started ends
/// with it.
pub(crate) fn script(steps: &[Step], address: &str) -> String {
    let mut script = String::from("exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n");
    for (number, step) in steps.iter().enumerate() {
        script += &match step {
            Step::Write(path, text) => format!(
                "mkdir -p \"$(dirname '{path}')\"\ncat >'{path}' <<'END OF THE FILE'\n{}\nEND OF THE FILE\n",
                text.trim_end()
            ),
            Step::Type(command, _) => {
                format!(
                    "echo '@@ {number}'\n{}\n",
                    command.replace(ADDRESS, address)
                )
            }
        };
    }
    script
}

/// What the script printed for the command of this number.
pub(crate) fn printed_for(number: usize, printed: &str) -> Option<Vec<String>> {
    let from = printed.split_once(&format!("@@ {number}\n"))?.1;
    let own = from.split("@@ ").next().expect("at least one part");
    Some(own.lines().filter_map(normal).collect())
}

/// A line without what differs each time, and without the widths of columns; nothing of an empty one.
fn normal(line: &str) -> Option<String> {
    let line = between(line, "\"request_id\":\"", '"');
    let line = between(&line, "\"duration_ms\":", ',');
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut said = words.clone();
    for index in 0..words.len() {
        let word = words[index];
        if word.parse::<jiff::Timestamp>().is_ok() {
            said[index] = "TIME";
        } else if word.starts_with("uid:") {
            said[index] = "WHO";
        } else if words.get(index + 1) == Some(&"ms") {
            said[index] = "SOME";
        } else if word.starts_with('(') && words.get(index + 1) == Some(&"ms)") {
            said[index] = "(SOME";
        } else if words.get(index.wrapping_sub(1)) == Some(&"in")
            && word.ends_with('s')
            && word.starts_with(|c: char| c.is_ascii_digit())
        {
            // pytest's `1 passed in 0.02s`.
            said[index] = "SOME";
        }
    }
    (!said.is_empty()).then(|| said.join(" "))
}

/// Leaves out what stands between `start` and `end`.
fn between(line: &str, start: &str, end: char) -> String {
    let Some((before, rest)) = line.split_once(start) else {
        return line.to_owned();
    };
    let after = rest.find(end).map_or("", |at| &rest[at..]);
    format!("{before}{start}{after}")
}

/// The reader of pages, on a page that has everything.
#[test]
fn steps_are_read_in_order() {
    let text = "Prose.\n\n    # a/b.yaml\n    name: A\n\n      deeper: 1\n\n    # a/c.py\n    pass\n\nMore.\n\n    shown = 'only'\n\n    $ run (3 ms)\n    took 4 ms\n\n    in 5 ms\n\nEnd.\n\n    shown\n    $ again\n";
    let write = |path: &str, text: &str| Step::Write(path.to_owned(), text.to_owned());
    let step = |command: &str, shown: &[&str]| {
        Step::Type(
            command.to_owned(),
            shown.iter().map(|&line| line.to_owned()).collect(),
        )
    };
    assert_eq!(
        steps(text),
        [
            write("a/b.yaml", "name: A\n\n  deeper: 1\n\n"),
            write("a/c.py", "pass\n\n"),
            step("run (3 ms)", &["took SOME ms", "in SOME ms"]),
            step("again", &[]),
        ]
    );
    assert_eq!(
        printed_for(1, "@@ 0\nno\n@@ 1\n  2 passed in 0.31s\n@@ 2\n"),
        Some(vec!["2 passed in SOME".to_owned()])
    );
}
