//! One-to-one text conversations, through the simulated server.

use amarula_core::Address;
use amarula_core::content::{Content, Outgoing};
use amarula_core::engine::command::{Confirm, Connect, SendMessage};
use amarula_core::event::Event;
use amarula_sim::AccountId;
use amarula_sim::world::{ClientId, World};

fn text(to: &str, text: &str) -> SendMessage {
    SendMessage { to: to.parse().unwrap(), content: Outgoing::text(text), id: None, reference: None }
}

fn texts(world: &World, client: ClientId) -> Vec<String> {
    world
        .events(client)
        .iter()
        .filter_map(|delivery| match &delivery.event {
            Event::Message(message) => match &message.content {
                Content::Text(text) => Some(text.body.to_string()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

const ALICE: &str = "15550000001@s.whatsapp.net";
const BOB: &str = "15550000002@s.whatsapp.net";

fn two() -> (World, (ClientId, AccountId), (ClientId, AccountId)) {
    let mut world = World::new(1);
    let mut people = [("15550000001", "200000000001"), ("15550000002", "200000000002")].map(|(pn, lid)| {
        let account = world.server.add_account(pn, lid);
        let client = world.add_client(world.config());
        world.pair(client, account);
        (client, account)
    });
    people.sort();
    (world, people[0], people[1])
}

#[test]
fn two_companions_talk() {
    let (mut world, (alice, _), (bob, _)) = two();
    let sent = world.submit(alice, text(BOB, "hello")).unwrap();
    assert!(world.run_until(|world| world.reply(alice, sent).is_some(), 60_000));
    let sent = world.reply(alice, sent).unwrap().unwrap();
    assert!(sent.devices >= 2, "their phone, their companion, our phone: {sent:?}");
    assert!(world.run_until(|world| texts(world, bob) == ["hello"], 60_000));
    let back = world.submit(bob, text(ALICE, "hello yourself")).unwrap();
    assert!(world.run_until(|world| world.reply(bob, back).is_some(), 60_000));
    assert!(world.run_until(|world| texts(world, alice) == ["hello yourself"], 60_000));
    world.assert_clean();
}
