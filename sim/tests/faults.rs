//! What a test can make the server do wrong, and what the real one does on a bad day.

mod common;

use amarula_core::crypto::{PublicKey, xeddsa};
use amarula_core::wire::{Jid, Node};
use amarula_sim::certs::CertFault;
use amarula_sim::codec::Read as _;
use amarula_sim::proto::{CertChain, CertDetails};
use amarula_sim::server::faults::{AckFault, DeliveryFault, PairingFault};
use amarula_sim::signal::{EncType, SignalError};
use amarula_sim::{Rule, ServerConfig};
use common::{ALICE, BOB, Client, START, ready, world};
use prost::Message as _;

/// transport §4, all rules.
fn verify(chain: &[u8], root: &PublicKey, rs: &PublicKey, now: u64) -> Result<(), &'static str> {
    let chain = CertChain::decode(chain).map_err(|_| "parse")?;
    let open = |cert: Option<amarula_sim::proto::NoiseCertificate>, by: &PublicKey| {
        let cert = cert.ok_or("missing")?;
        let details = cert.details.ok_or("no details")?;
        if !xeddsa::verify(by, &[&details], &cert.signature.unwrap_or_default()) {
            return Err("signature");
        }
        CertDetails::decode(&details[..]).map_err(|_| "details")
    };
    let intermediate = open(chain.intermediate, root)?;
    let key = PublicKey::from_raw(intermediate.key.as_deref().unwrap_or_default()).map_err(|_| "key")?;
    let leaf = open(chain.leaf, &key)?;
    if intermediate.issuer_serial != Some(0) || leaf.issuer_serial != intermediate.serial {
        return Err("issuer");
    }
    if leaf.key.as_deref() != Some(&rs.0[..]) {
        return Err("leaf key");
    }
    let valid = |cert: &CertDetails| (cert.not_before.unwrap()..cert.not_after.unwrap()).contains(&now);
    if valid(&leaf) && valid(&intermediate) { Ok(()) } else { Err("validity") }
}

fn server_key(chain: &[u8]) -> PublicKey {
    let leaf = CertChain::decode(chain).unwrap().leaf.unwrap();
    PublicKey::from_raw(&CertDetails::decode(&leaf.details.unwrap()[..]).unwrap().key.unwrap()).unwrap()
}

#[test]
fn certificate_chains() {
    let (mut server, _, _) = world(ServerConfig::default());
    let root = server.root_key();
    let mut client = Client::new(1);
    client.hello(&mut server, START, 1).unwrap();
    let rs = server_key(&client.chain);
    assert_eq!(verify(&client.chain, &root, &rs, START.secs()), Ok(()));
    for (n, fault) in CertFault::ALL.into_iter().enumerate() {
        server.faults().certificate = Some(fault);
        client.hello(&mut server, START, 10 + n as u64).unwrap();
        assert!(verify(&client.chain, &root, &rs, START.secs()).is_err(), "{fault:?}");
    }
    // A client that goes on all the same is objected to.
    client.connect(&mut server, START, 99);
    assert_eq!(server.take_violations()[0].rule, Rule::Handshake);
    server.faults().damage_hello = true;
    assert!(client.hello(&mut server, START, 100).is_none());
}

#[test]
fn pairing_faults() {
    let cases = [
        (PairingFault::WrongHmac, Some("hmac-mismatch")),
        (PairingFault::BadAccountSignature, Some("signature-mismatch")),
        (PairingFault::NoKeyIndex, Some("no key index")),
        (PairingFault::NoDeviceIdentity, Some("no device-identity")),
        (PairingFault::HostedOuter, None),
        (PairingFault::HostedBoth, None),
        (PairingFault::NoLid, None),
        (PairingFault::No515, None),
        (PairingFault::CloseWithout515, None),
        (PairingFault::FirstLogin401, None),
    ];
    for (fault, error) in cases {
        let (mut server, alice, _) = world(ServerConfig::default());
        server.faults().pairing = Some(fault);
        let mut client = Client::new(1);
        let qr = client.show_qr(&mut server, START, 1);
        server.scan_qr(START, alice, &qr).unwrap();
        client.pump(&mut server);
        let iq = client.take(|node| node.find("pair-success").is_some()).unwrap();
        match client.pair_answer(&iq) {
            Err(found) => assert_eq!(Some(found), error, "{fault:?}"),
            Ok(answer) => {
                assert_eq!(error, None, "{fault:?}");
                client.send(&mut server, START, &answer);
                assert_eq!(
                    client.take_tag("stream:error").is_none(),
                    matches!(fault, PairingFault::No515 | PairingFault::CloseWithout515)
                );
                assert_eq!(client.closed, fault != PairingFault::No515);
                client.connect(&mut server, START, 2);
                let failure = client.take_tag("failure").map(|node| node.text("reason"));
                assert_eq!(failure.as_deref(), (fault == PairingFault::FirstLogin401).then_some("401"));
            }
        }
        assert_eq!(server.violations(), [], "{fault:?}");
    }
}

#[test]
fn refs_run_out() {
    let (mut server, alice, _) = world(ServerConfig::default());
    let mut client = Client::new(1);
    let qr = client.show_qr(&mut server, START, 1);
    assert_eq!(server.next_deadline(), Some(START + 160_000));
    server.tick(START + 160_000);
    client.pump(&mut server);
    assert!(client.closed);
    assert!(server.scan_qr(START, alice, &qr).is_err());
}

#[test]
fn replaced_removed_and_ended() {
    let (mut server, alice, _) = world(ServerConfig::default());
    let mut client = ready(&mut server, alice, 1);
    let mut second = Client::new(1);
    second.jid = client.jid.clone();
    second.connect(&mut server, START, 200);
    assert!(second.take_tag("success").is_some());
    // The first connection's outputs went past while the second read; ask the server itself.
    assert_eq!(server.connections().filter(|(_, device)| device.is_some()).count(), 1);
    client.login(&mut server, START, 300, 0);
    server.unlink(START, alice, 1);
    client.pump(&mut server);
    let error = client.take_tag("stream:error").unwrap();
    assert_eq!(
        (error.text("code"), error.find("conflict").unwrap().text("type")),
        ("401".into(), "device_removed".into())
    );
    client.connect(&mut server, START, 301);
    assert_eq!(client.take_tag("failure").unwrap().text("reason"), "401");

    let mut client = ready(&mut server, alice, 3);
    let remove =
        Node::new("remove-companion-device").attr("jid", client.jid.clone().unwrap()).attr("reason", "user_initiated");
    client.iq(&mut server, START, "set", "md", remove);
    assert!(client.closed);
    assert_eq!(server.violations(), []);
}

#[test]
fn forced_failures() {
    let (mut server, alice, _) = world(ServerConfig::default());
    let mut client = ready(&mut server, alice, 1);
    for (n, reason) in [400, 401, 402, 403, 405, 406, 409, 415, 418, 500, 503].into_iter().enumerate() {
        server.faults().login_failure = Some((reason, vec![("expire".into(), "60".into())]));
        client.connect(&mut server, START, 500 + n as u64);
        let failure = client.take_tag("failure").unwrap();
        assert_eq!((failure.text("reason"), failure.text("expire")), (reason.to_string(), "60".into()));
        assert!(client.closed);
    }
    for (n, code) in [429, 500, 503, 515, 516].into_iter().enumerate() {
        client.login(&mut server, START, 600 + n as u64, 0);
        server.force_stream_error(START, client.conn, Some(code), None);
        client.pump(&mut server);
        assert_eq!(client.take_tag("stream:error").unwrap().text("code"), code.to_string());
    }
    client.login(&mut server, START, 700, 0);
    server.silence(client.conn);
    let ping = Node::new("iq").attr("id", "p").attr("to", Jid::server()).attr("type", "get").attr("xmlns", "w:p");
    client.send(&mut server, START, &ping);
    assert!(client.take(|node| node.text("id") == "p").is_none() && !client.closed);
    assert_eq!(server.violations(), []);
}

#[test]
fn damaged_lost_doubled_delayed() {
    let (mut server, alice, bob) = world(ServerConfig::default());
    let mut client = ready(&mut server, alice, 1);
    server.faults().on_delivery(1, DeliveryFault::Damage);
    server.faults().on_delivery(2, DeliveryFault::Lose);
    server.faults().on_delivery(3, DeliveryFault::Duplicate);
    server.faults().on_delivery(4, DeliveryFault::Delay);
    let ids: Vec<String> =
        (0..5).map(|n| server.phone_send_text(START, bob, &Jid::pn(ALICE.0), &n.to_string())).collect();
    client.pump(&mut server);
    let got: Vec<Node> = client.inbox.iter().filter(|node| node.tag == "message").cloned().collect();
    let order: Vec<usize> = got.iter().map(|m| ids.iter().position(|id| *id == m.text("id")).unwrap()).collect();
    assert_eq!(order, [0, 2, 2, 4, 3]);
    let from = (BOB.1.to_owned(), 0);
    let enc = got[0].find("enc").unwrap();
    let mut decrypt =
        |node: &Node| client.endpoint.decrypt(&from, EncType::PkMsg, node.find("enc").unwrap().data(), &mut client.rng);
    assert_eq!(enc.text("type"), "pkmsg");
    assert_eq!(decrypt(&got[0]), Err(SignalError::BadMac));
    assert!(decrypt(&got[1]).is_ok());
    assert_eq!(decrypt(&got[2]), Err(SignalError::Duplicate));
    // Everything unanswered comes again, marked as offline, the damaged one intact.
    server.disconnected(START, client.conn);
    client.login(&mut server, START, 400, 0);
    let again: Vec<Node> = client.inbox.iter().filter(|node| node.tag == "message").cloned().collect();
    assert_eq!(again.iter().map(|m| m.text("id")).collect::<Vec<_>>(), ids);
    assert!(again.iter().all(|message| message.has("offline")));
    let mut decrypt =
        |node: &Node| client.endpoint.decrypt(&from, EncType::PkMsg, node.find("enc").unwrap().data(), &mut client.rng);
    assert!(decrypt(&again[0]).is_ok());
    assert!(decrypt(&again[1]).is_ok());
    assert_eq!(server.violations(), []);
}

#[test]
fn backlog_in_batches() {
    let (mut server, alice, bob) = world(ServerConfig::default());
    let mut client = ready(&mut server, alice, 1);
    server.disconnected(START, client.conn);
    for n in 0..12 {
        server.phone_send_text(START, bob, &Jid::pn(ALICE.0), &n.to_string());
    }
    client.connect(&mut server, START, 500);
    assert_eq!(client.inbox.iter().filter(|node| node.tag == "message").count(), 0);
    client.iq(&mut server, START, "set", "passive", Node::new("active"));
    let preview = client.take(|node| node.find("offline_preview").is_some()).unwrap();
    assert_eq!(preview.find("offline_preview").unwrap().text("message"), "12");
    let count = |client: &Client| client.inbox.iter().filter(|node| node.tag == "message").count();
    assert_eq!(count(&client), 5, "the primer");
    client.send(&mut server, START, &Node::new("ib").child(Node::new("offline_batch").attr("count", 4)));
    assert_eq!(count(&client), 9);
    assert!(client.take(|node| node.find("offline").is_some()).is_none());
    client.send(&mut server, START, &Node::new("ib").child(Node::new("offline_batch").attr("count", 4)));
    assert_eq!(count(&client), 12);
    assert!(client.take(|node| node.find("offline").is_some()).is_some());
    server.phone_send_text(START, bob, &Jid::pn(ALICE.0), "live");
    client.pump(&mut server);
    assert!(!client.inbox.last().unwrap().has("offline"));
}

#[test]
fn ack_faults() {
    let (mut server, alice, bob) = world(ServerConfig::default());
    let mut client = ready(&mut server, alice, 1);
    let faults = [
        (AckFault::Drop, None),
        (AckFault::Error(463), Some(("error", "463"))),
        (AckFault::LoseMessage, None),
        (AckFault::RefreshLid, Some(("refresh_lid", "true"))),
        (AckFault::WrongPhash, Some(("phash", "2:AAAAAAAA"))),
    ];
    for (n, (fault, expected)) in faults.into_iter().enumerate() {
        server.faults().on_message(1, fault);
        let id = format!("3EB0F{n}");
        let stanza = client.text_stanza(&mut server, START, BOB, &id, &id);
        client.send(&mut server, START, &stanza);
        let ack = client.take_tag("ack");
        match expected {
            None => assert!(ack.is_none(), "{fault:?}"),
            Some((key, value)) => assert_eq!(ack.unwrap().text(key), value),
        }
    }
    assert_eq!(server.phone(bob).texts(), ["3EB0F0", "3EB0F3", "3EB0F4"]);
    assert_eq!(server.violations(), []);
}

#[test]
fn retry_both_ways() {
    let (mut server, alice, bob) = world(ServerConfig::default());
    let mut client = ready(&mut server, alice, 1);
    let stanza = client.text_stanza(&mut server, START, BOB, "3EB0A1", "first");
    client.send(&mut server, START, &stanza);
    // The phone pretends not to understand; the client sends again, to it alone.
    server.account_mut(bob).unwrap().phone.refuse_next(1);
    let stanza = client.text_stanza(&mut server, START, BOB, "3EB0A2", "second");
    client.send(&mut server, START, &stanza);
    let retry = client.take(|node| node.text("type") == "retry").unwrap();
    assert_eq!(retry.find("retry").unwrap().text("count"), "1");
    let ack = Node::new("ack")
        .attr("class", "receipt")
        .attr("id", retry.text("id"))
        .attr("to", retry.jid("from").unwrap())
        .attr("type", "retry");
    client.send(&mut server, START, &ack);
    let addr = (BOB.1.to_owned(), 0);
    client.fetch(&mut server, START, &Jid::pn(BOB.0), &addr);
    let enc = client.enc(&addr, &amarula_sim::proto::text_message("second"));
    let resend = Node::new("message")
        .attr("to", Jid::pn(BOB.0))
        .attr("id", "3EB0A2")
        .attr("type", "text")
        .attr("device_fanout", "false")
        .child(enc.attr("count", 1))
        .child(client.identity_node());
    client.send(&mut server, START, &resend);
    assert_eq!(server.phone(bob).texts(), ["first", "second"]);
    assert_eq!(server.violations(), []);
    // Unasked, it is an objection.
    client.send(&mut server, START, &resend);
    assert!(server.take_violations().iter().any(|violation| violation.rule == Rule::Resend));

    // The other way round: the client asks, the phone sends again.
    server.faults().on_delivery(1, DeliveryFault::Damage);
    let id = server.phone_send_text(START, bob, &Jid::pn(ALICE.0), "third");
    client.pump(&mut server);
    let message = client.take_tag("message").unwrap();
    let registration = client.endpoint.registration_id().to_be_bytes();
    let receipt = Node::new("receipt")
        .attr("to", message.jid("from").unwrap())
        .attr("type", "retry")
        .attr("id", id.as_str())
        .child(
            Node::new("retry")
                .attr("v", "1")
                .attr("id", id.as_str())
                .attr("t", message.text("t"))
                .attr("count", 1)
                .attr("error", 7),
        )
        .child(Node::new("registration").bytes(registration.to_vec()));
    client.send(&mut server, START, &receipt);
    let ack = Node::new("ack")
        .attr("class", "message")
        .attr("id", id.as_str())
        .attr("to", message.jid("from").unwrap())
        .attr("from", client.jid.clone().unwrap());
    client.send(&mut server, START, &ack);
    let again = client.take_tag("message").unwrap();
    assert_eq!((again.text("id"), again.find("enc").unwrap().text("count")), (id, "1".to_owned()));
    assert!(client.endpoint.decrypt(&addr, EncType::PkMsg, again.find("enc").unwrap().data(), &mut client.rng).is_ok());
    client.send(&mut server, START, &Client::receipt_of(&again));
    assert_eq!(server.violations(), []);
}
