//! Sessions of simulated accounts, recorded: what `testvectors/sessions/` holds.
#![allow(unreachable_pub, dead_code, reason = "shared by a test and an example")]

use std::path::PathBuf;

use amarula_core::config::Config;
use amarula_core::engine::command::{Completion, Connect, Disconnect, Logout, Reply, Request, RequestPairingCode};
use amarula_core::engine::recording::Recorder;
use amarula_core::engine::{Engine, Output};
use amarula_core::error::Failure;
use amarula_core::event::{Connection, Event, Pairing};
use amarula_core::wire::Jid;
use amarula_sim::explorer::scenarios::{ALICE, Small, jid, small, text};
use amarula_sim::explorer::{Action, Budget, Model, Taped};
use amarula_sim::server::faults::DeliveryFault;
use amarula_sim::{AccountId, ServerConfig};

/// Minutes are plenty for everything here.
const WAIT: u64 = 5 * 60_000;
/// The seed of every recorded engine: they are different accounts or different worlds.
const SEED: [u8; 32] = [42; 32];

/// A recorded session.
pub(crate) struct Capture {
    /// Name of its file, without the ending.
    pub(crate) name: &'static str,
    /// What happens in it.
    pub(crate) what: &'static str,
    /// The file.
    pub(crate) recording: Vec<u8>,
    /// Entries in it.
    pub(crate) entries: u64,
    /// Length of the first bytes on each connection.
    hellos: Vec<usize>,
}

/// Where the files are.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testvectors/sessions")
}

/// All of them.
pub(crate) fn all() -> Vec<Capture> {
    vec![
        pairing_by_qr(),
        pairing_by_code(),
        login_with_backlog(),
        conversation(),
        reconnects(),
        storage_failure(),
        logout(),
    ]
}

/// Starts recording: a fresh process of the one client, not connected, with its records from before.
fn record(model: &mut Model, seed: [u8; 32]) {
    model.client_mut(ALICE).tape = Some(Vec::new());
    model.restart(ALICE, seed);
}

/// What went into the engine since [`record`], done once more with a recorder beside.
fn capture(name: &'static str, what: &'static str, model: &Model, config: &Config) -> Capture {
    assert!(model.broken.is_empty(), "{name}: {:?}", model.broken);
    assert!(model.server.violations().is_empty(), "{name}: {:?}", model.server.violations());
    let client = model.client(ALICE);
    let steps = client.tape.clone().unwrap_or_default();
    let Some(Taped::Input(start, _) | Taped::Request(start, _)) = steps.first() else { panic!("{name} is empty") };
    let mut recorder = Recorder::start(config, &SEED, *start).expect("small");
    let mut engine = Engine::new(config.clone(), SEED, *start);
    let (mut events, mut done) = (Vec::new(), Vec::new());
    let (mut hellos, mut said) = (Vec::new(), None);
    for step in steps {
        match step {
            Taped::Input(now, input) => {
                recorder.input(now, &input).expect("small");
                engine.handle(now, input).expect("no misuse the first time");
            }
            Taped::Request(now, request) => {
                recorder.command(now, &request).expect("small");
                let answer = engine.submit_request(now, request);
                recorder.answer(&answer).expect("small");
            }
        }
        loop {
            let output = engine.poll_output();
            recorder.output(&output).expect("small");
            match output {
                Output::Event(delivery) => events.push(delivery),
                Output::Done(completion) => done.push(completion),
                Output::Send(conn, bytes) if said.replace(conn) != Some(conn) => hellos.push(bytes.len()),
                Output::Idle { .. } => break,
                _ => {}
            }
        }
    }
    // What the tape leaves out would show here.
    assert!(client.events.ends_with(&events), "{name}: other events than in the world");
    assert_eq!(client.done, done, "{name}: other answers than in the world");
    Capture { name, what, recording: recorder.pending().to_vec(), entries: recorder.entries(), hellos }
}

fn world() -> (Model, AccountId, Config) {
    let mut model = Model::new(ServerConfig { seed: [3; 32], ..ServerConfig::default() });
    let alice = model.server.add_account("15550000001", "200000000001");
    let config = model.config();
    model.add_client(config.clone());
    model.client_mut(ALICE).confirms = true;
    (model, alice, config)
}

fn quiet(model: &mut Model) {
    assert!(model.run(Model::is_quiet, WAIT), "it never comes to an end: {:#?}", model.client(ALICE).events);
}

fn connect(model: &mut Model) {
    model.submit(ALICE, Request::Connect(Connect));
    quiet(model);
}

fn phone_says(model: &mut Model, from: AccountId, to: &Jid, body: &str) {
    let time = model.time();
    model.server.phone_send_text(time, from, to, body);
    model.touched("phone");
}

fn pairing_by_qr() -> Capture {
    let (mut model, alice, config) = world();
    record(&mut model, SEED);
    model.pair(ALICE, alice);
    capture("pairing-qr", "QR code, pair-success, restart, first login, upload of prekeys", &model, &config)
}

fn pairing_by_code() -> Capture {
    let (mut model, alice, config) = world();
    record(&mut model, SEED);
    model.submit(ALICE, Request::Connect(Connect));
    let shows_qr = |model: &Model| {
        model.client(ALICE).events.iter().any(|d| matches!(d.event, Event::Pairing(Pairing::Qr { .. })))
    };
    assert!(model.run(|model| shows_qr(model) && model.next().is_none(), WAIT), "no QR code");
    let request = RequestPairingCode { phone: "15550000001".into(), custom_code: None };
    model.submit(ALICE, Request::RequestPairingCode(request));
    assert!(model.run(|model| model.client(ALICE).open_tickets() == 0 && model.next().is_none(), WAIT), "no code");
    let code = model.client(ALICE).done.iter().find_map(|completion| match &completion.result {
        Ok(Reply::PairingCode(code)) => Some(code.code.to_string()),
        _ => None,
    });
    let time = model.time();
    model.server.type_code(time, alice, &code.expect("a code")).expect("the phone takes the code");
    model.touched("code");
    quiet(&mut model);
    capture("pairing-code", "pairing code, pair-success, restart, first login, upload of prekeys", &model, &config)
}

fn login_with_backlog() -> Capture {
    let Small { mut model, alice, bob, carol } = small(true);
    let config = model.config();
    model.cut(ALICE);
    let own = jid(&model, alice);
    for i in 0..8 {
        phone_says(&mut model, if i % 2 == 0 { bob } else { carol }, &own, &format!("missed {i}"));
    }
    record(&mut model, SEED);
    connect(&mut model);
    assert_eq!(model.client(ALICE).texts().iter().filter(|text| text.starts_with("missed")).count(), 8);
    model.submit(ALICE, Request::Disconnect(Disconnect));
    model.run(|_| false, 1_000);
    capture("login-backlog", "login, eight messages that came meanwhile, disconnect", &model, &config)
}

fn conversation() -> Capture {
    let Small { mut model, alice, bob, carol } = small(false);
    let config = model.config();
    record(&mut model, SEED);
    connect(&mut model);
    let own = jid(&model, alice);
    for round in 0..3 {
        for account in [bob, carol] {
            let to = jid(&model, account);
            model.submit(ALICE, text(&to, &format!("question {round}"), (round == 1).then_some("reference")));
            quiet(&mut model);
        }
        // One that does not decrypt and is asked for again; ones that change places.
        let fault = if round == 1 { DeliveryFault::Damage } else { DeliveryFault::Delay };
        model.server.faults().on_delivery(1, fault);
        for account in [bob, carol] {
            phone_says(&mut model, account, &own, &format!("answer {round}"));
        }
        quiet(&mut model);
        // And one that the other side cannot decrypt: we send it again.
        if round == 1 {
            model.server.account_mut(bob).expect("an account").phone.refuse_next(1);
        }
    }
    model.run(|_| false, 31_000);
    let events = &model.client(ALICE).events;
    assert!(events.iter().any(|delivery| matches!(delivery.event, Event::Undecryptable(_))), "nothing was damaged");
    for round in 0..3 {
        let body = format!("answer {round}");
        assert_eq!(model.client(ALICE).texts().iter().filter(|text| **text == body).count(), 2, "{body}");
        let body = format!("question {round}");
        for account in [bob, carol] {
            assert_eq!(model.server.phone(account).texts().iter().filter(|text| **text == body).count(), 1, "{body}");
        }
    }
    let what = "texts both ways, new sessions, a resend asked for and one given, a ping";
    capture("conversation", what, &model, &config)
}

fn reconnects() -> Capture {
    let (mut model, alice, mut config) = world();
    config.noise_ik = true;
    model.clients.clear();
    model.add_client(config.clone());
    model.client_mut(ALICE).confirms = true;
    model.pair(ALICE, alice);
    let bob = model.server.add_account("15550000002", "200000000002");
    record(&mut model, SEED);
    connect(&mut model);
    let to = jid(&model, bob);
    for round in 0..4 {
        // Nothing but the connection is lost; the last time it could not be opened at first.
        model.submit(ALICE, text(&to, &format!("before break {round}"), None));
        quiet(&mut model);
        model.cut(ALICE);
        if round == 3 {
            assert!(model.run(|model| model.client(ALICE).connection().is_some(), WAIT));
            model.cut(ALICE);
        }
        quiet(&mut model);
    }
    model.server.config_mut().ik = amarula_sim::server::IkPolicy::Refuse;
    model.cut(ALICE);
    quiet(&mut model);
    let what = "connections that break: resumed (IK), and one resumption that falls back";
    let capture = capture("reconnects", what, &model, &config);
    // The hello of a resumption holds our key and the login.
    assert!(capture.hellos.iter().filter(|length| **length > 100).count() >= 5, "{:?}", capture.hellos);
    capture
}

fn storage_failure() -> Capture {
    let Small { mut model, alice, bob, .. } = small(true);
    let config = model.config();
    record(&mut model, SEED);
    connect(&mut model);
    let own = jid(&model, alice);
    phone_says(&mut model, bob, &own, "into a broken store");
    let to = jid(&model, bob);
    model.submit(ALICE, text(&to, "out of a broken store", Some("reference")));
    // Both are on their way into the store when it breaks.
    while model.client(ALICE).disk.pending().count() < 2 {
        let stores = |action: &Action| matches!(action, Action::Committed(..));
        let action = model.enabled().into_iter().find(|action| !stores(action)).expect("something leads to a commit");
        model.apply(action);
    }
    model.budget = Budget { failures: 1, ..Budget::default() };
    model.apply(Action::Fail(ALICE));
    quiet(&mut model);
    // Its own commit may have been durable, and the answer to the frame was lost with the connection.
    let failed = |done: &Completion| matches!(done.result, Err(Failure::Storage | Failure::Unknown { .. }));
    assert!(model.client(ALICE).done.iter().any(failed), "{:?}", model.client(ALICE).done);
    model.submit(ALICE, text(&to, "out of a whole store", None));
    quiet(&mut model);
    assert_eq!(model.client(ALICE).texts().iter().filter(|text| *text == "into a broken store").count(), 1);
    capture(
        "storage-failure",
        "commits that fail, of a message that came and one to be sent; then both succeed",
        &model,
        &config,
    )
}

fn logout() -> Capture {
    let Small { mut model, alice, bob, .. } = small(true);
    let config = model.config();
    let own = jid(&model, alice);
    record(&mut model, SEED);
    connect(&mut model);
    phone_says(&mut model, bob, &own, "good-bye");
    quiet(&mut model);
    model.submit(ALICE, Request::Logout(Logout));
    let ended = |model: &Model| {
        let events = &model.client(ALICE).events;
        events.iter().any(|d| matches!(d.event, Event::Connection(Connection::Ended { wiped: true, .. })))
    };
    assert!(model.run(|model| ended(model) && model.client(ALICE).disk.is_idle(), WAIT), "no end");
    model.run(|_| false, 1_000);
    assert!(model.client(ALICE).disk.records().is_empty(), "keys are left");
    capture("logout", "a message, then the account is unlinked and its keys are removed", &model, &config)
}
