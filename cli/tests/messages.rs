//! `send` and `listen`.

mod support;

use std::time::Duration;

use amarula_sim::server::faults::AckFault;
use serde_json::Value;
use support::{ALICE, BOB, Program, Stage, bare};

both_drivers! { sends, send_outcomes, nobody_there, listens, redelivers, marks_read, profile_in_use, survives_a_kill, }

fn text(line: &Value) -> Option<&str> {
    (line["event"] == "message").then(|| line["content"]["body"].as_str()).flatten()
}

fn sends(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    let sent = stage.run(&["send", BOB, "hello", "--id", "3EB0AABBCCDDEEFF00112233"]).assert(0);
    assert_eq!(sent.stdout, ["3EB0AABBCCDDEEFF00112233"]);
    stage.on_phone(stage.bob, "hello");
    let mut program = stage.start(&["send", "--json", "--reference", "order 7", &format!("{BOB}@s.whatsapp.net"), "-"]);
    program.write("two\nlines");
    let sent = program.finish().assert(0).json();
    let sent = sent.last().expect("a result");
    assert_eq!((&sent["event"], sent["devices"].as_u64()), (&"sent".into(), Some(2)));
    stage.on_phone(stage.bob, "two\nlines");
    stage.assert_clean();
}

fn send_outcomes(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    stage.run(&["send", "nobody", "x"]).assert(2);
    stage.run(&["send", BOB, ""]).assert(2);
    stage.run(&["send", "15550009999", "x"]).assert(4);
    stage.server.with_server(|server, _| server.faults().on_message(1, AckFault::Error(403)));
    let refused = stage.run(&["send", "--json", BOB, "x"]).assert(4).json();
    assert_eq!(refused.last().expect("the error")["code"], 403);
    stage.server.with_server(|server, _| server.faults().on_message(1, AckFault::Drop));
    let unknown = stage.run(&["send", "--json", "--timeout", "2", "--id", "3EB0AABB", BOB, "y"]).assert(5).json();
    assert_eq!(unknown.last().expect("the error")["id"], "3EB0AABB");
    stage.server.with_server(|server, now| server.unlink(now, stage.alice, 1));
    stage.run(&["send", BOB, "x"]).assert(6);
}

fn nobody_there(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    let args = ["send", "--timeout", "1", "--server", "ws://127.0.0.1:1/ws/chat", BOB, "x"];
    let ended = Program::start(stage.command(&args)).finish().assert(7);
    assert!(ended.stderr.contains("connect"), "{}", ended.stderr);
    stage.run(&["send", "--server", "ws://192.0.2.1/", BOB, "x"]).assert(2);
    // A file where the folder should be.
    let file = stage.folder.path().join("file");
    std::fs::write(&file, "x").expect("written");
    let file = file.to_str().expect("a path");
    stage.run(&["listen", "--data-dir", file]).assert(9);
    stage.run(&["listen", "-p", "../up"]).assert(2);
}

fn listens(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    let mut program = stage.start(&["listen", "--json"]);
    program.expect(|line| line["state"] == "caughtUp");
    let id = stage.phone_says(stage.bob, ALICE, "hi there");
    let message = program.expect(|line| text(line) == Some("hi there"));
    assert_eq!((message["id"].as_str(), &message["fromMe"]), (Some(id.as_str()), &false.into()));
    assert!(message["delivery"].is_u64() && message["raw"].is_string(), "{message}");
    stage.phone_says(stage.alice, BOB, "from my phone");
    assert_eq!(program.expect(|line| text(line) == Some("from my phone"))["fromMe"], true);
    program.interrupt();
    program.finish().assert(130);
    // For people, and to its own end.
    let mut program = stage.start(&["listen", "--count", "1"]);
    stage.phone_says(stage.bob, ALICE, "evil \u{1b}[2J");
    let line = program.expect_text("evil");
    assert!(line.ends_with(']') && line.contains("\\u{1b}[2J"), "{line}");
    let ended = program.finish().assert(0);
    assert!(ended.stderr.contains("* connected"), "{}", ended.stderr);
    stage.run(&["listen", "--for", "0.1"]).assert(0);
    stage.assert_clean();
}

fn redelivers(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    stage.phone_says(stage.bob, ALICE, "one");
    let first = stage.run(&["listen", "--json", "--no-confirm", "--count", "1"]).assert(0).json();
    let again = stage.run(&["listen", "--json", "--count", "1"]).assert(0).json();
    let delivery =
        |lines: &[Value]| lines.iter().find(|line| text(line) == Some("one")).map(|line| line["delivery"].clone());
    assert!(delivery(&first).is_some());
    assert_eq!(delivery(&first), delivery(&again));
    let third = stage.run(&["listen", "--json", "--for", "1"]).assert(0).json();
    assert_eq!(delivery(&third), None);
    stage.assert_clean();
}

fn survives_a_kill(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    let mut program = stage.start(&["listen", "--json", "--no-confirm"]);
    stage.phone_says(stage.bob, ALICE, "one");
    program.expect(|line| text(line) == Some("one"));
    program.kill();
    drop(program);
    let mut program = stage.start(&["listen", "--json"]);
    program.expect(|line| text(line) == Some("one"));
    stage.phone_says(stage.bob, ALICE, "two");
    program.expect(|line| text(line) == Some("two"));
    program.interrupt();
    program.finish().assert(130);
    stage.assert_clean();
}

fn marks_read(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    let mut program = stage.start(&["listen", "--json", "--mark-read"]);
    let id = stage.phone_says(stage.bob, ALICE, "read me");
    program.expect(|line| text(line) == Some("read me"));
    let read = stage.server.wait_for(Duration::from_secs(20), |server| {
        let receipts = server.phone(stage.bob).receipts();
        receipts.iter().any(|receipt| receipt.kind == "read" && receipt.ids.contains(&id)).then_some(())
    });
    assert!(read.is_some(), "no read receipt");
    program.interrupt();
    program.finish().assert(130);
    stage.assert_clean();
}

fn profile_in_use(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    let mut program = stage.start(&["listen", "--json"]);
    program.expect(|line| line["state"] == "open");
    let ended = stage.run(&["send", "--json", BOB, "x"]).assert(8);
    assert_eq!(ended.json().last().expect("the error")["kind"], "profileInUse");
    let list = stage.run(&["profiles", "--json"]).assert(0).json();
    assert_eq!(list[0]["error"], "profileInUse");
    program.interrupt();
    program.finish().assert(130);
    stage.run(&["send", BOB, "x"]).assert(0);
}

#[test]
fn usage() {
    let run = |args: &[&str]| Program::start(bare(args)).finish();
    run(&[]).assert(2);
    run(&["nonsense"]).assert(2);
    run(&["send", BOB, "x", "--root-key", "00"]).assert(2);
    run(&["--version"]).assert(0);
    let help = run(&["--help"]).assert(0).stdout.join("\n");
    for word in ["AMARULA_DATA_DIR", "AMARULA_SERVER", "AMARULA_ROOT_KEY", "AMARULA_DRIVER", "AMARULA_RECORD", "130"] {
        assert!(help.contains(word), "{word}\n{help}");
    }
}
