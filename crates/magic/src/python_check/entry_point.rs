//! Whether the program has exactly one entry point, and one that fits the contract.
//!
//! The rules are the runner's own, as far as they can be read from the text.

use std::path::Path;

use magic_contract::{Contract, ErrorCode};

use super::{Entry, File};
use crate::finding::{Finding, Place};

pub(super) fn check_entries(
    entries: &[Entry],
    contract: &Contract,
    folder: &Path,
    file: File<'_>,
    findings: &mut Vec<Finding>,
) {
    let marked: Vec<_> = entries.iter().filter(|entry| entry.marked).collect();
    let start = Place {
        line: 1,
        column: 1,
        width: 1,
    };
    let entry = match marked.as_slice() {
        [only] => *only,
        [] => {
            let finding = match entries.first() {
                Some(unmarked) => file
                    .error(
                        ErrorCode::DoesNotLoad,
                        unmarked.place,
                        format!(
                            "class {} is not marked with @contract, so there is no entry point",
                            unmarked.name
                        ),
                    )
                    .hinting(format!(
                        "write {} on the line above class {}",
                        decorator_for(folder),
                        unmarked.name
                    )),
                None => file
                    .error(
                        ErrorCode::DoesNotLoad,
                        start,
                        "there is no entry point: no class or function is marked with @contract"
                            .to_owned(),
                    )
                    .hinting(entry_point_to_write(contract)),
            };
            findings.push(finding);
            return;
        }
        [_, second, ..] => {
            let names: Vec<_> = marked.iter().map(|entry| entry.name.as_str()).collect();
            findings.push(
                file.error(
                    ErrorCode::DoesNotLoad,
                    second.place,
                    format!(
                        "several entry points are marked with @contract: {}",
                        names.join(", ")
                    ),
                )
                .hinting("keep @contract on one of them; every controller has a folder of its own"),
            );
            return;
        }
    };
    if !entry.derives {
        findings.push(
            file.error(
                ErrorCode::DoesNotLoad,
                entry.place,
                format!("class {} does not derive from Controller", entry.name),
            )
            .hinting(format!("write class {}(Controller):", entry.name)),
        );
    }
    if !entry.has_execute {
        findings.push(
            file.error(
                ErrorCode::DoesNotLoad,
                entry.place,
                format!("class {} has no method execute", entry.name),
            )
            .hinting("write async def execute(self, input): ..."),
        );
    }
    let wanted = contract.name.as_str();
    let named = entry.name == wanted || entry.name.strip_suffix("Controller") == Some(wanted);
    if entry.kind == "class" && !named {
        findings.push(
            file.error(
                ErrorCode::DoesNotLoad,
                entry.place,
                format!(
                    "class {} does not carry the contract's name {wanted}",
                    entry.name
                ),
            )
            .expecting(format!("{wanted} or {wanted}Controller"))
            .hinting(format!(
                "rename the class, or set name: {} in the contract",
                entry.name
            )),
        );
    }
    if let Some(path) = &entry.contract
        && !folder.join(path).is_file()
    {
        findings.push(
            file.warning(
                ErrorCode::DoesNotLoad,
                entry.place,
                format!("@contract names {path}, which is not there"),
            )
            .hinting(format!("write {}", decorator_for(folder))),
        );
    }
}

fn decorator_for(folder: &Path) -> String {
    let name = crate::controller_folder::contract_in(folder)
        .ok()
        .and_then(|path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        })
        .unwrap_or_else(|| "contract.yaml".to_owned());
    format!("@contract(\"./{name}\")")
}

pub(super) fn entry_point_to_write(contract: &Contract) -> String {
    format!(
        "write a class {0}Controller(Controller) with async def execute(self, input), marked with @contract; `magic new controller {0}` shows one",
        contract.name
    )
}
