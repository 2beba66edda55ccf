//! 1:1 texts.

use amarula_interop::{Baileys, Ours, Stage, scenarios};
use amarula_sim::server::faults::DeliveryFault;

scenarios!(ours_first, baileys_first, crossing, interleaved, unicode_and_long, by_lid);

fn pair(stage: &Stage) -> (Ours, Baileys) {
    let (anna, bert) = (stage.person(), stage.person());
    (stage.ours(&anna), stage.baileys(&bert, "bert"))
}

fn ours_first(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    let (anna, bert) = (ours.person().jid(), baileys.person().jid());
    let mut kinds = Vec::new();
    for text in ["one", "two"] {
        let sent = ours.send_text(&bert, text);
        let got = baileys.next_text(text);
        assert_eq!((got.id.as_str(), got.chat, got.offline), (sent.id.as_str(), anna.to_string(), false));
        kinds.push(stage.enc_type(&sent.id, &baileys.jid()));
    }
    let id = baileys.send_text(&anna, "three");
    let got = ours.next_text("three");
    assert_eq!((&*got.id, got.chat.jid(), got.offline), (id.as_str(), &bert, false));
    assert_eq!(got.push_name.as_deref(), Some("Baileys bert"));
    kinds.push(stage.enc_type(&id, &ours.jid()));
    let sent = ours.send_text(&bert, "four");
    baileys.next_text("four");
    kinds.push(stage.enc_type(&sent.id, &baileys.jid()));
    assert_eq!(kinds, ["pkmsg", "pkmsg", "msg", "msg"]);
    for text in ["one", "two", "three", "four"] {
        stage.phone_has(ours.person(), text);
        stage.phone_has(baileys.person(), text);
    }
}

fn baileys_first(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    let (anna, bert) = (ours.person().jid(), baileys.person().jid());
    let first = baileys.send_text(&anna, "one");
    ours.next_text("one");
    let second = baileys.send_text(&anna, "two");
    ours.next_text("two");
    let sent = ours.send_text(&bert, "three");
    baileys.next_text("three");
    let last = baileys.send_text(&anna, "four");
    ours.next_text("four");
    let to_ours = [&first, &second, &last].map(|id| stage.enc_type(id, &ours.jid()));
    assert_eq!(to_ours, ["pkmsg", "pkmsg", "msg"]);
    assert_eq!(stage.enc_type(&sent.id, &baileys.jid()), "msg");
}

/// Both start a session before they hear of the other's: two sessions, each good in both directions.
///
/// Not by sending at the same time: a Baileys that gets a first message while it starts a session leaves that device
/// out ("No sessions").
fn crossing(stage: &Stage) {
    let (mut ours, baileys) = pair(stage);
    let (anna, bert) = (ours.person().jid(), baileys.person().jid());
    // It comes when our client connects again.
    stage.server().with_server(|server, _| server.faults().on_delivery(1, DeliveryFault::Lose));
    let first = baileys.send_text(&anna, "Baileys crosses");
    stage.phone_has(ours.person(), "Baileys crosses");
    let second = ours.send_text(&bert, "ours crosses");
    baileys.next_text("ours crosses");
    ours.restart();
    ours.next_text("Baileys crosses");
    assert_eq!(
        (stage.enc_type(&first, &ours.jid()), stage.enc_type(&second.id, &baileys.jid())),
        ("pkmsg".to_owned(), "pkmsg".to_owned())
    );
    // Baileys speaks first, on the session that ours started; ours had the other as its newest. The other way round
    // libsignal-node would spoil its own session: it steps the ratchet of every session that it tries.
    for n in 0..3 {
        baileys.send_text(&anna, &format!("after, Baileys {n}"));
        ours.next_text(&format!("after, Baileys {n}"));
        ours.send_text(&bert, &format!("after, ours {n}"));
        baileys.next_text(&format!("after, ours {n}"));
    }
}

/// Bursts, and several senders at once at our end.
///
/// Baileys does not send while it receives here: its session is not locked between the two, and it encrypts two
/// messages with one key, of which the second can never be read.
fn interleaved(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    let (anna, bert) = (ours.person().jid(), baileys.person().jid());
    for round in 0..3 {
        std::thread::scope(|scope| {
            for sender in 0..3 {
                let (ours, bert) = (&ours, &bert);
                scope.spawn(move || {
                    (0..5).for_each(|n| drop(ours.send_text(bert, &format!("ours {round}.{sender}.{n}"))));
                });
            }
        });
        for n in 0..5 {
            (0..3).for_each(|sender| drop(baileys.text(&format!("ours {round}.{sender}.{n}"))));
        }
        (0..10).for_each(|n| drop(baileys.send_text(&anna, &format!("Baileys {round}.{n}"))));
        (0..10).for_each(|n| drop(ours.next_text(&format!("Baileys {round}.{n}"))));
    }
    assert_eq!((ours.texts_left().len(), baileys.texts_left().len()), (0, 0));
}

fn unicode_and_long(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    let (anna, bert) = (ours.person().jid(), baileys.person().jid());
    let long = "Größe 長い 👩‍👩‍👧‍👦 ".repeat(2_000);
    let texts = ["x", "👩‍👩‍👧‍👦 שלום\u{202e} e\u{301} \u{feff}\u{0}\r\n\t", " leading and trailing ", &long];
    for text in texts {
        ours.send_text(&bert, text);
        baileys.next_text(text);
        baileys.send_text(&anna, text);
        ours.next_text(text);
    }
}

/// Accounts whose 1:1 chats are addressed by hidden id.
fn by_lid(stage: &Stage) {
    stage.server().with_server(|server, _| server.config_mut().lid_migrated = true);
    let (ours, baileys) = pair(stage);
    let (anna, bert) = (ours.person().clone(), baileys.person().clone());
    // The caller may name the phone number all the same.
    for (to, text) in [(bert.jid(), "by number"), (bert.lid(), "by hidden id")] {
        let sent = ours.send_text(&to, text);
        assert_eq!(sent.to.jid(), &bert.lid());
        assert_eq!(baileys.next_text(text).chat, anna.lid().to_string());
    }
    baileys.send_text(&anna.lid(), "back");
    let got = ours.next_text("back");
    assert_eq!(got.chat.jid(), &bert.lid());
    ours.send_text(&bert.jid(), "and again");
    baileys.next_text("and again");
}
