//! Ctrl-C and SIGTERM: the first ends things in order, the second at once.

use std::sync::{Mutex, PoisonError};

use crate::exit::Exit;

type Notice = Box<dyn FnMut() + Send>;

enum State {
    /// Nothing to put in order: end at once.
    Idle,
    Watched(Notice),
    Interrupted,
}

static STATE: Mutex<State> = Mutex::new(State::Idle);

/// Catches the signals from now on.
pub(crate) fn install() {
    let installed = ctrlc::set_handler(|| {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Interrupted) {
            State::Watched(mut notice) => notice(),
            State::Idle | State::Interrupted => std::process::exit(Exit::Interrupted as i32),
        }
    });
    if let Err(error) = installed {
        tracing::warn!(%error, "signals end the program at once");
    }
}

/// Calls `notice` at the first interrupt. It replaces the one before.
pub(crate) fn watch(mut notice: impl FnMut() + Send + 'static) {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    match *state {
        State::Interrupted => notice(),
        State::Idle | State::Watched(_) => *state = State::Watched(Box::new(notice)),
    }
}
