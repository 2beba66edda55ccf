//! Two companions of one account: what one sends, the other gets as a copy of its own.

use amarula_interop::{Baileys, Ours, Stage, scenarios};

scenarios!(baileys_joins_ours, ours_joins_baileys);

fn baileys_joins_ours(stage: &Stage) {
    let (anna, bert) = (stage.person(), stage.person());
    let ours = stage.ours(&anna);
    let friend = stage.baileys(&bert, "bert");
    // Everybody has met before the second companion comes.
    ours.send_text(&bert.jid(), "before");
    friend.next_text("before");
    friend.send_text(&anna.jid(), "before too");
    ours.next_text("before too");
    let second = stage.baileys(&anna, "anna");
    // Our client has heard of it when it has answered the news.
    stage.wait_settled(&anna, ours.device());
    copies(&ours, &second, |text| assert_eq!(friend.next_text(text).chat, anna.jid().to_string()));
    friend.send_text(&anna.jid(), "to both");
    ours.next_text("to both");
    second.next_text("to both");
}

fn ours_joins_baileys(stage: &Stage) {
    let (anna, bert) = (stage.person(), stage.person());
    let second = stage.baileys(&anna, "anna");
    let friend = stage.ours(&bert);
    second.send_text(&bert.jid(), "before");
    friend.next_text("before");
    friend.send_text(&anna.jid(), "before too");
    second.next_text("before too");
    let ours = stage.ours(&anna);
    stage.wait_settled(&anna, second.device());
    stage.wait_settled(&bert, friend.device());
    // Baileys does nothing about the news of an own device: it keeps the list it has for five minutes.
    second.close();
    stage.wait_gone(&anna, second.device());
    second.start();
    stage.wait_ready(&anna, second.device(), 1);
    copies(&ours, &second, |text| assert_eq!(friend.next_text(text).chat.jid(), &anna.jid()));
    friend.send_text(&anna.jid(), "to both");
    ours.next_text("to both");
    second.next_text("to both");
}

/// `ours` and `second` are one account's; what they send to the account made second, arrives and is seen by the other.
fn copies(ours: &Ours, second: &Baileys, mut arrived: impl FnMut(&str)) {
    let friend = amarula_core::wire::Jid::pn("15550000002");
    for round in 0..2 {
        let text = format!("by ours {round}");
        let sent = ours.send_text(&friend, &text);
        arrived(&text);
        let copy = second.own_copy(&text);
        assert_eq!((copy.id.as_str(), copy.chat), (&*sent.id, friend.to_string()));

        let text = format!("by Baileys {round}");
        let id = second.send_text(&friend, &text);
        arrived(&text);
        let copy = ours.own_copy(&text);
        assert_eq!((&*copy.id, copy.chat.jid()), (id.as_str(), &friend));
        assert_eq!((copy.sender.user(), copy.sender.device()), (ours.person().pn(), second.device()));
    }
}
