//! Who is there, and who is typing.

use amarula_core::engine::command::{ChatState, Presence};
use amarula_core::event::Event;
use amarula_core::wire::Jid;
use amarula_interop::{Ours, Stage, scenarios};
use serde_json::json;

scenarios!(presence, typing);

fn presence(stage: &Stage) {
    let (anna, bert) = (stage.person(), stage.person());
    let (ours, baileys) = (stage.ours(&anna), stage.baileys(&bert, "bert"));
    // The phones, too, would count as being there.
    stage.server().with_server(|server, now| {
        server.phone_set_online(now, anna.account(), false);
        server.phone_set_online(now, bert.account(), false);
    });

    baileys.call("presenceSubscribe", &json!({"jid": anna.jid().to_string()}));
    baileys.presence(&anna.jid(), "available");
    ours.set_presence(Presence::Unavailable);
    baileys.presence(&anna.jid(), "unavailable");
    ours.set_presence(Presence::Available);
    baileys.presence(&anna.jid(), "available");

    ours.subscribe_presence(&bert.jid());
    sees(&ours, &bert.jid(), true);
    baileys.call("presence", &json!({"type": "unavailable"}));
    sees(&ours, &bert.jid(), false);
    baileys.call("presence", &json!({"type": "available"}));
    sees(&ours, &bert.jid(), true);
}

fn sees(ours: &Ours, whom: &Jid, available: bool) {
    let last_seen = ours.event(&format!("{whom} available: {available}"), |event| match event {
        Event::Presence(update) if update.from.jid() == whom && update.available == available => Some(update.last_seen),
        _ => None,
    });
    assert_eq!(last_seen.is_some(), !available);
}

fn typing(stage: &Stage) {
    let (anna, bert) = (stage.person(), stage.person());
    let (ours, baileys) = (stage.ours(&anna), stage.baileys(&bert, "bert"));
    let states =
        [(ChatState::Composing, "composing"), (ChatState::Recording, "recording"), (ChatState::Paused, "paused")];
    for (state, name) in states {
        ours.send_chat_state(&bert.jid(), state);
        // What Baileys calls it: pausing is being there.
        baileys.presence(&anna.jid(), if name == "paused" { "available" } else { name });
        baileys.call("presence", &json!({"type": name, "to": anna.jid().to_string()}));
        ours.event(&format!("{name} of Baileys"), |event| match event {
            Event::ChatState(update) if update.state == state && update.chat.jid() == &bert.jid() => Some(()),
            _ => None,
        });
    }
}
