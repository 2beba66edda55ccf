//! Device lists (`protocol/messages.md` §2): which devices accounts have, and their LIDs.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::adv::KeyIndexList;
use crate::wire::{Jid, Node, NodeRef, Server, Str};

/// A device of an account, as the server lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListedDevice {
    /// 0 is the phone.
    pub id: u16,
    /// Companions have one.
    pub key_index: Option<u32>,
    /// Cloud-hosted.
    pub hosted: bool,
}

/// What the server says of one account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserDevices {
    /// The account as the server names it.
    pub jid: Jid,
    /// Its LID, if asked for and known.
    pub lid: Option<Jid>,
    /// Its devices, or the server's error number.
    pub devices: Result<DeviceSet, u32>,
}

/// The devices of one account, before the key-index rules are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeviceSet {
    /// As listed.
    pub devices: Vec<ListedDevice>,
    /// The server's hash of the list.
    pub hash: Option<Str>,
    /// Stamp of the key-index list, unix seconds.
    pub stamp: u64,
    /// The signed key-index list (`ADVSignedKeyIndexList`).
    pub key_index_list: Option<Bytes>,
}

/// The content of the `<iq type="get" xmlns="usync">` that asks for devices and LIDs of these accounts (bare JIDs).
#[must_use]
pub fn request(sid: Str, context: &'static str, users: &[Jid]) -> Node {
    let mut query = Node::new("query").child(Node::new("devices").attr("version", "2"));
    // For LID users the LID is known already, and some servers answer such a question with nonsense.
    if users.iter().any(|user| user.server == Server::Pn) {
        query = query.child(Node::new("lid"));
    }
    Node::new("usync")
        .attr("sid", sid)
        .attr("mode", "query")
        .attr("last", "true")
        .attr("index", "0")
        .attr("context", context)
        .child(query)
        .child(Node::new("list").children(users.iter().map(|user| Node::new("user").attr("jid", user))))
}

/// Reads the answer. `Err` holds the number of an error that concerns the whole query.
///
/// # Errors
/// The server's number; 0 if the answer is no usync answer.
pub fn response(iq: NodeRef<'_>) -> Result<Vec<UserDevices>, u32> {
    let usync = iq.child("usync").ok_or(0u32)?;
    let errors = usync.child("result").into_iter().flat_map(|result| result.children().collect::<Vec<_>>());
    if let Some(error) = errors.filter_map(|protocol| protocol.child("error")).next() {
        return Err(error.u32("code").unwrap_or(0));
    }
    let list = usync.child("list").ok_or(0u32)?;
    Ok(list.children_named("user").filter_map(user).collect())
}

fn user(node: NodeRef<'_>) -> Option<UserDevices> {
    let lid = node.child("lid").and_then(|lid| lid.jid("val")).filter(Jid::is_lid);
    let devices = match node.child("devices") {
        Some(devices) => match devices.child("error") {
            Some(error) => Err(error.u32("code").unwrap_or(0)),
            // No account is without a phone: this is no list.
            None => Some(device_set(devices)).filter(|set| !set.devices.is_empty()).ok_or(0),
        },
        None => Err(0),
    };
    Some(UserDevices { jid: node.jid("jid")?.bare(), lid: lid.map(|lid| lid.bare()), devices })
}

/// Reads `<device-list>` and `<key-index-list>` below `node`.
fn device_set(node: NodeRef<'_>) -> DeviceSet {
    let list = node.child("device-list");
    let devices = list.into_iter().flat_map(|list| list.children_named("device").collect::<Vec<_>>());
    let keys = node.child("key-index-list");
    DeviceSet {
        devices: devices
            .filter_map(|device| {
                Some(ListedDevice {
                    id: device.u32("id")?.try_into().ok()?,
                    key_index: device.u32("key-index"),
                    hosted: device.str("is_hosted") == Some("true"),
                })
            })
            .collect(),
        hash: list.and_then(|list| list.text("hash")),
        stamp: keys.and_then(|keys| keys.u64("ts")).unwrap_or(0),
        key_index_list: keys.and_then(|keys| keys.bytes()).filter(|b| !b.is_empty()).map(Bytes::copy_from_slice),
    }
}

impl DeviceSet {
    /// The devices that may be used, by the account's key-index list: the phone always, a companion only if its index is
    /// valid. Without a list companions cannot be told from removed ones, so only the phone is left.
    #[must_use]
    pub fn usable(&self, list: Option<&KeyIndexList>) -> Vec<ListedDevice> {
        let valid = |device: &ListedDevice| device.id == 0 || list.is_some_and(|list| list.accepts(device.key_index));
        let mut devices: Vec<_> = self.devices.iter().copied().filter(valid).collect();
        if devices.iter().all(|device| device.id != 0) {
            devices.insert(0, ListedDevice { id: 0, key_index: None, hosted: false });
        }
        devices.sort_by_key(|device| device.id);
        devices.dedup_by_key(|device| device.id);
        devices
    }
}

/// The JID of a device of an account.
#[must_use]
pub fn device_jid(account: &Jid, id: u16, hosted: bool) -> Jid {
    let server = match (&account.server, hosted) {
        (Server::Pn, true) => Server::Hosted,
        (Server::Lid, true) => Server::HostedLid,
        (server, _) => server.clone(),
    };
    Jid { server, ..account.clone() }.with_device(id)
}

/// phash v2 (`protocol/messages.md` §6.1): a short hash of a set of devices.
#[must_use]
pub fn phash(devices: &[Jid]) -> Str {
    use base64::Engine as _;
    use compact_str::format_compact;
    let mut names: Vec<Str> =
        devices.iter().map(|jid| format_compact!("{}.0:{}@{}", jid.user, jid.device, jid.server.as_str())).collect();
    names.sort_unstable();
    let parts: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    let hash = crate::crypto::hash::sha256(&parts);
    format_compact!("2:{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(&hash[..6]))
}

#[cfg(test)]
mod tests {
    use super::{DeviceSet, KeyIndexList, ListedDevice, phash};
    use crate::wire::Jid;

    #[test]
    fn phash_vectors() {
        let (a, b) = (Jid::pn("15550000001"), Jid::pn("15550000002"));
        assert_eq!(phash(&[a.clone().with_device(1), a, b]), "2:eE6IOoiO");
        let lid = Jid::lid("200000000001");
        assert_eq!(phash(&[lid.clone().with_device(2), lid.with_device(10)]), "2:K5Ncql5X");
        let group = [("200000000001", 0), ("200000000001", 3), ("200000000002", 0), ("200000000010", 12)];
        let group: alloc::vec::Vec<_> =
            group.iter().map(|(user, device)| Jid::lid(*user).with_device(*device)).collect();
        assert_eq!(phash(&group), "2:fdFwdWrg");
    }

    #[test]
    fn companions_without_a_valid_index_are_left_out() {
        let device = |id, key_index| ListedDevice { id, key_index, hosted: false };
        let set = DeviceSet { devices: [device(0, None), device(1, Some(1))].into(), ..DeviceSet::default() };
        assert_eq!(set.usable(None), [device(0, None)]);
        // rawId 1, currentIndex 2, validIndexes 1 2 (`protocol/pairing.md` §12)
        let mut signed = hex::decode("0a1008011080e2cfaa061802220201022800").unwrap();
        signed.extend(hex::decode("1240").unwrap());
        signed.extend(
            hex::decode(
                "dcbb47470899df9095843743da851e40f42a9f9dfd4ee9e9d051d9c4dec195d2f1b23d1f4a7b280475f252757ee627fcff5c52832e1c8888083aa942326dff80",
            )
            .unwrap(),
        );
        let list = KeyIndexList::open(&signed, None).unwrap();
        let set = DeviceSet {
            devices: [device(3, Some(3)), device(1, Some(1)), device(2, Some(0)), device(4, None)].into(),
            ..DeviceSet::default()
        };
        assert_eq!(set.usable(Some(&list)), [device(0, None), device(1, Some(1)), device(3, Some(3))]);
    }
}
