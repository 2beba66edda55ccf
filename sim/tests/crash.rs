//! A crash at every commit boundary of a two-sided conversation, of each side: before the commit is durable, when it is
//! and nobody has heard of it, when what it held back has been released and is lost, and when that has arrived. Nothing is
//! lost, nothing comes twice, and no ratchet value is used for two messages.

#[path = "support/chat.rs"]
mod chat;

use amarula_sim::explorer::{Action, Actor};
use chat::{ALICE, BOB, Chat, STEPS};

/// How a process dies at a boundary.
#[derive(Clone, Copy, Debug)]
enum Crash {
    Before,
    Durable,
    ReleasedAndLost,
    ReleasedAndArrived,
}

const CRASHES: [Crash; 4] = [Crash::Before, Crash::Durable, Crash::ReleasedAndLost, Crash::ReleasedAndArrived];

/// Runs the conversation with every crash of `actor` in the steps `steps`. Returns how many there were.
fn crash_everywhere(actor: Actor, steps: std::ops::Range<usize>) -> usize {
    let mut chat = Chat::new();
    let mut crashes = 0;
    for step in 0..STEPS {
        let mut forks = Vec::new();
        chat.step(step, &mut |chat, action| {
            if let Action::Committed(of, seq) = action
                && of == actor
                && steps.contains(&step)
            {
                forks.push((chat.clone(), seq));
            }
        });
        for (before, seq) in forks {
            for crash in CRASHES {
                let mut chat = before.clone();
                let durable = chat.model.client(actor).disk.durable();
                match crash {
                    Crash::Before => chat.model.crash(actor, durable),
                    Crash::Durable => chat.model.crash(actor, seq),
                    Crash::ReleasedAndLost => {
                        chat.model.apply(Action::Committed(actor, seq));
                        chat.model.crash(actor, seq);
                    }
                    Crash::ReleasedAndArrived => {
                        chat.model.apply(Action::Committed(actor, seq));
                        while chat.model.enabled().contains(&Action::Up(actor)) {
                            chat.model.apply(Action::Up(actor));
                        }
                        chat.model.crash(actor, seq);
                    }
                }
                crashes += 1;
                let context = format!("{actor:?} dies in step {step} at {seq:?}, {crash:?}");
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    for step in step..(step + 2).min(STEPS) {
                        chat.step(step, &mut |_, _| {});
                    }
                    chat.finish();
                }));
                assert!(result.is_ok(), "{context}");
            }
        }
    }
    chat.finish();
    crashes
}

#[test]
fn pairing() {
    println!("pairing: {} crashes", crash_everywhere(ALICE, 0..1));
}

#[test]
fn first_messages() {
    println!("first messages, sender: {} crashes", crash_everywhere(ALICE, 2..4));
    println!("first messages, receiver: {} crashes", crash_everywhere(BOB, 2..4));
}

#[test]
fn ratchet_turns() {
    println!("ratchet turns: {} crashes", crash_everywhere(ALICE, 4..5));
    println!("ratchet turns: {} crashes", crash_everywhere(BOB, 4..5));
}

#[test]
fn offline_messages_and_receipts() {
    println!("offline, sender: {} crashes", crash_everywhere(ALICE, 5..8));
    println!("offline, receiver: {} crashes", crash_everywhere(BOB, 5..8));
}

#[test]
fn retry() {
    println!("retry, sender: {} crashes", crash_everywhere(ALICE, 8..9));
    println!("retry, receiver: {} crashes", crash_everywhere(BOB, 8..9));
}
