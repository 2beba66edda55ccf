//! Targets of what answers to queries hold, and of the signatures that tie devices to accounts.

use amarula_core::adv::{AdvError, KeyIndexList, open, verify_companion};
use amarula_core::crypto::mac::hmac_sha256;
use amarula_core::crypto::{Rng, xeddsa};
use amarula_core::proto::wa::{AdvSignedDeviceIdentity, AdvSignedDeviceIdentityHmac, AdvSignedKeyIndexList};
use amarula_core::query::{bundle as bundles, usync as usyncs};
use amarula_core::signal::{self, LocalIdentity, SessionRecord};
use amarula_core::wire::{Document, NodeLimits, NodeRef, encode};
use bytes::Bytes;
use prost::Message as _;

use crate::choices::Choices;
use crate::tree::tree;
use crate::wire_support::pair;

/// By the first byte, node bytes or a tree of these tags.
fn with_node(data: &[u8], tags: &[&str], look: impl Fn(NodeRef<'_>)) {
    let Some((kind, rest)) = data.split_first() else { return };
    let mut bytes = rest.to_vec();
    if kind & 1 == 1 {
        bytes.clear();
        if encode(&tree(&mut Choices::new(rest), tags), &mut bytes).is_err() {
            return;
        }
    }
    if let Ok(document) = Document::parse(&bytes, &NodeLimits::DEFAULT) {
        look(document.root());
    }
}

/// The answer to a device query.
pub fn usync(data: &[u8]) {
    const TAGS: &[&str] = &[
        "iq",
        "usync",
        "list",
        "user",
        "devices",
        "device-list",
        "device",
        "key-index-list",
        "lid",
        "result",
        "error",
    ];
    with_node(data, TAGS, |iq| {
        let Ok(users) = usyncs::response(iq) else { return };
        for user in users {
            assert_eq!(user.jid, user.jid.bare());
            assert!(user.lid.as_ref().is_none_or(|lid| lid.is_lid() && lid.device == 0));
            let Ok(set) = user.devices else { continue };
            let list = set.key_index_list.as_deref().and_then(|bytes| KeyIndexList::open(bytes, None).ok());
            let devices = set.usable(list.as_ref());
            assert!(devices[0].id == 0 && devices.is_sorted_by(|a, b| a.id < b.id), "{devices:?}");
            let names: Vec<_> =
                devices.iter().map(|device| usyncs::device_jid(&user.jid, device.id, device.hosted)).collect();
            assert!(names.iter().all(|name| name.bare() == user.jid));
            let mut other = names.clone();
            other.reverse();
            assert_eq!(usyncs::phash(&names), usyncs::phash(&other));
        }
    });
}

/// The answer to a bundle query, and the keys of a retry receipt.
pub fn bundle(data: &[u8]) {
    const TAGS: &[&str] = &[
        "iq",
        "list",
        "user",
        "error",
        "registration",
        "identity",
        "skey",
        "key",
        "keys",
        "id",
        "value",
        "signature",
        "device-identity",
        "type",
        "receipt",
        "retry",
    ];
    with_node(data, TAGS, |iq| {
        let asked = bundles::response(iq).into_iter().filter_map(|(_, bundle)| bundle.ok());
        for found in asked.chain(bundles::of_retry(iq)) {
            let keys = pair(0x55);
            let local = LocalIdentity { keys: &keys, registration_id: 1 };
            let mut record = SessionRecord::new();
            let started = signal::initiate(&local, &found.bundle, &mut record, &mut Rng::from_seed([1; 32]));
            assert_eq!(started.is_ok(), record.has_current());
            assert!(started.is_err() || found.bundle.verify().is_ok());
            if let Some(proof) = found.device_identity {
                let _ = verify_companion(&proof, &found.bundle.identity, None, false);
            }
        }
    });
}

/// Identities and key-index lists: as they come, and around anything with every signature right.
pub fn adv(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (kind, hosted) = (choices.byte(), choices.flag());
    let (account, device, secret) = (pair(0x44), pair(0x22), [0x0a; 32]);
    let random = [0x5a; 64];
    let details = choices.rest();
    let bytes = |bytes: &[u8]| Some(Bytes::copy_from_slice(bytes));
    let signed = |lead: u8| {
        let signature =
            xeddsa::sign(&account.private, &[&[6, lead], details, device.public.as_bytes()], &random).to_vec();
        let message: [&[u8]; 4] = [&[6, lead + 1], details, device.public.as_bytes(), account.public.as_bytes()];
        AdvSignedDeviceIdentity {
            details: bytes(details),
            account_signature_key: bytes(account.public.as_bytes()),
            account_signature: bytes(&signature),
            device_signature: bytes(&xeddsa::sign(&device.private, &message, &random)),
        }
    };
    let container = |inner: &[u8], hosted: bool| {
        let lead: &[u8] = if hosted { &[6, 5] } else { &[] };
        let hmac = bytes(&hmac_sha256(&secret, &[lead, inner]));
        AdvSignedDeviceIdentityHmac { details: bytes(inner), hmac, account_type: Some(i32::from(hosted)) }
            .encode_to_vec()
    };
    let lead = if hosted { 5 } else { 0 };
    match kind % 6 {
        0 => assert!(open(details, &secret, &device.public).is_err(), "nobody makes a MAC by chance"),
        1 => {
            let opened = open(&container(details, hosted), &secret, &device.public);
            assert_ne!(opened, Err(AdvError::HmacMismatch));
        }
        2 => match open(&container(&signed(lead).encode_to_vec(), hosted), &secret, &device.public) {
            Ok(linked) => {
                let signature = linked.sign(&device, &random);
                let full = linked.full(&signature);
                let other = verify_companion(&full, &device.public, None, false);
                let known = verify_companion(&linked.answer(&signature), &device.public, Some(&account.public), false);
                assert_eq!(other, known);
                let other = other.expect("what was linked is believed by others");
                assert_eq!((other.key_index, other.raw_id), (Some(linked.key_index), linked.raw_id));
            }
            Err(error) => assert!(matches!(error, AdvError::Malformed(_) | AdvError::AccountSignature), "{error}"),
        },
        3 => {
            let _ = verify_companion(details, &device.public, Some(&account.public), hosted);
            let _ = verify_companion(details, &device.public, None, hosted);
        }
        4 => {
            let blob = signed(lead).encode_to_vec();
            let full = verify_companion(&blob, &device.public, None, hosted);
            assert_ne!(full, Err(AdvError::DeviceSignature));
            let stranger = verify_companion(&blob, &device.public, Some(&pair(0x33).public), hosted);
            assert!(stranger.is_err());
        }
        _ => {
            let signature = xeddsa::sign(&account.private, &[&[6, 2], details], &random);
            let signed = AdvSignedKeyIndexList {
                details: bytes(details),
                account_signature: bytes(&signature),
                account_signature_key: hosted.then(|| Bytes::copy_from_slice(account.public.as_bytes())),
            }
            .encode_to_vec();
            if let Ok(list) = KeyIndexList::open(&signed, Some(&account.public)) {
                assert!(list.verified && !list.accepts(None));
                assert!(list.valid_indexes.is_sorted_by(|a, b| a < b));
                assert!(list.valid_indexes.iter().all(|index| list.accepts(Some(*index))));
            }
            let _ = KeyIndexList::open(details, None);
            let _ = KeyIndexList::open(&signed, None);
        }
    }
}
