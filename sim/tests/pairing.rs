//! Linking: by QR, by phone code, and every way it can go wrong (`protocol/pairing.md` §9).

use amarula_core::engine::Ticket;
use amarula_core::engine::command::{Connect, PairingCode, RequestPairingCode};
use amarula_core::error::{DropCause, EndReason, Failure, PairingError, RejectReason};
use amarula_core::event::{Connection, Event, Pairing};
use amarula_core::store::Namespace;
use amarula_sim::server::faults::{CodeFault, PairingFault};
use amarula_sim::world::{ClientId, Split, World};
use amarula_sim::{AccountId, ServerConfig};

const PN: &str = "15550001";

fn world(seed: u64) -> (World, ClientId, AccountId) {
    let mut world = World::new(seed);
    let account = world.server.add_account(PN, "900001");
    let client = world.add_client(world.config());
    (world, client, account)
}

fn failure(world: &World, client: ClientId) -> Option<PairingError> {
    world.events(client).iter().find_map(|delivery| match &delivery.event {
        Event::Pairing(Pairing::Failed(error)) => Some(error.clone()),
        _ => None,
    })
}

fn ended(world: &World, client: ClientId) -> Option<(EndReason, bool)> {
    world.events(client).iter().rev().find_map(|delivery| match &delivery.event {
        Event::Connection(Connection::Ended { reason, wiped }) => Some((reason.clone(), *wiped)),
        _ => None,
    })
}

fn is_paired(world: &World, client: ClientId) -> bool {
    world.saw(client, |event| matches!(event, Event::Pairing(Pairing::Paired { .. })))
}

fn qrs(world: &World, client: ClientId) -> Vec<(String, u64)> {
    let qr = |event: &Event| match event {
        Event::Pairing(Pairing::Qr { text, valid_for }) => Some((text.0.to_string(), valid_for.as_secs())),
        _ => None,
    };
    world.events(client).iter().filter_map(|delivery| qr(&delivery.event)).collect()
}

/// Field `n` of a QR text: ref, noise, identity, secret, type.
fn field(qr: &str, n: usize) -> String {
    qr.split_once('#').unwrap().1.split(',').nth(n).unwrap().to_owned()
}

fn connect(world: &mut World, client: ClientId) {
    let _ = world.submit(client, Connect).unwrap();
    assert!(world.run_until(|world| world.qr(client).is_some(), 30_000));
    world.run_for(1_000);
}

fn ask_code(world: &mut World, client: ClientId) -> Ticket<PairingCode> {
    world.submit(client, RequestPairingCode { phone: PN.into(), custom_code: None }).unwrap()
}

fn code(world: &mut World, client: ClientId) -> String {
    let ticket = ask_code(world, client);
    world.run_for(1_000);
    world.reply(client, ticket).unwrap().unwrap().code.to_string()
}

fn type_code(world: &mut World, account: AccountId, code: &str) {
    world.server.type_code(world.now(), account, code).unwrap();
}

#[test]
fn by_qr() {
    let (mut world, client, account) = world(1);
    let key = world.pair(client, account);
    world.assert_clean();
    let companion = &world.server.account(account).unwrap().companions[&key.1];
    assert_eq!(companion.name, "Amarula");
    assert_eq!(companion.one_time.len(), 812);
    assert!(companion.logged_in);
    let paired = world.take_events(client).into_iter().find_map(|event| match event {
        Event::Pairing(Pairing::Paired { pn, lid, platform, .. }) => {
            Some((pn.to_string(), lid.unwrap().to_string(), platform))
        }
        _ => None,
    });
    let (pn, lid, platform) = paired.unwrap();
    assert_eq!(
        (pn.as_str(), lid.as_str(), platform.as_str()),
        ("15550001:1@s.whatsapp.net", "900001:1@lid", "android")
    );
    let store = world.store(client);
    assert!(store.get(Namespace::LidOfPn, PN).is_some() && store.get(Namespace::PnOfLid, "900001").is_some());
    assert!(store.get(Namespace::Identity, "15550001@s.whatsapp.net").is_some());
    assert!(store.get(Namespace::Identity, "900001@lid").is_some());
    assert_eq!(store.count(Namespace::PreKey), 812);
}

/// The restart after pairing is no failure: no back-off, no count.
#[test]
fn restart_follows_at_once() {
    let (mut world, client, account) = world(2);
    world.pair(client, account);
    let drops: Vec<_> = world
        .take_events(client)
        .into_iter()
        .filter_map(|event| match event {
            Event::Connection(Connection::Dropped { cause, retry_in }) => Some((cause, retry_in.as_millis())),
            _ => None,
        })
        .collect();
    assert_eq!(drops, [(DropCause::RestartRequired, 0)]);
}

#[test]
fn in_every_split() {
    for split in [Split::Every(1), Split::Every(7), Split::Random] {
        let (mut world, client, account) = world(3);
        world.net.split = split;
        world.pair(client, account);
        world.assert_clean();
    }
}

/// The same outputs, byte for byte, however the stream is cut.
#[test]
fn splits_are_invisible() {
    let run = |split| {
        let (mut world, client, account) = world(3);
        world.net.split = split;
        world.pair(client, account);
        world.fingerprint()
    };
    let whole = run(Split::Whole);
    assert_eq!([run(Split::Every(1)), run(Split::Every(13)), run(Split::At(3))], [whole; 3]);
}

#[test]
fn same_seed_same_outputs() {
    let run = |seed| {
        let (mut world, client, account) = world(seed);
        world.net.jitter = 30;
        world.pair(client, account);
        world.fingerprint()
    };
    assert_eq!(run(4), run(4));
    assert_ne!(run(4), run(5));
}

#[test]
fn refs_rotate_and_run_out() {
    let (mut world, client, _) = world(6);
    connect(&mut world, client);
    let start = world.now();
    assert!(world.run_until(|world| ended(world, client).is_some(), 300_000));
    assert_eq!(ended(&world, client), Some((EndReason::QrExhausted, false)));
    let shown = qrs(&world, client);
    assert_eq!(shown.iter().map(|(_, secs)| *secs).collect::<Vec<_>>(), [60, 20, 20, 20, 20, 20]);
    let refs: std::collections::BTreeSet<_> = shown.iter().map(|(text, _)| field(text, 0)).collect();
    assert_eq!(refs.len(), 6);
    assert!((155_000..=161_000).contains(&world.now().since(start)));
    // The host may start over: same keys, new refs.
    let _ = world.take_events(client);
    connect(&mut world, client);
    assert_eq!(field(&qrs(&world, client)[0].0, 2), field(&shown[0].0, 2));
    world.assert_clean();
}

/// A new secret redraws the ref on show and does not prolong it.
#[test]
fn refresh_redraws() {
    for rotate_form in [false, true] {
        let (mut world, client, account) = world(7);
        connect(&mut world, client);
        world.run_for(30_000);
        let conn = world.conn(client).unwrap();
        world.server.refresh_pairing(world.now(), conn, rotate_form);
        world.run_for(1_000);
        let shown = qrs(&world, client);
        assert_eq!(shown.len(), 2);
        assert_eq!(field(&shown[0].0, 0), field(&shown[1].0, 0));
        assert_ne!(field(&shown[0].0, 3), field(&shown[1].0, 3));
        assert!((27..=29).contains(&shown[1].1), "{}", shown[1].1);
        world.scan(client, account).unwrap();
        assert!(world.run_until(|world| world.is_open(client), 60_000));
        world.assert_clean();
    }
}

fn refused(fault: PairingFault, error: PairingError) {
    let (mut world, client, account) = world(8);
    world.server.faults().pairing = Some(fault);
    connect(&mut world, client);
    let before = world.qr(client).unwrap();
    world.scan(client, account).unwrap();
    world.run_for(20_000);
    assert_eq!(failure(&world, client), Some(error), "{fault:?}");
    assert!(!is_paired(&world, client));
    assert_eq!(world.store(client).count(Namespace::Identity), 0);
    // The keys are kept, the secret is not; and the next try works.
    let after = world.qr(client).unwrap();
    assert_eq!(field(&before, 2), field(&after, 2));
    assert_ne!(field(&before, 3), field(&after, 3));
    world.scan(client, account).unwrap();
    assert!(world.run_until(|world| world.is_open(client), 60_000), "{fault:?}");
    world.assert_clean();
}

#[test]
fn refused_pair_success() {
    refused(PairingFault::WrongHmac, PairingError::HmacMismatch);
    refused(PairingFault::BadAccountSignature, PairingError::SignatureMismatch);
    refused(PairingFault::NoKeyIndex, PairingError::Malformed);
    refused(PairingFault::NoDeviceIdentity, PairingError::Malformed);
}

#[test]
fn accepted_oddities() {
    use PairingFault::{CloseWithout515, HostedBoth, HostedOuter, No515, NoLid, SuccessTwice};
    for fault in [HostedBoth, HostedOuter, NoLid, SuccessTwice, No515, CloseWithout515] {
        let (mut world, client, account) = world(9);
        world.server.faults().pairing = Some(fault);
        world.pair(client, account);
        world.assert_clean();
        // The LID comes with the first login at the latest.
        assert!(world.store(client).get(Namespace::PnOfLid, "900001").is_some(), "{fault:?}");
    }
}

#[test]
fn removed_before_the_first_login() {
    for fault in [PairingFault::FirstLogin401, PairingFault::CloseBeforeAnswer] {
        let (mut world, client, account) = world(10);
        world.server.faults().pairing = Some(fault);
        connect(&mut world, client);
        world.scan(client, account).unwrap();
        assert!(world.run_until(|world| ended(world, client).is_some(), 60_000), "{fault:?}");
        assert_eq!(ended(&world, client), Some((EndReason::DeviceRemoved, true)));
        assert_eq!(failure(&world, client), Some(PairingError::RemovedAtLogin));
        world.run_for(1_000);
        assert!(world.store(client).records().is_empty());
        // Pairing again begins from nothing.
        let _ = world.take_events(client);
        world.pair(client, account);
    }
}

/// A crash at any commit of the pairing: the link is there or it is not, and in both cases things go on.
#[test]
fn crash_at_every_commit() {
    let (mut first, client, account) = world(11);
    first.pair(client, account);
    let commits = first.store(client).commits();
    for at in 0..commits {
        let (mut world, client, account) = world(11);
        let _ = world.submit(client, Connect).unwrap();
        let mut scanned = false;
        while world.store(client).commits() < at {
            if !scanned && world.qr(client).is_some() {
                scanned = true;
                world.scan(client, account).unwrap();
            }
            world.run_for(1);
        }
        world.crash(client);
        let _ = world.take_events(client);
        let _ = world.submit(client, Connect).unwrap();
        let decided =
            |world: &World| world.qr(client).is_some() || world.is_open(client) || ended(world, client).is_some();
        assert!(world.run_until(decided, 60_000), "commit {at}");
        if ended(&world, client).is_some() {
            // The identity was durable, the answer had not left: the phone knows nothing of us.
            assert_eq!(failure(&world, client), Some(PairingError::RemovedAtLogin));
            let _ = world.take_events(client);
        }
        if !world.is_open(client) {
            world.pair(client, account);
        }
        world.run_for(60_000);
        world.assert_clean();
    }
}

/// A failed commit at any place: what was gated never left.
#[test]
fn storage_failure_at_every_commit() {
    let (mut first, client, account) = world(12);
    first.pair(client, account);
    for at in 0..u32::try_from(first.store(client).commits()).unwrap() {
        let (mut world, client, account) = world(12);
        world.store_mut(client).fail_commit_after = Some(at);
        let _ = world.submit(client, Connect).unwrap();
        for _ in 0..4 {
            if world.run_until(|world| world.is_open(client), 5_000) {
                break;
            }
            if ended(&world, client).is_some() {
                let _ = world.submit(client, Connect).unwrap();
            }
            if !world.is_open(client) && world.qr(client).is_some() {
                let _ = world.scan(client, account);
            }
        }
        assert!(world.run_until(|world| world.is_open(client), 120_000), "commit {at}: {:#?}", world.events(client));
        world.run_for(120_000);
        let device = *world.server.account(account).unwrap().companions.keys().last().unwrap();
        assert_eq!(world.server.account(account).unwrap().companions[&device].one_time.len(), 812, "commit {at}");
        world.assert_clean();
    }
}

/// The connection breaks at any moment of pairing and first login: in the end the device is linked and works.
#[test]
fn connection_lost_at_every_moment() {
    for at in (1_000..2_000).step_by(9) {
        let (mut world, client, account) = world(13);
        world.store_mut(client).delay = 15;
        connect(&mut world, client);
        let start = world.now();
        world.scan(client, account).unwrap();
        world.run_for(at - world.now().since(start));
        world.break_connection(client);
        for _ in 0..3 {
            world.run_for(20_000);
            if ended(&world, client).is_some() {
                // The phone never saw our answer.
                assert_eq!(failure(&world, client), Some(PairingError::RemovedAtLogin), "{at}");
                let _ = world.take_events(client);
                let _ = world.submit(client, Connect).unwrap();
            } else if !is_paired(&world, client) && world.qr(client).is_some() {
                let _ = world.scan(client, account);
            }
        }
        assert!(world.is_open(client), "{at}");
        world.run_for(120_000);
        let companions = &world.server.account(account).unwrap().companions;
        assert_eq!(companions.values().last().unwrap().one_time.len(), 812, "{at}");
        world.assert_clean();
    }
}

/// What the server sees is durable before it sees it.
#[test]
fn nothing_leaves_before_it_is_durable() {
    let (mut world, client, account) = world(14);
    world.store_mut(client).delay = 40;
    let _ = world.submit(client, Connect).unwrap();
    let mut scanned = false;
    for _ in 0..20_000 {
        world.run_for(1);
        if !scanned && world.qr(client).is_some() {
            scanned = true;
            world.scan(client, account).unwrap();
        }
        let store = world.store(client);
        if let Some(companion) = world.server.account(account).unwrap().companions.get(&1) {
            assert!(store.get(Namespace::Identity, "900001@lid").is_some());
            assert!(companion.one_time.keys().all(|id| store.get(Namespace::PreKey, &id.to_string()).is_some()));
        }
        if is_paired(&world, client) {
            assert!(world.store(client).get(Namespace::Identity, "900001@lid").is_some());
        }
    }
    assert!(world.is_open(client));
    world.assert_clean();
}

// ---- phone code --------------------------------------------------------------------------------------------------

#[test]
fn by_code() {
    let (mut world, client, account) = world(20);
    connect(&mut world, client);
    let code = code(&mut world, client);
    assert_eq!(code.len(), 8);
    type_code(&mut world, account, &code);
    assert!(world.run_until(|world| world.is_open(client), 60_000));
    assert!(is_paired(&world, client));
    world.run_for(5_000);
    world.assert_clean();
}

/// Asked for before the stream is up: it waits for pair-device.
#[test]
fn code_asked_early() {
    let (mut world, client, account) = world(21);
    let early = world.submit(client, RequestPairingCode { phone: PN.into(), custom_code: None });
    assert_eq!(early.unwrap_err().reason, RejectReason::NotConnected);
    let _ = world.submit(client, Connect).unwrap();
    world.run_for(10);
    let request = RequestPairingCode { phone: PN.into(), custom_code: Some("ABCD1234".into()) };
    let ticket = world.submit(client, request.clone()).unwrap();
    assert_eq!(world.submit(client, request).unwrap_err().reason, RejectReason::PairingInProgress);
    world.run_for(5_000);
    assert_eq!(world.reply(client, ticket).unwrap().unwrap().code, "ABCD1234");
    type_code(&mut world, account, "ABCD-1234");
    assert!(world.run_until(|world| world.is_open(client), 60_000));
    world.assert_clean();
}

#[test]
fn code_rejections() {
    let (mut world, client, account) = world(22);
    connect(&mut world, client);
    let mut reason = |phone: &str, code: Option<&str>| {
        let request = RequestPairingCode { phone: phone.into(), custom_code: code.map(Into::into) };
        world.submit(client, request).unwrap_err().reason
    };
    for phone in ["", "0155500011", "+15550001", "555000", "1555 0001", "155500011555000115550001"] {
        assert_eq!(reason(phone, None), RejectReason::BadPhoneNumber, "{phone}");
    }
    for code in ["", "ABCD123", "ABCD123O", "abcd1234"] {
        assert_eq!(reason(PN, Some(code)), RejectReason::BadCode, "{code}");
    }
    world.pair(client, account);
    let request = RequestPairingCode { phone: PN.into(), custom_code: None };
    assert_eq!(world.submit(client, request).unwrap_err().reason, RejectReason::AlreadyPaired);
}

#[test]
fn code_refused_by_the_server() {
    for refusal in [400, 403, 429, 452, 500] {
        let (mut world, client, account) = world(23);
        connect(&mut world, client);
        world.server.faults().code = Some(CodeFault::HelloError(refusal));
        let ticket = ask_code(&mut world, client);
        world.run_for(1_000);
        match world.reply(client, ticket) {
            Some(Err(Failure::Pairing(PairingError::Refused { code, .. }))) => assert_eq!(code, u32::from(refusal)),
            other => panic!("{other:?}"),
        }
        // The QR code is still good.
        world.scan(client, account).unwrap();
        assert!(world.run_until(|world| world.is_open(client), 60_000));
    }
}

#[test]
fn code_never_answered() {
    let (mut world, client, _) = world(24);
    connect(&mut world, client);
    world.server.faults().code = Some(CodeFault::HelloSilent);
    let ticket = ask_code(&mut world, client);
    assert!(world.run_until(|world| world.reply(client, ticket).is_some(), 100_000));
    assert!(matches!(world.reply(client, ticket), Some(Err(Failure::Pairing(_)))));
}

/// Not typed within 180 s. The QR codes run out before; the connection is kept for the code.
#[test]
fn code_expires() {
    let (mut world, client, _) = world(25);
    connect(&mut world, client);
    code(&mut world, client);
    let start = world.now();
    assert!(world.run_until(|world| ended(world, client).is_some() || failure(world, client).is_some(), 300_000));
    assert!(world.now().since(start) >= 150_000);
    let error = failure(&world, client);
    assert!(matches!(error, Some(PairingError::Expired | PairingError::Disconnected)), "{error:?}");
}

#[test]
fn code_of_another_ref_is_ignored() {
    let (mut world, client, account) = world(26);
    world.server.faults().code = Some(CodeFault::WrongRef);
    connect(&mut world, client);
    let code = code(&mut world, client);
    type_code(&mut world, account, &code);
    world.run_for(5_000);
    assert_eq!((failure(&world, client), qrs(&world, client).len()), (None, 1));
    world.server.faults().code = Some(CodeFault::ShortWrap);
    world.assert_clean();
}

#[test]
fn finish_refused() {
    let (mut world, client, account) = world(27);
    world.server.faults().code = Some(CodeFault::FinishError(400));
    connect(&mut world, client);
    let code = code(&mut world, client);
    type_code(&mut world, account, &code);
    world.run_for(5_000);
    assert!(matches!(failure(&world, client), Some(PairingError::Refused { code: 400, .. })));
    // One secret from stage 2, one more because it came to nothing; the ref on show is still good.
    let shown = qrs(&world, client);
    assert_eq!(shown.len(), 3);
    assert!(shown.iter().all(|(text, _)| field(text, 0) == field(&shown[0].0, 0)));
    world.scan(client, account).unwrap();
    assert!(world.run_until(|world| world.is_open(client), 60_000));
}

/// No pair-success within 60 s of primary_hello, whether companion_finish was answered or not.
#[test]
fn no_success_after_finish() {
    for fault in [CodeFault::NoSuccess, CodeFault::FinishSilent] {
        let (mut world, client, account) = world(28);
        world.server.faults().code = Some(fault);
        connect(&mut world, client);
        let code = code(&mut world, client);
        type_code(&mut world, account, &code);
        world.run_for(55_000);
        assert_eq!(failure(&world, client), None, "{fault:?}");
        world.run_for(10_000);
        assert_eq!(failure(&world, client), Some(PairingError::Expired), "{fault:?}");
        world.scan(client, account).unwrap();
        assert!(world.run_until(|world| world.is_open(client), 60_000));
    }
}

/// A wrong code shows only in that nothing follows.
#[test]
fn wrong_code() {
    let (mut world, client, account) = world(29);
    connect(&mut world, client);
    let right = code(&mut world, client);
    let wrong = if right == "11111111" { "22222222" } else { "11111111" };
    type_code(&mut world, account, wrong);
    world.run_for(65_000);
    assert_eq!(failure(&world, client), Some(PairingError::Expired));
    let second = code(&mut world, client);
    type_code(&mut world, account, &second);
    assert!(world.run_until(|world| world.is_open(client), 60_000));
}

#[test]
fn three_hellos_at_most() {
    let (mut world, client, account) = world(30);
    world.server.faults().code = Some(CodeFault::Repeated(5));
    connect(&mut world, client);
    let code = code(&mut world, client);
    type_code(&mut world, account, &code);
    world.run_for(5_000);
    let finishes = world.server.trace().iter().filter(|line| {
        let reg = line.node.nodes().first();
        line.from_client && reg.and_then(|reg| reg.get("stage")).is_some_and(|stage| stage == "companion_finish")
    });
    assert_eq!(finishes.count(), 3);
}

#[test]
fn phone_wants_a_new_code() {
    let (mut world, client, account) = world(31);
    connect(&mut world, client);
    code(&mut world, client);
    let conn = world.conn(client).unwrap();
    world.server.refresh_code(world.now(), conn, true);
    world.run_for(1_000);
    assert_eq!(failure(&world, client), Some(PairingError::NewCodeWanted));
    let next = code(&mut world, client);
    type_code(&mut world, account, &next);
    assert!(world.run_until(|world| world.is_open(client), 60_000));
    world.assert_clean();
}

/// A refresh while the code is on show changes the QR, not the code; after companion_finish it is dropped.
#[test]
fn refresh_beside_a_code() {
    let (mut world, client, account) = world(32);
    connect(&mut world, client);
    let shown = code(&mut world, client);
    let conn = world.conn(client).unwrap();
    world.server.refresh_pairing(world.now(), conn, false);
    world.run_for(1_000);
    assert_eq!(qrs(&world, client).len(), 2);
    world.server.faults().code = None;
    type_code(&mut world, account, &shown);
    assert!(world.run_until(|world| world.is_open(client), 60_000));
    world.assert_clean();

    let (mut world, client, account) = self::world(33);
    world.server.faults().code = Some(CodeFault::NoSuccess);
    connect(&mut world, client);
    let shown = code(&mut world, client);
    type_code(&mut world, account, &shown);
    world.run_for(1_000);
    let before = world.qr(client);
    let conn = world.conn(client).unwrap();
    world.server.refresh_pairing(world.now(), conn, false);
    world.run_for(1_000);
    assert_eq!(world.qr(client), before);
}

#[test]
fn connection_lost_with_a_code_live() {
    let (mut world, client, _) = world(34);
    connect(&mut world, client);
    code(&mut world, client);
    world.break_connection(client);
    world.run_for(1_000);
    assert_eq!(failure(&world, client), Some(PairingError::Disconnected));
    // And with the command still open.
    world.run_for(5_000);
    world.server.faults().code = Some(CodeFault::HelloSilent);
    let ticket = ask_code(&mut world, client);
    world.run_for(1_000);
    world.break_connection(client);
    world.run_for(1_000);
    assert_eq!(world.reply(client, ticket), Some(Err(Failure::Pairing(PairingError::Disconnected))));
}

#[test]
fn qr_wins_over_a_code() {
    let (mut world, client, account) = world(35);
    connect(&mut world, client);
    code(&mut world, client);
    world.scan(client, account).unwrap();
    assert!(world.run_until(|world| world.is_open(client), 60_000));
    world.run_for(200_000);
    assert_eq!(failure(&world, client), None);
}

#[test]
fn passkey_is_only_reported() {
    let (mut world, client, _) = world(36);
    connect(&mut world, client);
    let conn = world.conn(client).unwrap();
    world.server.notify_unpaired(
        conn,
        "passkey_prologue_request",
        amarula_core::wire::Node::new("passkey_request_options"),
    );
    world.run_for(1_000);
    assert_eq!(failure(&world, client), Some(PairingError::PasskeyRequired));
}

#[test]
fn migrated_account_and_business_name() {
    let mut world = World::with(37, ServerConfig { lid_migrated: true, trace: true, ..ServerConfig::default() });
    let account = world.server.add_account(PN, "900001");
    world.server.account_mut(account).unwrap().business_name = Some("Shop".into());
    let client = world.add_client(world.config());
    world.pair(client, account);
    let name = |event: &Event| matches!(event, Event::Pairing(Pairing::Paired { business_name: Some(name), .. }) if name == "Shop");
    assert!(world.saw(client, name));
    world.assert_clean();
}
