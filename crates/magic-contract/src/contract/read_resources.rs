//! Reads the section `resources`.

use super::Resources;
use crate::document::{Kind, Node, child};
use crate::quantity::{
    format_bytes, format_cores, format_duration, parse_bytes, parse_cores, parse_duration,
};
use crate::reader::{Reader, Spot};

pub(super) fn read_resources(reader: &mut Reader<'_>, node: &Node) -> Option<Resources> {
    let members = reader.members(
        node,
        "/resources",
        "`resources`",
        &["cpu", "memory", "timeout", "pids"],
    )?;
    let mut resources = Resources::default();
    let mut complete = true;
    for member in members
        .iter()
        .filter(|member| member.node.kind != Kind::Null)
    {
        let node = &member.node;
        let spot = Spot {
            path: child("/resources", &member.key),
            span: node.span.clone(),
        };
        let read = match member.key.as_str() {
            "cpu" => reader
                .amount(
                    node,
                    &spot,
                    "`cpu`",
                    (Resources::CPU_RANGE, format_cores),
                    parse_cores,
                    "a number of cores such as 0.5",
                )
                .map(|value| resources.cpu_millicores = value),
            "memory" => reader
                .amount(
                    node,
                    &spot,
                    "`memory`",
                    (Resources::MEMORY_RANGE, format_bytes),
                    parse_bytes,
                    "a size such as 256Mi",
                )
                .map(|value| resources.memory_bytes = value),
            "timeout" => reader
                .amount(
                    node,
                    &spot,
                    "`timeout`",
                    (Resources::TIMEOUT_RANGE, format_duration),
                    parse_duration,
                    "a time such as 30s",
                )
                .map(|value| resources.timeout = value),
            "pids" => reader
                .whole(node, &spot, "`pids`", Resources::PIDS_RANGE)
                .map(|value| resources.pids = value),
            _ => None,
        };
        complete &= read.is_some();
    }
    complete.then_some(resources)
}
