//! Targets of the whole engine: hostile servers, any order of everything, any stored bytes, recordings.

use std::time::Duration;

use amarula_core::Address;
use amarula_core::content::Outgoing;
use amarula_core::engine::command::{
    ChatState, Confirm, Connect, Disconnect, Logout, MarkRead, Presence, Request, RequestPairingCode, SendChatState,
    SendMessage, SetPresence, Shutdown, SubscribePresence,
};
use amarula_core::engine::recording::{MAGIC, Reader, VERSION, replay};
use amarula_core::engine::{Input, TicketId};
use amarula_core::error::EndReason;
use amarula_core::event::DeliveryId;
use amarula_core::store::{Namespace, RecordKey, recode};
use bytes::Bytes;

use crate::choices::Choices;
use crate::driver::{Driver, logged_in, paired};
use crate::engine_support::Store;
use crate::tree;

/// Steps of one run.
const STEPS: usize = 60;

/// A server that is linked to a logged-in engine and says anything; with a good store. By the first bytes, the same is
/// done twice, with the frames cut in two the second time: nothing may be different.
pub fn server(data: &[u8]) {
    let mut choices = Choices::new(data);
    let twice = choices.byte() & 7 == 7;
    let cut = choices.number() as usize;
    let first = conversation(choices.clone(), None);
    if twice {
        let second = conversation(choices, Some(cut));
        assert_eq!(first.log, second.log, "cutting frames at {cut} made a difference");
        assert_eq!(first.records, second.records, "cutting frames at {cut} made a difference");
    }
}

fn conversation(mut choices: Choices<'_>, cut: Option<usize>) -> Driver {
    let unpaired = choices.byte() & 7 == 7;
    let mut driver = match unpaired {
        true => Driver::new(Store::new(), 2),
        false => logged_in(),
    };
    driver.log = Some(Vec::new());
    if unpaired {
        driver.log_in();
    }
    for _ in 0..STEPS {
        if choices.is_empty() {
            break;
        }
        match choices.below(16) {
            0 => {
                let flag = choices.below(4) as u8;
                let plain = [&[flag], choices.short()].concat();
                driver.bring(&plain, cut);
            }
            1 => driver.raw(choices.short()),
            2 => {
                driver.answer();
            }
            3 => {
                driver.submit(send(&mut choices));
            }
            4 => driver.wait(Duration::from_millis(u64::from(choices.number()))),
            5 => {
                driver.sleep();
            }
            6 => {
                driver.advance();
            }
            _ => {
                let node = driver.stanza_of(&mut choices);
                driver.bring_node(&node, cut);
            }
        }
        driver.serve();
        // A connection that was dropped comes again.
        if !driver.is_linked() && choices.flag() {
            driver.sleep();
            for _ in 0..3 {
                driver.serve();
                driver.advance();
            }
            driver.serve();
        }
    }
    driver.finish();
    driver
}

fn address(choices: &mut Choices<'_>) -> Address {
    match choices.below(3) {
        0 => crate::peer::lid(choices.below(3) as u8).into(),
        1 => crate::peer::pn(choices.below(3) as u8).into(),
        _ => tree::jid(choices).into(),
    }
}

fn send(choices: &mut Choices<'_>) -> Request {
    let content = match choices.below(4) {
        0 => Outgoing::Raw(Bytes::copy_from_slice(choices.short())),
        1 => Outgoing::text(choices.text()),
        _ => Outgoing::text("text"),
    };
    let to = address(choices);
    let id = (choices.below(8) == 7).then(|| choices.text().into());
    let reference = (choices.below(4) == 3).then(|| ["a", "b", "c"][choices.below(3)].into());
    Request::SendMessage(SendMessage { to, content, id, reference })
}

fn command(choices: &mut Choices<'_>, driver: &Driver) -> Request {
    match choices.below(16) {
        0 | 1 => Request::Connect(Connect),
        2 => Request::Disconnect(Disconnect),
        3 if choices.below(4) == 0 => Request::Shutdown(Shutdown),
        4 if choices.below(4) == 0 => Request::Logout(Logout),
        5 => {
            let custom_code = choices.flag().then(|| choices.text().into());
            let phone = if choices.flag() { "15550000001".into() } else { choices.text().into() };
            Request::RequestPairingCode(RequestPairingCode { phone, custom_code })
        }
        6 => {
            let ids = (0..choices.below(4)).map(|_| choices.text().into()).collect();
            let sender = choices.flag().then(|| address(choices));
            Request::MarkRead(MarkRead { chat: address(choices), sender, ids })
        }
        7 => {
            let presence = if choices.flag() { Presence::Available } else { Presence::Unavailable };
            Request::SetPresence(SetPresence { presence })
        }
        8 => {
            let state = *choices.pick(&[ChatState::Composing, ChatState::Recording, ChatState::Paused]);
            Request::SendChatState(SendChatState { to: address(choices), state })
        }
        9 => Request::SubscribePresence(SubscribePresence { to: address(choices) }),
        10 | 11 => {
            let deliveries: Vec<_> = driver.events.iter().filter_map(|delivery| delivery.id).collect();
            let delivery = match deliveries.is_empty() {
                true => DeliveryId(u64::from(choices.number())),
                false => *choices.pick(&deliveries),
            };
            Request::Confirm(Confirm { delivery })
        }
        _ => send(choices),
    }
}

/// Any order of everything: commands, storage that answers late and wrongly, connections, time, stanzas.
pub fn ops(data: &[u8]) {
    let mut choices = Choices::new(data);
    let start = choices.byte();
    let mut driver = match start & 3 {
        1 | 3 => Driver::new(Store::new(), 3),
        2 => logged_in(),
        _ => Driver::new(paired().clone(), 3),
    };
    if start & 3 == 3 {
        driver.log_in();
    }
    for _ in 0..STEPS * 4 {
        if choices.is_empty() {
            break;
        }
        let op = choices.byte();
        match op % 16 {
            0..=2 => {
                let command = command(&mut choices, &driver);
                driver.submit(command);
            }
            3..=6 => {
                driver.storage(&mut choices);
            }
            7 => {
                driver.advance();
            }
            8 => {
                if choices.below(4) == 0 {
                    driver.breaks(&mut choices);
                } else {
                    driver.answer();
                }
            }
            9 => {
                driver.sleep();
            }
            10 => driver.wait(Duration::from_millis(u64::from(choices.number()))),
            11 | 12 => {
                let node = driver.stanza_of(&mut choices);
                driver.bring_node(&node, None);
            }
            13 => match choices.below(8) {
                0 => driver.raw(choices.short()),
                1 => driver.input(Input::NetworkChanged),
                2 => driver.input(Input::Tick),
                _ => {
                    driver.serve();
                    driver.advance();
                    driver.serve();
                }
            },
            14 => {
                let ticket = TicketId(1 + choices.below(16) as u64);
                driver.engine.cancel(driver.now, ticket);
            }
            _ => driver.serve(),
        }
        // Outputs need not be taken after every call.
        if op & 128 == 0 {
            driver.drain();
        }
    }
    driver.finish();
}

/// Keys that a session meets at once, by namespace.
const KEYS: &[&str] = &[
    "account",
    "link",
    "1",
    "2",
    "9",
    "236395184570000@lid",
    "15550001000@s.whatsapp.net",
    "236395184570386@lid",
    "15550000001@s.whatsapp.net",
    "236395184570000",
    "15550001000",
    "0000000000000001",
    "a",
    "3EB0A1|236395184570000@lid",
    "120363021033254949@g.us|236395184570000@lid",
];

/// Any bytes as any record: what decodes encodes to what decodes equal; a session that meets them goes on, and never
/// writes over an account that it cannot read.
pub fn records(data: &[u8]) {
    let mut choices = Choices::new(data);
    let namespace = *choices.pick(Namespace::ALL);
    let session = choices.flag();
    let key = match choices.below(KEYS.len() + 1) {
        at if at < KEYS.len() => KEYS[at].to_owned(),
        _ => choices.text(),
    };
    let key = RecordKey { namespace, key: key.into() };
    let value = Bytes::copy_from_slice(choices.rest());
    let recoded = recode(&key, &value);
    if let Some(once) = &recoded {
        let twice = recode(&key, once);
        assert_eq!(twice.as_ref(), Some(once), "{key:?} does not stay what it is");
    }
    if !session {
        return;
    }
    let mut records = paired().clone();
    records.insert(key.clone(), value.clone());
    let mut driver = Driver::new(records, 4);
    driver.log_in();
    let corrupt = namespace == Namespace::Account && key.key == "account" && recoded.is_none();
    if corrupt {
        assert!(!driver.wrote_account && !driver.cleared, "a corrupt account is written over");
        assert!(driver.ended_for(|reason| *reason == EndReason::CorruptAccount), "{:?}", driver.events);
        assert_eq!(driver.records[&key], value);
    } else {
        // A message each way.
        for peer in [0, 2] {
            let script = [0, peer, 0, 0, 2, b'h', b'i'];
            let node = driver.stanza_of(&mut Choices::new(&script));
            driver.bring_node(&node, None);
            driver.serve();
        }
        driver.submit(hello());
        driver.serve();
        while driver.answer() {
            driver.serve();
        }
    }
    driver.finish();
}

/// A recording of any bytes, whole and in pieces; and one whose entries are these bytes, with every check right.
pub fn recording(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (kind, cut) = (choices.byte(), choices.number() as usize);
    let bytes = match kind & 1 {
        0 => choices.rest().to_vec(),
        _ => checked(choices),
    };
    let all = |mut reader: Reader| {
        let mut entries = Vec::new();
        let end = loop {
            match reader.next_entry() {
                Ok(Some(entry)) => {
                    let _ = entry.describe();
                    entries.push(entry);
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        (entries, end, reader.torn())
    };
    let whole = all(Reader::of(&bytes));
    let mut pieces = Reader::new();
    let cut = cut % (bytes.len() + 1);
    pieces.push(&bytes[..cut]);
    while let Ok(Some(_)) = pieces.next_entry() {}
    pieces.push(&bytes[cut..]);
    while let Ok(Some(_)) = pieces.next_entry() {}
    assert_eq!(
        pieces.entries() as usize,
        whole.0.len()
            + usize::from(matches!(&whole.1, Some(amarula_core::engine::recording::ReadError::Malformed { .. })))
    );
    assert_eq!(pieces.next_entry().err(), whole.1);
    if let Ok(summary) = replay(Reader::of(&bytes)) {
        assert_eq!(summary.entries as usize, whole.0.len());
    }
}

/// Entries with the right framing and check: a length of two bytes each, and the body.
pub(crate) fn checked(mut choices: Choices<'_>) -> Vec<u8> {
    let mut out = format!("{MAGIC}{VERSION}\n").into_bytes();
    let mut check = 0xcbf2_9ce4_8422_2325u64;
    while !choices.is_empty() {
        let length = choices.number() as usize;
        let body = choices.take(length);
        prost::encoding::encode_varint(body.len() as u64, &mut out);
        out.extend_from_slice(body);
        for byte in body {
            check = (check ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let [a, b, c, d, e, f, g, h] = check.to_le_bytes();
        out.extend_from_slice(&[a ^ e, b ^ f, c ^ g, d ^ h]);
    }
    out
}

/// The entries of a recording, as [`recording`] takes them.
pub(crate) fn unchecked(recording: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = recording.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut rest = &recording[start..];
    while let Ok(length) = prost::encoding::decode_varint(&mut rest) {
        let length = length as usize;
        out.extend_from_slice(&[(length >> 8) as u8, length as u8]);
        out.extend_from_slice(&rest[..length]);
        rest = &rest[length + 4..];
    }
    out
}

/// A short recording.
pub(crate) fn recorded() -> Vec<u8> {
    use amarula_core::engine::Command as _;
    let mut rig = crate::engine_support::Rig::new(paired().clone(), 2, true);
    let link = rig.connect();
    rig.submit(Disconnect.into_request());
    rig.run();
    rig.handle(Input::Closed { conn: link.conn, code: None });
    rig.run();
    rig.recorder.take().expect("recorded").pending().to_vec()
}

/// A durable send to the first peer.
pub(crate) fn hello() -> Request {
    Request::SendMessage(SendMessage {
        to: crate::peer::lid(0).into(),
        content: Outgoing::text("hello"),
        id: None,
        reference: Some("a".into()),
    })
}
