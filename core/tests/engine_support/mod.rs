//! An engine with a store in memory, a server that can shake hands, and a peer who writes to it: for tests and
//! measurements that need a paired engine without the whole simulated WhatsApp. Shares nothing with the engine above `wire`
//! and `signal`.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use amarula_core::Config;
use amarula_core::crypto::{KeyPair, PrivateKey, Rng};
use amarula_core::engine::command::{Connect, Shutdown};
use amarula_core::engine::recording::Recorder;
use amarula_core::engine::{Command as _, ConnId, Engine, Input, Load, Loaded, Now, Output, Request, TicketId};
use amarula_core::proto::wa;
use amarula_core::signal::{self, LocalIdentity, PreKeyBundle, SessionRecord, SignedPreKeyRecord};
use amarula_core::store::{Namespace, Op, RecordKey};
use amarula_core::wire::{FrameDecoder, Jid, Node, RecvCipher, SendCipher, payload};
use bytes::Bytes;
use prost::Message as _;

use super::wire_support::{Chain, Server, XX};

pub const PN: &str = "15550000001";
pub const LID: &str = "236395184570386";

/// Inside the life of [`Chain::good`].
pub const START: Now = Now::new(10_000, 1_500_000);

pub type Store = BTreeMap<RecordKey, Bytes>;

/// A configuration that trusts [`Chain::good`].
pub fn config() -> Config {
    let mut config = Config::default();
    config.root_key = Chain::good().root.public;
    config
}

/// An engine whose storage is served at once, and which is recorded if asked for.
pub struct Rig {
    pub engine: Engine,
    pub store: Store,
    pub now: Now,
    pub recorder: Option<Recorder>,
}

impl Rig {
    pub fn new(store: Store, seed: u8, recorded: bool) -> Self {
        let recorder = recorded.then(|| Recorder::start(&config(), &[seed; 32], START).unwrap());
        Self { engine: Engine::new(config(), [seed; 32], START), store, now: START, recorder }
    }

    pub fn handle(&mut self, input: Input) {
        if let Some(recorder) = &mut self.recorder {
            recorder.input(self.now, &input).unwrap();
        }
        self.engine.handle(self.now, input).unwrap();
    }

    pub fn submit(&mut self, request: Request) -> TicketId {
        if let Some(recorder) = &mut self.recorder {
            recorder.command(self.now, &request).unwrap();
        }
        let answer = self.engine.submit_request(self.now, request);
        if let Some(recorder) = &mut self.recorder {
            recorder.answer(&answer).unwrap();
        }
        answer.unwrap()
    }

    /// Carries out storage operations until there are none; the other outputs, in order.
    pub fn run(&mut self) -> Vec<Output> {
        let mut rest = Vec::new();
        loop {
            let output = self.engine.poll_output();
            if let Some(recorder) = &mut self.recorder {
                recorder.output(&output).unwrap();
            }
            match output {
                Output::Load(id, load) => {
                    let result = Ok(self.load(load));
                    self.handle(Input::Loaded { id, result });
                }
                Output::Commit(upto, batch) => {
                    if batch.clear {
                        self.store.clear();
                    }
                    for (key, op) in batch.ops {
                        match op {
                            Op::Put(value) => drop(self.store.insert(key, value)),
                            Op::Delete => drop(self.store.remove(&key)),
                        }
                    }
                    self.handle(Input::Committed { upto });
                }
                Output::Idle { .. } => return rest,
                other => rest.push(other),
            }
        }
    }

    fn load(&self, load: Load) -> Loaded {
        match load {
            Load::Get(keys) => Loaded::Values(keys.iter().map(|key| self.store.get(key).cloned()).collect()),
            Load::Range { namespace, after, limit } => {
                let rows = self.store.iter().filter(|(key, _)| key.namespace == namespace);
                let rows = rows.filter(|(key, _)| after.as_ref().is_none_or(|after| key.key > *after));
                Loaded::Range(rows.take(limit as usize).map(|(k, v)| (k.clone(), v.clone())).collect())
            }
            other => panic!("a read of a new kind: {other:?}"),
        }
    }

    /// Connects and shakes hands. Returns the server's ends of the connection.
    pub fn connect(&mut self) -> Link {
        self.submit(Connect.into_request());
        let conn = self.run().iter().find_map(|output| match output {
            Output::Open(conn, _) => Some(*conn),
            _ => None,
        });
        let conn = conn.expect("an Open");
        self.handle(Input::Opened { conn });
        let hello = sent(&self.run()).concat();
        let server = Server::new(Chain::good().build());
        // The intro has 4 bytes, the frame's length 3.
        let (answer, pending) = server.full(XX, &hello[7..]);
        let mut framed = Vec::new();
        amarula_core::wire::write_frame(&mut framed, &answer).unwrap();
        self.now = self.now.after(Duration::from_millis(40));
        self.handle(Input::Received { conn, bytes: framed.into() });
        let finish = sent(&self.run()).concat();
        let finished = pending.finish(&finish[3..]).expect("a good clientFinish");
        Link {
            conn,
            send: SendCipher::new(&finished.to_client),
            recv: RecvCipher::new(&finished.to_server),
            decoder: FrameDecoder::new(),
        }
    }

    /// A stanza from the server.
    pub fn receive(&mut self, conn: ConnId, bytes: Bytes) -> Vec<Output> {
        self.handle(Input::Received { conn, bytes });
        self.run()
    }

    pub fn shut_down(mut self) -> Store {
        self.submit(Shutdown.into_request());
        self.run();
        assert!(self.engine.is_finished());
        self.store
    }
}

/// Every frame among the outputs.
pub fn sent(outputs: &[Output]) -> Vec<Bytes> {
    let frames = outputs.iter().filter_map(|output| match output {
        Output::Send(_, bytes) => Some(bytes.clone()),
        _ => None,
    });
    frames.collect()
}

/// The server's ends of one connection.
pub struct Link {
    pub conn: ConnId,
    pub send: SendCipher,
    pub recv: RecvCipher,
    decoder: FrameDecoder,
}

impl Link {
    /// Socket bytes of a stanza to the client.
    pub fn frame(&mut self, node: &Node) -> Bytes {
        let mut out = vec![0; 3];
        payload::pack(node, &mut out).unwrap();
        self.send.seal(&mut out, 3).unwrap();
        let length = u32::try_from(out.len() - 3).unwrap().to_be_bytes();
        out[..3].copy_from_slice(&length[1..]);
        out.into()
    }

    /// Stanzas of the client.
    pub fn stanzas(&mut self, outputs: &[Output]) -> Vec<Bytes> {
        sent(outputs).into_iter().for_each(|bytes| self.decoder.push(bytes));
        let mut out = Vec::new();
        while let Some(frame) = self.decoder.next_frame().unwrap() {
            let plain = self.recv.open(frame).unwrap();
            out.push(payload::unpack(&plain, payload::MAX_INFLATED).unwrap());
        }
        out
    }
}

// ---- an account that is linked ----------------------------------------------------------------------------------

/// The parts of the account record that others know, and what pairing adds. The real pairing needs the phone.
#[derive(Clone, PartialEq, prost::Message)]
struct AccountRow {
    #[prost(bytes = "vec", tag = "2")]
    identity: Vec<u8>,
    #[prost(uint32, tag = "3")]
    registration_id: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PairedRow {
    #[prost(message, optional, tag = "10")]
    me: Option<MeRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MeRow {
    #[prost(string, tag = "1")]
    pn: String,
    #[prost(string, optional, tag = "2")]
    lid: Option<String>,
    #[prost(bytes = "vec", tag = "3")]
    adv: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    account_key: Vec<u8>,
    #[prost(uint32, tag = "5")]
    key_index: u32,
    #[prost(string, tag = "6")]
    platform: String,
    #[prost(string, optional, tag = "8")]
    push_name: Option<String>,
    #[prost(bool, tag = "9")]
    lid_migrated: bool,
}

fn account_key() -> RecordKey {
    RecordKey { namespace: Namespace::Account, key: "account".into() }
}

/// A store of a device that is linked: the account record the engine makes, with an account written into it.
pub fn paired_store() -> Store {
    let mut rig = Rig::new(Store::new(), 1, false);
    rig.submit(Connect.into_request());
    rig.run();
    let mut store = rig.shut_down();
    let me = MeRow {
        pn: format!("{PN}:7@s.whatsapp.net"),
        lid: Some(format!("{LID}:7@lid")),
        adv: vec![1; 160],
        account_key: vec![9; 32],
        key_index: 3,
        platform: "android".into(),
        push_name: Some("Amarula".into()),
        lid_migrated: true,
    };
    let mut bytes = store[&account_key()].to_vec();
    bytes.extend(PairedRow { me: Some(me) }.encode_to_vec());
    store.insert(account_key(), bytes.into());
    store
}

/// Somebody who writes to the engine's account.
pub struct Peer {
    lid: Jid,
    pn: Jid,
    session: SessionRecord,
    count: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Inner {
    #[prost(bytes = "vec", tag = "4")]
    message: Vec<u8>,
}

impl Peer {
    /// Peer number `n` starts a session with the device of this store.
    pub fn new(store: &Store, n: u8) -> Self {
        let row = AccountRow::decode(store[&account_key()].clone()).unwrap();
        let theirs = KeyPair::from_private(PrivateKey::from_slice(&row.identity).unwrap());
        let signed = store.iter().find(|(key, _)| key.namespace == Namespace::SignedPreKey).unwrap().1;
        let signed = SignedPreKeyRecord::decode(signed).unwrap();
        let local = LocalIdentity { keys: &theirs, registration_id: row.registration_id };
        let bundle = PreKeyBundle::of(&local, &signed, None);
        let mut rng = Rng::from_seed([n; 32]);
        let own = KeyPair::generate(&mut rng);
        let mut session = SessionRecord::new();
        signal::initiate(&LocalIdentity { keys: &own, registration_id: 77 }, &bundle, &mut session, &mut rng).unwrap();
        let lid = Jid::lid(format!("236395184570{n:03}")).with_device(3);
        Self { lid, pn: Jid::pn(format!("15550001{n:03}")), session, count: 0 }
    }

    /// A text message: the first one begins the session, the others are as if it had been answered.
    pub fn text(&mut self, body: &str) -> Node {
        let mut message = wa::Message { conversation: Some(body.into()), ..Default::default() }.encode_to_vec();
        message.extend_from_slice(&[4; 4]);
        let sealed = signal::encrypt(&mut self.session, &message).unwrap();
        let (kind, bytes) = match self.count {
            0 => ("pkmsg", sealed.bytes.to_vec()),
            _ => ("msg", Inner::decode(&sealed.bytes[1..]).unwrap().message),
        };
        self.count += 1;
        Node::new("message")
            .attr("from", &self.lid)
            .attr("id", format!("3EB0A9253FA642{:08X}", self.count))
            .attr("type", "text")
            .attr("t", 1_764_814_151u32)
            .attr("notify", "Some Body")
            .attr("addressing_mode", "lid")
            .attr("sender_pn", &self.pn)
            .child(Node::new("enc").attr("v", "2").attr("type", kind).bytes(bytes))
    }
}
