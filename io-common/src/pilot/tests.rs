use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use amarula_core::engine::command::{Connect, Disconnect};
use amarula_core::engine::recording::Reader;
use amarula_core::engine::{Command, CommitSeq, Completion, Now, Reply};
use amarula_core::error::{Misuse, RejectReason};
use amarula_core::event::{Delivery, Event, Warning};
use amarula_core::store::Batch;
use amarula_store::{MemoryStore, Profile};

use super::*;
use crate::port::Port;
use crate::storage::Storage;
use crate::sync::lock;

/// Gives out what it was made with. Commands are taken and never answered by themselves.
struct Fixed(VecDeque<Output>, u64);

impl Machine for Fixed {
    fn handle(&mut self, _: Now, _: Input) -> Result<(), Misuse> {
        Ok(())
    }

    fn submit(&mut self, _: Now, request: Request) -> Result<TicketId, RejectReason> {
        if matches!(request, Request::Disconnect(_)) {
            return Err(RejectReason::NotConnected);
        }
        self.1 += 1;
        Ok(TicketId(self.1))
    }

    fn poll_output(&mut self) -> Output {
        self.0.pop_front().unwrap_or(Output::Idle { until: None, reason: "" })
    }

    fn appetite(&self) -> Appetite {
        Appetite::Hungry
    }

    fn is_finished(&self) -> bool {
        false
    }
}

struct Nowhere;

impl Port for Nowhere {
    fn post(&self, _: Post) {}
}

fn pilot(outputs: Vec<Output>, recording: Option<Recording>) -> (Pilot, Arc<EventQueue>) {
    let (done, session) = channel();
    let profile = Profile::new("a").expect("a name");
    Storage::new(MemoryStore::new())
        .open(&profile, "test", Arc::new(Nowhere), move |session| done.send(session).expect("waits"));
    let storage = session.recv_timeout(Duration::from_secs(5)).expect("decided").expect("free");
    let events = Arc::new(EventQueue::new(1));
    events.join();
    let outputs = Mutex::new(Some(outputs));
    let make = move |_, _, _| {
        let outputs = lock(&outputs).take().expect("made once");
        Box::new(Fixed(outputs.into(), 0)) as Box<dyn Machine>
    };
    let parts =
        Parts { config: Config::default(), machine: Some(&make), recording, storage, events: Arc::clone(&events) };
    (Pilot::new(parts).expect("randomness"), events)
}

fn event() -> Output {
    Output::Event(Delivery { id: None, event: Event::Warning(Warning::Limit { name: "x" }) })
}

fn command(pilot: &mut Pilot, request: Request) -> Receiver<Result<Reply, Error>> {
    let (sender, answer) = channel();
    pilot.command(request, Box::new(move |result| drop(sender.send(result))));
    answer
}

fn acts(pilot: &mut Pilot) -> String {
    let mut all = String::new();
    loop {
        all.push(match pilot.next_act() {
            Act::Send(..) => 's',
            Act::Flush => 'f',
            Act::Sleep(_) => return all,
            _ => '?',
        });
    }
}

#[test]
fn frames_are_written_before_what_follows_is_shown() {
    let send = || Output::Send(ConnId(1), bytes::Bytes::new());
    let (mut pilot, events) = pilot(vec![event(), send(), send(), event(), event(), send()], None);
    assert_eq!(acts(&mut pilot), "ssfs");
    assert!(events.is_behind());
}

#[test]
fn an_open_command_keeps_the_socket_read() {
    let done = Output::Done(Completion { ticket: TicketId(1), result: Ok(Reply::Unit) });
    let (mut pilot, _events) = pilot(vec![event()], None);
    assert_eq!(acts(&mut pilot), "");
    assert!(!pilot.wants_bytes(), "the consumer is behind");
    let answer = command(&mut pilot, Connect.into_request());
    assert!(pilot.wants_bytes(), "and waits for the server");
    pilot.machine = Box::new(Fixed(vec![done].into(), 1));
    assert_eq!(acts(&mut pilot), "");
    assert_eq!(answer.try_recv().ok().map(|result| result.is_ok()), Some(true));
    assert!(!pilot.wants_bytes());
}

#[test]
fn everything_is_recorded_and_every_command_answered() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("session");
    let (mut pilot, _events) = pilot(vec![event()], Some(Recording::create(&path).expect("new")));
    pilot.input(Input::Tick);
    let rejected = command(&mut pilot, Disconnect.into_request());
    let open = command(&mut pilot, Connect.into_request());
    assert_eq!(acts(&mut pilot), "");
    assert!(matches!(rejected.try_recv(), Ok(Err(Error::Rejected(RejectReason::NotConnected)))));
    drop(pilot);
    assert!(matches!(open.try_recv(), Ok(Err(Error::Stopped))));
    let bytes = std::fs::read(path).expect("there");
    let mut reader = Reader::of(&bytes);
    let mut described = Vec::new();
    while let Some(entry) = reader.next_entry().expect("whole") {
        described.push(entry.describe());
    }
    let order =
        ["start", "input Tick", "command ", "rejection NotConnected", "command ", "ticket 1", "output ", "output "];
    assert_eq!(described.len(), order.len(), "{described:?}");
    assert!(described.iter().zip(order).all(|(described, what)| described.starts_with(what)), "{described:?}");
}

#[test]
fn only_an_abort_aborts() {
    let (mut pilot, _events) = pilot(vec![Output::Commit(CommitSeq(1), Batch::default())], None);
    assert!(!pilot.post(Post::Resume));
    assert!(!pilot.post(Post::Input(Input::Tick)));
    assert!(pilot.post(Post::Abort));
}
