//! The configuration that is shipped for nginx, in the real nginx, with TLS, before a real server.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::folder::{ANY, Folder};
use crate::server::{DEADLINE, Server};

const SHIPPED: &str = include_str!("../../../deploy/nginx/magic.conf");
const SERVE: &[&str] = &["serve", "--json", "--listen", "127.0.0.1:0"];

/// An nginx of this test's own; ended when dropped.
pub(crate) struct Nginx {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Nginx {
    /// The shipped file with this test's ports and paths in place of the usual ones, and nothing else changed.
    pub(crate) fn before(server: &Server, folder: &Folder) -> Self {
        let place = folder.path().join("nginx");
        std::fs::create_dir(&place).expect("a folder");
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        std::fs::write(place.join("magic.crt"), certified.cert.pem()).expect("a file");
        std::fs::write(
            place.join("magic.key"),
            certified.signing_key.serialize_pem(),
        )
        .expect("a file");
        let (port, plain) = (free_port(), free_port());
        let at = place.display();
        let shipped = SHIPPED
            .replace("127.0.0.1:8080", &server.address().to_string())
            .replace("magic.example.org", "localhost")
            .replace("/etc/nginx/tls", &at.to_string())
            .replace("/var/log/nginx", &at.to_string())
            .replace("    listen [::]:80;\n", "")
            .replace("    listen [::]:443 ssl http2;\n", "")
            .replace("listen 80;", &format!("listen 127.0.0.1:{plain};"))
            .replace("listen 443 ", &format!("listen 127.0.0.1:{port} "));
        // As root, nginx's workers would become a user who cannot write here.
        let user = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let whole = format!(
            "daemon off; {user} worker_processes 1; pid {at}/pid; error_log {at}/error.log; events {{ }}\n\
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; \
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n{shipped}\n}}\n"
        );
        let file = place.join("nginx.conf");
        std::fs::write(&file, whole).expect("a file");
        let tested = nginx(&file).arg("-t").output().expect("nginx is installed");
        assert!(
            tested.status.success(),
            "{}",
            String::from_utf8_lossy(&tested.stderr)
        );
        let child = nginx(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        let started = Self {
            child,
            folder: place,
            port,
        };
        let until = Instant::now() + DEADLINE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "nginx does not listen");
            std::thread::yield_now();
        }
        started
    }

    /// Where its log is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A request with curl that knows the certificate.
    fn curl(&self, arguments: &[&str], path: &str) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
            .arg(self.folder.join("magic.crt"))
            .args(arguments)
            .arg(format!("https://localhost:{}{path}", self.port));
        command
    }

    pub(crate) fn fetch(&self, arguments: &[&str], path: &str) -> String {
        let output = self.curl(arguments, path).output().expect("curl");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master ends the workers; killed, it could not.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn nginx(file: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-c").arg(file).arg("-q");
    command
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// Requests pass with their ids, figures stay inside, and a stream arrives while it is written.
#[test]
fn the_shipped_configuration_serves() {
    let folder = Folder::new();
    folder.controller("Echo", ANY, "self.log.info('heard')\nreturn input");
    let server = Server::start(&folder, SERVE);
    let nginx = Nginx::before(&server, &folder);
    let key = std::fs::read_to_string(folder.path().join("data/admin.key")).expect("a first key");
    let key = format!("X-API-Key: {}", key.trim());
    let json = "content-type: application/json";

    let answered = nginx.fetch(
        &[
            "-i",
            "-H",
            &key,
            "-H",
            json,
            "-H",
            "x-request-id: mine.1",
            "-d",
            r#"{"n": 1}"#,
        ],
        "/api/execute/Echo",
    );
    assert!(answered.starts_with("HTTP/2 200"), "{answered}");
    let lower = answered.to_lowercase();
    assert!(lower.contains("x-request-id: mine.1"), "{answered}");
    assert!(lower.contains("strict-transport-security"), "{answered}");
    assert!(answered.contains(r#""n":1"#), "{answered}");

    let spoiled = nginx.fetch(&["-i", "-H", "x-request-id: a b"], "/api/health");
    assert!(spoiled.starts_with("HTTP/2 200"), "{spoiled}");
    assert!(!spoiled.contains("a b"), "{spoiled}");

    let refused = nginx.fetch(&["-H", json, "-d", "{}"], "/api/execute/Echo");
    assert!(refused.contains("E5001"), "{refused}");
    let figures = nginx.fetch(&["-w", "%{http_code}"], "/metrics");
    assert!(figures.ends_with("404"), "{figures}");

    // The stream stays open, so that its line can only be seen if it is not held back.
    let mut following = nginx
        .curl(
            &["-N", "-H", &key],
            "/api/controllers/Echo/logs?follow=true",
        )
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl");
    let stream = following.stdout.take().expect("a pipe");
    let heard = std::io::BufRead::lines(std::io::BufReader::new(stream))
        .map_while(Result::ok)
        .any(|line| line.contains("heard"));
    let _ = following.kill();
    let _ = following.wait();
    assert!(heard, "the line did not arrive");

    let log = std::fs::read_to_string(nginx.folder.join("magic.log")).expect("a log");
    assert!(log.contains(r#""request_id":"mine.1""#), "{log}");
    assert!(!log.contains("X-API-Key"), "{log}");
}
