//! The captured sessions of `testvectors/sessions/`: every change must replay them, byte for byte.

#[path = "support/captures.rs"]
mod captures;

use std::fs;
use std::path::PathBuf;

use amarula_core::engine::recording::{Entry, Reader, ReplayError, replay};

const LARGEST: usize = 200_000;

fn committed() -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<_> = fs::read_dir(captures::folder())
        .expect("testvectors/sessions")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "session"))
        .collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a session"))).collect()
}

#[test]
fn every_capture_replays() {
    let committed = committed();
    assert!(committed.len() >= 7, "sessions are missing");
    for (path, recording) in committed {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(recording.len() < LARGEST, "{name} has {} bytes", recording.len());
        match replay(Reader::of(&recording)) {
            Ok(summary) => {
                assert_eq!(summary.torn, None, "{name}");
                assert!(summary.inputs > 10 && summary.outputs > summary.inputs, "{name}: {summary:?}");
                println!("{name}: {summary:?}");
            }
            Err(ReplayError::Differs(difference)) => panic!(
                "{name}: the engine does something else than when this was captured. If it is meant to, run\n  \
                 AMARULA_REGENERATE=1 cargo run --release -p amarula-sim --example capture\nand say in the commit what \
                 changed.\n{difference}"
            ),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

/// Engine, server, phones and time: all of it does the same again.
#[test]
fn captured_again_they_are_equal() {
    for capture in captures::all() {
        let path = captures::folder().join(format!("{}.session", capture.name));
        let committed = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // The place, rather than a hundred thousand bytes.
        let differs = committed.iter().zip(&capture.recording).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{} differs from that byte on", capture.name);
        assert_eq!(committed.len(), capture.recording.len(), "{}: another length", capture.name);
    }
}

/// A byte that changed on the disk is found, and its entry named.
#[test]
fn a_changed_byte_is_located() {
    for (path, recording) in committed() {
        let mut reader = Reader::of(&recording);
        while reader.next_entry().expect("it is good").is_some() {}
        let ends = reader.entries();
        let start = recording.iter().position(|byte| *byte == b'\n').expect("a first line") + 1;
        for at in (start..recording.len()).step_by(recording.len() / 23) {
            let mut changed = recording.clone();
            changed[at] ^= 0x10;
            let mut reader = Reader::of(&changed);
            let mut whole = 0u64;
            while let Ok(Some(_)) = reader.next_entry() {
                whole += 1;
            }
            assert!(whole < ends, "{}: byte {at} is not missed", path.display());
            match replay(Reader::of(&changed)) {
                Err(ReplayError::Recording(error)) => {
                    assert!(error.to_string().contains(&format!("entry {whole} ")), "{error}, and {whole} are whole");
                }
                // A length that grew beyond the end.
                Ok(summary) => assert!(summary.torn.is_some() && summary.entries == whole),
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }
}

/// A byte that was different when it came in: the replay says which output is another, and after which input.
#[test]
fn a_changed_input_is_located() {
    use amarula_core::engine::Input;
    use amarula_core::engine::recording::Replay;
    for (path, recording) in committed() {
        let mut reader = Reader::of(&recording);
        let Ok(Some(Entry::Start(start))) = reader.next_entry() else { panic!("no start") };
        let mut replay = Replay::new(*start);
        let (mut number, mut changed, mut found) = (0, None, None);
        while let Some(mut entry) = reader.next_entry().expect("it is good") {
            number += 1;
            if let Entry::Input { input: Input::Received { bytes, .. }, .. } = &mut entry
                && changed.is_none()
            {
                // The handshake's answer, in the middle of its ciphertexts.
                let mut other = bytes.to_vec();
                let middle = other.len() / 2;
                other[middle] ^= 1;
                *bytes = other.into();
                changed = Some(number);
            }
            if let Err(difference) = replay.step(entry) {
                found = Some(difference);
                break;
            }
        }
        let found = found.unwrap_or_else(|| panic!("{}: nobody noticed", path.display()));
        assert_eq!(Some(found.cause_entry), changed, "{}: {found}", path.display());
        assert!(found.to_string().contains("input Received"), "{found}");
    }
}
