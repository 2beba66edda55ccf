//! The small scenarios that are explored: two concurrent sends, and a login.

use amarula_core::content::Outgoing;
use amarula_core::engine::command::{Reply, Request, SendMessage};
use amarula_core::error::Failure;
use amarula_core::store::Namespace;
use amarula_core::wire::{Jid, Server as Domain};

use super::model::{Actor, Budget, Model};
use super::search::{AfterFault, Scenario};
use crate::AccountId;
use crate::server::ServerConfig;

/// The one client.
pub const ALICE: Actor = Actor(0);

/// A world of one client and three phones: its own and two others'.
pub struct Small {
    /// The world.
    pub model: Model,
    /// The client's account.
    pub alice: AccountId,
    /// Others.
    pub bob: AccountId,
    /// Others.
    pub carol: AccountId,
}

/// A text for a chat.
#[must_use]
pub fn text(to: &Jid, body: &str, reference: Option<&str>) -> Request {
    Request::SendMessage(SendMessage {
        to: to.clone().into(),
        content: Outgoing::text(body),
        id: None,
        reference: reference.map(Into::into),
    })
}

/// Builds it: the client is linked and connected; with `sessions`, everybody has talked with everybody.
///
/// # Panics
/// If that fails.
#[must_use]
pub fn small(sessions: bool) -> Small {
    let mut model = Model::new(ServerConfig { seed: [3; 32], ..ServerConfig::default() });
    let alice = model.server.add_account("15550000001", "200000000001");
    let bob = model.server.add_account("15550000002", "200000000002");
    let carol = model.server.add_account("15550000003", "200000000003");
    let config = model.config();
    let actor = model.add_client(config);
    model.client_mut(actor).confirms = true;
    model.pair(actor, alice);
    let own = jid(&model, alice);
    if sessions {
        for account in [bob, carol] {
            let to = jid(&model, account);
            model.submit(actor, text(&to, "set-up", None));
            assert!(model.run(Model::is_quiet, 60_000), "the set-up's send");
            let time = model.time();
            model.server.phone_send_text(time, account, &own, "set-up");
            model.touched("set-up");
            assert!(model.run(Model::is_quiet, 60_000), "the set-up's answer");
        }
    }
    Small { model, alice, bob, carol }
}

/// A phone-number JID of an account.
///
/// # Panics
/// If there is no such account.
#[must_use]
pub fn jid(model: &Model, account: AccountId) -> Jid {
    model.server.account(account).expect("an account").jid(&Domain::Pn)
}

/// What "two concurrent sends" varies.
#[derive(Clone, Copy, Debug)]
pub struct Sends {
    /// To one chat, or to two.
    pub same_chat: bool,
    /// Sessions and device lists are known.
    pub sessions: bool,
    /// With client references.
    pub references: bool,
    /// Faults.
    pub faults: Budget,
    /// What is tried after one.
    pub after_fault: AfterFault,
}

/// Two sends at once.
#[must_use]
pub fn two_sends(sends: Sends) -> Scenario {
    let Small { mut model, alice, bob, carol } = small(sends.sessions);
    let second = if sends.same_chat { bob } else { carol };
    model.begin(true);
    let reference = |name| sends.references.then_some(name);
    let commands =
        [text(&jid(&model, bob), "one", reference("r1")), text(&jid(&model, second), "two", reference("r2"))];
    model.client_mut(ALICE).script.extend(commands);
    model.budget = sends.faults;
    let verify = move |model: &Model| {
        let crashed = model.client(ALICE).run > 1;
        let mut failed = 0;
        for completion in &model.client(ALICE).done {
            match &completion.result {
                Ok(Reply::Sent(_) | Reply::Unit) | Err(Failure::Storage | Failure::Unknown { .. }) => {
                    failed += usize::from(completion.result.is_err());
                }
                other => return Err(format!("{other:?} is no answer to a send here")),
            }
        }
        if failed > 0 && sends.faults.failures == 0 {
            return Err("a send failed without a fault of the store".to_owned());
        }
        if model.client(ALICE).disk.records().keys().any(|key| key.namespace == Namespace::Outbox) {
            return Err("the outbox is not empty".to_owned());
        }
        for (account, body) in [(bob, "one"), (second, "two")] {
            let copies = |account| model.server.phone(account).texts().iter().filter(|text| *text == body).count();
            let (theirs, ours) = (copies(account), copies(alice));
            if theirs > 1 || ours > 1 {
                return Err(format!("{body:?} arrived {theirs} times there and {ours} times at our phone"));
            }
            if theirs != ours {
                return Err(format!("{body:?} arrived {theirs} times there, but {ours} times at our phone"));
            }
            if theirs == 0 && !crashed && failed == 0 {
                return Err(format!("{body:?} did not arrive"));
            }
        }
        if sends.same_chat {
            let order: Vec<_> = model.server.phone(bob).texts().into_iter().filter(|text| text != "set-up").collect();
            if !["one", "two"].iter().filter(|body| order.contains(&(**body).to_owned())).eq(order.iter()) {
                return Err(format!("out of order: {order:?}"));
            }
        }
        Ok(())
    };
    Scenario {
        name: format!(
            "two sends, {} chat, sessions {}{}{}",
            if sends.same_chat { "same" } else { "other" },
            if sends.sessions { "known" } else { "to be made" },
            if sends.references { ", durable" } else { "" },
            faults_name(sends.faults, sends.after_fault),
        ),
        start: model,
        after_fault: sends.after_fault,
        verify: Box::new(verify),
    }
}

/// From `Connect` to the end of the backlog, in which a message waits.
///
/// # Panics
/// If the set-up fails.
#[must_use]
pub fn login(faults: Budget, after_fault: AfterFault) -> Scenario {
    let Small { mut model, alice, bob, .. } = small(true);
    model.cut(ALICE);
    let own = jid(&model, alice);
    let time = model.time();
    model.server.phone_send_text(time, bob, &own, "while you were away");
    model.touched("offline");
    model.begin(false);
    model.budget = faults;
    let verify = move |model: &Model| {
        let client = model.client(ALICE);
        let told: Vec<_> = client
            .events
            .iter()
            .filter(|delivery| matches!(delivery.event, amarula_core::event::Event::Message(_)))
            .map(|delivery| delivery.id)
            .collect();
        let texts = client.texts();
        if texts.is_empty() {
            return Err("the message was lost".to_owned());
        }
        // A confirmation that was lost is not one: the message is told again, as the same delivery.
        let unconfirmed = client.run > 1 || faults.failures > 0;
        if texts.iter().any(|text| text != "while you were away") || (texts.len() > 1 && !unconfirmed) {
            return Err(format!("told: {texts:?}"));
        }
        if told.iter().any(|id| *id != told[0]) {
            return Err(format!("one message in two entries: {told:?}"));
        }
        if client.disk.records().keys().any(|key| key.namespace == Namespace::Inbox) {
            return Err("the inbox is not empty though all is confirmed".to_owned());
        }
        Ok(())
    };
    Scenario {
        name: format!("login{}", faults_name(faults, after_fault)),
        start: model,
        after_fault,
        verify: Box::new(verify),
    }
}

fn faults_name(faults: Budget, after: AfterFault) -> String {
    let mut name = String::new();
    for (count, what) in [(faults.cuts, "cut"), (faults.crashes, "crash"), (faults.failures, "failed commit")] {
        if count > 0 {
            name += &format!(", {count} {what}");
        }
    }
    if !name.is_empty() && after == AfterFault::Explore {
        name += ", explored on";
    }
    name
}
