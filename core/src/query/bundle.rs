//! Prekey bundles (`protocol/messages.md` §3): what is needed to start a session with a device.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::PublicKey;
use crate::signal::{OneTimePreKey, PreKeyBundle, SignedPreKey};
use crate::wire::{Jid, Node, NodeRef};

/// A bundle and what proves that it belongs to the account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceBundle {
    /// The keys.
    pub bundle: PreKeyBundle,
    /// `ADVSignedDeviceIdentity` of a companion.
    pub device_identity: Option<Bytes>,
}

/// The content of the `<iq type="get" xmlns="encrypt">` that asks for bundles of these devices.
#[must_use]
pub fn request(devices: &[Jid]) -> Node {
    let users = devices.iter().map(|jid| Node::new("user").attr("jid", jid).attr("reason", "identity"));
    Node::new("key").children(users)
}

/// Reads the answer: for each device a bundle, or the server's number for why there is none (0: unreadable).
#[must_use]
pub fn response(iq: NodeRef<'_>) -> Vec<(Jid, Result<DeviceBundle, u32>)> {
    let list = iq.child("list").into_iter().flat_map(|list| list.children_named("user").collect::<Vec<_>>());
    list.filter_map(|user| {
        let result = match user.child("error") {
            Some(error) => Err(error.u32("code").unwrap_or(0)),
            None => read(user, user).ok_or(0),
        };
        Some((user.jid("jid")?, result))
    })
    .collect()
}

/// Reads the keys of a retry receipt: `<registration>` beside `<keys>`.
#[must_use]
pub fn of_retry(receipt: NodeRef<'_>) -> Option<DeviceBundle> {
    read(receipt, receipt.child("keys")?)
}

fn read(outer: NodeRef<'_>, keys: NodeRef<'_>) -> Option<DeviceBundle> {
    let keys = keys.child("keys").unwrap_or(keys);
    let signed = keys.child("skey")?;
    let signature = signed.child("signature")?.bytes()?;
    let one_time = match keys.child("key") {
        Some(key) => Some(OneTimePreKey { id: number(key.child("id")?)?, public: public(key.child("value")?)? }),
        None => None,
    };
    Some(DeviceBundle {
        bundle: PreKeyBundle {
            registration_id: number(outer.child("registration")?)?,
            identity: public(keys.child("identity")?)?,
            signed: SignedPreKey {
                id: number(signed.child("id")?)?,
                public: public(signed.child("value")?)?,
                signature: signature.try_into().ok()?,
            },
            one_time,
        },
        device_identity: keys.child("device-identity").and_then(|node| node.bytes()).map(Bytes::copy_from_slice),
    })
}

/// A big-endian number of up to four bytes.
fn number(node: NodeRef<'_>) -> Option<u32> {
    let bytes = node.bytes()?;
    if bytes.is_empty() || bytes.len() > 4 {
        return None;
    }
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

fn public(node: NodeRef<'_>) -> Option<PublicKey> {
    PublicKey::from_raw(node.bytes()?).ok()
}
