//! Presence and chat states between two clients (`protocol/queries.md` §4).

use amarula_core::Address;
use amarula_core::engine::command::{ChatState, Presence, SendChatState, SetPresence, SubscribePresence};
use amarula_core::error::RejectReason;
use amarula_core::event::Event;
use amarula_sim::world::World;

#[test]
fn seen_and_typing() {
    let mut world = World::new(1);
    let (alice, bob) = (world.server.add_account("15550001", "900001"), world.server.add_account("15550002", "900002"));
    let a = world.add_client(world.config());
    let mut config = world.config();
    config.mark_online = false;
    config.push_name = Some("B@b".into());
    let b = world.add_client(config);
    world.pair(a, alice);
    world.pair(b, bob);
    let now = world.now();
    world.server.phone_set_online(now, bob, false);
    let _ = world.submit(a, SubscribePresence { to: Address::phone("15550002") }).unwrap();
    world.run_for(1_000);
    let _ = world.take_events(a);
    for presence in [Presence::Available, Presence::Unavailable] {
        let _ = world.submit(b, SetPresence { presence }).unwrap();
        world.run_for(1_000);
    }
    let seen: Vec<_> = world
        .take_events(a)
        .into_iter()
        .filter_map(|event| match event {
            Event::Presence(update) => Some((update.from.user().to_owned(), update.available)),
            _ => None,
        })
        .collect();
    assert_eq!(seen, [("15550002".to_owned(), true), ("15550002".to_owned(), false)]);
    for state in [ChatState::Composing, ChatState::Recording, ChatState::Paused] {
        let _ = world.submit(b, SendChatState { to: Address::phone("15550001"), state }).unwrap();
        world.run_for(1_000);
    }
    let states: Vec<_> = world
        .take_events(a)
        .into_iter()
        .filter_map(|event| match event {
            Event::ChatState(update) => Some(update.state),
            _ => None,
        })
        .collect();
    assert_eq!(states, [ChatState::Composing, ChatState::Recording, ChatState::Paused]);
    // The server takes an `@` for the end of a user.
    let names =
        world.server.trace().iter().filter_map(|line| line.node.get("name").filter(|_| line.node.tag == "presence"));
    assert!(names.filter(|name| name.starts_with('B')).all(|name| name == "Bb"));
    world.assert_clean();
}

#[test]
fn no_name_no_presence() {
    let mut world = World::new(2);
    let account = world.server.add_account("15550001", "900001");
    let mut config = world.config();
    config.push_name = None;
    let client = world.add_client(config);
    world.pair(client, account);
    let refused = world.submit(client, SetPresence { presence: Presence::Available }).unwrap_err();
    assert_eq!(refused.reason, RejectReason::NoPushName);
    assert!(!world.server.trace().iter().any(|line| line.from_client && line.node.tag == "presence"));
    world.assert_clean();
}
