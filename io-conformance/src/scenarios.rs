//! What every driver does.

pub mod account;
pub mod flow;
pub mod http;
pub mod lifecycle;
pub mod network;
pub mod storage;
pub mod websocket;

use amarula_core::address::Address;
use amarula_core::content::Outgoing;
use amarula_core::engine::command::SendMessage;
use bytes::Bytes;

use crate::script::{Script, shown};
use crate::{ClientUnderTest, DriverUnderTest, EventsUnderTest, Next, Options, PATIENCE};

/// A client with `script` for an engine, connecting to `url`.
fn start<D: DriverUnderTest>(
    driver: &D,
    script: &Script,
    options: Options,
) -> (D::Client, <D::Client as ClientUnderTest>::Events) {
    let client = driver.build(Options { machine: Some(script.factory()), ..options }).expect("builds");
    let events = client.connect().expect("starts");
    (client, events)
}

/// The command that makes a script send one frame.
fn frame(bytes: impl Into<Bytes>) -> SendMessage {
    SendMessage { to: Address::phone("1"), content: Outgoing::Raw(bytes.into()), id: None, reference: None }
}

/// The text of the next event.
fn next_shown(events: &mut impl EventsUnderTest) -> String {
    match events.next(PATIENCE) {
        Next::Event(delivery) => shown(&delivery).expect("an event of the script").to_owned(),
        other => panic!("no event: {other:?}"),
    }
}
