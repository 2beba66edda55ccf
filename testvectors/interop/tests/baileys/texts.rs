//! 1:1 texts.

use amarula_interop::{Baileys, Ours, Stage, scenarios};

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

/// Both start a session at once: two sessions, each good in both directions.
fn crossing(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    let (anna, bert) = (ours.person().jid(), baileys.person().jid());
    std::thread::scope(|scope| {
        scope.spawn(|| ours.send_text(&bert, "ours crosses"));
        scope.spawn(|| baileys.send_text(&anna, "Baileys crosses"));
    });
    baileys.next_text("ours crosses");
    ours.next_text("Baileys crosses");
    for n in 0..3 {
        ours.send_text(&bert, &format!("after, ours {n}"));
        baileys.send_text(&anna, &format!("after, Baileys {n}"));
        baileys.next_text(&format!("after, ours {n}"));
        ours.next_text(&format!("after, Baileys {n}"));
    }
}

fn interleaved(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    let (anna, bert) = (ours.person().jid(), baileys.person().jid());
    ours.send_text(&bert, "hello");
    baileys.next_text("hello");
    std::thread::scope(|scope| {
        scope.spawn(|| (0..20).for_each(|n| drop(ours.send_text(&bert, &format!("ours {n}")))));
        scope.spawn(|| (0..20).for_each(|n| drop(baileys.send_text(&anna, &format!("Baileys {n}")))));
    });
    for n in 0..20 {
        baileys.next_text(&format!("ours {n}"));
        ours.next_text(&format!("Baileys {n}"));
    }
    stage.wait_settled(ours.person(), ours.device());
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
