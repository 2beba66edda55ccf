//! `core/src/proto/schema/*.proto` → Rust.

use std::path::Path;

use prost_build::{Config, Module};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};

use crate::{Result, header};

/// Messages with so many sub-messages, nearly all of them absent, that they would be huge if they held them in place: every
/// singular sub-message of these is boxed. (Fields that contain themselves again are boxed anyway.)
const SPARSE: &[&str] = &[
    "Message",
    "ContextInfo",
    "MessageContextInfo",
    "Message.ProtocolMessage",
    "Message.PeerDataOperationRequestResponseMessage.PeerDataOperationResult",
    "BotMetadata",
    "SyncActionValue",
    "WebMessageInfo",
];

/// Parses the schema.
pub(crate) fn compile(root: &Path) -> Result<FileDescriptorSet> {
    let folder = root.join("core/src/proto/schema");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let name = entry?.file_name().into_string().map_err(|name| format!("file name {name:?}"))?;
        if name.ends_with(".proto") {
            files.push(name);
        }
    }
    files.sort();
    Ok(protox::compile(files, [folder])?)
}

/// The Rust of all of it, in one module.
pub(crate) fn rust(descriptors: &FileDescriptorSet) -> Result<String> {
    let mut config = Config::new();
    config.bytes(["."]).btree_map(["."]);
    for name in SPARSE {
        let message = message(descriptors, name)?;
        for field in &message.field {
            if field.r#type() == Type::Message && field.label() != Label::Repeated {
                config.boxed(format!(".whatsapp.{name}.{}", field.name()));
            }
        }
    }
    let module = Module::from_protobuf_package_name("whatsapp");
    let requests = descriptors.file.iter().map(|file| (module.clone(), file.clone())).collect();
    let text = config.generate(requests)?.remove(&module).ok_or("the schema is empty")?;
    Ok(header("core/src/proto/schema") + &text)
}

/// A message, by its dotted name.
pub(crate) fn message<'a>(descriptors: &'a FileDescriptorSet, name: &str) -> Result<&'a DescriptorProto> {
    let mut found: Vec<_> = descriptors.file.iter().flat_map(|file| &file.message_type).collect();
    let mut names = name.split('.').peekable();
    while let Some(part) = names.next() {
        let message = found.into_iter().find(|message| message.name() == part);
        let message = message.ok_or_else(|| format!("no message {name} in the schema"))?;
        if names.peek().is_none() {
            return Ok(message);
        }
        found = message.nested_type.iter().collect();
    }
    Err("no name".into())
}
