//! Controllers to deploy, as archives.

use magic_runtime::Bundle;
use std::path::Path;

/// Writes a controller into a folder of its own below `root` and gives that folder.
pub(crate) fn write(root: &Path, name: &str, contract: &str, code: &str) -> std::path::PathBuf {
    let folder = root.join(name.to_lowercase());
    std::fs::create_dir_all(&folder).expect("our own folder");
    std::fs::write(folder.join("contract.yaml"), contract).expect("our own file");
    std::fs::write(folder.join("controller.py"), code).expect("our own file");
    folder
}

/// The archive of a controller with this contract and this code.
pub(crate) fn archive(contract: &str, code: &str) -> Vec<u8> {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = write(root.path(), "any", contract, code);
    let bundle = Bundle::read(&folder).expect("a bundle");
    bundle.to_archive().expect("an archive")
}

/// An archive whose contract is judged by the server and not by us.
pub(crate) fn unjudged(contract: &str, code: &str) -> Vec<u8> {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = write(root.path(), "any", contract, code);
    let output = std::process::Command::new("tar")
        .args(["-cz", "-C"])
        .arg(&folder)
        .args(["contract.yaml", "controller.py"])
        .output()
        .expect("tar is installed");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// A contract of a controller that accepts and answers any object, and further lines of it.
pub(crate) fn contract(name: &str, version: &str, further: &str) -> String {
    format!(
        "name: {name}\nversion: {version}\ninput: {{type: object}}\noutput: {{type: object}}\n{further}\n"
    )
}

/// Code that runs these lines with `input`, which answer.
pub(crate) fn code(body: &str) -> String {
    let body = body.replace('\n', "\n    ");
    format!(
        "from magic import contract\n\n\n@contract(\"./contract.yaml\")\nasync def handle(input, ctx):\n    {body}\n"
    )
}

/// A version whose answer names it, too: one that serves mixed files would contradict itself.
pub(crate) fn telling(name: &str, version: &str) -> Vec<u8> {
    let body = format!("return {{\"told\": \"{version}\"}}");
    archive(&contract(name, version, ""), &code(&body))
}

/// The same with further lines of contract.
pub(crate) fn telling_with(name: &str, version: &str, further: &str) -> Vec<u8> {
    let body = format!("return {{\"told\": \"{version}\"}}");
    archive(&contract(name, version, further), &code(&body))
}
