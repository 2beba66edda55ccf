//! `amarula demo`: a simulated WhatsApp in this process, two accounts, two linked devices with real sockets and stores,
//! and a conversation. Every line that is printed was waited for and checked.

mod person;
mod script;
mod stage;

use std::time::Duration;

use amarula_sim::ServerConfig;
use amarula_sim::ws::LoopbackServer;

use crate::exit::Exit;
use crate::options::{Common, DemoArgs};
use crate::output::Output;
use crate::problem::{Problem, Result};
use stage::Stage;

/// Longest wait for anything. It all takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(common: &Common, args: &DemoArgs, output: &Output) -> Result<()> {
    let seed: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap_or_default());
    let server = LoopbackServer::start(ServerConfig { seed, trace: true, ..ServerConfig::default() })
        .map_err(|error| Problem::new(Exit::Other, "system", format!("no server on loopback: {error}")))?;
    let folder = tempfile::tempdir()
        .map_err(|error| Problem::new(Exit::Storage, "storage", format!("no temporary folder: {error}")))?;
    let stage = Stage::new(server, folder.path(), common, args.fast, output);
    let played = script::play(&stage);
    let violations = stage.server().violations();
    for violation in &violations {
        eprintln!("the simulated server objects: {violation}");
    }
    let summary = played?;
    if !violations.is_empty() {
        let what = format!("the simulated server objects to {} things", violations.len());
        return Err(Problem::new(Exit::Other, "demo", what));
    }
    stage.end(&summary)
}
