//! A program of `testvectors/interop` as a child process that speaks JSON lines.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{PATIENCE, say};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Whether the programs can run here. If not, says how to make it so.
///
/// # Panics
/// If they cannot and the environment says that they must (`AMARULA_INTEROP=required`).
#[must_use]
pub fn available(test: &str) -> bool {
    let node = Command::new("node").arg("--version").stdin(Stdio::null()).output();
    let missing = if !node.is_ok_and(|output| output.status.success()) {
        "there is no node"
    } else if !folder().join("node_modules/baileys").is_dir() {
        "Baileys is not installed"
    } else {
        return true;
    };
    let how = format!("{missing}. To run it: install node 20 or later, then `cd testvectors/interop && npm ci`");
    assert!(std::env::var("AMARULA_INTEROP").as_deref() != Ok("required"), "{test} is required, but {how}");
    say(&format!("SKIPPED: {test}: {how}"));
    false
}

#[derive(Default)]
struct State {
    answers: BTreeMap<u64, Result<Value, String>>,
    events: Vec<Value>,
    /// The last lines of its log, for a failure's message.
    warnings: Vec<Value>,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running child. It ends when this is dropped, and also when this process dies: its stdin ends then.
pub struct Program {
    child: Child,
    stdin: Mutex<Option<ChildStdin>>,
    shared: Arc<Shared>,
    next: AtomicU64,
}

impl Program {
    /// Starts a program of the folder, under the guard that keeps it on loopback.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(script: &str) -> Self {
        let mut child = Command::new("node")
            .args(["--import", "./guard.mjs", "--max-semi-space-size=1", script])
            .current_dir(folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("INTEROP_LOG").is_some() { Stdio::inherit() } else { Stdio::null() })
            .spawn()
            .expect("node starts");
        let stdin = Mutex::new(child.stdin.take());
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let Ok(line) = serde_json::from_str(&line) else { continue };
                for_thread.take(line);
            }
            for_thread.lock().ended = true;
            for_thread.changed.notify_all();
        });
        Self { child, stdin, shared, next: AtomicU64::new(1) }
    }

    /// Calls a method of one of its clients and waits for the answer.
    ///
    /// # Errors
    /// The method's own error.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn try_call(&self, client: &str, method: &str, params: &Value) -> Result<Value, String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let request = json!({"id": id, "client": client, "method": method, "params": params});
        {
            let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
            let written = stdin.as_mut().map(|stdin| writeln!(stdin, "{request}"));
            assert!(matches!(written, Some(Ok(()))), "{client}: the peer is gone");
        }
        self.wait(&format!("{client}'s answer to {method}"), |state| state.answers.remove(&id))
    }

    /// As [`try_call`](Self::try_call), for what must succeed.
    ///
    /// # Panics
    /// If it does not.
    pub fn call(&self, client: &str, method: &str, params: &Value) -> Value {
        self.try_call(client, method, params).unwrap_or_else(|error| panic!("{client}: {method} {params}: {error}"))
    }

    /// Takes the first event that fits, past or future: what `pick` makes of it.
    ///
    /// # Panics
    /// If there is none in time.
    pub fn event<T>(&self, client: &str, what: &str, mut pick: impl FnMut(&str, &Value) -> Option<T>) -> T {
        self.wait(&format!("{client}: {what}"), |state| {
            let mut found = None;
            let at = state.events.iter().position(|event| {
                found = (event["client"] == client)
                    .then(|| pick(event["event"].as_str().unwrap_or_default(), &event["data"]))
                    .flatten();
                found.is_some()
            })?;
            state.events.remove(at);
            found
        })
    }

    /// All events of a client that fit and were not taken yet.
    pub fn left<T>(&self, client: &str, mut pick: impl FnMut(&str, &Value) -> Option<T>) -> Vec<T> {
        let state = self.shared.lock();
        let own = state.events.iter().filter(|event| event["client"] == client);
        own.filter_map(|event| pick(event["event"].as_str().unwrap_or_default(), &event["data"])).collect()
    }

    /// Its last warnings, for a failure's message.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.shared.lock().warnings.iter().map(ToString::to_string).collect()
    }

    fn wait<T>(&self, what: &str, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = ready(&mut state) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                let why = if state.ended { "the peer's process ended" } else { "nothing in time" };
                let events: Vec<String> = state.events.iter().map(shortened).collect();
                drop(state);
                panic!("{what}: {why}. Events not taken:\n  {}", events.join("\n  "));
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn shortened(event: &Value) -> String {
    let mut text = event.to_string();
    if let Some((at, _)) = text.char_indices().nth(300) {
        text.truncate(at);
    }
    text
}

impl Shared {
    fn take(&self, mut line: Value) {
        let mut state = self.lock();
        if let Some(id) = line["id"].as_u64() {
            let answer = match line["error"].take() {
                Value::Null => Ok(line["result"].take()),
                error => Err(error.to_string()),
            };
            state.answers.insert(id, answer);
        } else if matches!(line["event"].as_str(), Some("warning" | "error")) {
            state.warnings.push(line);
        } else {
            state.events.push(line);
        }
        self.changed.notify_all();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stdin.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        let until = Instant::now() + Duration::from_secs(5);
        while !thread::panicking() && Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a path holds an auth folder of Baileys.
pub(crate) fn has_creds(folder: &Path) -> bool {
    folder.join("creds.json").is_file()
}
