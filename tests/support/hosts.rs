//! Several hosts on one machine: each is a network namespace, wired to switches by cables that can be pulled.
//!
//! Everything belongs to the namespaces of the process that tests (`namespace::inside`): the switches are bridges in its network,
//! where it has an address on each, and the hosts' namespaces are kept by files that are mounted in its mount namespace alone. So
//! nothing of the machine is changed, and when the process ends, however it ends, the kernel takes all of it away.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The hosts and switches of one test.
pub(crate) struct Network {
    folder: tempfile::TempDir,
    hosts: Vec<PathBuf>,
}

/// A host, known by its name. A clone is the same host.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    name: &'static str,
    file: PathBuf,
}

/// A cable from a host to a switch.
#[derive(Debug, Clone)]
pub(crate) struct Cable {
    port: String,
}

impl Network {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            hosts: Vec::new(),
        }
    }

    /// A switch, to which this process is wired with that address, such as `10.77.0.1/24`.
    pub(crate) fn switch(&self, name: &str, address: &str) {
        ip(&["link", "add", name, "type", "bridge"]);
        ip(&["address", "add", address, "dev", name]);
        ip(&["link", "set", name, "up"]);
    }

    /// A host that is wired to nothing yet.
    pub(crate) fn host(&mut self, name: &'static str) -> Host {
        let file = self.folder.path().join(name);
        std::fs::write(&file, "").expect("our own file");
        let mut net = std::ffi::OsString::from("--net=");
        net.push(&file);
        run(Command::new("unshare").arg(net).arg("true"));
        self.hosts.push(file.clone());
        let host = Host { name, file };
        host.ip(&["link", "set", "lo", "up"]);
        host
    }

    /// Wires a host to a switch, where it has that address.
    pub(crate) fn plug(&self, host: &Host, switch: &str, address: &str) -> Cable {
        let port = format!("{}-{switch}", host.name);
        let (peer, place) = (["peer", "name", switch], host.file.to_str().expect("UTF-8"));
        let add = ["link", "add", &port, "type", "veth"];
        ip(&[&add[..], &peer[..], &["netns", place]].concat());
        ip(&["link", "set", &port, "master", switch]);
        ip(&["link", "set", &port, "up"]);
        host.ip(&["address", "add", address, "dev", switch]);
        host.ip(&["link", "set", switch, "up"]);
        Cable { port }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Else the files could not be removed; whoever runs on a host keeps its namespace until they end.
        for host in &self.hosts {
            let _ = Command::new("umount").arg(host).status();
        }
    }
}

impl Host {
    /// The command, run on this host: it sees the same files and another network. It is killed when the thread ends that starts it.
    pub(crate) fn runs(&self, command: &Command) -> Command {
        let mut on_host = nsenter(&self.file);
        on_host
            .args(["setpriv", "--pdeathsig", "KILL", "--"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => on_host.env(name, value),
                None => on_host.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            on_host.current_dir(folder);
        }
        on_host
    }

    /// The file that stands for the host's network.
    pub(crate) fn network(&self) -> &Path {
        &self.file
    }

    fn ip(&self, arguments: &[&str]) {
        run(nsenter(&self.file).arg("ip").args(arguments));
    }
}

impl Cable {
    /// Nothing gets through any more, and nobody is told.
    pub(crate) fn pull(&self) {
        ip(&["link", "set", &self.port, "down"]);
    }

    pub(crate) fn plug_in(&self) {
        ip(&["link", "set", &self.port, "up"]);
    }
}

/// A command that runs in that network. Nothing else changes, whereas `ip netns exec` would hide the control groups.
pub(crate) fn nsenter(network: &Path) -> Command {
    let mut net = std::ffi::OsString::from("--net=");
    net.push(network);
    let mut command = Command::new("nsenter");
    command.arg(net).arg("--");
    command
}

fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .expect("iproute2 and util-linux are installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
