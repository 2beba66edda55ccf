//! How a dump of WhatsApp Web's schema differs from ours.

use std::collections::BTreeMap;
use std::path::Path;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use serde_json::Value;

use crate::{Result, array, schema, text};

/// What the dump at `dump` has and we do not, has otherwise than we do, or no longer has. One line each.
///
/// The dump is JSON: `{"messages": {"A.B": [{"n": 1, "name": "rawId", "type": "uint32", "repeated": true}]},
/// "enums": {"A.E": {"NAME": 0}}}`. What `left-out.txt` names is not asked for.
pub fn differences(root: &Path, dump: &Path) -> Result<Vec<String>> {
    let dump: Value = serde_json::from_slice(&std::fs::read(dump)?)?;
    let left_out = std::fs::read_to_string(root.join("testvectors/protogen/left-out.txt"))?;
    let left_out: Vec<&str> = left_out.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    let asked = |name: &str| !left_out.contains(&name.split('.').next().unwrap_or(name));
    let ours = Ours::new(&schema::compile(root)?);

    let mut found = Vec::new();
    let messages = dump["messages"].as_object().ok_or("no messages")?;
    for (name, fields) in messages.iter().filter(|(name, _)| asked(name)) {
        match ours.messages.get(name) {
            Some(fields_here) => message(&mut found, name, array(fields)?, fields_here)?,
            None => found.push(format!("+ message {name}")),
        }
    }
    let enums = dump["enums"].as_object().ok_or("no enums")?;
    for (name, values) in enums.iter().filter(|(name, _)| asked(name)) {
        match ours.enums.get(name) {
            Some(values_here) => enumeration(&mut found, name, values.as_object().ok_or("no values")?, values_here),
            None => found.push(format!("+ enum {name}")),
        }
    }
    let gone = |name: &str| asked(name) && !messages.contains_key(name) && !enums.contains_key(name);
    found.extend(ours.messages.keys().filter(|name| gone(name)).map(|name| format!("- message {name}")));
    found.extend(ours.enums.keys().filter(|name| gone(name)).map(|name| format!("- enum {name}")));
    Ok(found)
}

fn message(found: &mut Vec<String>, name: &str, theirs: &[Value], ours: &[FieldDescriptorProto]) -> Result<()> {
    for field in theirs {
        let (number, label) = (field["n"].as_i64().ok_or("no field number")?, text(field, "name")?);
        let declared = text(field, "type")?;
        let repeated = field["repeated"].as_bool().unwrap_or(false);
        let line = format!("{name}.{label} = {number} ({}{declared})", if repeated { "repeated " } else { "" });
        let Some(here) = ours.iter().find(|f| i64::from(f.number()) == number) else {
            found.push(format!("+ {line}"));
            continue;
        };
        let same = plain(here.name()) == plain(label)
            && type_name(here) == declared
            && (here.label() == Label::Repeated) == repeated;
        if !same {
            found.push(format!("~ {line}; ours: {} ({})", here.name(), type_name(here)));
        }
    }
    for here in ours {
        if !theirs.iter().any(|f| f["n"].as_i64() == Some(i64::from(here.number()))) {
            found.push(format!("- {name}.{} = {}", here.name(), here.number()));
        }
    }
    Ok(())
}

fn enumeration(
    found: &mut Vec<String>,
    name: &str,
    theirs: &serde_json::Map<String, Value>,
    ours: &EnumDescriptorProto,
) {
    for (label, number) in theirs {
        let here = ours.value.iter().find(|v| Some(i64::from(v.number())) == number.as_i64());
        match here {
            None => found.push(format!("+ {name}.{label} = {number}")),
            Some(v) if same_value(name, label, v.name()) => {}
            Some(v) => found.push(format!("~ {name}.{label} = {number}; ours: {}", v.name())),
        }
    }
    for v in &ours.value {
        if !theirs.values().any(|number| number.as_i64() == Some(i64::from(v.number()))) {
            found.push(format!("- {name}.{} = {}", v.name(), v.number()));
        }
    }
}

/// Our values begin with the name of their enumeration, and may leave out words of theirs that say the same.
fn same_value(enumeration: &str, theirs: &str, ours: &str) -> bool {
    let enumeration = plain(enumeration.rsplit('.').next().unwrap_or(enumeration));
    let mut rests = ours.match_indices('_').map(|(at, _)| (&ours[..at], &ours[at..]));
    rests.any(|(prefix, rest)| plain(prefix) == enumeration && format!("_{theirs}").ends_with(rest))
}

/// A name without what distinguishes `rawId` from `raw_id`.
fn plain(name: &str) -> String {
    name.replace('_', "").to_ascii_lowercase()
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches(".whatsapp.").to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_ascii_lowercase(),
    }
}

/// Our schema, by the dotted names of the dump.
#[derive(Default)]
struct Ours {
    messages: BTreeMap<String, Vec<FieldDescriptorProto>>,
    enums: BTreeMap<String, EnumDescriptorProto>,
}

impl Ours {
    fn new(descriptors: &FileDescriptorSet) -> Self {
        let mut ours = Self::default();
        for file in &descriptors.file {
            file.message_type.iter().for_each(|m| ours.add(m, ""));
            ours.enums.extend(file.enum_type.iter().map(|e| (e.name().to_owned(), e.clone())));
        }
        ours
    }

    fn add(&mut self, message: &DescriptorProto, prefix: &str) {
        let name = format!("{prefix}{}", message.name());
        let inner = format!("{name}.");
        message.nested_type.iter().for_each(|m| self.add(m, &inner));
        self.enums.extend(message.enum_type.iter().map(|e| (format!("{inner}{}", e.name()), e.clone())));
        self.messages.insert(name, message.field.clone());
    }
}
