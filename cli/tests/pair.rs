//! Linking, listing, unlinking.

mod support;

use support::{ALICE, Stage, absent};

both_drivers! { by_qr, by_code, for_people, in_vain, refused_code, logout, removed_by_the_phone, }

fn by_qr(driver: &'static str) {
    let stage = Stage::new(driver);
    assert!(stage.run(&["profiles"]).assert(0).stdout.is_empty());
    assert!(absent(&stage.data_dir()), "a list makes nothing");
    stage.pair("alice", stage.alice);
    let list = stage.run(&["profiles", "--json"]).assert(0).json();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["profile"], "alice");
    assert_eq!(list[0]["paired"], true);
    assert_eq!(list[0]["pn"], format!("{ALICE}:1@s.whatsapp.net"));
    assert!(stage.run(&["profiles"]).assert(0).stdout[0].starts_with(&format!("alice  +{ALICE}  device 1")));
    // Once more: it logs in and that is all.
    let again = stage.run(&["pair", "-p", "alice"]).assert(0);
    assert!(again.stderr.contains("already"), "{}", again.stderr);
    stage.assert_clean();
}

fn by_code(driver: &'static str) {
    let stage = Stage::new(driver);
    let mut program = stage.start(&["pair", "--json", "--phone", "+1 555 000 0001", "--code", "ABCD1234"]);
    let code = program.expect(|line| line["step"] == "code");
    assert_eq!(code["code"], "ABCD1234");
    stage.server.with_server(|server, now| server.type_code(now, stage.alice, "ABCD-1234")).expect("asked for");
    program.expect(|line| line["event"] == "ready");
    program.finish().assert(0);
    stage.assert_clean();
}

fn for_people(driver: &'static str) {
    let stage = Stage::new(driver);
    let mut program = stage.start(&["pair"]);
    assert!(program.line().chars().all(|c| c == '█'), "the quiet zone of a QR code");
    program.interrupt();
    let ended = program.finish().assert(130);
    assert!(ended.stdout.len() > 20 && ended.stderr.contains("Linked devices"), "{}", ended.stderr);
    let mut program = stage.start(&["pair", "--phone", ALICE]);
    let code = program.line();
    assert!(code.len() == 9 && code.as_bytes()[4] == b'-', "{code:?}");
    stage.server.with_server(|server, now| server.type_code(now, stage.alice, &code)).expect("asked for");
    program.expect_text(&format!("linked to +{ALICE}, device 1"));
    program.finish().assert(0);
    stage.assert_clean();
}

fn in_vain(driver: &'static str) {
    let stage = Stage::new(driver);
    let ended = stage.run(&["pair", "--json", "--timeout", "1"]).assert(7);
    assert_eq!(ended.json().last().expect("the error")["kind"], "timeout");
    // Keys were made, and no account is linked.
    let list = stage.run(&["profiles", "--json"]).assert(0).json();
    assert_eq!((&list[0]["profile"], &list[0]["paired"]), (&"default".into(), &false.into()));
    stage.run(&["logout"]).assert(3);
    stage.run(&["listen"]).assert(3);
    stage.run(&["send", ALICE, "x"]).assert(3);
}

fn refused_code(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.run(&["pair", "--phone", "0123"]).assert(2);
    stage.run(&["pair", "--phone", ALICE, "--code", "no"]).assert(2);
    stage.server.with_server(|server, _| {
        server.faults().code = Some(amarula_sim::server::faults::CodeFault::HelloError(429));
    });
    let ended = stage.run(&["pair", "--json", "--phone", ALICE]).assert(4);
    assert_eq!(ended.json().last().expect("the error")["code"], 429);
}

fn logout(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    let done = stage.run(&["logout", "--json"]).assert(0).json();
    assert_eq!(done.last().expect("the result")["confirmed"], true);
    let gone = stage.server.with_server(|server, _| !server.device_exists((stage.alice, 1)));
    assert!(gone, "the account still has the device");
    stage.run(&["send", ALICE, "x"]).assert(3);
    stage.assert_clean();
}

fn removed_by_the_phone(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    stage.server.with_server(|server, now| server.unlink(now, stage.alice, 1));
    let ended = stage.run(&["listen", "--json"]).assert(6);
    assert_eq!(ended.json().last().expect("the error")["kind"], "deviceRemoved");
    stage.run(&["listen"]).assert(3);
}
