//! All kinds of delivery faults at once.

mod town;

use amarula_sim::server::faults::DeliveryFault;
use town::{MINUTE, Town, assert_once, message, receipts, texts};

/// Everything at once, both ways, and then peace: all of it arrives, once.
#[test]
fn a_bad_day() {
    use DeliveryFault::{Damage, Delay, Lose};
    for seed in 0..6u64 {
        let mut town = Town::new();
        town.assert_alive();
        for person in [town.alice.clone(), town.bob.clone()] {
            town.world.take_events(person.client);
        }
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        for n in 1..120u64 {
            let pick = (n * 7919 + seed * 104_729) % 11;
            match pick {
                0 | 1 => town.world.server.faults().on_delivery(n, Damage),
                2 => town.world.server.faults().on_delivery(n, Lose),
                3 => town.world.server.faults().on_delivery(n, Delay),
                _ => {}
            }
        }
        let mut tickets = Vec::new();
        for n in 0..30 {
            tickets.push((alice.clone(), town.world.submit(alice.client, message(&bob.pn, &format!("a{n}"))).unwrap()));
            tickets.push((bob.clone(), town.world.submit(bob.client, message(&alice.pn, &format!("b{n}"))).unwrap()));
            town.run(150);
        }
        for (from, ticket) in tickets {
            town.answer(&from, ticket).unwrap();
        }
        // Peace: no more faults, a further message lets go of a delayed one, and a new connection brings what was lost.
        *town.world.server.faults() = Default::default();
        town.run(10_000);
        town.tell(&alice, &bob.pn, "a30");
        town.tell(&bob, &alice.pn, "b30");
        town.run(10_000);
        for person in [&alice, &bob] {
            town.world.break_connection(person.client);
        }
        town.run(2 * MINUTE);
        for (person, letter) in [(&alice, 'b'), (&bob, 'a')] {
            let mut got = texts(&town.world, person.client);
            got.sort_unstable();
            let mut wanted: Vec<String> = (0..=30).map(|n| format!("{letter}{n}")).collect();
            wanted.sort_unstable();
            assert_eq!(got, wanted, "seed {seed}, {}", person.pn);
            assert_once(&town.world, person.client);
        }
        assert!(!receipts(&town.world, alice.client).is_empty());
        town.assert_alive();
        town.world.assert_clean();
    }
}
