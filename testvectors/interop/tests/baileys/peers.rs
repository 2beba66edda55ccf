//! Two Baileys and their phones, without a client of ours: that the server and its phones are such as Baileys takes
//! for real, groups and logout included. When another scenario fails and this does not, look at our client first.

use amarula_interop::{Driver, PATIENCE, Stage, run};
use amarula_sim::server::faults::DeliveryFault;
use serde_json::json;

#[test]
fn two_baileys_and_their_phones() {
    run("two_baileys_and_their_phones", Driver::Blocking, scenario);
}

fn scenario(stage: &Stage) {
    let server = stage.server();
    let (anna, bert) = (stage.person(), stage.person());
    let a = stage.baileys(&anna, "anna");
    let b = stage.baileys(&bert, "bert");

    a.send_text(&bert.jid(), "one");
    b.next_text("one");
    b.send_text(&anna.jid(), "two");
    a.next_text("two");
    for person in [&anna, &bert] {
        stage.phone_has(person, "one");
        stage.phone_has(person, "two");
    }

    // Phones: to the other account, and as a copy to the own companion.
    server.with_server(|server, now| server.phone_send_text(now, anna.account(), &bert.jid(), "from a phone"));
    b.text("from a phone");
    a.own_copy("from a phone");

    // Retries: a phone that cannot read, a Baileys that cannot, a message damaged on the way.
    server.with_server(|server, _| server.account_mut(bert.account()).expect("bert").phone.refuse_next(1));
    a.send_text(&bert.jid(), "again");
    stage.phone_has(&bert, "again");
    b.text("again");
    b.corrupt_session(&a.jid(), "receive");
    a.send_text(&bert.jid(), "damaged");
    b.text("damaged");
    b.corrupt_session(&anna.jid(), "delete");
    server.with_server(|server, now| server.phone_send_text(now, anna.account(), &bert.jid(), "lost session"));
    b.text("lost session");
    stage.wait_settled(&anna, a.device());
    stage.wait_settled(&bert, b.device());
    server.with_server(|server, _| server.faults().on_delivery(1, DeliveryFault::Damage));
    a.send_text(&bert.jid(), "damaged on the way");
    b.text("damaged on the way");

    // A group of both, by LID.
    let members = [anna.account(), bert.account()];
    let group = server.with_server(|server, _| server.add_group("120363000000000001", "both", true, &members));
    for (from, to, text) in [(&a, &b, "g1"), (&b, &a, "g2"), (&a, &b, "g3")] {
        from.send_text(&group, text);
        to.text(text);
        stage.phone_has(&anna, text);
        stage.phone_has(&bert, text);
    }
    server.with_server(|server, now| server.phone_send_text(now, bert.account(), &group, "g4"));
    a.text("g4");
    b.own_copy("g4");

    // A backlog larger than the primer.
    b.close();
    stage.wait_gone(&bert, b.device());
    for n in 0..12 {
        server.with_server(|server, now| {
            server.phone_send_text(now, anna.account(), &bert.jid(), &format!("offline {n}"));
        });
    }
    b.start();
    for n in 0..12 {
        assert!(b.text(&format!("offline {n}")).offline);
    }

    stage.wait_settled(&anna, a.device());
    a.call("logout", &json!({}));
    let unlinked =
        server.wait_for(PATIENCE, |server| server.account(anna.account())?.companions.is_empty().then_some(()));
    assert!(unlinked.is_some(), "anna's Baileys is unlinked");
}
