//! Comparing what the server has of our keys with what we have.

use alloc::vec::Vec;

use compact_str::format_compact;

use crate::crypto::{equal, hash};
use crate::engine::cx::Cx;
use crate::engine::limits;
use crate::store::records::{PreKey, SignedPreKey};
use crate::store::{RecordKey, record_key};
use crate::wire::{NodeRef, Str};

/// The server's answer to `<digest/>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Digest {
    registration: u32,
    signed: u32,
    ids: Vec<u32>,
    hash: [u8; 20],
}

impl Digest {
    /// Reads the answer, or says what is wrong with it.
    pub(super) fn parse(iq: NodeRef<'_>) -> Result<Self, Str> {
        let bad = |what: &'static str| Str::const_new(what);
        let node = iq.child("digest").ok_or(bad("no digest in the answer"))?;
        let number = |node: Option<NodeRef<'_>>| node.and_then(|node| be(node.bytes()?));
        let registration = number(node.child("registration")).ok_or(bad("digest without registration"))?;
        let signed = number(node.child("skey").and_then(|skey| skey.child("id"))).ok_or(bad("digest without skey"))?;
        let hash =
            node.child("hash").and_then(|hash| hash.bytes()?.try_into().ok()).ok_or(bad("digest without hash"))?;
        let mut ids = Vec::new();
        for id in node.child("list").iter().flat_map(|list| list.children_named("id")) {
            if ids.len() == limits::DIGEST_IDS {
                return Err(bad("digest with too many ids"));
            }
            ids.push(number(Some(id)).ok_or(bad("digest with a malformed id"))?);
        }
        Ok(Self { registration, signed, ids, hash })
    }

    /// What is needed to compare. Each once: every one is pinned.
    pub(super) fn records(&self) -> Vec<RecordKey> {
        let mut ids = self.ids.clone();
        ids.sort_unstable();
        ids.dedup();
        let mut keys: Vec<_> = ids.iter().map(record_key::<PreKey>).collect();
        keys.push(record_key::<SignedPreKey>(&self.signed));
        keys
    }

    /// Compares, with all records in memory.
    pub(super) fn compare(&self, cx: &Cx) -> Result<(), Str> {
        let Some(account) = cx.account() else { return Ok(()) };
        if self.registration != account.registration_id {
            return Err(Str::const_new("registration id"));
        }
        if self.signed != account.signed_prekey {
            return Err(format_compact!("signed prekey {} instead of {}", self.signed, account.signed_prekey));
        }
        let signed = &cx.cache.get::<SignedPreKey>(&self.signed).ok_or(Str::const_new("signed prekey"))?.0;
        let mut parts: Vec<&[u8]> = Vec::with_capacity(self.ids.len() + 3);
        parts.extend([&account.identity.public.as_bytes()[..], signed.keys.public.as_bytes(), &signed.signature]);
        for id in &self.ids {
            let key = cx.cache.get::<PreKey>(id).ok_or_else(|| format_compact!("prekey {id} is unknown"))?;
            parts.push(key.0.keys.public.as_bytes());
        }
        if equal(&hash::sha1(&parts), &self.hash) { Ok(()) } else { Err(Str::const_new("hash")) }
    }
}

/// A big-endian number of up to four bytes.
fn be(bytes: &[u8]) -> Option<u32> {
    (1..=4).contains(&bytes.len()).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}
