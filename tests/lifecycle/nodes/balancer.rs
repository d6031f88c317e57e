//! A real nginx that spreads requests over nodes.

use crate::support::hosts::Host;
use crate::support::server::wait_for;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

/// A running nginx; ended when dropped, and by the kernel if the thread that started it ends first.
pub(super) struct Balancer {
    child: Child,
    _folder: tempfile::TempDir,
    pub(super) address: SocketAddr,
}

impl Balancer {
    /// On a loopback port of this machine.
    pub(super) fn before(nodes: impl Iterator<Item = SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        drop(listener);
        Self::start(nodes, address, |command| command)
    }

    /// On a host of its own, at that address.
    pub(super) fn on(
        host: &Host,
        address: SocketAddr,
        nodes: impl Iterator<Item = SocketAddr>,
    ) -> Self {
        Self::start(nodes, address, |command| host.runs(&command))
    }

    fn start(
        nodes: impl Iterator<Item = SocketAddr>,
        address: SocketAddr,
        place_it: impl FnOnce(Command) -> Command,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let servers: String = nodes
            .map(|node| format!("server {node} max_fails=1 fail_timeout=2s; "))
            .collect();
        let place = folder.path().display();
        let user = match rustix::process::geteuid().is_root() {
            true => "user root;",
            false => "",
        };
        let configuration = format!(
            "daemon off; worker_processes 1; pid {place}/pid; error_log {place}/error.log; {user} events {{}}\n\
             http {{ access_log off; client_max_body_size 100m; client_body_temp_path {place}/b; proxy_temp_path {place}/p;\n\
             fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n\
             upstream magic {{ {servers} }}\n\
             server {{ listen {address}; location / {{ proxy_pass http://magic; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             proxy_connect_timeout 300ms; proxy_next_upstream error timeout non_idempotent; }} }} }}\n"
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, configuration).expect("our own file");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--", "nginx", "-c"])
            .arg(&path);
        let child = place_it(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed; on Debian: apt-get install nginx-light");
        let mut balancer = Self {
            child,
            _folder: folder,
            address,
        };
        wait_for("nginx to listen", || {
            let ended = balancer.child.try_wait().expect("a child of ours");
            assert!(
                ended.is_none(),
                "nginx ended; on Debian: apt-get install nginx-light"
            );
            TcpStream::connect(address).ok()
        });
        balancer
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // It takes its workers along.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
