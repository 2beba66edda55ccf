//! The store behind the driver.

use amarula_core::engine::command::{Presence, SetPresence};
use amarula_core::engine::{CommitSeq, Input, Load, LoadId, Loaded, Output, Request};
use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use amarula_store::{Fault, FaultyStore, MemoryStore};
use bytes::Bytes;

use super::start;
use crate::peer::Peer;
use crate::script::{Script, Told, done};
use crate::{ClientUnderTest as _, DriverUnderTest, Options};

fn key() -> RecordKey {
    RecordKey { namespace: Namespace::Link, key: "k".into() }
}

pub(super) fn put(value: &'static str) -> Batch {
    Batch { ops: vec![(key(), Op::Put(Bytes::from_static(value.as_bytes())))], ..Batch::default() }
}

fn load(id: u64) -> Output {
    Output::Load(LoadId(id), Load::Get(vec![key()]))
}

fn loaded(script: &Script, wanted: u64) -> Option<Bytes> {
    script.wait("Loaded", |_, input| match input {
        Input::Loaded { id: LoadId(id), result: Ok(Loaded::Values(values)) } if *id == wanted => {
            values.first().cloned()
        }
        _ => None,
    })
}

/// A read sees what was written before it, and nothing later.
pub fn commits_and_loads_in_order(driver: &impl DriverUnderTest) {
    let script = Script::reacting(|_, told| match told {
        Told::Command(ticket, Request::SetPresence(_)) => Some(vec![
            load(1),
            Output::Commit(CommitSeq(1), put("one")),
            load(2),
            Output::Commit(CommitSeq(2), put("two")),
            Output::Commit(CommitSeq(3), put("three")),
            load(3),
            done(ticket),
        ]),
        _ => None,
    });
    let (client, _events) = start(driver, &script, Options::new(&Peer::echo().url()));
    client.call(SetPresence { presence: Presence::Available }).expect("runs");
    assert_eq!(loaded(&script, 1), None);
    assert_eq!(loaded(&script, 2), Some("one".into()));
    assert_eq!(loaded(&script, 3), Some("three".into()));
    script.wait("Committed", |_, input| (*input == Input::Committed { upto: CommitSeq(3) }).then_some(()));
    client.shutdown().expect("ends");
}

/// Commits made before the engine knew of the failure are not applied; those it makes then are.
pub fn a_failed_commit_takes_the_later_ones_with_it(driver: &impl DriverUnderTest) {
    let store = FaultyStore::new(MemoryStore::new());
    store.on_commit(2, Fault::Refused { retryable: true });
    let script = Script::reacting(|_, told| match told {
        Told::Command(ticket, Request::SetPresence(_)) => Some(vec![
            Output::Commit(CommitSeq(1), put("one")),
            Output::Commit(CommitSeq(2), put("two")),
            Output::Commit(CommitSeq(3), put("three")),
            load(1),
            done(ticket),
        ]),
        Told::Input(Input::CommitFailed { seq, .. }) => {
            assert_eq!(*seq, CommitSeq(2));
            Some(vec![Output::Commit(CommitSeq(4), put("four")), load(2)])
        }
        _ => None,
    });
    let options = Options { storage: store.into(), ..Options::new(&Peer::echo().url()) };
    let (client, _events) = start(driver, &script, options);
    client.call(SetPresence { presence: Presence::Available }).expect("runs");
    assert_eq!(loaded(&script, 1), Some("one".into()));
    assert_eq!(loaded(&script, 2), Some("four".into()));
    script.wait("Committed", |_, input| (*input == Input::Committed { upto: CommitSeq(4) }).then_some(()));
    client.shutdown().expect("ends");
    let failures = script.inputs().iter().filter(|input| matches!(input, Input::CommitFailed { .. })).count();
    assert_eq!(failures, 1);
}
