//! `demo`, as the README promises it.

mod support;

use support::{Program, bare};

both_drivers! { plays, }

fn plays(driver: &'static str) {
    let ended = Program::start(bare(&["demo", "--fast", "--driver", driver])).finish().assert(0);
    let last = ended.stdout.last().expect("lines");
    assert!(last.starts_with("All well") && last.contains(driver), "{last}");
    assert!(ended.stderr.is_empty(), "{}", ended.stderr);
}

#[test]
fn as_json() {
    let ended = Program::start(bare(&["demo", "--fast", "--json"])).finish().assert(0);
    let lines = ended.json();
    let last = lines.last().expect("lines");
    assert_eq!((&last["event"], &last["violations"]), (&"done".into(), &0.into()));
    assert!(lines.len() > 20);
}
