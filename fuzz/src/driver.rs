//! A driver and a server that choices steer: storage answers late, wrongly or never; connections open, break and bring
//! anything. What the engine promises is checked at every output.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::OnceLock;
use std::time::Duration;

use amarula_core::engine::command::{Connect, Shutdown};
use amarula_core::engine::{
    Command as _, CommitSeq, ConnId, Engine, Input, Load, LoadId, Loaded, Mono, Now, OpenError, Output, Request,
    StorageError, TicketId,
};
use amarula_core::event::{Connection, Delivery, Event};
use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use amarula_core::wire::{Document, FrameDecoder, Jid, Node, NodeLimits, RecvCipher, SendCipher, payload, write_frame};
use bytes::Bytes;

use crate::choices::Choices;
use crate::engine_support::{START, Store, config, paired_store};
use crate::peer::{self, Peer};
use crate::tree;
use crate::wire_support::{Chain, Pending, Server, XX};

/// Every account of these tests is this one: linked and never logged in.
fn linked() -> &'static Store {
    static STORE: OnceLock<Store> = OnceLock::new();
    STORE.get_or_init(paired_store)
}

/// It has logged in, and its prekeys are on the server.
pub fn paired() -> &'static Store {
    static STORE: OnceLock<Store> = OnceLock::new();
    STORE.get_or_init(|| {
        let mut driver = Driver::new(linked().clone(), 1);
        driver.log_in();
        driver.finish();
        driver.records
    })
}

/// A driver whose engine is logged in to that account.
pub fn logged_in() -> Driver {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    let ready = DRIVER.get_or_init(|| {
        let mut driver = Driver::new(paired().clone(), 2);
        driver.log_in();
        assert!(driver.is_linked());
        driver
    });
    ready.clone()
}

/// The server's side of a connection.
enum Side {
    /// Asked for.
    Asked,
    /// Stands, and waits for a hello.
    Hello(Vec<u8>),
    Finish(Box<Pending>, Vec<u8>),
    Link(Box<Link>),
    /// The engine has sent what nobody sends.
    Lost,
}

impl Clone for Side {
    fn clone(&self) -> Self {
        match self {
            Self::Asked => Self::Asked,
            Self::Hello(heard) => Self::Hello(heard.clone()),
            Self::Link(link) => Self::Link(link.clone()),
            Self::Lost => Self::Lost,
            Self::Finish(..) => panic!("nobody clones a handshake"),
        }
    }
}

#[derive(Clone)]
struct Link {
    send: SendCipher,
    recv: RecvCipher,
    decoder: FrameDecoder,
}

#[derive(Clone)]
pub struct Driver {
    pub engine: Engine,
    pub now: Now,
    pub records: Store,
    commits: VecDeque<(CommitSeq, Batch)>,
    /// With the newest commit asked before each.
    loads: Vec<(LoadId, Load, CommitSeq)>,
    last: CommitSeq,
    /// In `records`.
    applied: CommitSeq,
    /// The engine knows.
    told: CommitSeq,
    /// Open ones.
    tickets: BTreeSet<TicketId>,
    answered: BTreeSet<TicketId>,
    pub shutdown: Option<TicketId>,
    conn: Option<(ConnId, Side)>,
    /// Closed by the engine or the peer: may still be spoken of.
    old: Vec<ConnId>,
    /// From which commit on a record is there.
    written: BTreeMap<RecordKey, CommitSeq>,
    pub events: Vec<Delivery>,
    /// Everything that came out, but for the questions to storage.
    pub log: Option<Vec<Output>>,
    /// Queries without an answer.
    asked: Vec<Node>,
    /// Ids of messages that the engine sent, and where.
    sent: Vec<(String, String)>,
    peers: [Peer; 3],
    next_id: u32,
    until: Option<Mono>,
    /// The account record was written.
    pub wrote_account: bool,
    /// A commit put it or took it away for good.
    pub cleared: bool,
}

impl Driver {
    pub fn new(records: Store, seed: u8) -> Self {
        static PEERS: OnceLock<[Peer; 3]> = OnceLock::new();
        let peers = PEERS.get_or_init(|| [0, 1, 2].map(|n| Peer::new(linked(), n))).clone();
        Self {
            engine: Engine::new(config(), [seed; 32], START),
            now: START,
            records,
            commits: VecDeque::new(),
            loads: Vec::new(),
            last: CommitSeq(0),
            applied: CommitSeq(0),
            told: CommitSeq(0),
            tickets: BTreeSet::new(),
            answered: BTreeSet::new(),
            shutdown: None,
            conn: None,
            old: Vec::new(),
            written: BTreeMap::new(),
            events: Vec::new(),
            log: None,
            asked: Vec::new(),
            sent: Vec::new(),
            peers,
            next_id: 0,
            until: None,
            wrote_account: false,
            cleared: false,
        }
    }

    // ---- what goes in ----------------------------------------------------------------------------------------------

    pub fn input(&mut self, input: Input) {
        let shown = format!("{input:?}");
        if let Err(misuse) = self.engine.handle(self.now, input) {
            panic!("{shown} is called a misuse: {misuse}");
        }
    }

    pub fn submit(&mut self, request: Request) -> Option<TicketId> {
        let shutdown = matches!(request, Request::Shutdown(_));
        let before = self.engine.state_digest();
        match self.engine.submit_request(self.now, request) {
            Ok(ticket) => {
                assert!(self.tickets.insert(ticket) && !self.answered.contains(&ticket), "{ticket:?} is given twice");
                if shutdown {
                    self.shutdown = Some(ticket);
                }
                Some(ticket)
            }
            Err(_) => {
                assert_eq!(before, self.engine.state_digest(), "a rejected command changed something");
                None
            }
        }
    }

    /// Time passes; the monotonic clock runs on, the other stays within the life of the certificates.
    pub fn pass(&mut self, millis: u64) {
        let mono = self.now.mono.0 + millis;
        self.now = Now::new(mono, START.wall.0 + (mono - START.mono.0) % 400_000);
    }

    /// To the moment the engine has named.
    pub fn sleep(&mut self) -> bool {
        let Some(until) = self.until else { return false };
        let left = until.0.saturating_sub(self.now.mono.0);
        self.pass(left);
        self.input(Input::Tick);
        true
    }

    // ---- what comes out --------------------------------------------------------------------------------------------

    pub fn drain(&mut self) {
        loop {
            let output = self.engine.poll_output();
            if let Some(log) = &mut self.log
                && !matches!(output, Output::Idle { .. } | Output::Load(..) | Output::Commit(..))
            {
                log.push(output.clone());
            }
            match output {
                Output::Idle { until, reason } => {
                    assert_eq!(self.engine.poll_output(), Output::Idle { until, reason }, "something after Idle");
                    self.until = until;
                    return;
                }
                Output::Open(conn, _) => {
                    let beside = self.conn.replace((conn, Side::Asked));
                    assert!(beside.is_none(), "{conn:?} is opened beside {:?}", beside.map(|(conn, _)| conn));
                }
                Output::Send(conn, bytes) => self.receive(conn, &bytes),
                Output::Close(conn) => {
                    if self.conn.as_ref().is_some_and(|(open, _)| *open == conn) {
                        self.gone();
                    }
                }
                Output::Load(id, load) => self.loads.push((id, load, self.last)),
                Output::Commit(seq, batch) => self.commit(seq, batch),
                Output::Event(delivery) => {
                    if let Some(id) = delivery.id {
                        let key = RecordKey { namespace: Namespace::Inbox, key: format!("{:016x}", id.0).into() };
                        let there = self.records.contains_key(&key);
                        assert!(there || self.is_durable(&key), "an event was told before it was durable: {id:?}");
                    }
                    self.events.push(delivery);
                }
                Output::Done(completion) => {
                    assert!(self.tickets.remove(&completion.ticket), "no such command is open: {completion:?}");
                    self.answered.insert(completion.ticket);
                    if self.shutdown == Some(completion.ticket) {
                        assert!(self.tickets.is_empty(), "the shutdown is answered before {:?}", self.tickets);
                    }
                }
                Output::Http(..) => {}
                other => panic!("an output of a new kind: {other:?}"),
            }
        }
    }

    fn is_durable(&self, key: &RecordKey) -> bool {
        self.written.get(key).is_some_and(|seq| *seq <= self.told)
    }

    fn commit(&mut self, seq: CommitSeq, batch: Batch) {
        assert!(seq > self.last, "{seq:?} after {:?}", self.last);
        assert!(batch.ops.is_sorted_by(|(a, _), (b, _)| a < b), "keys twice or out of order");
        self.last = seq;
        self.cleared |= batch.clear;
        for (key, _) in &batch.ops {
            self.wrote_account |= key.namespace == Namespace::Account;
            self.written.entry(key.clone()).or_insert(seq);
        }
        self.commits.push_back((seq, batch));
    }

    fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some((open, side)) = &mut self.conn else { return };
        if *open != conn {
            return;
        }
        let Side::Link(link) = side else {
            match side {
                Side::Hello(heard) | Side::Finish(_, heard) => heard.extend_from_slice(bytes),
                _ => panic!("bytes on a connection that does not stand"),
            }
            return;
        };
        link.decoder.push(Bytes::copy_from_slice(bytes));
        while let Some((_, Side::Link(link))) = &mut self.conn
            && let Some(frame) = link.decoder.next_frame().expect("a frame")
        {
            let plain = link.recv.open(frame).expect("a frame of the engine opens");
            let plain = payload::unpack(&plain, payload::MAX_INFLATED).expect("a payload");
            let node = Document::parse(&plain, &NodeLimits::DEFAULT).expect("a node").root().to_node();
            self.stanza(node);
        }
    }

    /// The engine has sent a stanza.
    fn stanza(&mut self, node: Node) {
        let id = node.get("id").unwrap_or_default().to_string();
        match node.tag.as_str() {
            "iq" if matches!(node.get("type").as_deref(), Some("get" | "set")) => {
                let keys = node.nodes().iter().filter(|child| child.tag == "list").flat_map(Node::nodes);
                for key in keys.filter(|key| key.tag == "key") {
                    let number = key.nodes().iter().find(|child| child.tag == "id").map(bytes_of).unwrap_or_default();
                    let number = number.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
                    let name = RecordKey { namespace: Namespace::PreKey, key: number.to_string().into() };
                    let there = self.records.contains_key(&name);
                    assert!(there || self.is_durable(&name), "prekey {number} is shown before it is durable");
                }
                self.asked.push(node);
            }
            "message" => {
                let to = node.get("to").unwrap_or_default().to_string();
                let prefix = format!("{id}|");
                let durable = |(key, seq): (&RecordKey, &CommitSeq)| {
                    key.namespace == Namespace::SentMessage && key.key.starts_with(&prefix) && *seq <= self.told
                };
                let kept = |key: &RecordKey| {
                    key.namespace == Namespace::SentMessage && key.key.starts_with(&prefix)
                        || key.namespace == Namespace::Outbox
                };
                let peer = node.get("category").as_deref() == Some("peer");
                assert!(
                    peer || self.written.iter().any(durable) || self.records.keys().any(kept),
                    "message {id} left before its record was durable"
                );
                self.sent.push((id, to));
            }
            _ => {}
        }
    }

    fn gone(&mut self) {
        if let Some((conn, _)) = self.conn.take() {
            self.old.push(conn);
        }
        self.asked.clear();
    }

    // ---- storage ---------------------------------------------------------------------------------------------------

    fn apply(&mut self, upto: CommitSeq) {
        while self.commits.front().is_some_and(|(seq, _)| *seq <= upto) {
            let Some((seq, batch)) = self.commits.pop_front() else { return };
            if batch.clear {
                self.records.clear();
            }
            for (key, op) in batch.ops {
                match op {
                    Op::Put(value) => drop(self.records.insert(key, value)),
                    Op::Delete => drop(self.records.remove(&key)),
                }
            }
            self.applied = seq;
        }
    }

    /// One step of the store. Returns whether there was something to do.
    pub fn storage(&mut self, choices: &mut Choices<'_>) -> bool {
        let how = choices.byte();
        match how % 8 {
            // The oldest commit, perhaps not told at once; the newest with all before it.
            0 | 1 => match self.commits.front().map(|(seq, _)| *seq) {
                Some(seq) => self.committed(seq),
                None => return self.applied > self.told && self.tell(),
            },
            2 => match self.commits.front().map(|(seq, _)| *seq) {
                Some(seq) => self.apply(seq),
                None => return false,
            },
            3 => match self.commits.back().map(|(seq, _)| *seq) {
                Some(seq) => self.committed(seq),
                None => return self.applied > self.told && self.tell(),
            },
            4 => {
                let Some((first, last)) =
                    self.commits.front().map(|(s, _)| *s).zip(self.commits.back().map(|(s, _)| *s))
                else {
                    return false;
                };
                self.commits.clear();
                self.written.retain(|_, seq| *seq < first);
                for (_, _, after) in &mut self.loads {
                    *after = (*after).min(self.applied);
                }
                // Numbers go on behind what was given up.
                (self.applied, self.told) = (last, last);
                let error = StorageError { message: "chosen".into(), retryable: how & 128 == 0 };
                self.input(Input::CommitFailed { seq: first, error });
            }
            5 => return self.read(choices, Some(how & 128 == 0)),
            _ => return self.read(choices, None),
        }
        true
    }

    fn committed(&mut self, upto: CommitSeq) {
        self.apply(upto);
        self.tell();
    }

    fn tell(&mut self) -> bool {
        self.told = self.applied;
        self.input(Input::Committed { upto: self.told });
        true
    }

    fn read(&mut self, choices: &mut Choices<'_>, fails: Option<bool>) -> bool {
        if self.loads.is_empty() {
            return false;
        }
        let at = choices.below(self.loads.len());
        let (id, load, after) = self.loads.remove(at);
        let result = match fails {
            Some(retryable) => Err(StorageError { message: "chosen".into(), retryable }),
            None => {
                self.apply(after);
                Ok(self.load(&load))
            }
        };
        self.input(Input::Loaded { id, result });
        true
    }

    fn load(&self, load: &Load) -> Loaded {
        match load {
            Load::Get(keys) => Loaded::Values(keys.iter().map(|key| self.records.get(key).cloned()).collect()),
            Load::Range { namespace, after, limit } => {
                let rows = self.records.iter().filter(|(key, _)| key.namespace == *namespace);
                let rows = rows.filter(|(key, _)| after.as_ref().is_none_or(|after| key.key > *after));
                Loaded::Range(rows.take(*limit as usize).map(|(k, v)| (k.clone(), v.clone())).collect())
            }
            other => panic!("a read of a new kind: {other:?}"),
        }
    }

    /// A good store answers everything.
    pub fn serve(&mut self) {
        self.drain();
        let mut good = Choices::new(&[]);
        let mut steps = 0;
        while !self.commits.is_empty() || !self.loads.is_empty() || self.applied > self.told {
            steps += 1;
            assert!(steps < 20_000, "storage is asked for ever");
            if !self.read(&mut good, None) {
                let last = self.commits.back().map_or(self.applied, |(seq, _)| *seq);
                self.committed(last);
            }
            self.drain();
        }
    }

    // ---- the other side --------------------------------------------------------------------------------------------

    /// The connection's next step: it opens, or the handshake goes on.
    pub fn advance(&mut self) -> bool {
        let Some((conn, side)) = &mut self.conn else { return false };
        let conn = *conn;
        match std::mem::replace(side, Side::Lost) {
            Side::Asked => {
                *side = Side::Hello(Vec::new());
                self.input(Input::Opened { conn });
                true
            }
            // The intro has 4 bytes (more with a routing hint), the frame's length 3.
            Side::Hello(heard) if heard.len() > 7 => {
                let intro = heard.windows(2).position(|two| two == b"WA").unwrap_or(0);
                let (answer, pending) = Server::new(Chain::good().build()).full(XX, &heard[intro + 7..]);
                *side = Side::Finish(Box::new(pending), Vec::new());
                let mut framed = Vec::new();
                write_frame(&mut framed, &answer).expect("short");
                self.input(Input::Received { conn, bytes: framed.into() });
                true
            }
            Side::Finish(pending, heard) if heard.len() > 3 => {
                let finished = pending.finish(&heard[3..]).unwrap_or_else(|| panic!("a good clientFinish {heard:02x?}"));
                *side = Side::Link(Box::new(Link {
                    send: SendCipher::new(&finished.to_client),
                    recv: RecvCipher::new(&finished.to_server),
                    decoder: FrameDecoder::new(),
                }));
                true
            }
            other => {
                *side = other;
                false
            }
        }
    }

    pub fn is_linked(&self) -> bool {
        matches!(self.conn, Some((_, Side::Link(_))))
    }

    /// Socket bytes of this plaintext. `None` without a connection.
    fn seal(&mut self, plaintext: &[u8]) -> Option<(ConnId, Bytes)> {
        let Some((conn, Side::Link(link))) = &mut self.conn else { return None };
        let mut out = vec![0; 3];
        out.extend_from_slice(plaintext);
        link.send.seal(&mut out, 3).expect("not that many");
        let length = u32::try_from(out.len() - 3).expect("short").to_be_bytes();
        out[..3].copy_from_slice(&length[1..]);
        Some((*conn, out.into()))
    }

    /// Plaintext of a frame, in one piece or cut at a byte.
    pub fn bring(&mut self, plaintext: &[u8], cut: Option<usize>) {
        let Some((conn, bytes)) = self.seal(plaintext) else { return };
        let cut = cut.map_or(bytes.len(), |cut| cut % bytes.len());
        self.input(Input::Received { conn, bytes: bytes.slice(..cut) });
        if cut < bytes.len() {
            self.input(Input::Received { conn, bytes: bytes.slice(cut..) });
        }
    }

    pub fn bring_node(&mut self, node: &Node, cut: Option<usize>) {
        let mut plain = Vec::new();
        if payload::pack(node, &mut plain).is_ok() {
            self.bring(&plain, cut);
        }
    }

    /// Bytes outside the cipher.
    pub fn raw(&mut self, bytes: &[u8]) {
        let Some((conn, side)) = &mut self.conn else { return };
        let conn = *conn;
        if matches!(side, Side::Asked) {
            return;
        }
        self.input(Input::Received { conn, bytes: Bytes::copy_from_slice(bytes) });
    }

    /// The connection fails, or one that is over is spoken of again.
    pub fn breaks(&mut self, choices: &mut Choices<'_>) {
        let how = choices.byte();
        let code = *choices.pick(&[None, Some(1000), Some(1006), Some(515), Some(401), Some(440), Some(429)]);
        if how & 7 == 7 {
            if let Some(conn) = self.old.last().copied() {
                self.input(Input::Closed { conn, code });
            }
            return;
        }
        let Some((conn, side)) = &self.conn else { return };
        let (conn, asked) = (*conn, matches!(side, Side::Asked));
        self.gone();
        if asked {
            let error = match how & 3 {
                0 => OpenError::Network("chosen".into()),
                1 => OpenError::Status(503),
                2 => OpenError::Timeout,
                _ if how & 128 == 128 => OpenError::Config("chosen".into()),
                _ => OpenError::Status(403),
            };
            self.input(Input::OpenFailed { conn, error });
        } else {
            self.input(Input::Closed { conn, code });
        }
    }

    /// Logs in: a good driver, a good store, a good server.
    pub fn log_in(&mut self) {
        self.submit(Connect.into_request());
        for _ in 0..8 {
            self.serve();
            self.advance();
        }
        self.serve();
        let success = Node::new("success").attr("t", "1500").attr("lid", Jid::lid(crate::engine_support::LID));
        self.bring_node(&success, None);
        self.serve();
        while self.answer() {
            self.serve();
        }
    }

    /// Answers the oldest query as a good server would. Returns whether there was one.
    pub fn answer(&mut self) -> bool {
        if self.asked.is_empty() {
            return false;
        }
        let iq = self.asked.remove(0);
        let answer = Node::new("iq")
            .attr("from", Jid::server())
            .attr("type", "result")
            .attr("id", iq.get("id").unwrap_or_default());
        let mut users = Vec::new();
        named(&iq, &mut users);
        let content = match iq.get("xmlns").as_deref() {
            Some("usync") => {
                let list = users.iter().map(|jid| {
                    let devices = Node::new("device-list").child(Node::new("device").attr("id", "0"));
                    Node::new("user").attr("jid", jid).child(Node::new("devices").child(devices))
                });
                Some(Node::new("usync").child(Node::new("list").children(list)))
            }
            Some("encrypt") if iq.nodes().iter().any(|child| child.tag == "key") => {
                Some(Node::new("list").children(users.iter().map(peer::bundle)))
            }
            Some("encrypt") if iq.nodes().iter().any(|child| child.tag == "count") => {
                Some(Node::new("count").attr("value", "800"))
            }
            _ => None,
        };
        self.bring_node(&answer.child_opt(content), None);
        true
    }

    /// A stanza of choices.
    pub fn stanza_of(&mut self, choices: &mut Choices<'_>) -> Node {
        self.next_id += 1;
        let id = self.next_id;
        let node = match choices.below(14) {
            0 | 1 => {
                let peer = choices.below(3);
                return self.peers[peer].message(choices, id);
            }
            2 => {
                let peer = choices.below(3);
                return self.peers[peer].again().unwrap_or_else(|| Node::new("message"));
            }
            3 => Node::new("message").attr("t", "1500").child(
                Node::new("enc")
                    .attr("v", "2")
                    .attr("type", *choices.pick(&["msg", "pkmsg", "skmsg", "frskmsg"]))
                    .bytes(choices.short().to_vec()),
            ),
            4 => {
                let at = choices.below(self.sent.len().max(1));
                let (id, to) = self.sent.get(at).cloned().unwrap_or_else(|| ("3EB0A1".into(), "1@lid".into()));
                let mut node =
                    Node::new("ack").attr("class", "message").attr("id", id).attr("from", to).attr("t", "1500");
                if choices.flag() {
                    node = node.attr("error", *choices.pick(&["400", "463", "479", "421", "500"]));
                }
                node.attr_opt("phash", choices.flag().then_some("2:AAAAAAAA"))
            }
            5 => {
                // A retry or another receipt for something that was sent.
                let at = choices.below(self.sent.len().max(1));
                let (id, to) = self.sent.get(at).cloned().unwrap_or_else(|| ("3EB0A1".into(), "1@lid".into()));
                let from: Jid = to.parse().unwrap_or(peer::lid(0));
                let kind = *choices.pick(&["retry", "retry", "read", "sender", "server-error", "played"]);
                let mut node =
                    Node::new("receipt").attr("id", &*id).attr("from", &from).attr("type", kind).attr("t", "1500");
                if kind == "retry" {
                    let count = choices.below(7);
                    let retry =
                        Node::new("retry").attr("count", count as u32).attr("id", id).attr("t", "1500").attr("v", "1");
                    node = node.child(retry).child(Node::new("registration").bytes(vec![0, 0, 0, choices.byte()]));
                    if choices.flag() {
                        let keys = peer::bundle(&from)
                            .nodes()
                            .iter()
                            .filter(|n| n.tag != "registration")
                            .cloned()
                            .collect::<Vec<_>>();
                        node = node.child(Node::new("keys").children(keys));
                    }
                }
                node
            }
            6 | 7 => {
                // An answer to a query, of any content.
                let at = choices.below(self.asked.len().max(1));
                let id = self.asked.get(at).and_then(|iq| iq.get("id")).unwrap_or_default();
                if choices.flag() && at < self.asked.len() {
                    self.asked.remove(at);
                }
                let node = Node::new("iq").attr("from", Jid::server()).attr("id", id);
                if choices.below(4) == 0 {
                    node.attr("type", "error")
                        .child(Node::new("error").attr("code", choices.number()).attr("text", "chosen"))
                } else {
                    let child = tree::tree(choices, tree::TAGS);
                    node.attr("type", "result").child(child)
                }
            }
            8 => {
                let kind = *choices.pick(&["encrypt", "devices", "account_sync", "link_code_companion_reg", "w:gp2"]);
                let child = tree::tree(choices, tree::TAGS);
                Node::new("notification")
                    .attr("id", id)
                    .attr("from", tree::jid(choices))
                    .attr("type", kind)
                    .child(child)
            }
            9 => Node::new("ib").attr("from", Jid::server()).child(tree::tree(choices, &tree::TAGS[38..50])),
            10 => {
                let child = match choices.flag() {
                    true => Node::new("pair-device")
                        .children((0..choices.below(5)).map(|n| Node::new("ref").bytes(vec![b'a' + n as u8; 20]))),
                    false => Node::new("pair-success")
                        .child(Node::new("device-identity").bytes(choices.short().to_vec()))
                        .child(Node::new("device").attr("jid", tree::jid(choices)).attr("lid", tree::jid(choices)))
                        .child(Node::new("platform").attr("name", "android")),
                };
                Node::new("iq")
                    .attr("type", "set")
                    .attr("xmlns", "md")
                    .attr("id", id)
                    .attr("from", Jid::server())
                    .child(child)
            }
            11 => {
                let tag = *choices.pick(&[
                    "success",
                    "failure",
                    "stream:error",
                    "xmlstreamend",
                    "presence",
                    "chatstate",
                    "call",
                ]);
                Node { tag: tag.into(), ..tree::tree(choices, tree::TAGS) }
            }
            _ => tree::tree(choices, tree::TAGS),
        };
        // What every stanza of the server has, if it was not given.
        let needs = matches!(node.tag.as_str(), "message" | "receipt" | "notification" | "call") && choices.flag();
        let node = if needs && node.get("id").is_none() { node.attr("id", format!("S{id}")) } else { node };
        if needs && node.get("from").is_none() { node.attr("from", tree::jid(choices)) } else { node }
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /// Shuts down with a good store: every command is answered, and nothing is left.
    pub fn finish(&mut self) {
        if self.shutdown.is_none() {
            let ticket = self.submit(Shutdown.into_request());
            assert!(ticket.is_some(), "a shutdown is always taken");
        }
        self.serve();
        for _ in 0..3 {
            if self.engine.is_finished() {
                break;
            }
            self.sleep();
            self.serve();
        }
        assert!(self.engine.is_finished(), "shut down, and not finished");
        assert!(self.tickets.is_empty(), "never answered: {:?}", self.tickets);
    }

    pub fn ended_for(&self, is: impl Fn(&amarula_core::error::EndReason) -> bool) -> bool {
        self.events.iter().any(
            |delivery| matches!(&delivery.event, Event::Connection(Connection::Ended { reason, .. }) if is(reason)),
        )
    }

    pub fn wait(&mut self, by: Duration) {
        self.pass(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
        self.input(Input::Tick);
    }
}

/// Every account or device that a query names.
fn named(node: &Node, out: &mut Vec<Jid>) {
    out.extend(node.get("jid").and_then(|jid| jid.parse().ok()));
    node.nodes().iter().for_each(|child| named(child, out));
}

fn bytes_of(node: &Node) -> Vec<u8> {
    match &node.content {
        amarula_core::wire::Content::Bytes(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    }
}
