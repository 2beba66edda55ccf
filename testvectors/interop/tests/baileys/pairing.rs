//! Linking: by QR and by code, ours and Baileys, and that what was linked can talk.

use amarula_interop::{Baileys, Ours, Stage, scenarios};

scenarios!(by_qr, by_code);

fn by_qr(stage: &Stage) {
    let (anna, bert) = (stage.person(), stage.person());
    let baileys = stage.baileys(&bert, "bert");
    let ours = stage.ours(&anna);
    both_talk(&ours, &baileys);
}

fn by_code(stage: &Stage) {
    let (anna, bert) = (stage.person(), stage.person());

    let mut baileys = stage.unlinked_baileys(&bert, "bert");
    // Baileys takes the request once it is connected, which the first QR code shows.
    let _ = baileys.qr();
    let code = baileys.call("pairCode", &serde_json::json!({"phone": bert.pn()}));
    stage.type_code(&bert, code["code"].as_str().expect("a code"));
    stage.finish_baileys(&mut baileys);

    let mut ours = stage.unlinked_ours(&anna);
    let _ = ours.qr();
    stage.type_code(&anna, &ours.pairing_code());
    stage.finish_ours(&mut ours);

    both_talk(&ours, &baileys);
}

/// Each starts a session with the other's companion, whose device identity it checks.
fn both_talk(ours: &Ours, baileys: &Baileys) {
    assert_eq!((ours.device(), baileys.device()), (1, 1));
    ours.send_text(&baileys.person().jid(), "from ours");
    assert_eq!(baileys.text("from ours").chat, ours.person().jid().to_string());
    baileys.send_text(&ours.person().jid(), "from Baileys");
    assert_eq!(ours.text("from Baileys").sender.device(), 1);
}
