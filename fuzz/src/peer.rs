//! Somebody who writes to the engine's account, and the bundles of everybody.

use amarula_core::crypto::{KeyPair, PrivateKey, Rng};
use amarula_core::proto::wa;
use amarula_core::signal::{
    self, LocalIdentity, PreKeyBundle, PreKeyRecord, SenderKeyRecord, SessionRecord, SignedPreKeyRecord,
};
use amarula_core::store::{Namespace, RecordKey};
use amarula_core::wire::{Jid, Node};
use prost::Message as _;

use crate::choices::Choices;
use crate::engine_support::{LID, PN, Store};
use crate::tree;

pub fn lid(n: u8) -> Jid {
    Jid::lid(format!("236395184570{n:03}"))
}

pub fn pn(n: u8) -> Jid {
    Jid::pn(format!("15550001{n:03}"))
}

/// The phone of a peer, or another device of our own account.
#[derive(Clone)]
pub struct Peer {
    from: Jid,
    alt: Jid,
    session: SessionRecord,
    group: SenderKeyRecord,
    rng: Rng,
    /// The last stanza, to be sent again.
    last: Option<Node>,
}

/// The public part of the account record.
#[derive(Clone, PartialEq, prost::Message)]
struct AccountRow {
    #[prost(bytes = "vec", tag = "2")]
    identity: Vec<u8>,
    #[prost(uint32, tag = "3")]
    registration_id: u32,
}

impl Peer {
    /// Number 0 and 1 are others, 2 is our own phone.
    pub fn new(store: &Store, n: u8) -> Self {
        let account = RecordKey { namespace: Namespace::Account, key: "account".into() };
        let row = AccountRow::decode(store[&account].clone()).expect("an account record");
        let theirs = KeyPair::from_private(PrivateKey::from_slice(&row.identity).expect("a key"));
        let signed = store.iter().find(|(key, _)| key.namespace == Namespace::SignedPreKey).expect("a signed prekey").1;
        let signed = SignedPreKeyRecord::decode(signed).expect("a signed prekey");
        let local = LocalIdentity { keys: &theirs, registration_id: row.registration_id };
        let bundle = PreKeyBundle::of(&local, &signed, None);
        let mut rng = Rng::from_seed([n; 32]);
        let own = KeyPair::generate(&mut rng);
        let mut session = SessionRecord::new();
        signal::initiate(&LocalIdentity { keys: &own, registration_id: 77 }, &bundle, &mut session, &mut rng)
            .expect("a good bundle");
        let (from, alt) = if n == 2 { (Jid::lid(LID), Jid::pn(PN)) } else { (lid(n), pn(n)) };
        Self { from, alt, session, group: SenderKeyRecord::create(&mut rng), rng, last: None }
    }

    /// A message of any content, rightly encrypted and padded or not quite, for a chat or a group.
    pub fn message(&mut self, choices: &mut Choices<'_>, id: u32) -> Node {
        let style = choices.byte();
        let mut content = wa::Message::default();
        match choices.below(6) {
            0 => content.conversation = Some(choices.text()),
            1 => {
                let inner = wa::Message { conversation: Some(choices.text()), ..Default::default() };
                content.device_sent_message = Some(Box::new(wa::message::DeviceSentMessage {
                    destination_jid: Some(tree::jid(choices).to_string()),
                    message: Some(Box::new(inner)),
                    ..Default::default()
                }));
            }
            2 => {
                let key = self.group.distribution().expect("our own").encode();
                content.sender_key_distribution_message = Some(Box::new(wa::message::SenderKeyDistributionMessage {
                    group_id: Some("120363021033254949@g.us".into()),
                    axolotl_sender_key_distribution_message: Some(key.into()),
                }));
                content.conversation = Some("with a key".into());
            }
            _ => {}
        }
        let mut plain = content.encode_to_vec();
        if plain.is_empty() {
            plain.extend_from_slice(choices.short());
        }
        match style >> 5 {
            0 => plain.extend_from_slice(&[4; 4]),
            1 => plain.push(0),
            2 => {}
            n => plain.extend(std::iter::repeat_n(n * 2, usize::from(n) * 2)),
        }
        let in_group = style & 1 == 1;
        let sealed = signal::encrypt(&mut self.session, &plain).expect("a session");
        let mut enc = vec![("pkmsg", sealed.bytes)];
        if in_group && style & 2 == 2 {
            let text = wa::Message { conversation: Some("group".into()), ..Default::default() };
            let mut text = text.encode_to_vec();
            text.push(1);
            let sealed = self.group.encrypt(&text, &mut self.rng).expect("our own");
            enc.push(("skmsg", sealed));
        }
        if style & 4 == 4 {
            let at = choices.number() as usize;
            let bytes = &mut enc[0].1;
            let at = at % (bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
        }
        let mut node = Node::new("message").attr("id", format!("3EB0{id:08X}")).attr("t", 1_500u32);
        node = if in_group {
            node.attr("from", Jid::group("120363021033254949")).attr("participant", &self.from)
        } else {
            node.attr("from", &self.from)
        };
        if style & 8 == 8 {
            node = node.attr(if in_group { "participant_pn" } else { "sender_pn" }, &self.alt);
        }
        if style & 16 == 16 {
            node = node.attr("recipient", tree::jid(choices)).attr("offline", "0");
        }
        node = node.children(
            enc.into_iter().map(|(kind, bytes)| Node::new("enc").attr("v", "2").attr("type", kind).bytes(bytes)),
        );
        self.last = Some(node.clone());
        node
    }

    pub fn again(&self) -> Option<Node> {
        self.last.clone()
    }
}

/// `<user>` of a bundle answer: everybody's keys are made of their name.
pub fn bundle(jid: &Jid) -> Node {
    let mut seed = [3; 32];
    let name = jid.to_string();
    let name = &name.as_bytes()[..name.len().min(32)];
    seed[..name.len()].copy_from_slice(name);
    let mut rng = Rng::from_seed(seed);
    let keys = KeyPair::generate(&mut rng);
    let signed = SignedPreKeyRecord::generate(1, &keys, 0, &mut rng);
    let one_time = PreKeyRecord::generate(9, &mut rng);
    let leaf = |tag: &str, bytes: &[u8]| Node::new(tag).bytes(bytes.to_vec());
    Node::new("user")
        .attr("jid", jid)
        .child(leaf("registration", &[0, 0, 0, 5]))
        .child(leaf("type", &[5]))
        .child(leaf("identity", keys.public.as_bytes()))
        .child(
            Node::new("skey")
                .child(leaf("id", &[0, 0, 1]))
                .child(leaf("value", signed.keys.public.as_bytes()))
                .child(leaf("signature", &signed.signature)),
        )
        .child(Node::new("key").child(leaf("id", &[0, 0, 9])).child(leaf("value", one_time.keys.public.as_bytes())))
}
