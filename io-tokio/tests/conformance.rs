//! The suite that both drivers pass.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use amarula_io_conformance::{ClientUnderTest, DriverUnderTest, EventsUnderTest, Next, Options, conformance_tests};
use amarula_tokio::core::engine::Command;
use amarula_tokio::{Client, DeliveryId, Error, Events};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Arc<Runtime>> =
    LazyLock::new(|| Arc::new(Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")));

struct Tokio;

impl DriverUnderTest for Tokio {
    type Client = TokioClient;

    fn build(&self, options: Options) -> Result<TokioClient, Error> {
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
        builder.build().map(TokioClient)
    }
}

#[derive(Clone)]
struct TokioClient(Client);

impl ClientUnderTest for TokioClient {
    type Events = TokioEvents;

    fn connect(&self) -> Result<TokioEvents, Error> {
        RUNTIME.block_on(self.0.connect()).map(TokioEvents)
    }

    fn call<C: Command + Send + 'static>(&self, command: C) -> Result<C::Reply, Error>
    where
        C::Reply: Send,
    {
        RUNTIME.block_on(self.0.call(command))
    }

    fn confirm(&self, id: DeliveryId) -> Result<(), Error> {
        RUNTIME.block_on(self.0.confirm(id))
    }

    fn shutdown(&self) -> Result<(), Error> {
        RUNTIME.block_on(self.0.shutdown())
    }
}

struct TokioEvents(Events);

impl EventsUnderTest for TokioEvents {
    fn next(&mut self, most: Duration) -> Next {
        match RUNTIME.block_on(async { tokio::time::timeout(most, self.0.next()).await }) {
            Ok(Some(delivery)) => Next::Event(Box::new(delivery.into_inner())),
            Ok(None) => Next::End,
            Err(_) => Next::TimedOut,
        }
    }
}

conformance_tests!(crate::Tokio);
