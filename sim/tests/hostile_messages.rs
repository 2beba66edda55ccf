//! Messages that somebody should not have sent: forged wrappers, self-only content, foreign sender keys, bad padding,
//! unknown encryption. Each is answered, none is believed, and the conversation goes on.

mod town;

use amarula_core::event::{Event, Warning};
use amarula_core::proto::wa;
use amarula_core::store::Namespace;
use amarula_core::wire::{Jid, Node};
use amarula_sim::proto::text_message;
use amarula_sim::signal::pad;
use prost::Message as _;
use town::{Person, Town, texts, undecryptable};

/// Lets Bob's phone send exactly these padded bytes to Alice's companion.
fn phone_sends(town: &mut Town, id: &str, padded: &[u8]) {
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let now = town.world.now();
    let enc = town.world.server.phone_encrypts(now, bob.account, alice.key(), padded).expect("a session");
    deliver(town, &bob.pn, id, vec![enc]);
}

fn deliver(town: &mut Town, from: &Jid, id: &str, children: Vec<Node>) {
    let now = town.world.now();
    let stanza = Node::new("message")
        .attr("from", from)
        .attr("id", id)
        .attr("t", now.secs())
        .attr("type", "text")
        .children(children);
    let key = town.alice.key();
    town.world.server.inject(now, key, stanza);
    town.run(1_000);
}

#[track_caller]
fn assert_answered(town: &Town) {
    assert_eq!(town.world.server.outstanding(town.alice.account, town.alice.device), 0, "not answered");
}

fn forged(town: &Town) -> usize {
    let events = town.world.events(town.alice.client).iter();
    let bob = &town.bob;
    events
        .filter(|delivery| match &delivery.event {
            Event::Warning(Warning::Forged { from, .. }) => {
                assert!(from.bare() == bob.pn.clone().into());
                true
            }
            _ => false,
        })
        .count()
}

/// What the server saw of us last, among the answers to messages.
fn last_answer(town: &Town, by: &Person) -> Node {
    let trace = town.world.server.trace().iter().rev();
    let is_answer =
        |node: &Node| node.tag == "receipt" || (node.tag == "ack" && node.get("class").as_deref() == Some("message"));
    let conn = town.world.server.connections().find(|(_, device)| *device == Some(by.key())).expect("connected").0;
    let mut all = trace.filter(|traced| traced.from_client && traced.conn == conn && is_answer(&traced.node));
    all.next().expect("an answer").node.clone()
}

fn secret_wrapper(text: &str) -> wa::Message {
    let inner = wa::Message { conversation: Some(text.to_owned()), ..wa::Message::default() };
    wa::Message {
        device_sent_message: Some(Box::new(wa::message::DeviceSentMessage {
            destination_jid: Some("15550000001@s.whatsapp.net".to_owned()),
            message: Some(Box::new(inner)),
            phash: None,
        })),
        ..wa::Message::default()
    }
}

#[test]
fn nobody_writes_in_our_name() {
    let mut town = Town::new();
    town.assert_alive();
    let alice = town.alice.clone();
    let before = texts(&town.world, alice.client);
    phone_sends(&mut town, "F1", &pad(&secret_wrapper("I owe you 1000").encode_to_vec(), 3));
    assert_eq!(texts(&town.world, alice.client), before);
    assert_eq!(forged(&town), 1);
    assert_answered(&town);
    town.assert_alive();
    town.world.assert_clean();
}

/// Every kind of content that only our own devices may send, by its type alone, by its field alone, and by both.
#[test]
fn self_only_content_of_others() {
    use wa::message::protocol_message::Type;
    let protocol = |change: &dyn Fn(&mut wa::message::ProtocolMessage)| {
        let mut protocol = wa::message::ProtocolMessage::default();
        change(&mut protocol);
        wa::Message { protocol_message: Some(Box::new(protocol)), ..wa::Message::default() }
    };
    let types = [
        Type::HistorySyncNotification,
        Type::AppStateSyncKeyShare,
        Type::AppStateSyncKeyRequest,
        Type::AppStateFatalExceptionNotification,
        Type::InitialSecurityNotificationSettingSync,
        Type::PeerDataOperationRequestMessage,
        Type::PeerDataOperationRequestResponseMessage,
        Type::LidMigrationMappingSync,
    ];
    let mut messages: Vec<_> = types.iter().map(|kind| protocol(&|p| p.r#type = Some(*kind as i32))).collect();
    messages.push(protocol(&|p| p.history_sync_notification = Some(Default::default())));
    messages.push(protocol(&|p| p.app_state_sync_key_share = Some(Default::default())));
    messages.push(protocol(&|p| p.app_state_sync_key_request = Some(Default::default())));
    messages.push(protocol(&|p| p.lid_migration_mapping_sync_message = Some(Default::default())));
    messages.push(protocol(&|p| {
        p.r#type = Some(Type::Revoke as i32);
        p.app_state_sync_key_share = Some(Default::default());
    }));
    // Inside the wrappers that classification looks through.
    let wrapped = |inner: wa::Message| {
        let future = wa::message::FutureProofMessage { message: Some(Box::new(inner)) };
        wa::Message { ephemeral_message: Some(Box::new(future)), ..wa::Message::default() }
    };
    messages.push(wrapped(protocol(&|p| p.app_state_sync_key_share = Some(Default::default()))));
    messages.push(wrapped(wrapped(protocol(&|p| p.r#type = Some(Type::LidMigrationMappingSync as i32)))));
    let mut town = Town::new();
    town.assert_alive();
    town.world.take_events(town.alice.client);
    for (n, message) in messages.iter().enumerate() {
        phone_sends(&mut town, &format!("P{n}"), &pad(&message.encode_to_vec(), 7));
        assert_eq!(forged(&town), n + 1, "{message:?}");
        assert_answered(&town);
        assert_eq!(last_answer(&town, &town.alice).tag, "receipt", "a normal receipt, that it may not come again");
    }
    assert_eq!(town::messages(&town.world, town.alice.client), []);
    for namespace in [Namespace::AppStateKey, Namespace::Inbox] {
        let inbox_before = 1;
        let limit = if namespace == Namespace::Inbox { inbox_before } else { 0 };
        assert!(town.world.store(town.alice.client).count(namespace) <= limit, "{namespace:?}");
    }
    town.assert_alive();
    town.world.assert_clean();
}

/// A sender key for a group, sent in a 1:1 chat.
#[test]
fn a_sender_key_for_another_chat() {
    let mut town = Town::new();
    town.assert_alive();
    for group in ["120363000000000001@g.us", "15550000002@s.whatsapp.net", "status@broadcast", "", "nonsense"] {
        let distribution = wa::message::SenderKeyDistributionMessage {
            group_id: Some(group.to_owned()),
            axolotl_sender_key_distribution_message: Some(vec![0x33; 60].into()),
        };
        let message =
            wa::Message { sender_key_distribution_message: Some(Box::new(distribution)), ..wa::Message::default() };
        let before = forged(&town);
        phone_sends(&mut town, &format!("SK{}", group.len()), &pad(&message.encode_to_vec(), 1));
        assert_eq!(forged(&town), before + 1, "{group:?}");
        assert_answered(&town);
    }
    assert_eq!(town.world.store(town.alice.client).count(Namespace::SenderKey), 0);
    town.assert_alive();
    town.world.assert_clean();
}

#[test]
fn padding_and_content_that_are_none() {
    let good = text_message("x");
    let with = |tail: &[u8]| [&good[..], tail].concat();
    let long = [1u8; 40];
    // Wrong padding is asked for again; what is no message is not.
    let cases: [(&str, Vec<u8>, bool); 7] = [
        ("a zero", with(&[0]), true),
        ("not all equal", with(&[3, 4, 3, 4]), true),
        ("longer than the message", vec![200], true),
        ("nothing at all", Vec::new(), true),
        ("no protobuf", pad(&[0xff; 9], 4), false),
        ("a truncated field", pad(&[0x0a, 0x7f, 1], 4), false),
        ("a group tag", pad(&[0x0b, 0x0b, 0x0b, long[0]], 2), false),
    ];
    let mut town = Town::new();
    town.assert_alive();
    for (n, (what, padded, retry)) in cases.into_iter().enumerate() {
        town.world.take_events(town.alice.client);
        phone_sends(&mut town, &format!("PAD{n}"), &padded);
        let failed = undecryptable(&town.world, town.alice.client);
        assert_eq!(failed.len(), 1, "{what}");
        assert_eq!(failed[0].retrying, retry, "{what}: {failed:?}");
        assert_eq!(last_answer(&town, &town.alice).get("error").as_deref(), (!retry).then_some("491"), "{what}");
        assert_answered(&town);
        assert!(texts(&town.world, town.alice.client).is_empty(), "{what}");
    }
    town.assert_alive();
    town.world.assert_clean();
}

#[test]
fn kinds_of_encryption_that_are_none() {
    let enc = |kind: &str, bytes: Vec<u8>| Node::new("enc").attr("v", "2").attr("type", kind).bytes(bytes);
    let bob = Town::new().bob.pn;
    let cases = [
        ("unknown kind", vec![enc("frskmsg", vec![1; 50])]),
        ("bot reply outside a bot chat", vec![enc("msmsg", vec![1; 50])]),
        ("no kind", vec![Node::new("enc").bytes(vec![1; 50])]),
        ("no bytes", vec![Node::new("enc").attr("type", "msg")]),
        ("children for bytes", vec![Node::new("enc").attr("type", "pkmsg").child(Node::new("x"))]),
        ("sender key in a chat", vec![enc("skmsg", vec![0x33; 100])]),
        ("garbage", vec![enc("msg", vec![0x33; 100]), enc("pkmsg", vec![0x33; 100])]),
        ("wrong version", vec![enc("msg", vec![0xff; 100])]),
        ("one byte", vec![enc("msg", vec![0x33])]),
        ("nothing", vec![]),
        ("an empty list", vec![Node::new("participants")]),
        ("unavailable", vec![Node::new("unavailable").attr("type", "view_once")]),
        ("plaintext", vec![Node::new("plaintext").bytes(text_message("believe me"))]),
        ("hundreds", (0..300).map(|n| enc("msg", vec![u8::try_from(n % 256).unwrap(); 90])).collect()),
    ];
    let mut town = Town::new();
    town.assert_alive();
    for (n, (what, children)) in cases.into_iter().enumerate() {
        town.world.take_events(town.alice.client);
        deliver(&mut town, &bob, &format!("K{n}"), children);
        assert_eq!(town::messages(&town.world, town.alice.client), [], "{what}");
        assert!(
            town.world.saw(town.alice.client, |event| matches!(event, Event::Undecryptable(_) | Event::Warning(_))),
            "nobody was told: {what}"
        );
        assert_answered(&town);
    }
    town.assert_alive();
    town.world.assert_clean();
}

/// Senders and chats that make no sense.
#[test]
fn sources_that_make_no_sense() {
    let mut town = Town::new();
    town.assert_alive();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let enc = || Node::new("enc").attr("v", "2").attr("type", "msg").bytes(vec![0x33; 80]);
    let base = |id: &str| Node::new("message").attr("id", id).attr("t", "1795500000").attr("type", "text").child(enc());
    let group = Jid::group("120363000000000001");
    let cases = [
        base("S1").attr("from", &bob.pn).attr("recipient", &alice.pn),
        base("S2").attr("from", &group),
        base("S3").attr("from", &group).attr("participant", &group),
        base("S4").attr("from", &group).attr("participant", &bob.pn),
        base("S5").attr("from", Jid::server()),
        base("S6").attr("from", &bob.pn).attr("sender_lid", "not a jid"),
        base("S7").attr("from", &bob.pn).attr("sender_lid", &alice.lid),
        base("S8").attr("from", &alice.pn),
        base("S9").attr("from", alice.pn.clone().with_device(alice.device)),
        base("S10").attr("from", &alice.pn).attr("recipient", &group),
        base("S11").attr("from", Jid::pn("status")).attr("participant", &bob.pn),
        base("S12").attr("from", &bob.pn).attr("category", "peer"),
        base("S13").attr("from", bob.pn.clone().with_device(255)),
        base(&"i".repeat(5_000)).attr("from", &bob.pn),
        base("S14|15550000002@s.whatsapp.net").attr("from", &bob.pn).attr("notify", "n".repeat(10_000)),
    ];
    for stanza in cases {
        town.world.take_events(alice.client);
        let now = town.world.now();
        town.world.server.inject(now, alice.key(), stanza.clone());
        town.run(1_000);
        assert_eq!(town::messages(&town.world, alice.client), [], "{stanza}");
        assert_eq!(town.world.server.outstanding(alice.account, alice.device), 0, "not answered: {stanza}");
    }
    // The mapping of a stranger's stanza for our own LID must not stick.
    town.assert_alive();
    town.world.assert_clean();
}

/// A companion that is not linked is sent messages.
#[test]
fn a_message_for_an_unlinked_companion() {
    let mut town = Town::new();
    let client = town.world.add_client(town.world.config());
    let _ = town.world.submit(client, amarula_core::engine::command::Connect).unwrap();
    let known: Vec<_> = town.world.server.connections().map(|(conn, _)| conn).collect();
    town.run(5_000);
    let conn = town.world.server.connections().map(|(conn, _)| conn).find(|conn| !known.contains(conn)).unwrap();
    let now = town.world.now();
    let stanza = Node::new("message")
        .attr("from", &town.bob.pn)
        .attr("id", "U1")
        .attr("t", "1")
        .attr("type", "text")
        .child(Node::new("enc").attr("v", "2").attr("type", "pkmsg").bytes(vec![0x33; 200]));
    town.world.server.send_raw(now, conn, &stanza);
    town.run(2_000);
    assert!(town.world.saw(client, |event| matches!(event, Event::Warning(Warning::BadStanza { .. }))));
    assert_eq!(town::messages(&town.world, client), []);
    // It answers as to any stanza it cannot deal with; an honest server would not have asked (the fault's own).
    let violations = town.world.server.take_violations();
    assert!(violations.iter().all(|v| v.detail.contains("acks nothing")), "{violations:#?}");
    // And it can still be linked.
    let account = town.bob.account;
    town.world.scan(client, account).unwrap();
    assert!(town.world.run_until(|world| world.is_open(client), 60_000));
    town.run(5_000);
    town.assert_alive();
    town.world.assert_clean();
}
