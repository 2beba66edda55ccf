//! Every order of completions, deliveries, disconnects and crashes, for small scenarios (design §9). Run with
//! `--nocapture` to see the counts; `--ignored` (best with `--release`) goes deeper.

use std::time::Duration;

use amarula_sim::explorer::scenarios::{Sends, login, two_sends};
use amarula_sim::explorer::{AfterFault, Budget, Limits, Scenario, explore};

const NONE: Budget = Budget { cuts: 0, crashes: 0, failures: 0 };
const CUT: Budget = Budget { cuts: 1, ..NONE };
const CRASH: Budget = Budget { crashes: 1, ..NONE };
const FAILURE: Budget = Budget { failures: 1, ..NONE };

const SENDS: Sends =
    Sends { same_chat: false, sessions: true, references: false, faults: NONE, after_fault: AfterFault::Live };

/// For `cargo test`.
const SHORT: Limits = Limits { states: 20_000, depth: 400, time: Duration::from_secs(7) };

fn run(scenario: &Scenario, limits: Limits) {
    match explore(scenario, limits) {
        Ok(report) => println!("{report}"),
        Err(problem) => panic!("{}: {problem}", scenario.name),
    }
}

#[test]
fn two_sends_to_two_chats() {
    run(&two_sends(SENDS), SHORT);
}

#[test]
fn two_sends_to_one_chat() {
    run(&two_sends(Sends { same_chat: true, ..SENDS }), SHORT);
}

#[test]
fn two_sends_that_need_sessions() {
    run(&two_sends(Sends { sessions: false, ..SENDS }), SHORT);
    run(&two_sends(Sends { sessions: false, same_chat: true, ..SENDS }), SHORT);
}

#[test]
fn two_sends_and_a_broken_connection() {
    run(&two_sends(Sends { faults: CUT, ..SENDS }), SHORT);
}

#[test]
fn two_sends_and_a_crash() {
    run(&two_sends(Sends { faults: CRASH, references: true, ..SENDS }), SHORT);
}

#[test]
fn two_sends_and_a_failed_commit() {
    run(&two_sends(Sends { faults: FAILURE, same_chat: true, ..SENDS }), SHORT);
}

#[test]
fn login_in_every_order() {
    run(&login(NONE, AfterFault::Live), SHORT);
}

#[test]
fn login_and_a_broken_connection() {
    run(&login(CUT, AfterFault::Live), SHORT);
}

#[test]
fn login_and_a_crash() {
    run(&login(CRASH, AfterFault::Live), SHORT);
}

#[test]
fn login_and_a_failed_commit() {
    run(&login(FAILURE, AfterFault::Live), SHORT);
}

/// Hours, if you let it.
#[test]
#[ignore = "long"]
fn deeper() {
    let seconds = std::env::var("EXPLORE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(120);
    let limits = Limits { states: 10_000_000, depth: 2_000, time: Duration::from_secs(seconds) };
    for faults in [NONE, CUT, CRASH, FAILURE, Budget { cuts: 1, crashes: 1, failures: 1 }] {
        for after_fault in [AfterFault::Live, AfterFault::Explore] {
            for sessions in [true, false] {
                for same_chat in [true, false] {
                    run(&two_sends(Sends { same_chat, sessions, references: true, faults, after_fault }), limits);
                    run(&two_sends(Sends { same_chat, sessions, references: false, faults, after_fault }), limits);
                }
            }
            run(&login(faults, after_fault), limits);
        }
    }
}
