//! One connection: intro, frames, handshake, transport (transport §2, §3).

use std::collections::{BTreeMap, BTreeSet};

use amarula_core::crypto::{KeyPair, PublicKey};
use amarula_core::wire::Node;
use prost::Message as _;

use super::config::{ClientProfile, IkPolicy};
use super::pairing::Unpaired;
use super::{ConnId, DeviceKey, Server, ServerOutput, Traced};
use crate::codec::{frame, read_node, take_frame, write_node};
use crate::noise::{AwaitFinish, Cipher, HelloParts, PROLOGUE, Pattern, Symmetric, open_ik, respond_xx};
use crate::proto::{ClientPayload, HandshakeMessage, ServerHello};
use crate::time::SimTime;
use crate::violation::Rule;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Not known yet.
    Unknown,
    /// A client that wants to be paired.
    Unpaired(Box<Unpaired>),
    /// A logged-in companion.
    Device(DeviceKey),
}

#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Intro,
    Hello,
    Finish(Box<AwaitFinish>),
    Open,
}

/// A request the server made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    PairDevice,
    PairSuccess,
    Ping,
}

#[derive(Clone, Debug)]
pub(crate) struct Conn {
    buffer: Vec<u8>,
    pub(crate) phase: Phase,
    rx: Option<Cipher>,
    pub(super) tx: Option<Cipher>,
    pub(crate) role: Role,
    pub(crate) noise: Option<PublicKey>,
    /// Ids of the client's IQs on this connection.
    pub(crate) ids: BTreeSet<String>,
    /// The server's own requests, still unanswered.
    pub(crate) asked: BTreeMap<String, (Asked, SimTime)>,
    /// Half-open: nothing is sent and nothing read any more.
    pub(crate) silent: bool,
    /// Delivery is on (`<active/>`).
    pub(crate) active: bool,
    pub(crate) last_ping: SimTime,
    pub(crate) last_received: SimTime,
    /// Refs, or when an unpaired connection ends.
    pub(crate) expires: Option<SimTime>,
    /// Which pattern the handshake used.
    pub(crate) pattern: Pattern,
    pub(crate) routing_info: Option<Vec<u8>>,
    /// Whose habits are tolerated on it.
    pub(crate) profile: ClientProfile,
}

impl Conn {
    pub(crate) fn device(&self) -> Option<DeviceKey> {
        match self.role {
            Role::Device(key) => Some(key),
            _ => None,
        }
    }
}

impl Server {
    /// A socket was opened.
    pub fn connect(&mut self, now: SimTime, conn: ConnId) {
        self.connect_as(now, conn, self.config.profile);
    }

    /// A socket was opened by a client of a known kind, whatever the configured profile is. A device keeps the profile
    /// of its last connection.
    pub fn connect_as(&mut self, now: SimTime, conn: ConnId, profile: ClientProfile) {
        self.advance(now);
        let now = self.now;
        self.conns.insert(
            conn,
            Conn {
                buffer: Vec::new(),
                phase: Phase::Intro,
                rx: None,
                tx: None,
                role: Role::Unknown,
                noise: None,
                ids: BTreeSet::new(),
                asked: BTreeMap::new(),
                silent: false,
                active: false,
                last_ping: now,
                last_received: now,
                expires: None,
                pattern: Pattern::Xx,
                routing_info: None,
                profile,
            },
        );
    }

    /// The socket was closed by the client or by the network.
    pub fn disconnected(&mut self, now: SimTime, conn: ConnId) {
        self.advance(now);
        self.forget_conn(conn);
    }

    /// Bytes arrived on a socket, in any split.
    pub fn receive(&mut self, now: SimTime, conn: ConnId, bytes: &[u8]) {
        self.advance(now);
        let now = self.now;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if state.silent {
            return;
        }
        state.buffer.extend_from_slice(bytes);
        state.last_received = now;
        while let Some(body) = self.next_body(conn) {
            self.body(conn, body);
        }
    }

    /// Which pattern a connection's handshake used, and what routing info opened it.
    #[must_use]
    pub fn handshake_of(&self, conn: ConnId) -> Option<(Pattern, Option<&[u8]>)> {
        self.conns.get(&conn).map(|conn| (conn.pattern, conn.routing_info.as_deref()))
    }

    /// From now on nothing is sent or read on this connection, and it is not closed: a half-open socket.
    pub fn silence(&mut self, conn: ConnId) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.silent = true;
        }
    }

    /// Live connections and their devices.
    pub fn connections(&self) -> impl Iterator<Item = (ConnId, Option<DeviceKey>)> {
        self.conns.iter().map(|(id, conn)| (*id, conn.device()))
    }

    fn next_body(&mut self, conn: ConnId) -> Option<Vec<u8>> {
        let state = self.conns.get_mut(&conn)?;
        if let Phase::Intro = state.phase {
            match intro(&state.buffer) {
                Intro::Short => return None,
                Intro::Bad => {
                    self.object(Some(conn), None, Rule::Framing, None, "the intro is not [ED 00 01 len info] WA 06 03");
                    self.close(conn);
                    return None;
                }
                Intro::Len(len, info) => {
                    state.buffer.drain(..len);
                    state.routing_info = info;
                    state.phase = Phase::Hello;
                }
            }
        }
        take_frame(&mut self.conns.get_mut(&conn)?.buffer)
    }

    fn body(&mut self, conn: ConnId, body: Vec<u8>) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        match std::mem::replace(&mut state.phase, Phase::Open) {
            Phase::Hello => self.hello(conn, &body),
            Phase::Finish(wait) => self.finish(conn, *wait, &body),
            Phase::Open => self.transport(conn, body),
            phase => state.phase = phase,
        }
    }

    fn hello(&mut self, conn: ConnId, body: &[u8]) {
        let hello = HandshakeMessage::decode(body).ok().and_then(|message| message.client_hello);
        let Some(hello) = hello else { return self.bad_handshake(conn, "the first frame is no clientHello") };
        let Ok(ephemeral) = PublicKey::from_raw(hello.ephemeral.as_deref().unwrap_or_default()) else {
            return self.bad_handshake(conn, "clientHello.ephemeral is not 32 bytes");
        };
        if self.faults.silent_handshake {
            self.faults.silent_handshake = false;
            return self.silence(conn);
        }
        let own = KeyPair::generate(&mut self.rng);
        let fault = self.faults.certificate;
        let chain = self.authority.chain(&self.noise, self.now, fault, &mut self.rng);
        let mut pattern = Pattern::Xx;
        if let (Some(static_key), Some(payload)) = (&hello.static_key, &hello.payload) {
            match open_ik(&self.noise, &ephemeral, static_key, payload) {
                Ok(opened) if self.config.ik == IkPolicy::Accept => {
                    let (client, payload) = (opened.client_static, opened.payload.clone());
                    let Ok((parts, symmetric)) = opened.accept(&own, &chain) else {
                        return self.bad_handshake(conn, "a low-order key in clientHello");
                    };
                    self.send_hello(conn, parts);
                    if let Some(state) = self.conns.get_mut(&conn) {
                        state.pattern = Pattern::Ik;
                    }
                    return self.handshake_done(conn, client, &payload, &symmetric);
                }
                // Refused, or made for another server key: both end in a fallback.
                _ => pattern = Pattern::XxFallback,
            }
        } else if hello.static_key.is_some() || hello.payload.is_some() {
            return self.bad_handshake(conn, "a clientHello has static and payload, or neither");
        }
        let Ok((parts, wait)) = respond_xx(pattern, &ephemeral, own, &self.noise, &chain) else {
            return self.bad_handshake(conn, "a low-order key in clientHello");
        };
        self.send_hello(conn, parts);
        if let Some(state) = self.conns.get_mut(&conn) {
            state.pattern = pattern;
            state.phase = Phase::Finish(Box::new(wait));
        }
    }

    fn send_hello(&mut self, conn: ConnId, mut parts: HelloParts) {
        if std::mem::take(&mut self.faults.damage_hello)
            && let Some(byte) = parts.payload.first_mut()
        {
            *byte ^= 1;
        }
        let hello = ServerHello {
            ephemeral: Some(parts.ephemeral.to_vec()),
            static_key: parts.static_key,
            payload: Some(parts.payload),
        };
        let message = HandshakeMessage { server_hello: Some(hello), ..HandshakeMessage::default() }.encode_to_vec();
        self.outputs.push_back(ServerOutput::Send(conn, frame(&message)));
    }

    fn finish(&mut self, conn: ConnId, wait: AwaitFinish, body: &[u8]) {
        let finish = HandshakeMessage::decode(body).ok().and_then(|message| message.client_finish);
        let Some(finish) = finish else { return self.bad_handshake(conn, "the second frame is no clientFinish") };
        if self.faults.certificate.take().is_some() {
            self.object(Some(conn), None, Rule::Handshake, None, "the client went on after a bad certificate chain");
        }
        let static_key = finish.static_key.unwrap_or_default();
        match wait.finish(&static_key, &finish.payload.unwrap_or_default()) {
            Ok((client, payload, symmetric)) => self.handshake_done(conn, client, &payload, &symmetric),
            Err(error) => self.bad_handshake(conn, &format!("clientFinish: {error}")),
        }
    }

    fn handshake_done(&mut self, conn: ConnId, client: PublicKey, payload: &[u8], symmetric: &Symmetric) {
        let (c2s, s2c) = symmetric.split();
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.rx = Some(Cipher::new(&c2s));
        state.tx = Some(Cipher::new(&s2c));
        state.noise = Some(client);
        state.phase = Phase::Open;
        match ClientPayload::decode(payload) {
            Ok(payload) => self.login(conn, client, &payload),
            Err(_) => self.bad_handshake(conn, "the ClientPayload does not parse"),
        }
    }

    fn bad_handshake(&mut self, conn: ConnId, detail: &str) {
        self.object(Some(conn), None, Rule::Handshake, None, detail);
        self.close(conn);
    }

    fn transport(&mut self, conn: ConnId, body: Vec<u8>) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let Some(Ok(plain)) = state.rx.as_mut().map(|cipher| cipher.open(body)) else {
            self.object(Some(conn), None, Rule::Node, None, "a frame that does not decrypt");
            return self.close(conn);
        };
        match read_node(&plain) {
            Ok(node) => {
                self.note(conn, true, &node);
                self.stanza(conn, &node);
            }
            Err(detail) => {
                self.object(Some(conn), None, Rule::Node, None, detail);
                self.stream_error(conn, Node::new("stream:error").child(Node::new("xml-not-well-formed")));
            }
        }
    }

    fn note(&mut self, conn: ConnId, from_client: bool, node: &Node) {
        if self.config.trace {
            self.trace.push(Traced { at: self.now, conn, from_client, node: node.clone() });
        }
    }

    /// Sends one stanza.
    pub(crate) fn send(&mut self, conn: ConnId, node: &Node) {
        let plain = match write_node(node, self.config.compress) {
            Ok(plain) => plain,
            Err(error) => {
                let detail = format!("the client made the server say what cannot be written: {error}");
                return self.object(Some(conn), None, Rule::Node, Some(node), detail);
            }
        };
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if state.silent {
            return;
        }
        let Some(tx) = state.tx.as_mut() else { return };
        let bytes = frame(&tx.seal(plain));
        self.outputs.push_back(ServerOutput::Send(conn, bytes));
        self.note(conn, false, node);
    }

    /// Sends a stream error, and closes.
    pub(crate) fn stream_error(&mut self, conn: ConnId, error: Node) {
        self.send(conn, &error);
        self.close(conn);
    }

    /// Closes a connection.
    pub(crate) fn close(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get(&conn) else { return };
        if state.silent {
            return;
        }
        self.outputs.push_back(ServerOutput::Close(conn));
        self.forget_conn(conn);
    }

    fn forget_conn(&mut self, conn: ConnId) {
        let Some(state) = self.conns.remove(&conn) else { return };
        let Some(key) = state.device() else { return };
        if let Some(companion) = self.companion_mut(key).filter(|companion| companion.conn == Some(conn)) {
            companion.conn = None;
            companion.available = false;
            companion.outbox.disconnected();
            self.presence_changed(key.0);
        }
    }
}

enum Intro {
    Short,
    Bad,
    Len(usize, Option<Vec<u8>>),
}

/// `[45 44 00 01 len(3) info] 57 41 06 03` (transport §2.2).
fn intro(buffer: &[u8]) -> Intro {
    let mut rest = buffer;
    let mut info = None;
    let mut len = 0;
    if buffer.first() == Some(&0x45) {
        let Some((header, after)) = buffer.split_at_checked(7) else { return Intro::Short };
        if header[..4] != [0x45, 0x44, 0, 1] {
            return Intro::Bad;
        }
        let size = usize::from(header[4]) << 16 | usize::from(header[5]) << 8 | usize::from(header[6]);
        let Some((bytes, after)) = after.split_at_checked(size) else { return Intro::Short };
        info = Some(bytes.to_vec());
        rest = after;
        len = 7 + size;
    }
    match rest.get(..4) {
        None if PROLOGUE.starts_with(rest) => Intro::Short,
        Some(magic) if magic == PROLOGUE => Intro::Len(len + 4, info),
        _ => Intro::Bad,
    }
}
