//! What was sent while one side was away: each message exactly once, in order, and not again later.

use amarula_interop::{Baileys, Ours, Stage, scenarios};

scenarios!(ours_comes_back, baileys_comes_back, strangers_write_to_ours, strangers_write_to_baileys);

/// More than the server gives out before it wants to be asked.
const COUNT: usize = 12;

fn pair(stage: &Stage) -> (Ours, Baileys) {
    let (anna, bert) = (stage.person(), stage.person());
    (stage.ours(&anna), stage.baileys(&bert, "bert"))
}

fn acquaint(ours: &Ours, baileys: &Baileys) {
    ours.send_text(&baileys.person().jid(), "hello");
    baileys.next_text("hello");
    baileys.send_text(&ours.person().jid(), "hello yourself");
    ours.next_text("hello yourself");
}

fn ours_comes_back(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    acquaint(&ours, &baileys);
    write_to_ours(stage, ours, &baileys);
}

fn strangers_write_to_ours(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    write_to_ours(stage, ours, &baileys);
}

fn write_to_ours(stage: &Stage, mut ours: Ours, baileys: &Baileys) {
    let (anna, bert) = (ours.person().clone(), baileys.person().jid());
    ours.stop();
    stage.wait_gone(&anna, ours.device());
    for n in 0..COUNT {
        baileys.send_text(&anna.jid(), &format!("offline {n}"));
    }
    // A Baileys' send is done before the server has it.
    stage.phone_has(&anna, &format!("offline {}", COUNT - 1));
    ours.restart();
    for n in 0..COUNT {
        assert!(ours.next_text(&format!("offline {n}")).offline);
    }
    ours.wait_caught_up();
    stage.wait_settled(&anna, ours.device());
    assert!(ours.texts_left().is_empty());
    ours.restart();
    ours.wait_caught_up();
    baileys.send_text(&anna.jid(), "live");
    assert!(!ours.next_text("live").offline);
    ours.send_text(&bert, "back");
    baileys.next_text("back");
    assert!(ours.texts_left().is_empty());
}

fn baileys_comes_back(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    acquaint(&ours, &baileys);
    write_to_baileys(stage, &ours, &baileys);
}

fn strangers_write_to_baileys(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    write_to_baileys(stage, &ours, &baileys);
}

fn write_to_baileys(stage: &Stage, ours: &Ours, baileys: &Baileys) {
    let (anna, bert) = (ours.person().jid(), baileys.person().clone());
    baileys.close();
    stage.wait_gone(&bert, baileys.device());
    for n in 0..COUNT {
        ours.send_text(&bert.jid(), &format!("offline {n}"));
    }
    baileys.start();
    for n in 0..COUNT {
        assert!(baileys.next_text(&format!("offline {n}")).offline);
    }
    stage.wait_settled(&bert, baileys.device());
    baileys.close();
    stage.wait_gone(&bert, baileys.device());
    baileys.start();
    stage.wait_ready(&bert, baileys.device(), 1);
    ours.send_text(&bert.jid(), "live");
    baileys.next_text("live");
    baileys.send_text(&anna, "back");
    ours.next_text("back");
    assert!(baileys.texts_left().is_empty());
}
