//! The suite that both drivers pass.

use std::time::Duration;

use amarula_blocking::core::engine::Command;
use amarula_blocking::{Client, DeliveryId, Error, Events};
use amarula_io_conformance::{ClientUnderTest, DriverUnderTest, EventsUnderTest, Next, Options, conformance_tests};

struct Blocking;

impl DriverUnderTest for Blocking {
    type Client = BlockingClient;

    fn build(&self, options: Options) -> Result<BlockingClient, Error> {
        let mut builder =
            Client::builder(&options.profile).store(options.storage).url(&options.url).event_limit(options.event_limit);
        if let Some(key) = options.root_key {
            builder = builder.root_key(key);
        }
        if let Some(path) = options.record {
            builder = builder.record(path);
        }
        if let Some(name) = options.name {
            builder = builder.name(name);
        }
        if let Some(proxy) = options.proxy {
            builder = builder.proxy(proxy);
        }
        if let Some(root) = options.tls_root {
            builder = builder.tls_root(root);
        }
        if let Some(machine) = options.machine {
            builder = builder.machine(machine);
        }
        builder.build().map(BlockingClient)
    }
}

#[derive(Clone)]
struct BlockingClient(Client);

impl ClientUnderTest for BlockingClient {
    type Events = BlockingEvents;

    fn connect(&self) -> Result<BlockingEvents, Error> {
        self.0.connect().map(BlockingEvents)
    }

    fn call<C: Command + Send + 'static>(&self, command: C) -> Result<C::Reply, Error>
    where
        C::Reply: Send,
    {
        self.0.call(command)
    }

    fn confirm(&self, id: DeliveryId) -> Result<(), Error> {
        self.0.confirm(id)
    }

    fn shutdown(&self) -> Result<(), Error> {
        self.0.shutdown()
    }
}

struct BlockingEvents(Events);

impl EventsUnderTest for BlockingEvents {
    fn next(&mut self, most: Duration) -> Next {
        match self.0.next_timeout(most) {
            Ok(Some(delivery)) => Next::Event(Box::new(delivery.into_inner())),
            Ok(None) => Next::End,
            Err(_) => Next::TimedOut,
        }
    }
}

conformance_tests!(crate::Blocking);
