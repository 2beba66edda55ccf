//! Where the demo happens: the server, the clock, and what is printed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use amarula_sim::ws::LoopbackServer;
use amarula_sim::{Server, SimTime};
use serde_json::json;

use super::PATIENCE;
use crate::exit::Exit;
use crate::interrupt;
use crate::options::{Common, Driver};
use crate::output::{Output, line};
use crate::problem::{Problem, Result};
use crate::qr;

/// Between two steps, so that one can read along.
const PAUSE: Duration = Duration::from_millis(150);

pub(crate) struct Stage<'a> {
    server: LoopbackServer,
    folder: PathBuf,
    common: &'a Common,
    fast: bool,
    output: &'a Output,
    start: Instant,
    interrupted: Arc<AtomicBool>,
}

/// What was done, for the last line.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) messages: u32,
    pub(crate) receipts: u32,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(
        server: LoopbackServer,
        folder: &Path,
        common: &'a Common,
        fast: bool,
        output: &'a Output,
    ) -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        let notice = Arc::clone(&interrupted);
        interrupt::watch(move || notice.store(true, Ordering::Relaxed));
        Self { server, folder: folder.to_owned(), common, fast, output, start: Instant::now(), interrupted }
    }

    pub(crate) fn server(&self) -> &LoopbackServer {
        &self.server
    }

    pub(crate) fn driver(&self) -> &'static str {
        match self.common.driver {
            Driver::Tokio => "tokio",
            Driver::Blocking => "blocking",
        }
    }

    /// Options of a person's client.
    pub(crate) fn options(&self, name: &str) -> Common {
        Common {
            data_dir: self.folder.join(name),
            profile: name.to_lowercase(),
            name: Some(format!("{name}'s Amarula")),
            push_name: Some(name.to_owned()),
            record: None,
            server: Some(self.server.url()),
            root_key: Some(self.server.root_key()),
            allow_plain_text: false,
            proxy: None,
            version_wa: None,
            ..self.common.clone()
        }
    }

    /// One step that was seen to happen.
    pub(crate) fn tell(&self, who: &str, what: &str) -> Result<()> {
        let at = self.start.elapsed();
        let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.output.result(&json!({"event": "step", "atMs": millis, "who": who, "what": what}), || {
            format!("{:7.3} s  {who:<16} {what}", at.as_secs_f64())
        })?;
        self.check()
    }

    /// A heading, and a moment to read.
    pub(crate) fn scene(&self, title: &str) -> Result<()> {
        if !self.output.is_json() {
            line(&format!("\n{title}"))?;
        }
        if !self.fast {
            std::thread::sleep(PAUSE);
        }
        self.check()
    }

    /// The QR code, for people who have time.
    pub(crate) fn show_qr(&self, text: &str) -> Result<()> {
        match qr::render(text) {
            Some(code) if !self.fast && !self.output.is_json() => line(&code),
            Some(_) => Ok(()),
            None => Err(failed("the QR code is too long")),
        }
    }

    /// Waits for something on the server's side.
    pub(crate) fn wait<R>(&self, what: &str, mut ready: impl FnMut(&mut Server) -> Option<R>) -> Result<R> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.check()?;
            if let Some(found) = self.server.wait_for(Duration::from_millis(100), &mut ready) {
                return Ok(found);
            }
        }
        Err(failed(&format!("not seen in time: {what}")))
    }

    /// Acts on the server's side.
    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut Server, SimTime) -> R) -> R {
        self.server.with_server(act)
    }

    /// # Errors
    /// After Ctrl-C.
    pub(crate) fn check(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) { Err(Problem::interrupted()) } else { Ok(()) }
    }

    /// The last line.
    pub(crate) fn end(&self, summary: &Summary) -> Result<()> {
        let took = self.start.elapsed();
        let object = json!({
            "event": "done",
            "driver": self.driver(),
            "messages": summary.messages,
            "receipts": summary.receipts,
            "violations": 0,
            "tookMs": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
        self.output.result(&object, || {
            format!(
                "\nAll well: 2 devices paired, {} messages and {} receipts seen at every end, nothing the simulated \
                 server objects to, {:.2} s with the {} driver.",
                summary.messages,
                summary.receipts,
                took.as_secs_f64(),
                self.driver()
            )
        })
    }
}

/// The demo is not as it should be.
pub(crate) fn failed(what: &str) -> Problem {
    Problem::new(Exit::Other, "demo", what).hint("this is a bug: please report it, with the output of --log debug")
}
