//! `replay`.

mod support;

use amarula_core::engine::{Command as _, Engine, Input, Now, Output, command, recording};
use support::{BOB, Program, Stage, bare};

/// A session without anybody at the other end.
fn recorded() -> Vec<u8> {
    let (config, seed, now) = (amarula_core::Config::default(), [7; 32], Now::new(0, 1_764_000_000_000));
    let mut recorder = recording::Recorder::start(&config, &seed, now).expect("small");
    let mut engine = Engine::new(config, seed, now);
    let request = command::Connect.into_request();
    recorder.command(now, &request).expect("small");
    recorder.answer(&engine.submit_request(now, request)).expect("small");
    loop {
        let output = engine.poll_output();
        recorder.output(&output).expect("small");
        if matches!(output, Output::Idle { .. }) {
            break;
        }
    }
    recorder.input(now, &Input::Tick).expect("small");
    engine.handle(now, Input::Tick).expect("no misuse");
    recorder.pending().to_vec()
}

#[test]
fn the_same_again_or_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let replay = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        Program::start(bare(&["replay", "--json", path.to_str().expect("a path")])).finish()
    };
    let good = recorded();
    let lines = replay("good", &good).assert(0).json();
    assert_eq!((&lines[0]["event"], &lines[0]["commands"]), (&"replayed".into(), &1.into()));
    let lines = replay("torn", &good[..good.len() - 2]).assert(0).json();
    assert!(lines[0]["tornBytes"].is_u64(), "{lines:#?}");
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    assert_eq!(replay("damaged", &damaged).assert(4).json()[0]["kind"], "damaged");
    replay("nothing", b"").assert(4);
    replay("text", b"hello").assert(4);
    Program::start(bare(&["replay", "/nonexistent"])).finish().assert(2);
}

both_drivers! { what_was_recorded, }

fn what_was_recorded(driver: &'static str) {
    let stage = Stage::new(driver);
    let file = |name: &str| stage.folder.path().join(name).to_str().expect("a path").to_owned();
    let (pairing, sending) = (file("pairing"), file("sending"));
    let mut program = stage.start(&["pair", "--json", "--record", &pairing]);
    let qr = program.expect(|line| line["step"] == "qr");
    stage.scan(stage.alice, qr["text"].as_str().expect("a text"));
    program.finish().assert(0);
    stage.run(&["send", BOB, "hello", "--record", &sending]).assert(0);
    for recording in [&pairing, &sending] {
        let lines = stage.run(&["replay", "--json", recording]).assert(0).json();
        assert!(lines[0]["outputs"].as_u64() > Some(20) && lines[0]["tornBytes"].is_null(), "{lines:#?}");
    }
    // Never over another file.
    let ended = stage.run(&["send", BOB, "x", "--json", "--record", &sending]).assert(2).json();
    assert_eq!(ended.last().expect("the error")["kind"], "recording");
}
