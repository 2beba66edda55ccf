//! Rule 5 of the engine's contract: the boundaries of the byte stream mean nothing. Frames, events and completions are the
//! same, in the same order, and so is what is stored in the end, and even how writes are grouped into commits: see
//! `docs/decisions/0001-commits-follow-stanzas.md`.

#[path = "support/tapes.rs"]
mod tapes;

use amarula_core::engine::{Engine, Input, Now, Output};
use amarula_sim::explorer::Taped;
use bytes::Bytes;
use tapes::{Instant, Tape};

/// One input, or several pieces of the byte stream between which the store answers nothing.
enum Group {
    Step(Taped),
    Bytes(Now, amarula_core::engine::ConnId, Vec<Bytes>),
}

/// The tape without the store's answers; up to `merge` messages that came one after the other at one time are a group.
fn groups(tape: &Tape, merge: usize) -> Vec<Group> {
    let mut out: Vec<Group> = Vec::new();
    for step in &tape.steps {
        match step {
            Taped::Input(_, Input::Loaded { .. } | Input::Committed { .. }) => {}
            Taped::Input(now, Input::Received { conn, bytes }) => match out.last_mut() {
                Some(Group::Bytes(at, of, all)) if at == now && of == conn && all.len() < merge => {
                    all.push(bytes.clone());
                }
                _ => out.push(Group::Bytes(*now, *conn, vec![bytes.clone()])),
            },
            step => out.push(Group::Step(step.clone())),
        }
    }
    out
}

struct Life {
    outputs: Vec<Output>,
    commits: Vec<Output>,
    refused: usize,
    records: std::collections::BTreeMap<amarula_core::store::RecordKey, Bytes>,
}

/// Lives a tape, with the bytes of each group cut as `cut` says. Bytes that come earlier than they did when the tape was
/// recorded may lead elsewhere, where later inputs make no sense any more: then they are refused, in every life alike.
fn live(tape: &Tape, merge: usize, cut: impl Fn(&[Bytes]) -> Vec<Bytes>) -> Life {
    let mut engine = tape.engine();
    let mut store = Instant::new(tape.records.clone());
    let (mut outputs, mut refused) = (Vec::new(), 0);
    for group in groups(tape, merge) {
        let now = match group {
            Group::Step(Taped::Input(now, input)) => {
                refused += usize::from(engine.handle(now, input).is_err());
                now
            }
            Group::Step(Taped::Request(now, request)) => {
                refused += usize::from(engine.submit_request(now, request).is_err());
                now
            }
            Group::Bytes(now, conn, messages) => {
                let mut known = true;
                for bytes in cut(&messages) {
                    known &= engine.handle(now, Input::Received { conn, bytes }).is_ok();
                    outputs.extend(store.drain(&mut engine));
                }
                refused += usize::from(!known);
                now
            }
        };
        outputs.extend(store.serve(&mut engine, now));
    }
    assert!(merge > 1 || refused == 0, "{}: {refused} recorded inputs refused", tape.name);
    Life { outputs, commits: store.commits, records: store.records, refused }
}

fn same(tape: &Tape, what: &str, expected: &Life, found: &Life) {
    let differs = expected.outputs.iter().zip(&found.outputs).position(|(a, b)| a != b);
    if let Some(at) = differs {
        let brief = |outputs: &[Output]| {
            let brief = outputs.iter().skip(at.saturating_sub(3)).take(9);
            brief.map(|output| format!("{output:?}").chars().take(90).collect::<String>()).collect::<Vec<_>>()
        };
        println!("expected {:#?}\nfound {:#?}", brief(&expected.outputs), brief(&found.outputs));
        panic!(
            "{}, {what}: output {at} is\n{:?}\ninstead of\n{:?}",
            tape.name, found.outputs[at], expected.outputs[at]
        );
    }
    assert_eq!(expected.outputs.len(), found.outputs.len(), "{}, {what}: number of outputs", tape.name);
    assert_eq!(expected.commits.len(), found.commits.len(), "{}, {what}: number of commits", tape.name);
    assert!(expected.commits == found.commits, "{}, {what}: other commits", tape.name);
    assert_eq!(expected.refused, found.refused, "{}, {what}: inputs refused", tape.name);
    assert!(expected.records == found.records, "{}, {what}: another store", tape.name);
}

fn whole(messages: &[Bytes]) -> Vec<Bytes> {
    messages.to_vec()
}

fn joined(messages: &[Bytes]) -> Vec<Bytes> {
    vec![messages.concat().into()]
}

fn every(size: usize) -> impl Fn(&[Bytes]) -> Vec<Bytes> {
    move |messages| messages.concat().chunks(size).map(Bytes::copy_from_slice).collect()
}

/// Each message in two, at this byte.
fn at(byte: usize) -> impl Fn(&[Bytes]) -> Vec<Bytes> {
    move |messages| {
        let halves = messages.iter().flat_map(|message| {
            let middle = byte.min(message.len());
            [message.slice(..middle), message.slice(middle..)]
        });
        halves.filter(|half| !half.is_empty()).collect()
    }
}

/// A tape of the messages is lived again as it was recorded.
#[test]
fn the_recording_is_faithful() {
    for tape in tapes::all() {
        let life = live(&tape, 1, whole);
        let frames = life.outputs.iter().filter(|output| matches!(output, Output::Send(..))).count();
        assert!(frames > 5, "{}: {frames} frames", tape.name);
        println!("{}: {} steps, {} outputs, {frames} frames", tape.name, tape.steps.len(), life.outputs.len());
    }
}

#[test]
fn messages_in_pieces() {
    for tape in tapes::all() {
        let expected = live(&tape, 1, whole);
        same(&tape, "byte by byte", &expected, &live(&tape, 1, every(1)));
        for byte in [1, 2, 3, 4, 5, 17, 64] {
            same(&tape, &format!("each cut at {byte}"), &expected, &live(&tape, 1, at(byte)));
        }
    }
}

/// Every message in two at every byte: from every state of every tape, with the very same state after it.
#[test]
fn every_message_at_every_byte() {
    for tape in tapes::all() {
        let mut engine = tape.engine();
        let mut store = Instant::new(tape.records.clone());
        let mut cuts = 0;
        for group in groups(&tape, 1) {
            let now = match group {
                Group::Step(Taped::Input(now, input)) => {
                    engine.handle(now, input).expect("a recorded input");
                    now
                }
                Group::Step(Taped::Request(now, request)) => {
                    engine.submit_request(now, request).expect("a recorded command");
                    now
                }
                Group::Bytes(now, conn, messages) => {
                    let before = engine.clone();
                    let message = messages[0].clone();
                    engine.handle(now, Input::Received { conn, bytes: message.clone() }).expect("bytes");
                    let after = (all(&mut engine.clone()), engine.state_digest());
                    // Long messages are many bytes of one ciphertext; their ends are what matters.
                    let dense = |byte: &usize| *byte < 150 || byte + 40 > message.len() || byte.is_multiple_of(16);
                    for byte in (1..message.len()).filter(dense) {
                        let mut fork = before.clone();
                        for bytes in [message.slice(..byte), message.slice(byte..)] {
                            fork.handle(now, Input::Received { conn, bytes }).expect("bytes");
                        }
                        cuts += 1;
                        let digest = fork.state_digest();
                        let outputs = all(&mut fork);
                        assert_eq!(outputs, after.0, "{}: a message of {}, cut at {byte}", tape.name, message.len());
                        assert_eq!(digest, after.1, "{}: a message of {}, cut at {byte}", tape.name, message.len());
                    }
                    now
                }
            };
            store.serve(&mut engine, now);
        }
        println!("{}: {cuts} cuts", tape.name);
    }
}

fn all(engine: &mut Engine) -> Vec<Output> {
    let mut out = Vec::new();
    loop {
        match engine.poll_output() {
            idle @ Output::Idle { .. } => {
                out.push(idle);
                return out;
            }
            output => out.push(output),
        }
    }
}

#[test]
fn several_messages_in_one_input() {
    for tape in tapes::all() {
        for merge in [2, 3, 5, 64] {
            let expected = live(&tape, merge, whole);
            same(&tape, &format!("{merge} in one"), &expected, &live(&tape, merge, joined));
            same(&tape, &format!("{merge} in pieces of 7"), &expected, &live(&tape, merge, every(7)));
            same(&tape, &format!("{merge} in pieces of 100"), &expected, &live(&tape, merge, every(100)));
        }
    }
}
