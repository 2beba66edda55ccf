//! Resumed handshakes, phone codes, groups, pings, privacy tokens, device changes.

mod common;

use amarula_core::crypto::cipher::ctr_apply;
use amarula_core::crypto::kdf::{hkdf_sha256, pbkdf2_sha256};
use amarula_core::crypto::{Aes256Gcm, KeyPair, PublicKey};
use amarula_core::wire::{Jid, Node};
use amarula_sim::codec::{Read as _, leaf};
use amarula_sim::noise::Pattern;
use amarula_sim::proto::{CertChain, CertDetails, ChatMessage, text_of};
use amarula_sim::server::{IkPolicy, ScanError};
use amarula_sim::signal::{EncType, pad, unpad};
use amarula_sim::{Rule, ServerConfig};
use common::{ALICE, BOB, Client, START, ready, world};
use prost::Message as _;

fn server_key(chain: &[u8]) -> PublicKey {
    let leaf = CertChain::decode(chain).unwrap().leaf.unwrap();
    PublicKey::from_raw(&CertDetails::decode(&leaf.details.unwrap()[..]).unwrap().key.unwrap()).unwrap()
}

#[test]
fn resume_and_fall_back() {
    let (mut server, alice, _) = world(ServerConfig::default());
    let mut client = ready(&mut server, alice, 1);
    let rs = server_key(&client.chain);
    assert_eq!(client.resume(&mut server, START, 200, &rs), Pattern::Ik);
    assert!(client.take_tag("success").is_some());
    assert_eq!(server.handshake_of(client.conn), Some((Pattern::Ik, Some(&[8, 2, 8][..]))));
    let stranger = KeyPair::generate(&mut client.rng).public;
    assert_eq!(client.resume(&mut server, START, 201, &stranger), Pattern::XxFallback);
    assert!(client.take_tag("success").is_some());
    server.config_mut().ik = IkPolicy::Refuse;
    assert_eq!(client.resume(&mut server, START, 202, &rs), Pattern::XxFallback);
    assert!(client.take_tag("success").is_some());
    assert_eq!(server.violations(), []);
}

fn link(client: &mut Client, server: &mut amarula_sim::Server, stage: &str, children: Vec<Node>) -> Node {
    let node =
        Node::new("link_code_companion_reg").attr("jid", Jid::pn(ALICE.0)).attr("stage", stage).children(children);
    let node = if stage == "companion_hello" { node.attr("should_show_push_notification", "true") } else { node };
    client.iq(server, START, "set", "md", node)
}

/// pairing §5, the companion's side by hand.
fn code_pairing(typed: &str) -> (amarula_sim::Server, Client) {
    let (mut server, alice, _) = world(ServerConfig::default());
    let mut client = Client::new(1);
    client.show_qr(&mut server, START, 1);
    let code = "ABCD1234";
    let key = |salt: &[u8]| pbkdf2_sha256(code.as_bytes(), salt, 131_072);
    let ephemeral = KeyPair::generate(&mut client.rng);
    let mut wrapped = ephemeral.public.0.to_vec();
    ctr_apply(&key(&[1; 32]), &[2; 16], &mut wrapped);
    let wrapped = [&[1; 32][..], &[2; 16], &wrapped].concat();
    assert_eq!(server.type_code(START, alice, code), Err(ScanError::NoCode));
    let noise = client.noise.public.0;
    let answer = link(
        &mut client,
        &mut server,
        "companion_hello",
        vec![
            leaf("link_code_pairing_wrapped_companion_ephemeral_pub", wrapped),
            leaf("companion_server_auth_key_pub", noise),
            leaf("companion_platform_id", "1"),
            leaf("companion_platform_display", "Chrome (Linux)"),
            leaf("link_code_pairing_nonce", [0]),
        ],
    );
    let reference = answer.find("link_code_companion_reg").unwrap().child_data("link_code_pairing_ref").to_vec();
    server.type_code(START, alice, typed).unwrap();
    client.pump(&mut server);
    let notification = client.take_tag("notification").unwrap();
    let ack = Node::new("ack")
        .attr("class", "notification")
        .attr("id", notification.text("id"))
        .attr("to", Jid::server())
        .attr("type", notification.text("type"));
    client.send(&mut server, START, &ack);
    let hello = notification.find("link_code_companion_reg").unwrap();
    let blob = hello.child_data("link_code_pairing_wrapped_primary_ephemeral_pub");
    let mut primary = blob[48..].to_vec();
    ctr_apply(&key(&blob[..32]), blob[32..48].try_into().unwrap(), &mut primary);
    let primary = PublicKey::from_raw(&primary).unwrap();
    let account = PublicKey::from_raw(hello.child_data("primary_identity_pub")).unwrap();
    let identity = client.endpoint.identity().clone();
    let eph = ephemeral.agree(&primary).unwrap();
    let idn = identity.agree(&account).unwrap();
    let rnd = [5; 32];
    let bundle_key: [u8; 32] =
        hkdf_sha256(Some(&[6; 32]), eph.expose(), b"link_code_pairing_key_bundle_encryption_key");
    let mut plain = [identity.public.0, account.0, rnd].concat();
    let tag = Aes256Gcm::new(&bundle_key).seal(&[7; 12], &[], &mut plain);
    let bundle = [&[6; 32][..], &[7; 12], &plain, &tag].concat();
    client.adv_secret = hkdf_sha256(None, &[&eph.expose()[..], idn.expose(), &rnd].concat(), b"adv_secret");
    link(
        &mut client,
        &mut server,
        "companion_finish",
        vec![
            leaf("link_code_pairing_wrapped_key_bundle", bundle),
            leaf("companion_identity_public", identity.public.0),
            leaf("link_code_pairing_ref", reference),
        ],
    );
    (server, client)
}

#[test]
fn pair_by_code() {
    let (mut server, mut client) = code_pairing("ABCD-1234");
    let iq = client.take(|node| node.find("pair-success").is_some()).unwrap();
    let answer = client.pair_answer(&iq).unwrap();
    client.send(&mut server, START, &answer);
    client.login(&mut server, START, 2, 5);
    assert_eq!(server.violations(), []);
}

#[test]
fn a_wrong_code_leads_nowhere() {
    let (mut server, mut client) = code_pairing("ZZZZ-9999");
    assert!(client.take(|node| node.find("pair-success").is_some()).is_none());
    assert_eq!(server.take_violations()[0].detail, "the key bundle does not open");
}

#[test]
fn groups_and_sender_keys() {
    let (mut server, alice, bob) = world(ServerConfig::default());
    let carol = server.add_account("15550000003", "200000000003");
    let mut client = ready(&mut server, alice, 1);
    let group = server.add_group("120363000000000001", "all", true, &[alice, bob, carol]);
    let info = Node::new("query").attr("request", "interactive");
    let id = client.id();
    let node = Node::new("iq")
        .attr("id", id.as_str())
        .attr("to", &group)
        .attr("type", "get")
        .attr("xmlns", "w:g2")
        .child(info);
    client.send(&mut server, START, &node);
    let answer = client.take(|node| node.text("id") == id).unwrap();
    assert_eq!(answer.find("group").unwrap().nodes().len(), 3);

    let send = |client: &mut Client, server: &mut amarula_sim::Server, id: &str, hash: &str, to: &[(&str, u16)]| {
        let mut rng = client.rng.clone();
        let (state, _) = client.endpoint.own_sender_key(&group.to_string(), &mut rng);
        let skdm = state.distribution();
        let body = state.encrypt(&pad(&amarula_sim::proto::text_message(id), 3), &rng.bytes()).unwrap();
        client.rng = rng;
        let message = ChatMessage {
            sender_key_distribution: Some(amarula_sim::proto::ChatSenderKey {
                group_id: Some(group.to_string()),
                axolotl: Some(skdm),
            }),
            ..ChatMessage::default()
        }
        .encode_to_vec();
        let mut participants = Node::new("participants");
        let mut pkmsg = false;
        for (lid, device) in to {
            let addr = ((*lid).to_owned(), *device);
            let jid = Jid::lid(*lid).with_device(*device);
            if !client.endpoint.has_session(&addr) {
                client.fetch(server, START, &jid, &addr);
            }
            let enc = client.enc(&addr, &message);
            pkmsg |= enc.text("type") == "pkmsg";
            participants = participants.child(Node::new("to").attr("jid", jid).child(enc));
        }
        let identity = pkmsg.then(|| client.identity_node());
        let node = Node::new("message")
            .attr("to", &group)
            .attr("id", id)
            .attr("type", "text")
            .attr("addressing_mode", "lid")
            .attr("phash", hash)
            .child_opt((!to.is_empty()).then_some(participants))
            .child_opt(identity)
            .child(leaf("enc", body).attr("v", "2").attr("type", "skmsg"));
        client.send(server, START, &node);
    };
    let phones = [(ALICE.1, 0), (BOB.1, 0), ("200000000003", 0)];
    send(&mut client, &mut server, "3EB001", "2:wrong", &phones);
    let hash = client.take_tag("ack").unwrap().text("phash");
    assert_eq!(server.take_violations().into_iter().map(|v| v.rule).collect::<Vec<_>>(), [Rule::Phash]);
    send(&mut client, &mut server, "3EB002", &hash, &[]);
    assert_eq!(server.violations(), []);
    assert_eq!(server.phone(carol).texts(), ["3EB001", "3EB002"]);

    // Carol leaves: the sender key she holds must not be used again.
    server.change_group(START, alice, &group, false, &[carol]);
    send(&mut client, &mut server, "3EB00X", &hash, &[]);
    assert_eq!(server.violations(), [], "the news was not acked yet");
    let news = client.take_tag("notification").unwrap();
    let ack = Node::new("ack")
        .attr("class", "notification")
        .attr("id", news.text("id"))
        .attr("to", &group)
        .attr("type", "w:gp2")
        .attr("participant", news.jid("participant").unwrap());
    client.send(&mut server, START, &ack);
    send(&mut client, &mut server, "3EB003", &hash, &[]);
    let rules: Vec<Rule> = server.take_violations().into_iter().map(|violation| violation.rule).collect();
    assert_eq!(rules, [Rule::Phash, Rule::Fanout]);
    client.endpoint.rotate_sender_key(&group.to_string());
    send(&mut client, &mut server, "3EB004", "2:x", &phones[..1]);
    let rules: Vec<Rule> = server.take_violations().into_iter().map(|violation| violation.rule).collect();
    assert!(rules.contains(&Rule::Fanout) && rules.contains(&Rule::Signal), "{rules:?}");
    assert_eq!(server.phone(bob).texts(), ["3EB001", "3EB002", "3EB00X", "3EB003"]);

    // A phone writes to the group.
    client.inbox.clear();
    server.phone_send_text(START, bob, &group, "from bob");
    client.pump(&mut server);
    let message = client.take_tag("message").unwrap();
    let encs = message.all("enc");
    let addr = (BOB.1.to_owned(), 0);
    let kind = if encs[0].text("type") == "pkmsg" { EncType::PkMsg } else { EncType::Msg };
    let plain = client.endpoint.decrypt(&addr, kind, encs[0].data(), &mut client.rng).unwrap();
    let skdm = ChatMessage::decode(unpad(&plain).unwrap()).unwrap().sender_key_distribution.unwrap();
    client.endpoint.learn_sender_key(&group.to_string(), &addr, &skdm.axolotl.unwrap()).unwrap();
    let plain = client.endpoint.decrypt_group(&group.to_string(), &addr, encs[1].data()).unwrap();
    assert_eq!(text_of(unpad(&plain).unwrap()).as_deref(), Some("from bob"));
}

#[test]
fn server_pings() {
    let (mut server, alice, _) = world(ServerConfig { ping_interval: 10_000, ..ServerConfig::default() });
    let mut client = ready(&mut server, alice, 1);
    assert_eq!(server.next_deadline(), Some(START + 10_000));
    server.tick(START + 10_000);
    client.pump(&mut server);
    let ping = client.take(|node| node.text("xmlns") == "urn:xmpp:ping").unwrap();
    let pong = Node::new("iq").attr("to", Jid::server()).attr("type", "result").attr("id", ping.text("id"));
    client.send(&mut server, START + 10_001, &pong);
    server.tick(START + 20_001);
    assert_eq!(server.violations(), []);
    server.tick(START + 40_001);
    client.pump(&mut server);
    assert!(client.closed);
    assert_eq!(server.take_violations()[0].rule, Rule::Ping);
}

#[test]
fn devices_come_and_go() {
    let (mut server, alice, bob) = world(ServerConfig::default());
    let mut client = ready(&mut server, alice, 1);
    client.devices(&mut server, START, &Jid::pn(BOB.0));
    let mut other = ready(&mut server, bob, 2);
    server.unlink(START, bob, 1);
    server.reregister(START, bob);
    other.pump(&mut server);
    // The outputs for the first client went past; everything unanswered comes again.
    server.disconnected(START, client.conn);
    client.login(&mut server, START, 300, 0);
    let kinds: Vec<String> = client
        .inbox
        .iter()
        .filter(|node| node.tag == "notification")
        .map(|node| format!("{} {}", node.text("type"), node.nodes()[0].tag))
        .collect();
    assert_eq!(kinds, ["devices add", "devices remove", "encrypt identity"]);
}
