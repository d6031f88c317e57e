//! Keeping a runtime in step with a folder of controllers.
//!
//! A version that does not deploy changes nothing: what was served before goes on being served, and the author is told why.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use magic_api::ControllerAllowlist;
use magic_contract::{Contract, ErrorCode, Failure};
use magic_runtime::{Actor, Runtime};
use magic_store::Followed;
use serde_json::json;
use tokio::task::AbortHandle;

use crate::commands::logs::shown_line;
use crate::controller_folder;
use crate::output::Output;
use crate::runtime_start::talk_failure;
use crate::sample;
use crate::terminal::shell_word;
use crate::watch::Changes;

/// A controller that is served.
#[derive(Debug)]
struct Served {
    name: String,
    /// Shows the controller's log as it comes.
    logs: Option<AbortHandle>,
}

/// Deploys folders and remembers which controller each of them is.
#[derive(Debug)]
pub(crate) struct Deployer {
    runtime: Runtime,
    root: PathBuf,
    address: SocketAddr,
    output: Output,
    author: bool,
    allowlist: ControllerAllowlist,
    served: BTreeMap<PathBuf, Served>,
}

impl Deployer {
    pub(crate) fn new(
        runtime: Runtime,
        root: PathBuf,
        address: SocketAddr,
        output: Output,
    ) -> Self {
        Self {
            runtime,
            root,
            address,
            output,
            author: false,
            allowlist: ControllerAllowlist::default(),
            served: BTreeMap::new(),
        }
    }

    /// Whether an author looks on: shows what controllers write as it comes, and lines to paste.
    pub(crate) fn for_authors(mut self, author: bool) -> Self {
        self.author = author;
        self
    }

    /// Deploys only these controllers.
    pub(crate) fn within(mut self, allowlist: ControllerAllowlist) -> Self {
        self.allowlist = allowlist;
        self
    }

    /// Deploys every controller there is, and removes those whose folder is gone.
    pub(crate) async fn deploy_everything(&mut self) -> anyhow::Result<()> {
        let folders = if controller_folder::holds_controller(&self.root) {
            // The folder is itself a controller's.
            vec![self.root.clone()]
        } else {
            controller_folder::controllers_under(&self.root)?
        };
        let gone: Vec<_> = self
            .served
            .keys()
            .filter(|folder| !folders.contains(folder))
            .cloned()
            .collect();
        for folder in gone {
            self.remove(&folder).await?;
        }
        if folders.is_empty() {
            self.output.talk(&format!(
                "{} holds no controllers yet; make one with: magic new controller NAME",
                self.root.display()
            ));
        }
        for folder in folders {
            self.deploy(&folder).await?;
        }
        Ok(())
    }

    /// Deploys what changed.
    pub(crate) async fn deploy_changes(&mut self, changes: &Changes) -> anyhow::Result<()> {
        if changes.everything || controller_folder::holds_controller(&self.root) {
            return self.deploy_everything().await;
        }
        for name in &changes.folders {
            let folder = self.root.join(name);
            if controller_folder::holds_controller(&folder) {
                self.deploy(&folder).await?;
            } else {
                self.remove(&folder).await?;
            }
        }
        Ok(())
    }

    async fn deploy(&mut self, folder: &Path) -> anyhow::Result<()> {
        let began = Instant::now();
        // Unreadable contracts are the deploy's to complain about.
        let contract = read_contract(folder).ok();
        if let Some(contract) = &contract
            && !self.allowlist.covers(contract.name.as_str())
        {
            let failure = Failure::new(
                ErrorCode::OutOfScope,
                format!("{} is not in CONTROLLER_ALLOWLIST", contract.name),
            );
            return self.failed(folder, &failure);
        }
        if let Some(contract) = &contract
            && let Some(other) = self.folder_serving(contract.name.as_str())
            && other != folder
        {
            let failure = Failure::new(
                ErrorCode::VersionConflict,
                format!(
                    "{} is already served from {}",
                    contract.name,
                    other.display()
                ),
            );
            return self.failed(folder, &failure);
        }
        let deploying = if self.author {
            self.runtime.deploy(folder).await
        } else {
            let actor = Actor {
                subject: "magic:folder".to_owned(),
                reason: Some(format!("found in {} at the start", folder.display())),
            };
            self.runtime.introduce(folder, actor).await
        };
        let deployed = match deploying {
            Ok(deployed) => deployed,
            Err(failure) => return self.failed(folder, &failure),
        };
        let before = self.served.get(folder).map(|served| served.name.clone());
        if let Some(before) = before.filter(|before| *before != deployed.name) {
            self.remove_named(folder, &before).await?;
        }
        let is_new = !self.served.contains_key(folder);
        if is_new {
            let logs = (self.author && !self.output.is_json()).then(|| self.follow(&deployed.name));
            let name = deployed.name.clone();
            self.served.insert(folder.to_owned(), Served { name, logs });
        }
        if !deployed.changed && !is_new {
            return Ok(());
        }
        let curl = contract
            .as_ref()
            .filter(|_| self.author)
            .map(|contract| self.curl(contract));
        if self.output.is_json() {
            return self.output.json(&json!({
                "event": "deployed", "controller": deployed.name, "version": deployed.version,
                "digest": deployed.digest, "folder": folder, "curl": curl,
            }));
        }
        if self.output.is_log() {
            // The runtime has logged it.
            return Ok(());
        }
        self.output.talk(&format!(
            "deployed {} {} from {} in {}",
            deployed.name,
            deployed.version,
            folder.display(),
            shown_duration(began.elapsed())
        ));
        if let Some(curl) = curl {
            let needs = contract.as_ref().map(outside_needs).unwrap_or_default();
            if !needs.is_empty() {
                let needs = needs.join(", ");
                self.output
                    .talk(&format!("  once there is what it reaches for ({needs}):"));
            }
            self.output.talk(&format!("  {curl}"));
        }
        Ok(())
    }

    fn failed(&self, folder: &Path, failure: &Failure) -> anyhow::Result<()> {
        if self.output.is_log() {
            tracing::error!(
                folder = %folder.display(), code = failure.code.as_str(), failure = failure.message,
                internal = failure.internal, "not deployed"
            );
        }
        if self.output.is_json() {
            return self.output.json(&json!({
                "event": "failed", "folder": folder, "code": failure.code, "message": failure.message,
                "details": failure.details,
            }));
        }
        if self.output.is_log() {
            return Ok(());
        }
        talk_failure(failure, self.output);
        if let Some(internal) = &failure.internal {
            self.output.talk(&format!("  ({internal})"));
        }
        let kept = match self.served.get(folder) {
            Some(served) => format!(
                "; the version of {} deployed before is still served",
                served.name
            ),
            None => String::new(),
        };
        self.output
            .talk(&format!("not deployed: {}{kept}", folder.display()));
        Ok(())
    }

    async fn remove(&mut self, folder: &Path) -> anyhow::Result<()> {
        match self.served.get(folder).map(|served| served.name.clone()) {
            Some(name) => self.remove_named(folder, &name).await,
            None => Ok(()),
        }
    }

    async fn remove_named(&mut self, folder: &Path, name: &str) -> anyhow::Result<()> {
        if let Some(logs) = self.served.remove(folder).and_then(|served| served.logs) {
            logs.abort();
        }
        self.runtime.remove(name);
        if self.output.is_json() {
            return self
                .output
                .json(&json!({ "event": "removed", "controller": name }));
        }
        self.output.talk(&format!("removed {name}"));
        Ok(())
    }

    fn folder_serving(&self, name: &str) -> Option<&Path> {
        self.served
            .iter()
            .find(|(_, served)| served.name == name)
            .map(|(folder, _)| folder.as_path())
    }

    /// A line to paste that works.
    fn curl(&self, contract: &Contract) -> String {
        let input = sample::input_for(contract).to_string();
        format!(
            "curl -sS http://{}/api/execute/{} -H 'Content-Type: application/json' -d {}",
            self.address,
            contract.name,
            shell_word(&input)
        )
    }

    fn follow(&self, name: &str) -> AbortHandle {
        let mut following = self.runtime.logs().subscribe(name, Some(0));
        let output = self.output;
        let name = name.to_owned();
        tokio::spawn(async move {
            while let Some(followed) = following.next().await {
                match followed {
                    Followed::Missed(missed) => {
                        output.talk(&format!("{name}: ({missed} lines were dropped)"));
                    }
                    Followed::Lines(lines) => {
                        for line in lines {
                            output.talk(&format!("{name}: {}", shown_line(&line)));
                        }
                    }
                }
            }
        })
        .abort_handle()
    }
}

fn read_contract(folder: &Path) -> anyhow::Result<Contract> {
    let path = controller_folder::contract_in(folder)?;
    let text = std::fs::read(&path)?;
    Ok(Contract::parse(&text, &path.display().to_string())?)
}

fn shown_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

/// The capabilities that work only when somebody has made a table, set a secret or runs a server.
fn outside_needs(contract: &Contract) -> Vec<&'static str> {
    use magic_contract::CapabilityKind as Kind;
    let outside = [
        Kind::DbRead,
        Kind::DbWrite,
        Kind::DbRawsql,
        Kind::HttpEgress,
        Kind::SecretsRead,
    ];
    let declared = contract.capabilities.iter().map(|one| one.kind());
    declared
        .filter(|kind| outside.contains(kind))
        .map(|kind| kind.as_str())
        .collect()
}
