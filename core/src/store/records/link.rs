//! The link record: what makes the next connection quicker. Losing it costs nothing but time.

use alloc::collections::BTreeMap;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message as _;

use crate::crypto::PublicKey;
use crate::store::{Namespace, record::Record};
use crate::wire::Str;

/// Hints for the next connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    /// `routing_info` of the last `<edge_routing>`.
    pub(crate) routing: Option<Bytes>,
    /// The server's verified static key, for Noise IK.
    pub(crate) chain: Option<CachedChain>,
    /// Successful logins so far (`lc` of the login payload).
    pub(crate) logins: u32,
    /// Hash of the server's properties as last seen.
    pub(crate) props_hash: Option<Str>,
    /// The properties that matter here and were given, by code.
    pub(crate) props: BTreeMap<u32, Str>,
    /// The account shows no read receipts to others (privacy setting `readreceipts` is `none`).
    pub(crate) hides_reading: bool,
}

impl Link {
    /// A yes-or-no property; one that was not given is off.
    pub(crate) fn is_on(&self, code: u32) -> bool {
        self.props.get(&code).is_some_and(|value| value == "1" || value == "true")
    }
}

/// What IK needs of a verified certificate chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CachedChain {
    /// The server's Noise static key.
    pub(crate) key: PublicKey,
    /// Unix seconds; the later start of the two certificates.
    pub(crate) not_before: u64,
    /// Unix seconds; the earlier end of the two certificates.
    pub(crate) not_after: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Row {
    #[prost(bytes = "bytes", optional, tag = "1")]
    routing: Option<Bytes>,
    #[prost(bytes = "vec", optional, tag = "2")]
    chain_key: Option<Vec<u8>>,
    #[prost(uint64, tag = "3")]
    not_before: u64,
    #[prost(uint64, tag = "4")]
    not_after: u64,
    #[prost(uint32, tag = "5")]
    logins: u32,
    #[prost(string, optional, tag = "6")]
    props_hash: Option<alloc::string::String>,
    #[prost(btree_map = "uint32, string", tag = "7")]
    props: BTreeMap<u32, alloc::string::String>,
    #[prost(bool, tag = "8")]
    hides_reading: bool,
}

impl Record for Link {
    type Key = ();

    const NAMESPACE: Namespace = Namespace::Link;

    fn key_text((): &()) -> Str {
        Str::const_new("link")
    }

    fn parse_key(text: &str) -> Option<()> {
        (text == "link").then_some(())
    }

    fn encode(&self) -> Vec<u8> {
        Row {
            routing: self.routing.clone(),
            chain_key: self.chain.map(|chain| chain.key.as_bytes().to_vec()),
            not_before: self.chain.map_or(0, |chain| chain.not_before),
            not_after: self.chain.map_or(0, |chain| chain.not_after),
            logins: self.logins,
            props_hash: self.props_hash.clone().map(Into::into),
            props: self.props.iter().map(|(code, value)| (*code, value.to_string())).collect(),
            hides_reading: self.hides_reading,
        }
        .encode_to_vec()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let row = Row::decode(bytes.clone()).ok()?;
        let chain = match row.chain_key {
            Some(key) => Some(CachedChain {
                key: PublicKey::from_raw(&key).ok()?,
                not_before: row.not_before,
                not_after: row.not_after,
            }),
            None => None,
        };
        Some(Self {
            routing: row.routing,
            chain,
            logins: row.logins,
            props_hash: row.props_hash.map(Into::into),
            props: row.props.into_iter().map(|(code, value)| (code, value.into())).collect(),
            hides_reading: row.hides_reading,
        })
    }
}
