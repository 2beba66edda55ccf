//! How many bytes an engine holds, by what it has seen. Prints a table.

use amarula_benches::engine_support::{Peer, Rig, START, Store, config, paired_store};
use amarula_core::Engine;
use amarula_core::engine::command::Confirm;
use amarula_core::engine::{Command as _, Output};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Bytes that are freed with the engine, and what it counts its cache as. Its store is freed before, so that what both
/// hold counts.
fn held(rig: Rig) -> (usize, usize) {
    let Rig { engine, store, recorder, .. } = rig;
    drop((store, recorder));
    let engine = Box::new(engine);
    let (before, counted) = (ALLOCATED.current_usage(), engine.cached_bytes());
    drop(engine);
    (before - ALLOCATED.current_usage(), counted)
}

/// A linked engine to which `peers` have written `texts` messages each.
fn after(peers: u8, texts: usize, confirmed: bool) -> (usize, usize) {
    let store = paired_store();
    let mut peers: Vec<_> = (1..=peers).map(|n| Peer::new(&store, n)).collect();
    let mut rig = Rig::new(store, 2, false);
    let mut link = rig.connect();
    for i in 0..texts {
        for peer in &mut peers {
            let outputs = rig.receive(link.conn, link.frame(&peer.text(&format!("message {i}, of usual length"))));
            let deliveries = outputs.iter().filter_map(|output| match output {
                Output::Event(delivery) => delivery.id,
                _ => None,
            });
            for delivery in deliveries.filter(|_| confirmed) {
                rig.submit(Confirm { delivery }.into_request());
                rig.run();
            }
        }
    }
    held(rig)
}

fn main() {
    let fresh = Rig { engine: Engine::new(config(), [1; 32], START), store: Store::new(), now: START, recorder: None };
    let mut new = Rig::new(Store::new(), 1, false);
    new.connect();
    let limit = config().limits.cache_bytes;
    println!(
        "bytes held by one engine (of which {} are the engine's own struct; cache limit {limit})",
        size_of::<Engine>()
    );
    let line = |what: &str, held: &str, counted: &str| println!("{what:<58} {held:>9} {counted:>9}");
    line("", "held", "cache");
    let show = |what: &str, (held, counted): (usize, usize)| line(what, &held.to_string(), &counted.to_string());
    show("fresh", held(fresh));
    show("new device, connected, shaken hands", held(new));
    show("linked, connected, shaken hands", after(0, 0, true));
    show("  and 1 peer wrote 100 messages, all confirmed", after(1, 100, true));
    show("  and 20 peers wrote 100 messages each, all confirmed", after(20, 100, true));
    show("  and 200 peers wrote 20 messages each, all confirmed", after(200, 20, true));
    show("  and 20 peers wrote 100 messages each, none confirmed", after(20, 100, false));
}
