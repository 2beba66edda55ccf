//! `core/data/mex-operations.json` → a table of GraphQL operations.

use std::fmt::Write;
use std::path::Path;

use crate::{Result, array, data, header, refuse_repeated, text};

const SOURCE: &str = "core/data/mex-operations.json";

pub(crate) fn rust(root: &Path) -> Result<String> {
    let data = data(root, SOURCE)?;
    let mut operations = Vec::new();
    for operation in array(&data)? {
        let kind = match text(operation, "kind")? {
            "query" => "Query",
            "mutation" => "Mutation",
            other => return Err(format!("unknown kind of operation {other}").into()),
        };
        operations.push((text(operation, "name")?, text(operation, "doc_id")?, kind));
    }
    operations.sort();
    refuse_repeated(&operations.iter().map(|(name, ..)| *name).collect::<Vec<_>>())?;

    let mut out = header(SOURCE);
    writeln!(out, "use super::mex::MexKind::{{Mutation, Query}};\nuse super::mex::MexOperation;\n")?;
    writeln!(out, "/// Sorted by name.\n#[rustfmt::skip]")?;
    writeln!(out, "pub(super) static OPERATIONS: [MexOperation; {}] = [", operations.len())?;
    for (name, doc_id, kind) in operations {
        writeln!(out, "    MexOperation {{ name: {name:?}, doc_id: {doc_id:?}, kind: {kind} }},")?;
    }
    writeln!(out, "];")?;
    Ok(out)
}
