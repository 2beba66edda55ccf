//! A session of a linked engine, recorded and replayed: connecting, handshake, messages, crash of the recording.

mod engine_support;
mod wire_support;

use amarula_core::engine::command::{Confirm, Disconnect};
use amarula_core::engine::recording::{Entry, OutputRecord, Reader, Replay, ReplayError, replay};
use amarula_core::engine::{Command as _, ConnId, Input, Output};
use amarula_core::event::{Delivery, Event};
use engine_support::{Peer, Rig, Store, paired_store};

/// The texts of the messages among the outputs.
fn texts(outputs: &[Output]) -> Vec<(Delivery, String)> {
    let messages = outputs.iter().filter_map(|output| match output {
        Output::Event(delivery @ Delivery { event: Event::Message(message), .. }) => {
            Some((delivery.clone(), format!("{:?}", message.content)))
        }
        _ => None,
    });
    messages.collect()
}

/// A recorded session: three messages come, one is confirmed, the host disconnects.
fn session() -> Vec<u8> {
    let store = paired_store();
    let mut peer = Peer::new(&store, 1);
    let mut rig = Rig::new(store, 2, true);
    let mut link = rig.connect();
    for text in ["one", "two", "three"] {
        let bytes = link.frame(&peer.text(text));
        // In two pieces: what the driver reads is what is recorded.
        let (head, tail) = (bytes.slice(..20), bytes.slice(20..));
        assert_eq!(texts(&rig.receive(link.conn, head)), []);
        let outputs = rig.receive(link.conn, tail);
        let told = texts(&outputs);
        assert!(told.len() == 1 && told[0].1.contains(text), "{outputs:?}");
        assert_eq!(link.stanzas(&outputs).len(), 1, "one receipt");
        let delivery = told[0].0.id.unwrap();
        if text == "one" {
            rig.submit(Confirm { delivery }.into_request());
        }
    }
    rig.submit(Disconnect.into_request());
    rig.run();
    rig.recorder.take().unwrap().pending().to_vec()
}

fn entries(recording: &[u8]) -> Vec<Entry> {
    let mut reader = Reader::of(recording);
    std::iter::from_fn(|| reader.next_entry().unwrap()).collect()
}

/// The recording, with one entry changed.
fn changed(recording: &[u8], mut change: impl FnMut(usize, &mut Entry)) -> Result<(), ReplayError> {
    let mut entries = entries(recording).into_iter().enumerate();
    let Some((0, Entry::Start(start))) = entries.next() else { panic!("no start") };
    let mut replay = Replay::new(*start);
    for (i, mut entry) in entries {
        change(i, &mut entry);
        replay.step(entry)?;
    }
    Ok(())
}

#[test]
fn a_session_replays_equal() {
    let recording = session();
    let summary = replay(Reader::of(&recording)).unwrap();
    assert_eq!(summary.commands, 3);
    assert!(summary.inputs > 12 && summary.outputs > 20, "{summary:?}");
    assert_eq!(summary.torn, None);
    assert_eq!(session(), recording, "and is recorded equal");
    // It names what it holds.
    let names: Vec<_> = entries(&recording).iter().map(Entry::describe).collect();
    assert!(names.iter().any(|name| name.starts_with("input Received: 20 bytes")), "{names:#?}");
}

#[test]
fn a_changed_input_is_located() {
    let recording = session();
    let mut place = 0;
    let error = changed(&recording, |i, entry| {
        if let Entry::Input { input: Input::Received { bytes, .. }, .. } = entry
            && bytes.len() != 20
        {
            // The last byte of the first whole frame: the handshake's answer.
            if place == 0 {
                place = i;
                let mut other = bytes.to_vec();
                *other.last_mut().unwrap() ^= 1;
                *bytes = other.into();
            }
        }
    });
    let Err(ReplayError::Differs(difference)) = error else { panic!("{error:?}") };
    assert_eq!((difference.cause_entry, difference.entry), (place as u64, place as u64 + 1), "{difference}");
    assert!(difference.cause.starts_with("input Received"), "{difference}");
}

#[test]
fn a_changed_output_is_located() {
    let recording = session();
    let all = entries(&recording);
    let frames: Vec<usize> = all
        .iter()
        .enumerate()
        .filter(|(_, entry)| matches!(entry, Entry::Output(output) if output.frame().is_some()))
        .map(|(i, _)| i)
        .collect();
    assert_eq!(frames.len(), 5, "hello, finish, three receipts");
    let last = *frames.last().unwrap();
    let recorded = all[last].clone();
    let error = changed(&recording, |i, entry| {
        if i == last {
            let Entry::Output(output) = entry else { return };
            let mut frame = output.frame().unwrap().to_vec();
            frame[30] ^= 0x80;
            *output = OutputRecord::of(&Output::Send(ConnId(1), frame.into()));
        }
    });
    let Err(ReplayError::Differs(difference)) = error else { panic!("{error:?}") };
    assert_eq!(difference.entry, last as u64, "{recorded:?}");
    assert!(difference.what.as_deref().unwrap().starts_with("from byte 30 of"), "{difference}");
}

#[test]
fn a_recording_cut_off_anywhere_replays_up_to_there() {
    let recording = session();
    let whole = entries(&recording).len() as u64;
    for cut in (0..recording.len()).rev().step_by(97) {
        let summary = replay(Reader::of(&recording[..cut])).unwrap();
        assert!(summary.entries < whole);
        assert!(cut == 0 || summary.torn.is_none_or(|torn| torn.offset as usize + torn.bytes == cut), "{summary:?}");
    }
}

/// Storage that answers nothing for a new device: the engine makes an account and registers.
#[test]
fn a_new_device_replays_equal() {
    let mut rig = Rig::new(Store::new(), 3, true);
    rig.connect();
    let recorder = rig.recorder.take().unwrap();
    let summary = replay(Reader::of(recorder.pending())).unwrap();
    assert_eq!(summary.state, rig.engine.state_digest());
}
