//! Starting, refusing to start, and talking to a supervisor.

use serde_json::json;

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::command::{magic, run};
use crate::folder::{ANY, Folder};
use crate::server::{DEADLINE, Server};

/// Without a supervisor, the commands that need one say what to type.
#[test]
fn no_supervisor() {
    let folder = Folder::new();
    for arguments in [
        &["list"][..],
        &["logs", "Echo"],
        &["list", "--url", "http://127.0.0.1:1"],
    ] {
        let failed = run(&folder, arguments).with_status(2);
        assert!(failed.stderr.contains("magic dev"), "{failed:?}");
    }
}

/// `magic list` shows what is deployed.
#[test]
fn list() {
    let folder = Folder::new();
    folder.echo();
    let server = Server::dev(&folder);
    let shown = run(&folder, &["list"]).with_status(0);
    assert!(
        shown.stdout.contains("Echo") && shown.stdout.contains("1.0.0"),
        "{shown:?}"
    );
    let url = format!("http://{}", server.address());
    let json = run(&folder, &["list", "--json", "--url", &url])
        .with_status(0)
        .json();
    assert_eq!(json["controllers"][0]["name"], "Echo");
}

/// The line that `dev` prints works when it is pasted.
#[test]
fn the_printed_curl_line_works() {
    let folder = Folder::new();
    folder.controller(
        "Quoted",
        "input: { type: object, required: [s], properties: { s: { type: string } } }\noutput: { type: object }\nexamples: [{ input: { s: \"it's $HOME\" } }]\n",
        "return {'got': input['s']}",
    );
    let mut child = magic(folder.path())
        .args(["dev", "--json", "--listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the binary starts");
    let stdout = child.stdout.take().expect("a pipe");
    let mut curl = String::new();
    for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)).map_while(Result::ok) {
        let event: serde_json::Value = serde_json::from_str(&line).expect("events are JSON");
        if let Some(line) = event["curl"].as_str() {
            curl = line.to_owned();
        }
        if event["event"] == "listening" {
            break;
        }
    }
    let answered = std::process::Command::new("sh")
        .args(["-c", &curl])
        .output()
        .expect("a shell");
    child.kill().expect("it lives");
    child.wait().expect("it ends");
    let answer: serde_json::Value = serde_json::from_slice(&answered.stdout)
        .unwrap_or_else(|error| panic!("{error}: {curl} {answered:?}"));
    assert_eq!(answer["result"], json!({"got": "it's $HOME"}), "{curl}");
}

/// A server that asks nobody for credentials refuses addresses that other machines can reach.
#[test]
fn only_loopback() {
    let folder = Folder::new();
    folder.echo();
    let failed = run(&folder, &["dev", "--listen", "0.0.0.0:8080"]).with_status(2);
    assert!(
        failed.stderr.contains("--listen 127.0.0.1:8080"),
        "{failed:?}"
    );
    // One that asks may listen anywhere.
    let server = Server::start(&folder, &["serve", "--json", "--listen", "0.0.0.0:0"]);
    assert!(server.address().ip().is_unspecified());
}

/// `dev` is not for production, and misspelt environments are not taken for development.
#[test]
fn environments() {
    let folder = Folder::new();
    folder.echo();
    for (environment, said) in [("prod", "magic serve"), ("staging", "dev or prod")] {
        let output = magic(folder.path())
            .env("ENVIRONMENT", environment)
            .args(["dev", "--listen", "127.0.0.1:0"])
            .output()
            .expect("the binary starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

/// Two supervisors do not share a socket, nor an address.
#[test]
fn a_second_supervisor_is_refused() {
    let folder = Folder::new();
    folder.echo();
    let server = Server::dev(&folder);
    let other = run(&folder, &["dev", "--listen", "127.0.0.1:0"]).with_status(2);
    assert!(other.stderr.contains("another supervisor"), "{other:?}");
    let address = server.address().to_string();
    let other = run(
        &folder,
        &["dev", "--listen", &address, "--socket", "other.sock"],
    )
    .with_status(2);
    assert!(other.stderr.contains("--listen"), "{other:?}");
    assert_eq!(server.execute("Echo", "{}").status, 200);
}

/// `serve` serves without watching; a controller that does not deploy does not keep the others from being served.
#[test]
fn serve_serves() {
    let folder = Folder::new();
    folder.echo();
    folder.write(
        "controllers/broken/contract.yaml",
        &format!("name: Broken\nversion: 1.0.0\n{ANY}"),
    );
    folder.write(
        "controllers/broken/controller.py",
        "import nothing_of_that_name\n",
    );
    let server = Server::start(&folder, &["serve", "--json", "--listen", "127.0.0.1:0"]);
    let echo = server.execute_with_first_key(&folder, "Echo");
    assert_eq!(echo.status, 200);
    let broken = server.execute_with_first_key(&folder, "Broken");
    broken.assert_error(404, "E4004");
}

/// In production, everything on standard error is a record of the log, the refusals of controllers included.
#[test]
fn production_logs_json() {
    let folder = Folder::new();
    folder.echo();
    folder.controller("Failing", ANY, "raise ValueError('no')");
    folder.write("controllers/broken/contract.yaml", "name: Broken\n");
    let mut server = Server::start_in(
        "prod",
        &folder,
        &["serve", "--json", "--listen", "127.0.0.1:0"],
    );
    let echo = server.execute_with_first_key(&folder, "Echo");
    assert_eq!(echo.status, 200);
    let failing = server.execute_with_first_key(&folder, "Failing");
    let failing = failing.json()["error"]["request_id"].clone();
    server.signal(Signal::TERM);
    assert!(server.wait().success(), "{}", server.talk());
    let talk = server.talk();
    let mut told = 0;
    for line in talk.lines() {
        let record: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(record["level"].is_string(), "{line}");
        // Whatever is said of a request says of which.
        if record["request_id"] == failing {
            told += 1;
            assert_eq!(record["controller"], "Failing", "{line}");
            assert_eq!(record["version"], "1.0.0", "{line}");
        }
    }
    assert!(told > 0 && talk.contains("not deployed"), "{talk}");
}

/// Without controllers there is something to type.
#[test]
fn no_folder() {
    let folder = Folder::new();
    let failed = run(&folder, &["dev"]).with_status(2);
    assert!(failed.stderr.contains("magic new controller"), "{failed:?}");
}

/// `doctor` tells the layers and the interpreter, and agrees with itself.
#[test]
fn doctor() {
    let folder = Folder::new();
    let report = run(&folder, &["doctor", "--json"]).with_status(0).json();
    assert_eq!(report["healthy"], true, "{report}");
    assert_eq!(report["interpreter"]["found"], true);
    assert_eq!(report["sandbox"]["self_test"]["passed"], true);
    let shown = run(&folder, &["doctor"]).with_status(0);
    for word in ["seccomp", "landlock", "healthy", "Python 3."] {
        assert!(shown.stdout.contains(word), "{word}: {shown:?}");
    }
    let without = run(&folder, &["doctor", "--python", "/nowhere/python3"]).with_status(1);
    assert!(without.stdout.contains("not healthy"), "{without:?}");
}

/// The same for a version whose requests get a fresh interpreter each: what was made ready for the first of them goes.
#[test]
fn fresh_interpreters_that_nobody_asks_for_go() {
    let folder = Folder::new();
    let contract = format!("{ANY}isolation: pristine\n");
    folder.controller("One", &contract, "return {}");
    let server = Server::start(&folder, &["serve", "--json", "--listen", "127.0.0.1:0"]);
    let wait_for = |what: &str, is_so: fn(usize) -> bool| {
        let until = Instant::now() + DEADLINE;
        while !is_so(server.children()) {
            assert!(Instant::now() < until, "{what}: {}", server.children());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    wait_for("the stock", |children| children > 0);
    wait_for("its end", |children| children == 0);
    assert_eq!(server.execute_with_first_key(&folder, "One").status, 200);
}

/// After a restart a version costs no process until somebody asks for it; one that is asked has a template.
#[test]
fn who_is_not_asked_has_no_process() {
    let folder = Folder::new();
    for name in ["One", "Two", "Three"] {
        folder.controller(name, ANY, "return {}");
    }
    let start = || Server::start(&folder, &["serve", "--json", "--listen", "127.0.0.1:0"]);
    let mut server = start();
    server.signal(Signal::TERM);
    server.wait();
    let server = start();
    for (asked, name) in ["One", "Two"].into_iter().enumerate() {
        let answer = server.execute_with_first_key(&folder, name);
        assert_eq!(answer.status, 200);
        let until = Instant::now() + DEADLINE;
        while server.children() != asked + 1 {
            assert!(Instant::now() < until, "{} templates", server.children());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}
