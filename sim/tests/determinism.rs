//! Rules 2, 3, 4 and 6 of the engine's contract: output is a function of the input log, and of nothing else.

#[path = "support/tapes.rs"]
mod tapes;

use amarula_core::engine::{
    CommitSeq, ConnId, Engine, HttpError, HttpId, Input, LoadId, Loaded, Mono, Now, OpenError, Output, StorageError,
};
use amarula_core::wire::Str;
use amarula_sim::explorer::Taped;
use tapes::Tape;

fn feed(engine: &mut Engine, step: &Taped) {
    match step {
        Taped::Input(now, input) => engine.handle(*now, input.clone()).expect("a recorded input"),
        Taped::Request(now, request) => {
            engine.submit_request(*now, request.clone()).expect("a recorded command");
        }
    }
}

fn drain(engine: &mut Engine, out: &mut Vec<Output>) {
    loop {
        let output = engine.poll_output();
        let idle = matches!(output, Output::Idle { .. });
        out.push(output);
        if idle {
            return;
        }
    }
}

fn live(engine: &mut Engine, steps: &[Taped]) -> Vec<Output> {
    let mut out = Vec::new();
    for step in steps {
        feed(engine, step);
        drain(engine, &mut out);
    }
    out
}

/// As [`live`], for times at which what was recorded does not fit any more: the engine may refuse it.
fn stumble(engine: &mut Engine, steps: &[Taped]) -> Vec<Output> {
    let mut out = Vec::new();
    for step in steps {
        match step {
            Taped::Input(now, input) => drop(engine.handle(*now, input.clone())),
            Taped::Request(now, request) => drop(engine.submit_request(*now, request.clone())),
        }
        drain(engine, &mut out);
    }
    out
}

fn busy(outputs: Vec<Output>) -> Vec<Output> {
    outputs.into_iter().filter(|output| !matches!(output, Output::Idle { .. })).collect()
}

fn at(step: &Taped) -> Now {
    match step {
        Taped::Input(now, _) | Taped::Request(now, _) => *now,
    }
}

fn moved(step: &Taped, now: Now) -> Taped {
    match step {
        Taped::Input(_, input) => Taped::Input(now, input.clone()),
        Taped::Request(_, request) => Taped::Request(now, request.clone()),
    }
}

/// Where two lives differ, readably.
fn same(tape: &Tape, what: &str, expected: &[Output], found: &[Output]) {
    if let Some(at) = expected.iter().zip(found).position(|(a, b)| a != b) {
        panic!("{}, {what}: output {at} is\n{:?}\ninstead of\n{:?}", tape.name, found[at], expected[at]);
    }
    assert_eq!(expected.len(), found.len(), "{}, {what}", tape.name);
}

#[test]
fn same_inputs_same_outputs() {
    for tape in tapes::all() {
        let (mut first, mut second) = (tape.engine(), tape.engine());
        let (a, b) = (live(&mut first, &tape.steps), live(&mut second, &tape.steps));
        same(&tape, "again", &a, &b);
        assert_eq!(first.state_digest(), second.state_digest());
        assert!(a.len() > tape.steps.len());
    }
}

/// A clone made after any step goes the same way, and leaves the original alone.
#[test]
fn clones_go_the_same_way() {
    for tape in tapes::all() {
        let mut original = tape.engine();
        let mut clones: Vec<(Engine, Vec<Output>)> = Vec::new();
        let mut outputs: Vec<Vec<Output>> = Vec::new();
        for step in &tape.steps {
            clones.push((original.clone(), Vec::new()));
            let mut out = Vec::new();
            feed(&mut original, step);
            drain(&mut original, &mut out);
            outputs.push(out);
        }
        let end = original.state_digest();
        for (start, (mut clone, mut out)) in clones.into_iter().enumerate() {
            for step in &tape.steps[start..] {
                feed(&mut clone, step);
                drain(&mut clone, &mut out);
            }
            same(&tape, &format!("a clone of step {start}"), &outputs[start..].concat(), &out);
            assert_eq!(clone.state_digest(), end, "{}: a clone of step {start}", tape.name);
        }
    }
}

/// `handle` may be called again without draining; `poll_output` only pops.
#[test]
fn draining_late_changes_nothing() {
    for tape in tapes::all() {
        let mut engine = tape.engine();
        let expected = busy(live(&mut engine, &tape.steps));
        let digest = engine.state_digest();
        for every in [2, 5, usize::MAX] {
            let mut engine = tape.engine();
            let mut out = Vec::new();
            for (index, step) in tape.steps.iter().enumerate() {
                feed(&mut engine, step);
                if index % every == every - 1 {
                    drain(&mut engine, &mut out);
                }
            }
            drain(&mut engine, &mut out);
            same(&tape, &format!("drained every {every}"), &expected, &busy(out));
            assert_eq!(engine.state_digest(), digest, "{}: drained every {every}", tape.name);
        }
    }
}

/// A monotonic clock that goes backwards stands still.
#[test]
fn clock_going_backwards_is_clamped() {
    for tape in tapes::all() {
        let dip = |index: usize, now: Now| match index % 3 {
            0 => now,
            1 => Now { mono: Mono(0), ..now },
            _ => Now { mono: Mono(now.mono.0.saturating_sub(700)), ..now },
        };
        let mut latest = Mono(0);
        let (mut back, mut clamped) = (Vec::new(), Vec::new());
        for (index, step) in tape.steps.iter().enumerate() {
            let now = dip(index, at(step));
            latest = latest.max(now.mono).max(at(&tape.steps[0]).mono);
            back.push(moved(step, now));
            clamped.push(moved(step, Now { mono: latest, ..now }));
        }
        let (mut a, mut b) = (tape.engine(), tape.engine());
        let (expected, found) = (stumble(&mut b, &clamped), stumble(&mut a, &back));
        same(&tape, "backwards", &expected, &found);
        assert_eq!(a.state_digest(), b.state_digest(), "{}", tape.name);
    }
}

/// The recording's driver sleeps exactly until the moment it is told, which is right; one that wakes more often sees the
/// same.
#[test]
fn more_ticks_change_nothing() {
    for tape in tapes::all() {
        let mut exact = tape.engine();
        let expected = busy(live(&mut exact, &tape.steps));
        let mut restless = tape.engine();
        let mut out = Vec::new();
        let mut ticks = 0;
        let mut last = at(&tape.steps[0]);
        for step in &tape.steps {
            let now = at(step);
            let gap = now.mono.0 - last.mono.0;
            for part in 0..=4 {
                // Never at the moment itself: what is due then comes with the recorded input.
                let ahead = (gap * part / 4).min(gap.saturating_sub(1));
                let tick = Now::new(last.mono.0 + ahead, last.wall.0 + ahead);
                restless.handle(tick, Input::Tick).expect("a tick");
                drain(&mut restless, &mut out);
                ticks += 1;
            }
            feed(&mut restless, step);
            drain(&mut restless, &mut out);
            last = now;
        }
        same(&tape, &format!("{ticks} ticks more"), &expected, &busy(out));
        assert_eq!(exact.state_digest(), restless.state_digest(), "{}", tape.name);
    }
}

/// A programmer's mistakes are refused, and nothing has changed: not the clock, not a counter.
#[test]
fn misuse_changes_nothing() {
    let error = || StorageError { message: Str::const_new("no"), retryable: true };
    for tape in tapes::all() {
        let mut engine = tape.engine();
        let mut open: Vec<LoadId> = Vec::new();
        let mut refused = 0;
        for step in &tape.steps {
            let later = at(step).after(std::time::Duration::from_secs(3_600));
            let mut wrong = vec![
                Input::Loaded { id: LoadId(9_999), result: Ok(Loaded::Values(vec![])) },
                Input::Loaded { id: LoadId(0), result: Err(error()) },
                Input::Committed { upto: CommitSeq(9_999) },
                Input::CommitFailed { seq: CommitSeq(9_999), error: error() },
                Input::Opened { conn: ConnId(9_999) },
                Input::OpenFailed { conn: ConnId(0), error: OpenError::Timeout },
                Input::Received { conn: ConnId(9_999), bytes: bytes::Bytes::from_static(b"\0\0\x01x") },
                Input::Closed { conn: ConnId(9_999), code: None },
                Input::HttpDone { id: HttpId(1), result: Err(HttpError { message: Str::const_new("no") }) },
            ];
            // Answers of the wrong shape to reads that are open.
            for id in &open {
                wrong.push(Input::Loaded { id: *id, result: Ok(Loaded::Values(vec![None; 4_000])) });
            }
            let before = engine.state_digest();
            for input in wrong {
                let what = format!("{input:?}");
                assert!(engine.handle(later, input).is_err(), "{}: {what} was taken", tape.name);
                assert_eq!(engine.state_digest(), before, "{}: {what} changed something", tape.name);
                refused += 1;
            }
            feed(&mut engine, step);
            if let Taped::Input(_, Input::Loaded { id, .. }) = step {
                open.retain(|other| other != id);
            }
            let mut out = Vec::new();
            drain(&mut engine, &mut out);
            open.extend(out.iter().filter_map(|output| match output {
                Output::Load(id, _) => Some(*id),
                _ => None,
            }));
        }
        println!("{}: {refused} misuses refused", tape.name);
    }
}
