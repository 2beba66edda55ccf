//! The engine as a whole, with a store in memory.

use amarula_benches::engine_support::{Peer, Rig, Store, paired_store};
use amarula_core::engine::{Input, Output};
use amarula_core::event::Event;
use divan::Bencher;

#[cfg(feature = "allocations")]
#[global_allocator]
static COUNTED: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// From socket bytes to the event of a text message: frame, node, ratchet, protobuf, commit to the store, receipt, event.
/// Two peers write in turn.
fn inbound(bencher: Bencher<'_, '_>, recorded: bool) {
    let store = paired_store();
    let mut peers = [1, 2].map(|n| Peer::new(&store, n));
    let mut rig = Rig::new(store, 2, recorded);
    let mut link = rig.connect();
    let conn = link.conn;
    // Sessions are there, and in memory.
    for peer in &mut peers {
        let outputs = rig.receive(conn, link.frame(&peer.text("hello")));
        assert!(outputs.iter().any(is_message), "{outputs:?}");
    }
    let mut turn = 0;
    bencher
        .with_inputs(|| {
            turn = 1 - turn;
            link.frame(&peers[turn].text("A text message of usual length, neither long nor short."))
        })
        .bench_local_values(|bytes| {
            let outputs = rig.receive(conn, bytes);
            if let Some(recorder) = &mut rig.recorder {
                recorder.clear();
            }
            assert!(outputs.iter().any(is_message), "{outputs:?}");
            outputs
        });
}

fn is_message(output: &Output) -> bool {
    matches!(output, Output::Event(delivery) if matches!(delivery.event, Event::Message(_)))
}

#[divan::bench]
fn inbound_text(bencher: Bencher<'_, '_>) {
    inbound(bencher, false);
}

/// The same while the session is recorded.
#[divan::bench]
fn inbound_text_recorded(bencher: Bencher<'_, '_>) {
    inbound(bencher, true);
}

/// What one input costs when there is nothing to do.
#[divan::bench]
fn tick(bencher: Bencher<'_, '_>) {
    let mut rig = Rig::new(paired_store(), 2, false);
    rig.connect();
    bencher.bench_local(|| {
        rig.handle(Input::Tick);
        rig.engine.poll_output()
    });
}

/// A new device: keys made, first commit, handshake with the server's side of it.
#[divan::bench]
fn connect_new_device(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| Rig::new(Store::new(), 3, false).connect().conn);
}

#[divan::bench_group]
mod state {
    use super::*;

    /// A linked engine with the sessions of `peers` in memory.
    fn engine(peers: u8) -> Rig {
        let store = paired_store();
        let mut peers: Vec<_> = (1..=peers).map(|n| Peer::new(&store, n)).collect();
        let mut rig = Rig::new(store, 2, false);
        let mut link = rig.connect();
        for peer in &mut peers {
            rig.receive(link.conn, link.frame(&peer.text("hello")));
        }
        rig
    }

    #[divan::bench(args = [0, 10, 100])]
    fn digest(bencher: Bencher<'_, '_>, peers: u8) {
        let rig = engine(peers);
        bencher.bench_local(|| rig.engine.state_digest());
    }

    #[divan::bench(args = [0, 10, 100])]
    fn clone(bencher: Bencher<'_, '_>, peers: u8) {
        let rig = engine(peers);
        bencher.bench_local(|| rig.engine.clone());
    }
}
