//! `core/data/app-state-actions.json` → a table of app-state actions, checked against the schema.

use std::fmt::Write;
use std::path::Path;

use prost_types::FileDescriptorSet;
use serde_json::Value;

use crate::{Result, array, data, header, refuse_repeated, schema, text};

const SOURCE: &str = "core/data/app-state-actions.json";

pub(crate) fn rust(root: &Path, descriptors: &FileDescriptorSet) -> Result<String> {
    let data = data(root, SOURCE)?;
    let mut actions = array(&data)?.iter().map(|a| Ok((text(a, "action")?, a))).collect::<Result<Vec<_>>>()?;
    actions.sort_by_key(|(name, _)| *name);
    refuse_repeated(&actions.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;

    let mut out = header(SOURCE);
    writeln!(out, "use super::action::IndexPart::{{Bool, Enum, Jid, JidOrZero, Literal, Text}};")?;
    writeln!(out, "use super::action::{{Action, Collection, Scope, Value}};\n")?;
    writeln!(out, "/// Sorted by name.\n#[rustfmt::skip]\npub(super) static ACTIONS: [Action; {}] = [", actions.len())?;
    for (name, action) in actions {
        one(&mut out, name, action, descriptors).map_err(|e| format!("{SOURCE}, action {name}: {e}"))?;
    }
    writeln!(out, "];")?;
    Ok(out)
}

fn one(out: &mut String, name: &str, action: &Value, descriptors: &FileDescriptorSet) -> Result<()> {
    let collection = match text(action, "collection")? {
        "critical_block" => "CriticalBlock",
        "critical_unblock_low" => "CriticalUnblockLow",
        "regular_high" => "RegularHigh",
        "regular" => "Regular",
        "regular_low" => "RegularLow",
        other => return Err(format!("unknown collection {other}").into()),
    };
    let scope = match text(action, "scope")? {
        "account" => "Account",
        "chat" => "Chat",
        "chat_message_range" => "ChatMessageRange",
        "chat_or_contact" => "ChatOrContact",
        "message" => "Message",
        other => return Err(format!("unknown scope {other}").into()),
    };
    let version = action["version"].as_u64().ok_or("no version")?;
    let value = match &action["value_field"] {
        Value::Null => "None".to_owned(),
        _ => value(text(action, "value_field")?, text(action, "value_type")?, descriptors)?,
    };
    let mut index = Vec::new();
    for part in array(&action["index"])? {
        index.push(match text(part, "kind")? {
            "literal" => format!("Literal({:?})", text(part, "value")?),
            "string_part" => format!("Text({:?})", text(part, "name")?),
            "jid" => format!("Jid({:?})", text(part, "name")?),
            "jid_or_zero" => format!("JidOrZero({:?})", text(part, "name")?),
            "bool_string" => format!("Bool({:?})", text(part, "name")?),
            "enum" => format!("Enum({:?})", text(part, "name")?),
            other => return Err(format!("unknown index part {other}").into()),
        });
    }
    if index.first() != Some(&format!("Literal({name:?})")) {
        return Err("its index does not begin with its name".into());
    }
    writeln!(out, "    Action {{")?;
    writeln!(
        out,
        "        name: {name:?}, collection: Collection::{collection}, version: {version}, scope: Scope::{scope},"
    )?;
    writeln!(out, "        value: {value},")?;
    writeln!(out, "        index: &[{}],", index.join(", "))?;
    writeln!(out, "    }},")?;
    Ok(())
}

/// Name and number of a field of SyncActionValue, which must exist and have that type.
fn value(field: &str, expected: &str, descriptors: &FileDescriptorSet) -> Result<String> {
    let message = schema::message(descriptors, "SyncActionValue")?;
    let found = message.field.iter().find(|f| f.json_name() == field);
    let found = found.ok_or_else(|| format!("SyncActionValue has no field {field}"))?;
    if found.type_name() != format!(".whatsapp.{expected}") {
        return Err(format!("{field} is a {}, not a {expected}", found.type_name()).into());
    }
    Ok(format!("Some(Value {{ field: {:?}, number: {} }})", found.name(), found.number()))
}
