//! A tiny client, scripted by hand from the documents. It knows only what a test tells it to do.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "every test file uses another part of it")]

use amarula_core::crypto::hash::md5;
use amarula_core::crypto::mac::hmac_sha256;
use amarula_core::crypto::{KeyPair, PublicKey, Rng, xeddsa};
use amarula_core::wire::{Document, Jid, Node, NodeLimits};
use amarula_sim::codec::{Read as _, frame, leaf, take_frame, write_node};
use amarula_sim::noise::{Cipher, PROLOGUE, Pattern, Symmetric};
use amarula_sim::proto::{
    AdvDeviceIdentity, AdvHmac, AdvSignedIdentity, AppVersion, ClientFinish, ClientHello, ClientPayload,
    DevicePairingData, DeviceProps, HandshakeMessage, UserAgent, WebInfo, text_message,
};
use amarula_sim::signal::{Addr, Bundle, Endpoint, pad};
use amarula_sim::{AccountId, ConnId, Server, ServerConfig, ServerOutput, SimTime};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;

pub const START: SimTime = SimTime::from_secs(1_800_000_000);
pub const ALICE: (&str, &str) = ("15550000001", "200000000001");
pub const BOB: (&str, &str) = ("15550000002", "200000000002");

/// A server with two accounts.
pub fn world(config: ServerConfig) -> (Server, AccountId, AccountId) {
    let mut server = Server::new(config);
    server.tick(START);
    let alice = server.add_account(ALICE.0, ALICE.1);
    let bob = server.add_account(BOB.0, BOB.1);
    (server, alice, bob)
}

/// The version the scripted client claims.
const REVISION: u32 = 1_045_368_834;

pub struct Client {
    pub conn: ConnId,
    pub rng: Rng,
    pub noise: KeyPair,
    pub endpoint: Endpoint,
    pub adv_secret: [u8; 32],
    pub account_key: Option<PublicKey>,
    pub adv: Option<AdvSignedIdentity>,
    pub jid: Option<Jid>,
    pub lid: Option<Jid>,
    pub inbox: Vec<Node>,
    pub closed: bool,
    pub chain: Vec<u8>,
    pub next: u32,
    buffer: Vec<u8>,
    tx: Option<Cipher>,
    rx: Option<Cipher>,
}

impl Client {
    pub fn new(seed: u8) -> Self {
        let mut rng = Rng::from_seed([seed; 32]);
        Self {
            conn: ConnId(0),
            noise: KeyPair::generate(&mut rng),
            endpoint: Endpoint::generate(&mut rng),
            adv_secret: rng.bytes(),
            rng,
            account_key: None,
            adv: None,
            jid: None,
            lid: None,
            inbox: Vec::new(),
            closed: false,
            chain: Vec::new(),
            next: 1,
            buffer: Vec::new(),
            tx: None,
            rx: None,
        }
    }

    pub fn pump(&mut self, server: &mut Server) {
        while let Some(output) = server.poll() {
            match output {
                ServerOutput::Send(conn, bytes) if conn == self.conn => self.buffer.extend(bytes),
                ServerOutput::Close(conn) if conn == self.conn => self.closed = true,
                _ => {}
            }
        }
        let Some(rx) = self.rx.as_mut() else { return };
        while let Some(body) = take_frame(&mut self.buffer) {
            let plain = rx.open(body).unwrap();
            let bytes = if plain[0] & 2 != 0 {
                miniz_oxide::inflate::decompress_to_vec_zlib(&plain[1..]).unwrap()
            } else {
                plain[1..].to_vec()
            };
            self.inbox.push(Document::parse(&bytes, &NodeLimits::DEFAULT).unwrap().root().to_node());
        }
    }

    pub fn payload(&self) -> ClientPayload {
        let mut payload = ClientPayload {
            user_agent: Some(UserAgent {
                platform: Some(14),
                app_version: Some(AppVersion { primary: Some(2), secondary: Some(3000), tertiary: Some(REVISION) }),
                mcc: Some("000".into()),
                mnc: Some("000".into()),
                os_version: Some("0.1".into()),
                device: Some("Desktop".into()),
                release_channel: Some(0),
                language: Some("en".into()),
                country: Some("US".into()),
                ..UserAgent::default()
            }),
            web_info: Some(WebInfo { sub_platform: Some(0) }),
            connect_type: Some(1),
            connect_reason: Some(1),
            ..ClientPayload::default()
        };
        if let Some(jid) = &self.jid {
            payload.username = Some(jid.user.parse().unwrap());
            payload.device = Some(jid.device.into());
            payload.passive = Some(true);
            payload.pull = Some(true);
            return payload;
        }
        payload.passive = Some(false);
        payload.pull = Some(false);
        let bundle = self.endpoint.bundle_without_one_time();
        payload.pairing = Some(DevicePairingData {
            e_regid: Some(bundle.registration_id.to_be_bytes().to_vec()),
            e_keytype: Some(vec![5]),
            e_ident: Some(bundle.identity.0.to_vec()),
            e_skey_id: Some(bundle.signed.0.to_be_bytes()[1..].to_vec()),
            e_skey_val: Some(bundle.signed.1.0.to_vec()),
            e_skey_sig: Some(bundle.signed.2),
            build_hash: Some(md5(format!("2.3000.{REVISION}").as_bytes()).to_vec()),
            device_props: Some(
                DeviceProps { os: Some("Test".into()), platform_type: Some(1), ..DeviceProps::default() }
                    .encode_to_vec(),
            ),
        });
        payload
    }

    /// Opens a connection and runs XX by hand (transport §3.4).
    pub fn connect(&mut self, server: &mut Server, now: SimTime, conn: u64) {
        let payload = self.payload();
        self.connect_with(server, now, conn, &payload);
    }

    pub fn connect_with(&mut self, server: &mut Server, now: SimTime, conn: u64, payload: &ClientPayload) {
        let Some((mut state, ephemeral, re)) = self.hello(server, now, conn) else { return };
        let static_key = state.encrypt(self.noise.public.as_bytes());
        state.mix_dh(&self.noise, &re).unwrap();
        let sealed = state.encrypt(&payload.encode_to_vec());
        let finish = HandshakeMessage {
            client_finish: Some(ClientFinish { static_key: Some(static_key), payload: Some(sealed) }),
            ..HandshakeMessage::default()
        };
        let _ = ephemeral;
        let (c2s, s2c) = state.split();
        self.tx = Some(Cipher::new(&c2s));
        self.rx = Some(Cipher::new(&s2c));
        server.receive(now, self.conn, &frame(&finish.encode_to_vec()));
        self.pump(server);
    }

    /// IK by hand (transport §3.5, §3.6) for a server whose key is `rs`. Gives the pattern it ended with.
    pub fn resume(&mut self, server: &mut Server, now: SimTime, conn: u64, rs: &PublicKey) -> Pattern {
        self.conn = ConnId(conn);
        self.closed = false;
        self.buffer.clear();
        self.rx = None;
        self.inbox.clear();
        server.connect(now, self.conn);
        let payload = self.payload().encode_to_vec();
        let e = KeyPair::generate(&mut self.rng);
        let mut state = Symmetric::new(Pattern::Ik);
        state.mix_hash(rs.as_bytes());
        state.mix_hash(e.public.as_bytes());
        state.mix_dh(&e, rs).unwrap();
        let static_key = state.encrypt(self.noise.public.as_bytes());
        state.mix_dh(&self.noise, rs).unwrap();
        let sealed = state.encrypt(&payload);
        let hello =
            ClientHello { ephemeral: Some(e.public.0.to_vec()), static_key: Some(static_key), payload: Some(sealed) };
        let message = HandshakeMessage { client_hello: Some(hello), ..HandshakeMessage::default() };
        // With routing info in front (transport §2.2).
        let mut bytes = vec![0x45, 0x44, 0, 1, 0, 0, 3, 8, 2, 8];
        bytes.extend(PROLOGUE);
        bytes.extend(frame(&message.encode_to_vec()));
        server.receive(now, self.conn, &bytes);
        self.pump(server);
        let hello = HandshakeMessage::decode(&take_frame(&mut self.buffer).unwrap()[..]).unwrap().server_hello.unwrap();
        let re = PublicKey::from_raw(&hello.ephemeral.unwrap()).unwrap();
        let pattern = if hello.static_key.is_some() { Pattern::XxFallback } else { Pattern::Ik };
        if let Some(static_key) = hello.static_key {
            state = Symmetric::new(Pattern::XxFallback);
            state.mix_hash(e.public.as_bytes());
            state.mix_hash(re.as_bytes());
            state.mix_dh(&e, &re).unwrap();
            let rs = PublicKey::from_raw(&state.decrypt(&static_key).unwrap()).unwrap();
            state.mix_dh(&e, &rs).unwrap();
            state.decrypt(&hello.payload.unwrap()).unwrap();
            let static_key = state.encrypt(self.noise.public.as_bytes());
            state.mix_dh(&self.noise, &re).unwrap();
            let sealed = state.encrypt(&payload);
            let finish = HandshakeMessage {
                client_finish: Some(ClientFinish { static_key: Some(static_key), payload: Some(sealed) }),
                ..HandshakeMessage::default()
            };
            server.receive(now, self.conn, &frame(&finish.encode_to_vec()));
        } else {
            state.mix_hash(re.as_bytes());
            state.mix_dh(&e, &re).unwrap();
            state.mix_dh(&self.noise, &re).unwrap();
            state.decrypt(&hello.payload.unwrap()).unwrap();
        }
        let (c2s, s2c) = state.split();
        self.tx = Some(Cipher::new(&c2s));
        self.rx = Some(Cipher::new(&s2c));
        self.pump(server);
        pattern
    }

    /// Up to the server's hello; the chain is kept.
    pub fn hello(&mut self, server: &mut Server, now: SimTime, conn: u64) -> Option<(Symmetric, KeyPair, PublicKey)> {
        self.conn = ConnId(conn);
        self.closed = false;
        self.buffer.clear();
        self.rx = None;
        self.inbox.clear();
        server.connect(now, self.conn);
        let ephemeral = KeyPair::generate(&mut self.rng);
        let mut state = Symmetric::new(Pattern::Xx);
        state.mix_hash(ephemeral.public.as_bytes());
        let hello = HandshakeMessage {
            client_hello: Some(ClientHello { ephemeral: Some(ephemeral.public.0.to_vec()), ..ClientHello::default() }),
            ..HandshakeMessage::default()
        };
        let mut bytes = PROLOGUE.to_vec();
        bytes.extend(frame(&hello.encode_to_vec()));
        // In single bytes: any split must do.
        for byte in bytes {
            server.receive(now, self.conn, &[byte]);
        }
        self.pump(server);
        let hello = HandshakeMessage::decode(&take_frame(&mut self.buffer)?[..]).unwrap().server_hello.unwrap();
        let re = PublicKey::from_raw(&hello.ephemeral.unwrap()).unwrap();
        state.mix_hash(re.as_bytes());
        state.mix_dh(&ephemeral, &re).unwrap();
        let rs = PublicKey::from_raw(&state.decrypt(&hello.static_key.unwrap()).unwrap()).unwrap();
        state.mix_dh(&ephemeral, &rs).unwrap();
        match state.decrypt(&hello.payload.unwrap()) {
            Ok(chain) => self.chain = chain,
            Err(_) => return None,
        }
        Some((state, ephemeral, re))
    }

    pub fn send(&mut self, server: &mut Server, now: SimTime, node: &Node) {
        let body = self.tx.as_mut().unwrap().seal(write_node(node, false).unwrap());
        server.receive(now, self.conn, &frame(&body));
        self.pump(server);
    }

    pub fn id(&mut self) -> String {
        self.next += 1;
        format!("9.9-{}", self.next)
    }

    pub fn iq(&mut self, server: &mut Server, now: SimTime, kind: &str, namespace: &str, child: Node) -> Node {
        let id = self.id();
        let node = Node::new("iq")
            .attr("id", id.as_str())
            .attr("to", Jid::server())
            .attr("type", kind)
            .attr("xmlns", namespace)
            .child(child);
        self.send(server, now, &node);
        self.take(|node| node.tag == "iq" && node.text("id") == id).expect("an answer")
    }

    /// Takes the first stanza out of the inbox that fits.
    pub fn take(&mut self, fits: impl Fn(&Node) -> bool) -> Option<Node> {
        let at = self.inbox.iter().position(fits)?;
        Some(self.inbox.remove(at))
    }

    pub fn take_tag(&mut self, tag: &str) -> Option<Node> {
        self.take(|node| node.tag == tag)
    }

    pub fn qr(&self, reference: &str) -> String {
        format!(
            "https://wa.me/settings/linked_devices#{reference},{},{},{},1",
            STANDARD.encode(self.noise.public.0),
            STANDARD.encode(self.endpoint.identity().public.0),
            STANDARD.encode(self.adv_secret)
        )
    }

    /// Connects unpaired, answers pair-device, and gives the QR text.
    pub fn show_qr(&mut self, server: &mut Server, now: SimTime, conn: u64) -> String {
        self.connect(server, now, conn);
        let iq = self.take_tag("iq").unwrap();
        let reference =
            String::from_utf8(iq.find("pair-device").unwrap().find("ref").unwrap().data().to_vec()).unwrap();
        let answer = Node::new("iq").attr("to", Jid::server()).attr("type", "result").attr("id", iq.text("id"));
        self.send(server, now, &answer);
        self.qr(&reference)
    }

    /// Checks a pair-success as pairing §3.3 says, and makes the answer.
    pub fn pair_answer(&mut self, iq: &Node) -> Result<Node, &'static str> {
        let success = iq.find("pair-success").unwrap();
        let container = success.find("device-identity").ok_or("no device-identity")?;
        let container = AdvHmac::decode(container.data()).map_err(|_| "container")?;
        let details = container.details.unwrap();
        let prefix: &[u8] = if container.account_type == Some(1) { &[6, 5] } else { &[] };
        if container.hmac.as_deref() != Some(&hmac_sha256(&self.adv_secret, &[prefix, &details])[..]) {
            return Err("hmac-mismatch");
        }
        let mut signed = AdvSignedIdentity::decode(&details[..]).map_err(|_| "signed")?;
        let account = PublicKey::from_raw(signed.account_signature_key.as_deref().unwrap()).map_err(|_| "key")?;
        let bytes = signed.details.clone().unwrap();
        let parsed = AdvDeviceIdentity::decode(&bytes[..]).map_err(|_| "details")?;
        let key_index = parsed.key_index.ok_or("no key index")?;
        let prefix = if parsed.device_type == Some(1) { [6, 5] } else { [6, 0] };
        let identity = self.endpoint.identity().clone();
        let by_account = signed.account_signature.clone().unwrap();
        if !xeddsa::verify(&account, &[&prefix, &bytes, identity.public.as_bytes()], &by_account) {
            return Err("signature-mismatch");
        }
        let message: [&[u8]; 4] = [&[6, 1], &bytes, identity.public.as_bytes(), account.as_bytes()];
        signed.device_signature = Some(xeddsa::sign(&identity.private, &message, &self.rng.bytes()).to_vec());
        self.account_key = Some(account);
        self.adv = Some(signed.clone());
        let device = success.find("device").unwrap();
        self.jid = device.jid("jid");
        self.lid = device.jid("lid");
        signed.account_signature_key = None;
        let blob = leaf("device-identity", signed.encode_to_vec()).attr("key-index", key_index);
        Ok(Node::new("iq")
            .attr("to", Jid::server())
            .attr("type", "result")
            .attr("id", iq.text("id"))
            .child(Node::new("pair-device-sign").child(blob)))
    }

    /// Pairs by QR; ends with the 515.
    pub fn pair(&mut self, server: &mut Server, now: SimTime, account: AccountId, conn: u64) {
        let qr = self.show_qr(server, now, conn);
        server.scan_qr(now, account, &qr).unwrap();
        self.pump(server);
        let iq = self.take(|node| node.find("pair-success").is_some()).unwrap();
        let answer = self.pair_answer(&iq).unwrap();
        self.send(server, now, &answer);
        assert_eq!(self.take_tag("stream:error").unwrap().text("code"), "515");
        assert!(self.closed);
    }

    /// Logs in, uploads `keys` one-time prekeys, goes active, asks for the whole backlog.
    pub fn login(&mut self, server: &mut Server, now: SimTime, conn: u64, keys: usize) {
        self.connect(server, now, conn);
        let success = self.take_tag("success").expect("success");
        assert_eq!(success.jid("lid"), self.lid);
        if keys > 0 {
            self.upload(server, now, keys);
        }
        self.iq(server, now, "set", "passive", Node::new("active"));
        self.send(server, now, &Node::new("ib").child(Node::new("offline_batch").attr("count", 100)));
    }

    pub fn upload_node(&mut self, keys: usize) -> Vec<Node> {
        let key = |tag: &str, id: u32, key: &PublicKey| {
            Node::new(tag).child(leaf("id", &id.to_be_bytes()[1..])).child(leaf("value", key.0))
        };
        let bundles: Vec<Bundle> = (0..keys).map(|_| self.endpoint.bundle(&mut self.rng)).collect();
        let last = self.endpoint.bundle_without_one_time();
        let list = bundles.iter().filter_map(|bundle| bundle.one_time).map(|(id, public)| key("key", id, &public));
        vec![
            leaf("registration", last.registration_id.to_be_bytes()),
            leaf("type", [5]),
            leaf("identity", last.identity.0),
            Node::new("list").children(list),
            key("skey", last.signed.0, &last.signed.1).child(leaf("signature", &last.signed.2)),
        ]
    }

    pub fn upload(&mut self, server: &mut Server, now: SimTime, keys: usize) {
        let children = self.upload_node(keys);
        let id = self.id();
        let node = Node::new("iq")
            .attr("id", id.as_str())
            .attr("to", Jid::server())
            .attr("type", "set")
            .attr("xmlns", "encrypt")
            .children(children);
        self.send(server, now, &node);
        assert_eq!(self.take(|node| node.text("id") == id).unwrap().text("type"), "result");
    }

    /// Asks for the device list of `user`.
    pub fn devices(&mut self, server: &mut Server, now: SimTime, user: &Jid) -> Vec<u16> {
        let usync = Node::new("usync")
            .attr("sid", "1")
            .attr("mode", "query")
            .attr("last", "true")
            .attr("index", "0")
            .attr("context", "message")
            .child(Node::new("query").child(Node::new("devices").attr("version", "2")).child(Node::new("lid")))
            .child(Node::new("list").child(Node::new("user").attr("jid", user)));
        let answer = self.iq(server, now, "get", "usync", usync);
        let user = answer.find("usync").unwrap().find("list").unwrap().find("user").unwrap().clone();
        let list = user.find("devices").unwrap().find("device-list").unwrap();
        list.all("device").iter().map(|device| u16::try_from(device.number("id").unwrap()).unwrap()).collect()
    }

    /// Fetches a bundle and starts a session.
    pub fn fetch(&mut self, server: &mut Server, now: SimTime, device: &Jid, addr: &Addr) {
        let request = Node::new("key").child(Node::new("user").attr("jid", device).attr("reason", "identity"));
        let answer = self.iq(server, now, "get", "encrypt", request);
        let user = answer.find("list").unwrap().find("user").unwrap().clone();
        let key = |node: &Node| {
            let id = node.child_data("id");
            (u32::from_be_bytes([0, id[0], id[1], id[2]]), PublicKey::from_raw(node.child_data("value")).unwrap())
        };
        let skey = user.find("skey").unwrap();
        let (id, public) = key(skey);
        let bundle = Bundle {
            registration_id: u32::from_be_bytes(user.child_data("registration").try_into().unwrap()),
            identity: PublicKey::from_raw(user.child_data("identity")).unwrap(),
            signed: (id, public, skey.child_data("signature").to_vec()),
            one_time: user.find("key").map(key),
            device_identity: None,
        };
        self.endpoint.process_bundle(addr, &bundle, &mut self.rng).unwrap();
    }

    pub fn enc(&mut self, addr: &Addr, message: &[u8]) -> Node {
        let (kind, bytes) = self.endpoint.encrypt(addr, &pad(message, 7)).unwrap();
        leaf("enc", bytes).attr("v", "2").attr("type", kind.as_str())
    }

    pub fn identity_node(&self) -> Node {
        leaf("device-identity", self.adv.clone().unwrap().encode_to_vec())
    }

    /// A text to the phone of `to` and to the own phone, as messages §6 says.
    pub fn text_stanza(&mut self, server: &mut Server, now: SimTime, to: (&str, &str), id: &str, text: &str) -> Node {
        let me = self.jid.clone().unwrap();
        let own: Addr = (self.lid.clone().unwrap().user.to_string(), 0);
        let chat = Jid::pn(to.0);
        let message = text_message(text);
        let wrapped = amarula_sim::proto::ChatMessage {
            device_sent: Some(amarula_sim::proto::ChatDeviceSent {
                destination_jid: Some(chat.to_string()),
                message: Some(message.clone()),
                phash: None,
            }),
            ..Default::default()
        }
        .encode_to_vec();
        let mut participants = Node::new("participants");
        let mut pkmsg = false;
        for (jid, addr, plain) in [(chat.clone(), (to.1.to_owned(), 0), &message), (me.bare(), own, &wrapped)] {
            if !self.endpoint.has_session(&addr) {
                self.fetch(server, now, &jid, &addr);
            }
            let enc = self.enc(&addr, plain);
            pkmsg |= enc.text("type") == "pkmsg";
            participants = participants.child(Node::new("to").attr("jid", jid).child(enc));
        }
        let identity = pkmsg.then(|| self.identity_node());
        Node::new("message")
            .attr("to", chat)
            .attr("id", id)
            .attr("type", "text")
            .child(participants)
            .child_opt(identity)
    }

    /// The delivery receipt of a 1:1 message.
    pub fn receipt_of(message: &Node) -> Node {
        Node::new("receipt")
            .attr("id", message.text("id"))
            .attr("to", message.jid("from").unwrap())
            .attr("type", "inactive")
    }
}

/// A paired, logged-in client of `account`, and no objections so far.
pub fn ready(server: &mut Server, account: AccountId, seed: u8) -> Client {
    let mut client = Client::new(seed);
    client.pair(server, START, account, u64::from(seed) * 100);
    client.login(server, START, u64::from(seed) * 100 + 1, 20);
    assert_eq!(server.violations(), []);
    client
}
