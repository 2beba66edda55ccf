//! What the server is sent of our keys.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::curve::KEY_TYPE;
use crate::signal::{OneTimePreKey, SignedPreKeyRecord};
use crate::store::records::Account;
use crate::wire::Node;

/// The children of an upload.
pub(super) fn upload(
    account: &Account,
    signed_prekey: &SignedPreKeyRecord,
    keys: impl Iterator<Item = OneTimePreKey>,
) -> Vec<Node> {
    let key = |key: OneTimePreKey| {
        Node::new("key").child(id(key.id)).child(Node::new("value").bytes(copy(key.public.as_bytes())))
    };
    Vec::from([
        Node::new("registration").bytes(copy(&account.registration_id.to_be_bytes())),
        Node::new("type").bytes(copy(&[KEY_TYPE])),
        Node::new("identity").bytes(copy(account.identity.public.as_bytes())),
        Node::new("list").children(keys.map(key)),
        signed(signed_prekey),
    ])
}

/// `<skey>`.
pub(super) fn signed(key: &SignedPreKeyRecord) -> Node {
    Node::new("skey")
        .child(id(key.id))
        .child(Node::new("value").bytes(copy(key.keys.public.as_bytes())))
        .child(Node::new("signature").bytes(copy(&key.signature)))
}

fn id(id: u32) -> Node {
    Node::new("id").bytes(copy(&id.to_be_bytes()[1..]))
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
