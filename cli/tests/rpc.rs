//! `rpc`: JSON-RPC 2.0 on stdio.

mod support;

use std::collections::VecDeque;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use support::{ALICE, BOB, Program, Stage, bare};

both_drivers! { a_whole_life, end_of_input, comes_again, in_order, interrupted, }

/// A running `amarula rpc`, and the events that came while an answer was waited for.
struct Rpc {
    program: Program,
    events: VecDeque<Value>,
}

impl Rpc {
    fn start(stage: &Stage, args: &[&str]) -> Self {
        Self { program: stage.start(&[&["rpc"], args].concat()), events: VecDeque::new() }
    }

    /// Calls a method and returns its answer.
    #[track_caller]
    fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = json!(format!("{method} {params}"));
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.program.write(&request.to_string());
        loop {
            let line = self.program.expect(|_| true);
            assert_eq!(line["jsonrpc"], "2.0");
            if line["id"] == id {
                return line;
            }
            assert!(line["method"] == "event" && line.get("id").is_none(), "{line}");
            self.events.push_back(line["params"].clone());
        }
    }

    #[track_caller]
    fn result(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    #[track_caller]
    fn error(&mut self, method: &str, params: Value) -> (i64, String) {
        let answer = self.ask(method, params);
        let error = &answer["error"];
        assert!(error["message"].is_string() && answer.get("result").is_none(), "{answer}");
        (error["code"].as_i64().expect("a code"), error["data"]["kind"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits for an event. Those before it are dropped.
    #[track_caller]
    fn event(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        while let Some(event) = self.events.pop_front() {
            if fits(&event) {
                return event;
            }
        }
        self.program.expect(|line| line["method"] == "event" && fits(&line["params"]))["params"].clone()
    }
}

fn a_whole_life(driver: &'static str) {
    let stage = Stage::new(driver);
    let mut rpc = Rpc::start(&stage, &["--push-name", "Alice"]);
    let state = rpc.result("state", json!({}));
    assert_eq!((&state["driver"], &state["paired"]), (&driver.into(), &false.into()));
    assert_eq!(state["connection"]["state"], "idle");
    assert_eq!(rpc.error("sendText", json!([BOB, "x"])), (-32007, "notStarted".into()));

    rpc.result("connect", json!({}));
    let qr = rpc.event(|event| event["step"] == "qr");
    assert_eq!(rpc.error("sendText", json!([BOB, "x"])), (-32003, "notPaired".into()));
    assert_eq!(rpc.error("requestPairingCode", json!(["x"])), (-32002, "badPhoneNumber".into()));
    stage.scan(stage.alice, qr["text"].as_str().expect("a text"));
    rpc.event(|event| event["step"] == "paired");
    rpc.event(|event| event["state"] == "caughtUp");
    let state = rpc.result("state", json!([]));
    assert_eq!((&state["paired"], &state["connection"]["state"]), (&true.into(), &"caughtUp".into()));
    assert_eq!(state["pn"], format!("{ALICE}:1@s.whatsapp.net"));
    assert_eq!(rpc.error("requestPairingCode", json!([ALICE])), (-32004, "alreadyPaired".into()));

    let sent = rpc.result("sendText", json!({"to": BOB, "text": "hello", "id": "3EB0AA", "reference": "r1"}));
    assert_eq!((sent["id"].as_str(), sent["devices"].as_u64()), (Some("3EB0AA"), Some(2)));
    stage.on_phone(stage.bob, "hello");
    // conversation = "raw"
    rpc.result("send", json!({"to": BOB, "message": "CgNyYXc="}));
    stage.on_phone(stage.bob, "raw");
    assert_eq!(rpc.error("send", json!({"to": BOB, "message": "CgNy"})), (-32002, "badContent".into()));
    assert_eq!(rpc.error("sendText", json!({"to": "15550009999", "text": "x"})), (-32004, "noRecipient".into()));

    let id = stage.phone_says(stage.bob, ALICE, "hi");
    let message = rpc.event(|event| event["event"] == "message");
    assert_eq!((&message["id"], &message["content"]["body"]), (&id.as_str().into(), &"hi".into()));
    rpc.result("confirm", json!({"delivery": message["delivery"]}));
    rpc.result("markRead", json!({"chat": message["chat"], "ids": [id]}));
    rpc.result("setPresence", json!(["available"]));
    rpc.result("subscribePresence", json!({"to": BOB}));
    rpc.result("sendChatState", json!({"to": BOB, "state": "composing"}));
    let seen = stage.server.wait_for(Duration::from_secs(20), |server| {
        let bob = server.phone(stage.bob);
        let read = bob.receipts().iter().any(|receipt| receipt.kind == "read" && receipt.ids.contains(&id));
        (read && !bob.chatstates().is_empty()).then_some(())
    });
    assert!(seen.is_some(), "Bob's phone saw no receipt or typing");

    rpc.result("disconnect", json!({}));
    rpc.event(|event| event["state"] == "ended");
    assert_eq!(rpc.error("sendText", json!([BOB, "x"])), (-32007, "notConnected".into()));
    rpc.result("connect", json!({}));
    rpc.event(|event| event["state"] == "caughtUp");
    rpc.result("reconnect", json!({}));
    rpc.event(|event| event["state"] == "caughtUp");
    rpc.result("networkChanged", json!({}));
    assert_eq!(rpc.result("profiles", json!({})), json!(["default"]));
    assert_eq!(rpc.result("logout", json!({})), json!({"confirmed": true}));
    assert_eq!(rpc.result("state", json!({}))["paired"], false);
    assert_eq!(rpc.result("shutdown", json!({})), Value::Null);
    rpc.program.finish().assert(0);
    stage.assert_clean();
}

fn end_of_input(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    let mut rpc = Rpc::start(&stage, &[]);
    rpc.program.write(r#"{"jsonrpc":"2.0","method":"connect"}"#);
    rpc.program
        .write(&json!({"jsonrpc": "2.0", "id": 1, "method": "sendText", "params": [BOB, "last words"]}).to_string());
    rpc.program.close_stdin();
    let ended = rpc.program.finish().assert(0);
    let lines = ended.json();
    assert!(lines.iter().any(|line| line["id"] == 1 && line["result"]["id"].is_string()), "{lines:#?}");
    assert_eq!(lines.last().expect("events")["params"]["state"], "ended", "{lines:#?}");
    stage.on_phone(stage.bob, "last words");
    // Nothing on stdin at all.
    stage.run(&["rpc"]).assert(0);
    stage.assert_clean();
}

fn comes_again(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    stage.phone_says(stage.bob, ALICE, "one");
    let mut last = Value::Null;
    for confirm in [false, true] {
        let mut rpc = Rpc::start(&stage, &[]);
        rpc.result("connect", json!({}));
        let message = rpc.event(|event| event["event"] == "message");
        if confirm {
            assert_eq!(message["delivery"], last);
            rpc.result("confirm", json!([message["delivery"]]));
        }
        last = message["delivery"].clone();
        rpc.program.kill();
    }
    let mut rpc = Rpc::start(&stage, &[]);
    rpc.result("connect", json!({}));
    stage.phone_says(stage.bob, ALICE, "two");
    assert_eq!(rpc.event(|event| event["event"] == "message")["content"]["body"], "two");
    stage.assert_clean();
}

fn in_order(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    let mut rpc = Rpc::start(&stage, &[]);
    rpc.result("connect", json!({}));
    let request =
        |at: usize| json!({"jsonrpc": "2.0", "id": at, "method": "sendText", "params": [BOB, format!("{at}")]});
    for at in 0..10 {
        rpc.program.write(&request(at).to_string());
    }
    rpc.program.write(&Value::from_iter((10..20).map(request)).to_string());
    let batch = rpc.program.expect(Value::is_array);
    assert!(batch.as_array().expect("one").iter().all(|answer| answer["result"]["id"].is_string()), "{batch}");
    let texts = stage.server.with_server(|server, _| server.phone(stage.bob).texts());
    assert_eq!(texts, (0..20).map(|at| at.to_string()).collect::<Vec<_>>());
    rpc.program.finish().assert(0);
    stage.assert_clean();
}

fn interrupted(driver: &'static str) {
    let stage = Stage::new(driver);
    stage.pair("default", stage.alice);
    let mut rpc = Rpc::start(&stage, &[]);
    rpc.result("connect", json!({}));
    rpc.event(|event| event["state"] == "caughtUp");
    // The profile is held...
    let mut other = Rpc::start(&stage, &[]);
    assert_eq!(other.error("connect", json!({})), (-32008, "profileInUse".into()));
    rpc.program.interrupt();
    let ended = rpc.program.finish().assert(130);
    assert_eq!(ended.json().last().expect("events")["params"]["state"], "ended");
    // ... until its holder has ended.
    other.result("connect", json!({}));
    other.program.finish().assert(0);
    stage.assert_clean();
}

#[test]
fn the_protocol_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = bare(&["rpc"]);
    command.env("AMARULA_DATA_DIR", folder.path());
    let mut rpc = Program::start(command);
    let mut say = |line: &str| {
        rpc.write(line);
        serde_json::from_str::<Value>(&rpc.line()).expect("JSON")
    };
    let code = |answer: &Value| (answer["id"].clone(), answer["error"]["code"].as_i64().expect("a code"));
    assert_eq!(code(&say("{nonsense")), (Value::Null, -32700));
    assert_eq!(code(&say(r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#)), (Value::Null, -32700));
    assert_eq!(
        code(&say(r#"[{"jsonrpc": "2.0", "method": "state", "id": 1}, {"jsonrpc": "2.0", "method"]"#)).1,
        -32700
    );
    assert_eq!(code(&say("[]")), (Value::Null, -32600));
    assert_eq!(code(&say(r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#)), (Value::Null, -32600));
    assert_eq!(code(&say(r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#)), (json!("1"), -32601));
    assert_eq!(code(&say(r#"{"jsonrpc": "2.0", "method": "confirm", "params": {}, "id": 2}"#)), (json!(2), -32602));
    let answers = say("[1,2,3]");
    assert_eq!(answers.as_array().expect("a batch").iter().map(|one| code(one).1).collect::<Vec<_>>(), [-32600; 3]);
    // Notifications get no answer, not even a bad one; so the next answer is that of the next request.
    let answers = say(concat!(
        r#"{"jsonrpc": "2.0", "method": "foobar"}"#,
        "\n",
        r#"[{"jsonrpc": "2.0", "method": "state"}, {"jsonrpc": "2.0", "method": "foobar", "params": [7]}]"#,
        "\n\n",
        r#"[{"jsonrpc": "2.0", "method": "state", "id": null}, {"foo": "boo"}, {"jsonrpc": "2.0", "method": "state"}]"#,
    ));
    let answers = answers.as_array().expect("a batch");
    assert_eq!(answers.len(), 2, "{answers:#?}");
    assert!(answers.iter().any(|one| one["id"].is_null() && one["result"]["profile"] == "default"));
    let methods = say(r#"{"jsonrpc": "2.0", "method": "rpc.discover", "id": 1.5}"#);
    assert_eq!(methods["id"], 1.5);
    let methods = methods["result"].as_array().expect("a list").clone();
    assert!(methods.iter().any(|one| one["name"] == "sendText" && one["params"][0] == "to"));
    // The manual has them all.
    let manual = include_str!("../../docs/rpc.md");
    for method in methods {
        let name = format!("| `{}`", method["name"].as_str().expect("a name"));
        assert!(manual.contains(&name), "{name} is not in docs/rpc.md");
    }
    // Many at once.
    for at in 0..1000 {
        rpc.write(&json!({"jsonrpc": "2.0", "method": "methods", "id": at}).to_string());
    }
    let mut ids: Vec<u64> =
        (0..1000).map(|_| rpc.expect(|line| line["result"].is_array())["id"].as_u64().expect("a number")).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..1000).collect::<Vec<_>>());
    rpc.finish().assert(0);
}

#[test]
fn nobody_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = bare(&["rpc"]);
    command.env("AMARULA_DATA_DIR", folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program");
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, b"{\"jsonrpc\":\"2.0\",\"method\":\"state\",\"id\":1}\n").expect("it reads");
    for _ in 0..2000 {
        if let Some(status) = child.try_wait().expect("a child") {
            assert_eq!(status.code(), Some(1));
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    panic!("it does not end");
}
