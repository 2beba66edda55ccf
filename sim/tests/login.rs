//! From `<success>` to the end of a session: login sequence, backlog, keepalive, every way a connection ends
//! (`protocol/transport.md` §9 to §13, §16).

use std::time::Duration;

use amarula_core::Config;
use amarula_core::engine::command::{Connect, Disconnect, Logout, Shutdown};
use amarula_core::engine::{Appetite, Input, OpenError};
use amarula_core::error::{DropCause, EndReason, Failure};
use amarula_core::event::{Connection, Event, Warning};
use amarula_core::store::Namespace;
use amarula_core::wire::{Jid, Node};
use amarula_sim::certs::CertFault;
use amarula_sim::noise::Pattern;
use amarula_sim::server::IkPolicy;
use amarula_sim::world::{ClientId, World};
use amarula_sim::{AccountId, DeviceKey, ServerConfig};

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

struct Setup {
    world: World,
    client: ClientId,
    account: AccountId,
    key: DeviceKey,
}

fn setup_with(seed: u64, server: ServerConfig, change: impl Fn(&mut Config)) -> Setup {
    let mut world = World::with(seed, ServerConfig { trace: true, ..server });
    let account = world.server.add_account("15550001", "900001");
    let mut config = world.config();
    change(&mut config);
    let client = world.add_client(config);
    let key = world.pair(client, account);
    let _ = world.take_events(client);
    Setup { world, client, account, key }
}

fn setup(seed: u64) -> Setup {
    setup_with(seed, ServerConfig::default(), |_| {})
}

impl Setup {
    fn ended(&self) -> Option<(EndReason, bool)> {
        self.world.events(self.client).iter().rev().find_map(|delivery| match &delivery.event {
            Event::Connection(Connection::Ended { reason, wiped }) => Some((reason.clone(), *wiped)),
            _ => None,
        })
    }

    fn drops(&self) -> Vec<(DropCause, Duration)> {
        let drop = |event: &Event| match event {
            Event::Connection(Connection::Dropped { cause, retry_in }) => Some((cause.clone(), *retry_in)),
            _ => None,
        };
        self.world.events(self.client).iter().filter_map(|delivery| drop(&delivery.event)).collect()
    }

    fn warnings(&self) -> Vec<Warning> {
        let warning = |event: &Event| match event {
            Event::Warning(warning) => Some(warning.clone()),
            _ => None,
        };
        self.world.events(self.client).iter().filter_map(|delivery| warning(&delivery.event)).collect()
    }

    /// Breaks the connection and waits for the next login's end.
    fn reconnect(&mut self) {
        self.world.break_connection(self.client);
        self.world.run_for(100);
        let client = self.client;
        assert!(self.world.run_until(|world| world.is_open(client), 30 * MINUTE));
        self.world.run_for(3_000);
    }

    /// What the client sent since trace line `from`: tag and, for queries, namespace and first child.
    fn sent(&self, from: usize) -> Vec<String> {
        let text = |node: &Node| match node.tag.as_str() {
            "iq" => {
                let child = node.nodes().first().map(|child| child.tag.to_string()).unwrap_or_default();
                format!("{} {child}", node.get("xmlns").unwrap_or_default())
            }
            "ib" => node.nodes()[0].tag.to_string(),
            tag => tag.to_owned(),
        };
        self.world.server.trace()[from..].iter().filter(|line| line.from_client).map(|line| text(&line.node)).collect()
    }

    fn companion(&self) -> &amarula_sim::server::Companion {
        &self.world.server.account(self.account).unwrap().companions[&self.key.1]
    }

    fn inject(&mut self, kind: &str, id: &str, from: Jid, child: Node) {
        let node = Node::new("notification")
            .attr("from", from)
            .attr("type", kind)
            .attr("id", id)
            .attr("t", self.world.now().secs())
            .child(child);
        self.world.server.inject(self.world.now(), self.key, node);
    }

    fn raw(&mut self, node: &Node) {
        let conn = self.world.conn(self.client).unwrap();
        self.world.server.send_raw(self.world.now(), conn, node);
        self.world.run_for(500);
    }

    fn open(&self) -> bool {
        self.world.is_open(self.client)
    }
}

// ---- the sequence ------------------------------------------------------------------------------------------------

#[test]
fn sequence() {
    let mut s = setup(1);
    let from = s.world.server.trace().len();
    s.reconnect();
    let sent = s.sent(from);
    assert_eq!(sent[..4], ["unified_session", "encrypt count", "passive active", "unified_session"], "{sent:?}");
    let mut rest = sent[4..].to_vec();
    rest.sort();
    assert_eq!(rest, ["abt props", "blocklist ", "encrypt digest", "presence", "privacy privacy"]);
    s.world.assert_clean();
}

#[test]
fn open_does_not_wait_for_prekeys() {
    let mut world = World::new(2);
    let account = world.server.add_account("15550001", "900001");
    let client = world.add_client(world.config());
    world.server.faults().silent_iqs = vec!["encrypt".into()];
    world.pair(client, account);
    assert!(world.is_open(client));
    assert_eq!(world.server.account(account).unwrap().companions[&1].one_time.len(), 0);
    // No answer in 75 s, then again.
    world.server.faults().silent_iqs.clear();
    world.run_for(2 * MINUTE);
    assert_eq!(world.server.account(account).unwrap().companions[&1].one_time.len(), 812);
    world.assert_clean();
}

#[test]
fn active_is_tried_again() {
    let mut s = setup(3);
    s.world.server.faults().iq_errors.insert("passive".into(), (503, None));
    s.reconnect();
    assert!(s.open());
    s.world.server.faults().silent_iqs = vec!["passive".into()];
    s.world.break_connection(s.client);
    s.world.run_for(70_000);
    assert!(!s.world.events(s.client).iter().rev().take(3).any(|d| d.event == Event::Connection(Connection::Open)));
    s.world.server.faults().silent_iqs.clear();
    s.world.run_for(30_000);
    assert!(s.open());
    s.world.assert_clean();
}

#[test]
fn backlog_in_batches() {
    let mut s = setup(4);
    let _ = s.world.submit(s.client, Disconnect).unwrap();
    s.world.run_for(1_000);
    for n in 0..950 {
        s.inject("psa", &format!("n{n}"), Jid::server(), Node::new("x"));
    }
    let from = s.world.server.trace().len();
    let _ = s.world.take_events(s.client);
    let _ = s.world.submit(s.client, Connect).unwrap();
    s.world.run_for(20_000);
    let caught_up = s.world.take_events(s.client).into_iter().filter_map(|event| match event {
        Event::Connection(Connection::OfflinePending { count } | Connection::CaughtUp { count }) => Some(count),
        _ => None,
    });
    assert_eq!(caught_up.collect::<Vec<_>>(), [950, 950]);
    let sent = s.sent(from);
    assert_eq!(sent.iter().filter(|what| *what == "ack").count(), 950);
    let batches = sent.iter().filter(|what| *what == "offline_batch").count();
    assert!((5..=8).contains(&batches), "{batches}");
    assert_eq!(s.world.server.outstanding(s.account, s.key.1), 0);
    s.world.assert_clean();
}

#[test]
fn lid_of_success_wins() {
    let mut s = setup(5);
    s.world.server.account_mut(s.account).unwrap().lid = "900777".into();
    s.reconnect();
    assert!(s.world.saw(s.client, |event| matches!(event, Event::LidMapping { lid, .. } if lid.user() == "900777")));
    let store = s.world.store(s.client);
    assert!(store.get(Namespace::PnOfLid, "900777").is_some() && store.get(Namespace::PnOfLid, "900001").is_none());
    assert!(store.get(Namespace::Identity, "900777@lid").is_some());
    // Known now.
    let _ = s.world.take_events(s.client);
    s.reconnect();
    assert!(!s.world.saw(s.client, |event| matches!(event, Event::LidMapping { .. })));
}

#[test]
fn second_success_is_ignored() {
    let mut s = setup(6);
    let from = s.world.server.trace().len();
    s.raw(&Node::new("success").attr("t", 5u8).attr("lid", Jid::lid("1").with_device(1)));
    assert!(s.world.store(s.client).get(Namespace::PnOfLid, "1").is_none());
    assert_eq!(s.sent(from), Vec::<String>::new());
    assert!(s.open());
}

#[test]
fn bulletins() {
    let mut s = setup(7);
    let from = s.world.server.trace().len();
    let ib = |child: Node| Node::new("ib").attr("from", Jid::server()).child(child);
    s.raw(&ib(Node::new("dirty").attr("type", "account_sync").attr("timestamp", 17u8)));
    s.raw(&ib(Node::new("tos")));
    let at = s.world.now().secs() + 10 * 24 * 3600;
    s.raw(&ib(Node::new("client_expiration").attr("t", at)));
    s.raw(&ib(Node::new("client_expiration").attr("t", at + 1)));
    s.raw(&ib(Node::new("client_expiration").attr("t", "soon")));
    s.raw(&ib(Node::new("edge_routing").child(Node::new("routing_info").bytes(Vec::new()))));
    assert_eq!(s.warnings(), [Warning::VersionExpires { at }]);
    assert_eq!(s.sent(from), ["urn:xmpp:whatsapp:dirty clean"]);
    s.world.assert_clean();
    s.raw(&ib(Node::new("downgrade_webclient")));
    assert_eq!(s.ended(), Some((EndReason::NoMultiDevice, false)));
}

// ---- keepalive ---------------------------------------------------------------------------------------------------

#[test]
fn idle_pings() {
    let mut s = setup(10);
    let from = s.world.server.trace().len();
    s.world.run_for(60 * MINUTE);
    let pings: Vec<_> = s.world.server.trace()[from..]
        .iter()
        .filter(|line| line.from_client)
        .inspect(|line| assert_eq!(line.node.get("xmlns").as_deref(), Some("w:p")))
        .map(|line| line.at.0)
        .collect();
    assert!((120..=240).contains(&pings.len()), "{}", pings.len());
    assert!(pings.windows(2).all(|two| (15_000..=30_100).contains(&(two[1] - two[0]))), "{pings:?}");
    assert!(s.open() && s.drops().is_empty());
    s.world.assert_clean();
}

#[test]
fn half_open_is_noticed() {
    let mut s = setup(11);
    let since = s.world.now();
    s.world.half_open(s.client);
    let client = s.client;
    let dropped = |world: &World| {
        world.saw(client, |e| matches!(e, Event::Connection(Connection::Dropped { cause: DropCause::Dead, .. })))
    };
    assert!(s.world.run_until(dropped, 2 * MINUTE));
    // 30 s until a ping, 20 s for it.
    assert!(s.world.now().since(since) <= 50_100);
    assert!(s.world.run_until(|world| world.is_open(client), 10_000));
}

#[test]
fn a_refused_ping_is_life() {
    let mut s = setup(12);
    for _ in 0..20 {
        s.world.server.faults().iq_errors.insert("w:p".into(), (501, None));
        s.world.run_for(25_000);
    }
    assert!(s.open() && s.drops().is_empty());
}

#[test]
fn ignored_pings_are_death() {
    let mut s = setup(13);
    s.world.server.faults().ignore_pings = true;
    s.world.run_for(55_000);
    assert_eq!(s.drops()[0].0, DropCause::Dead);
}

/// What the server never answers is no reason to hang up, as long as it answers pings.
#[test]
fn unanswered_query_is_not_death() {
    let mut s = setup(14);
    s.world.server.faults().silent_iqs = vec!["urn:xmpp:whatsapp:dirty".into()];
    let dirty = Node::new("dirty").attr("type", "account_sync").attr("timestamp", 17u8);
    s.raw(&Node::new("ib").attr("from", Jid::server()).child(dirty));
    s.world.run_for(5 * MINUTE);
    assert!(s.open() && s.drops().is_empty());
}

/// Storage is slow, the engine is full, the driver does not read: the peer's silence is of our own making.
#[test]
fn silence_means_nothing_while_full() {
    let mut s = setup_with(16, ServerConfig { ack_deadline: 600_000, ..ServerConfig::default() }, |config| {
        config.limits.inbound_queue = 2;
    });
    s.world.store_mut(s.client).delay = 100_000;
    for n in 0..6u8 {
        let device = Node::new("device").attr("jid", Jid::pn("15559999").with_device(3));
        let child = Node::new("remove").child(device).child(Node::new("key-index-list").attr("ts", 5u8));
        s.inject("devices", &format!("d{n}"), Jid::pn("15559999"), child);
    }
    s.world.run_for(90_000);
    assert_eq!(s.world.engine(s.client).appetite(), Appetite::Full);
    assert!(s.drops().is_empty(), "{:?}", s.drops());
    s.world.run_for(9 * MINUTE);
    assert!(s.open() && s.drops().is_empty(), "{:?}", s.drops());
    assert_eq!(s.world.server.outstanding(s.account, s.key.1), 0);
    s.world.assert_clean();
}

#[test]
fn server_pings_are_answered() {
    let mut s = setup_with(15, ServerConfig { ping_interval: 10_000, ..ServerConfig::default() }, |_| {});
    s.world.run_for(10 * MINUTE);
    assert!(s.open() && s.drops().is_empty());
    s.world.assert_clean();
}

// ---- how connections end -----------------------------------------------------------------------------------------

#[test]
fn failures() {
    let ban = EndReason::TemporaryBan { code: 101, expires_in: Some(Duration::from_secs(3600)) };
    let locked = |reason| EndReason::AccountLocked { reason, text: "Locked: Sorry".into() };
    let refused = |reason| EndReason::Refused { reason };
    let table = [
        (400, refused(400), false),
        (401, EndReason::DeviceRemoved, true),
        (402, ban, false),
        (403, locked(403), true),
        (405, EndReason::ClientOutdated, false),
        (406, locked(406), true),
        (409, refused(409), false),
        (415, refused(415), false),
        (418, refused(418), false),
        (419, refused(419), false),
        (501, refused(501), false),
        (599, refused(599), false),
    ];
    for (reason, end, wiped) in table {
        let mut s = setup(20);
        let attrs = [
            ("code", "101"),
            ("expire", "3600"),
            ("logout_message_header", "Locked"),
            ("logout_message_subtext", "Sorry"),
        ];
        let attrs = attrs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        s.world.server.faults().login_failure = Some((reason, attrs));
        s.world.break_connection(s.client);
        s.world.run_for(5 * MINUTE);
        assert_eq!(s.ended(), Some((end, wiped)), "{reason}");
        assert_eq!(s.world.store(s.client).records().is_empty(), wiped, "{reason}");
        assert_eq!(s.world.conn(s.client), None);
        // A RemovedAtLogin is only for the first login.
        assert!(!s.world.saw(s.client, |event| matches!(event, Event::Pairing(_))));
        s.world.assert_clean();
    }
    for reason in [500, 503] {
        let mut s = setup(21);
        s.world.server.faults().login_failure = Some((reason, Vec::new()));
        s.reconnect();
        assert_eq!(s.drops()[1].0, DropCause::LoginFailed { reason: u32::from(reason) });
    }
}

#[test]
fn stream_errors() {
    let terminal = [
        (Some(401), Some("device_removed"), EndReason::DeviceRemoved, true),
        (Some(401), None, EndReason::DeviceRemoved, true),
        (Some(516), None, EndReason::DeviceRemoved, true),
        (None, Some("replaced"), EndReason::Replaced, false),
        (Some(409), None, EndReason::Replaced, false),
        (Some(440), Some("something"), EndReason::Refused { reason: 440 }, false),
    ];
    for (code, conflict, end, wiped) in terminal {
        let mut s = setup(22);
        let conn = s.world.conn(s.client).unwrap();
        s.world.server.force_stream_error(s.world.now(), conn, code, conflict);
        s.world.run_for(5 * MINUTE);
        assert_eq!(s.ended(), Some((end, wiped)), "{code:?} {conflict:?}");
        assert_eq!(s.world.store(s.client).records().is_empty(), wiped);
        assert_eq!(s.world.conn(s.client), None);
    }
    for code in [Some(500), Some(503), Some(999), None] {
        let mut s = setup(23);
        let conn = s.world.conn(s.client).unwrap();
        s.world.server.force_stream_error(s.world.now(), conn, code, None);
        s.world.run_for(10_000);
        assert!(s.open(), "{code:?}");
        assert_eq!(s.drops()[0].0, DropCause::StreamError { code: code.unwrap_or(0).into() });
    }
}

#[test]
fn planned_ends_and_515() {
    let mut s = setup(24);
    let conn = s.world.conn(s.client).unwrap();
    s.world.server.end_stream(s.world.now(), conn);
    s.world.run_for(10_000);
    assert!(s.open());
    assert_eq!(s.drops()[0].0, DropCause::StreamEnd);
    let conn = s.world.conn(s.client).unwrap();
    s.world.server.force_stream_error(s.world.now(), conn, Some(515), None);
    s.world.run_for(900);
    assert!(s.open());
    assert_eq!(s.drops()[1], (DropCause::RestartRequired, Duration::ZERO));
    let conn = s.world.conn(s.client).unwrap();
    s.world.server.drop_connection(s.world.now(), conn);
    s.world.run_for(10_000);
    assert!(s.open());
    assert_eq!(s.drops()[2].0, DropCause::Closed { code: None });
    s.world.assert_clean();
}

#[test]
fn rate_limit_costs_five_steps() {
    let mut s = setup(25);
    s.world.run_for(MINUTE);
    let conn = s.world.conn(s.client).unwrap();
    s.world.server.force_stream_error(s.world.now(), conn, Some(429), None);
    s.world.run_for(1_000);
    let wait = s.drops()[0].1;
    assert!((Duration::from_millis(7_200)..=Duration::from_millis(8_800)).contains(&wait), "{wait:?}");
    // The next good login does not make up for it.
    s.world.run_for(MINUTE);
    s.world.break_connection(s.client);
    s.world.run_for(1_000);
    assert!(s.drops()[1].1 > Duration::from_secs(10), "{:?}", s.drops());
}

#[test]
fn malformed_three_times() {
    let mut s = setup(26);
    let malformed = Node::new("stream:error").child(Node::new("xml-not-well-formed"));
    let client = s.client;
    // A stable login in between: not in a row.
    for wait in [0, 31_000, 0, 0] {
        assert_eq!(s.ended(), None);
        s.world.run_for(wait);
        s.raw(&malformed);
        s.world.run_until(|world| world.is_open(client), 10_000);
    }
    assert_eq!(s.ended(), Some((EndReason::Refused { reason: 0 }, false)));
}

#[test]
fn replaced_is_never_fought() {
    let mut s = setup(27);
    let twin = s.world.add_twin(s.client);
    let _ = s.world.submit(twin, Connect).unwrap();
    s.world.run_for(60 * MINUTE);
    assert_eq!(s.ended(), Some((EndReason::Replaced, false)));
    assert!(s.world.is_open(twin));
    assert!(!s.world.store(s.client).records().is_empty());
    assert_eq!(s.world.conn(s.client), None);
    // Only when the host asks.
    let _ = s.world.submit(s.client, Connect).unwrap();
    s.world.run_for(10_000);
    assert!(s.open() && !s.world.is_open(twin));
}

#[test]
fn back_off() {
    let mut s = setup(28);
    s.world.run_for(MINUTE);
    s.world.net.refuse.extend(std::iter::repeat_n(OpenError::Network("down".into()), 20));
    s.world.break_connection(s.client);
    s.world.run_for(6 * 60 * MINUTE);
    let waits: Vec<_> = s.drops().iter().map(|(_, wait)| wait.as_secs_f64()).collect();
    let sequence = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 900, 900, 900, 900, 900, 900];
    assert_eq!(waits.len(), 21);
    for (wait, base) in waits.iter().zip(sequence) {
        let base = f64::from(base);
        assert!((base * 0.899..=base * 1.101).contains(wait), "{waits:?}");
    }
    assert!(s.open());
    // A short login does not reset it, a stable one does.
    let mut s = setup(29);
    s.world.net.refuse.extend(std::iter::repeat_n(OpenError::Network("down".into()), 4));
    s.reconnect();
    s.reconnect();
    assert!(s.drops().last().unwrap().1 > Duration::from_secs(4));
    s.world.run_for(31_000);
    s.reconnect();
    assert!(s.drops().last().unwrap().1 < Duration::from_secs(2));
}

#[test]
fn network_change_ends_the_wait() {
    let mut s = setup(30);
    s.world.net.refuse.extend(std::iter::repeat_n(OpenError::Timeout, 12));
    s.world.break_connection(s.client);
    s.world.run_for(6 * MINUTE);
    assert!(!s.open());
    s.world.net.refuse.clear();
    s.world.input(s.client, Input::NetworkChanged);
    s.world.run_for(2_000);
    assert!(s.open());
}

#[test]
fn hopeless_opens_end_the_session() {
    for error in [OpenError::Config("no such proxy".into()), OpenError::Status(403)] {
        let mut s = setup(31);
        s.world.net.refuse.push_back(error);
        s.world.break_connection(s.client);
        s.world.run_for(5_000);
        assert!(matches!(s.ended(), Some((EndReason::Config(_), false))));
    }
    let mut s = setup(32);
    s.world.net.refuse.push_back(OpenError::Status(503));
    s.reconnect();
    // The socket is never answered.
    s.world.net.black_hole = true;
    s.world.break_connection(s.client);
    s.world.run_for(30_000);
    s.world.net.black_hole = false;
    let client = s.client;
    assert!(s.world.run_until(|world| world.is_open(client), 2 * MINUTE));
}

#[test]
fn storage_failure_in_a_session() {
    for after in 0..4 {
        let mut s = setup(33);
        s.world.store_mut(s.client).fail_commit_after = Some(after);
        for n in 0..6 {
            let info = Node::new("routing_info").bytes(vec![n + 1; 6]);
            if s.world.conn(s.client).is_some() {
                s.raw(&Node::new("ib").attr("from", Jid::server()).child(Node::new("edge_routing").child(info)));
            }
        }
        let client = s.client;
        assert!(s.world.run_until(|world| world.is_open(client), MINUTE));
        s.world.run_for(MINUTE);
        assert!(s.open());
        s.world.assert_clean();
    }
    for after in 0..4 {
        let mut s = setup(34);
        s.world.crash(s.client);
        s.world.store_mut(s.client).fail_load_after = Some(after);
        let _ = s.world.submit(s.client, Connect).unwrap();
        s.world.run_for(MINUTE);
        assert!(s.open(), "{after}");
        s.world.assert_clean();
    }
}

#[test]
fn corrupt_account_is_never_replaced() {
    let mut s = setup(35);
    s.world.crash(s.client);
    let account = s.world.store_mut(s.client).records_mut().values_mut().next().unwrap();
    *account = vec![0xff; 9].into();
    let before = s.world.store(s.client).records().clone();
    let _ = s.world.submit(s.client, Connect).unwrap();
    s.world.run_for(MINUTE);
    assert_eq!(s.ended(), Some((EndReason::CorruptAccount, false)));
    assert_eq!(*s.world.store(s.client).records(), before);
}

#[test]
fn disconnect_and_shutdown() {
    let mut s = setup(36);
    let ticket = s.world.submit(s.client, Disconnect).unwrap();
    assert_eq!(s.world.reply(s.client, ticket), Some(Ok(())));
    s.world.run_for(60 * MINUTE);
    assert_eq!(s.ended(), Some((EndReason::Disconnected, false)));
    let _ = s.world.submit(s.client, Connect).unwrap();
    s.world.run_for(10_000);
    assert!(s.open());
    let logout = s.world.submit(s.client, Logout).unwrap();
    let ticket = s.world.submit(s.client, Shutdown).unwrap();
    s.world.run_for(1_000);
    assert_eq!(s.world.reply(s.client, ticket), Some(Ok(())));
    assert_eq!(s.world.reply(s.client, logout), Some(Err(Failure::SessionEnded(EndReason::ShutDown))));
    assert!(s.world.engine(s.client).is_finished());
    assert!(!s.world.store(s.client).records().is_empty());
}

// ---- logout ------------------------------------------------------------------------------------------------------

#[test]
fn logout() {
    let mut s = setup(40);
    let tickets = [s.world.submit(s.client, Logout).unwrap(), s.world.submit(s.client, Logout).unwrap()];
    s.world.run_for(MINUTE);
    for ticket in tickets {
        assert!(s.world.reply(s.client, ticket).unwrap().unwrap().confirmed);
    }
    assert_eq!(s.ended(), Some((EndReason::LoggedOut, true)));
    assert!(s.world.store(s.client).records().is_empty());
    assert!(s.world.server.account(s.account).unwrap().companions.is_empty());
    s.world.assert_clean();
    // And again from nothing, with other keys.
    let _ = s.world.take_events(s.client);
    s.world.pair(s.client, s.account);
}

#[test]
fn logout_without_the_server() {
    // Nothing comes back.
    let mut s = setup(41);
    s.world.half_open(s.client);
    let ticket = s.world.submit(s.client, Logout).unwrap();
    s.world.run_for(9_000);
    assert_eq!(s.world.reply(s.client, ticket), None);
    s.world.run_for(2_000);
    assert!(!s.world.reply(s.client, ticket).unwrap().unwrap().confirmed);
    assert!(s.world.store(s.client).records().is_empty());
    // The connection breaks meanwhile.
    let mut s = setup(42);
    s.world.half_open(s.client);
    let ticket = s.world.submit(s.client, Logout).unwrap();
    s.world.run_for(1_000);
    let conn = amarula_core::engine::ConnId(2);
    s.world.input(s.client, Input::Closed { conn, code: None });
    s.world.run_for(100);
    assert!(!s.world.reply(s.client, ticket).unwrap().unwrap().confirmed);
    assert_eq!(s.ended(), Some((EndReason::LoggedOut, true)));
    // Refused.
    let mut s = setup(43);
    s.world.server.faults().iq_errors.insert("md".into(), (500, None));
    let ticket = s.world.submit(s.client, Logout).unwrap();
    s.world.run_for(1_000);
    assert!(!s.world.reply(s.client, ticket).unwrap().unwrap().confirmed);
    assert!(s.world.store(s.client).records().is_empty());
    // Not connected at all.
    let mut s = setup(44);
    s.world.net.black_hole = true;
    s.world.break_connection(s.client);
    s.world.run_for(500);
    let ticket = s.world.submit(s.client, Logout).unwrap();
    s.world.run_for(100);
    assert!(!s.world.reply(s.client, ticket).unwrap().unwrap().confirmed);
    assert!(s.world.store(s.client).records().is_empty());
    assert_eq!(s.world.server.account(s.account).unwrap().companions.len(), 1);
}

// ---- prekeys -----------------------------------------------------------------------------------------------------

#[test]
fn refill_when_low() {
    for (left, uploads) in [(4, true), (5, false)] {
        let mut s = setup(50);
        let id = s.key.1;
        let companion = s.world.server.account_mut(s.account).unwrap().companions.get_mut(&id).unwrap();
        while companion.one_time.len() > left {
            companion.one_time.pop_first();
        }
        s.reconnect();
        assert_eq!(s.companion().one_time.len(), if uploads { left + 812 } else { left });
        assert_eq!(s.warnings(), []);
        s.world.assert_clean();
    }
}

#[test]
fn refill_when_told() {
    let mut s = setup(51);
    let low = || Node::new("count").attr("value", 3u8);
    s.inject("encrypt", "low-1", Jid::server(), low());
    s.world.run_for(2_000);
    assert_eq!(s.companion().one_time.len(), 2 * 812);
    // The same notification again: once was enough. Another one: again.
    s.inject("encrypt", "low-1", Jid::server(), low());
    s.world.run_for(2_000);
    assert_eq!(s.companion().one_time.len(), 2 * 812);
    s.inject("encrypt", "low-2", Jid::server(), low());
    s.world.run_for(2_000);
    assert_eq!(s.companion().one_time.len(), 3 * 812);
    // From the backlog: after its end.
    let _ = s.world.submit(s.client, Disconnect).unwrap();
    s.world.run_for(1_000);
    s.inject("encrypt", "low-3", Jid::server(), low());
    let _ = s.world.submit(s.client, Connect).unwrap();
    s.world.run_for(10_000);
    assert_eq!(s.companion().one_time.len(), 4 * 812);
    s.world.assert_clean();
}

#[test]
fn refused_upload_is_repeated() {
    let mut world = World::new(52);
    let account = world.server.add_account("15550001", "900001");
    let client = world.add_client(world.config());
    world.server.faults().iq_errors.insert("encrypt".into(), (503, None));
    world.pair(client, account);
    assert!(world.saw(client, |e| *e == Event::Warning(Warning::PrekeyUploadFailed { code: 503 })));
    assert_eq!(world.server.account(account).unwrap().companions[&1].one_time.len(), 812);
    assert_eq!(world.store(client).count(Namespace::PreKey), 812);
    world.assert_clean();
}

/// The upload arrived, its result did not; and the same after a crash, when the keys are only in the store.
#[test]
fn lost_result_repeats_the_same_keys() {
    for crash in [false, true] {
        let mut world = World::new(53);
        let account = world.server.add_account("15550001", "900001");
        let mut config = world.config();
        config.limits.cache_bytes = 16 * 1024;
        let client = world.add_client(config);
        let _ = world.submit(client, Connect).unwrap();
        world.scan(client, account).unwrap();
        let arrived = |world: &World| {
            world.server.account(account).unwrap().companions.values().any(|companion| !companion.one_time.is_empty())
        };
        assert!(world.run_until(arrived, MINUTE));
        if crash {
            world.crash(client);
            let _ = world.submit(client, Connect).unwrap();
        } else {
            world.break_connection(client);
        }
        world.run_for(MINUTE);
        let companion = &world.server.account(account).unwrap().companions[&1];
        assert_eq!((companion.one_time.len(), *companion.one_time.last_key_value().unwrap().0), (812, 812));
        assert_eq!(world.store(client).count(Namespace::PreKey), 812);
        world.assert_clean();
        // Known to be there now.
        let from = world.server.trace().len();
        world.break_connection(client);
        world.run_for(MINUTE);
        let registration = |node: &Node| node.nodes().first().is_some_and(|child| child.tag == "registration");
        assert!(!world.server.trace()[from..].iter().any(|line| line.from_client && registration(&line.node)));
    }
}

#[test]
fn digest() {
    // Only 404 uploads.
    for (code, uploads) in [(404, true), (406, false), (503, false)] {
        let mut s = setup(54);
        let from = s.world.server.trace().len();
        s.world.break_connection(s.client);
        let counted = |world: &World| {
            let is = |node: &Node| node.nodes().first().is_some_and(|child| child.tag == "count");
            world.server.trace()[from..].iter().any(|line| !line.from_client && is(&line.node))
        };
        assert!(s.world.run_until(counted, 30_000));
        s.world.server.faults().iq_errors.insert("encrypt".into(), (code, None));
        s.world.run_for(5_000);
        assert_eq!(s.companion().one_time.len(), if uploads { 2 * 812 } else { 812 }, "{code}");
        s.world.assert_clean();
    }
    // Another key under an id of ours.
    let mut s = setup(55);
    let id = s.key.1;
    let companion = s.world.server.account_mut(s.account).unwrap().companions.get_mut(&id).unwrap();
    let other = *companion.one_time.get(&7).unwrap();
    companion.one_time.insert(8, other);
    s.reconnect();
    assert_eq!(s.warnings(), [Warning::PrekeysDiffer { what: "hash".into() }]);
    assert_eq!(s.companion().one_time.len(), 812);
}

#[test]
fn rotation() {
    let mut s = setup(56);
    for round in 1..=4u32 {
        let _ = s.world.submit(s.client, Disconnect).unwrap();
        s.world.run_for(26 * DAY);
        let _ = s.world.submit(s.client, Connect).unwrap();
        s.world.run_for(MINUTE);
        assert_eq!(s.companion().signed.0, round, "too early");
        let _ = s.world.submit(s.client, Disconnect).unwrap();
        s.world.run_for(DAY);
        let _ = s.world.submit(s.client, Connect).unwrap();
        s.world.run_for(MINUTE);
        assert_eq!(s.companion().signed.0, round + 1);
        let kept: Vec<_> = (1..=round + 1)
            .filter(|id| s.world.store(s.client).get(Namespace::SignedPreKey, &id.to_string()).is_some())
            .collect();
        assert_eq!(kept, (round.saturating_sub(1).max(1)..=round + 1).collect::<Vec<_>>());
        assert_eq!(s.warnings(), []);
    }
    s.world.assert_clean();
}

#[test]
fn rotation_while_connected() {
    let mut s = setup(57);
    let _ = s.world.submit(s.client, Disconnect).unwrap();
    s.world.run_for(27 * DAY - 60 * MINUTE);
    let _ = s.world.submit(s.client, Connect).unwrap();
    s.world.run_for(2 * 60 * MINUTE);
    assert_eq!(s.companion().signed.0, 2);
    s.world.assert_clean();
}

/// Whatever becomes of the answer, a signed prekey that the server may have is never made anew.
#[test]
fn rotation_interrupted() {
    let mut s = setup(58);
    let _ = s.world.submit(s.client, Disconnect).unwrap();
    s.world.run_for(28 * DAY);
    let _ = s.world.submit(s.client, Connect).unwrap();
    let (account, id) = (s.account, s.key.1);
    let signed = move |world: &World| world.server.account(account).unwrap().companions[&id].signed.clone();
    assert!(s.world.run_until(|world| signed(world).0 == 2, MINUTE));
    let first = signed(&s.world);
    s.world.crash(s.client);
    let _ = s.world.submit(s.client, Connect).unwrap();
    s.world.run_for(MINUTE);
    assert_eq!(signed(&s.world), first);
    assert_eq!(s.warnings(), []);
    s.world.assert_clean();
}

// ---- the next connection -----------------------------------------------------------------------------------------

#[test]
fn edge_routing() {
    let info = vec![8, 2, 8, 18, 8, 13];
    let config = ServerConfig { edge_routing: Some(info.clone()), ..ServerConfig::default() };
    let mut s = setup_with(60, config, |_| {});
    let routing = |s: &Setup| {
        let conn = s.world.conn(s.client).unwrap();
        s.world.server.handshake_of(conn).unwrap().1.map(<[u8]>::to_vec)
    };
    assert_eq!(routing(&s), None);
    s.reconnect();
    assert_eq!(routing(&s), Some(info));
    s.world.server.config_mut().edge_routing = None;
    s.world.net.refuse.extend([OpenError::Timeout, OpenError::Timeout]);
    s.reconnect();
    assert_eq!(routing(&s), None);
    s.world.assert_clean();
}

#[test]
fn noise_resumption() {
    let mut s = setup_with(61, ServerConfig::default(), |config| config.noise_ik = true);
    let pattern = |s: &Setup| s.world.server.handshake_of(s.world.conn(s.client).unwrap()).unwrap().0;
    s.reconnect();
    assert_eq!(pattern(&s), Pattern::Ik);
    s.world.server.config_mut().ik = IkPolicy::Refuse;
    s.reconnect();
    assert_eq!(pattern(&s), Pattern::XxFallback);
    s.world.server.config_mut().ik = IkPolicy::Accept;
    s.reconnect();
    assert_eq!(pattern(&s), Pattern::Ik);
    // A damaged answer to IK: a full handshake next time.
    s.world.server.faults().damage_hello = true;
    s.reconnect();
    assert_eq!(pattern(&s), Pattern::Xx);
    s.reconnect();
    assert_eq!(pattern(&s), Pattern::Ik);
    // Off by default.
    let mut s = setup(62);
    s.reconnect();
    assert_eq!(pattern(&s), Pattern::Xx);
}

#[test]
fn bad_certificates() {
    for fault in CertFault::ALL {
        let mut s = setup(63);
        s.world.server.faults().certificate = Some(fault);
        s.world.break_connection(s.client);
        s.world.run_for(10_000);
        assert!(!s.open(), "{fault:?}");
        let last = s.drops().pop().unwrap();
        assert!(matches!(last.0, DropCause::Certificate(_)), "{fault:?} {last:?}");
        assert!(last.1 > Duration::from_secs(30), "{fault:?} {last:?}");
        assert!(s.warnings().iter().any(|warning| matches!(warning, Warning::Certificate { .. })));
        s.world.server.faults().certificate = None;
        s.world.run_for(2 * MINUTE);
        assert!(s.open());
        s.world.assert_clean();
    }
}

#[test]
fn silent_or_damaged_handshake() {
    let mut s = setup(64);
    s.world.server.faults().silent_handshake = true;
    s.reconnect();
    assert_eq!(s.drops()[1].0, DropCause::HandshakeTimeout);
    let mut s = setup(65);
    s.world.server.faults().damage_hello = true;
    s.reconnect();
    assert!(matches!(s.drops()[1].0, DropCause::Handshake(_)));
    s.world.assert_clean();
}
