//! The real program against a simulated server in this process.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "a part of each test, and not every test uses all of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use amarula_sim::codec::Read as _;
use amarula_sim::ws::LoopbackServer;
use amarula_sim::{AccountId, ServerConfig};
use serde_json::Value;

/// Longest wait for anything; a failing test ends by it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const ALICE: &str = "15550000001";
pub const BOB: &str = "15550000002";

/// A test for each driver.
#[macro_export]
macro_rules! both_drivers {
    ($($name:ident,)*) => {
        mod tokio {
            $(#[test]
            fn $name() {
                super::$name("tokio");
            })*
        }
        mod blocking {
            $(#[test]
            fn $name() {
                super::$name("blocking");
            })*
        }
    };
}

/// A server, a folder for stores, and a driver.
pub struct Stage {
    pub server: LoopbackServer,
    pub folder: tempfile::TempDir,
    pub driver: &'static str,
    pub alice: AccountId,
    pub bob: AccountId,
}

impl Stage {
    pub fn new(driver: &'static str) -> Self {
        let server = LoopbackServer::start(ServerConfig { trace: true, ..ServerConfig::default() }).expect("a server");
        let (alice, bob) = server.with_server(|server, _| {
            (server.add_account(ALICE, "200000000001"), server.add_account(BOB, "200000000002"))
        });
        Self { server, folder: tempfile::tempdir().expect("a folder"), driver, alice, bob }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The program, with this stage's options in the environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command
            .env("AMARULA_DATA_DIR", self.data_dir())
            .env("AMARULA_SERVER", self.server.url())
            .env("AMARULA_ROOT_KEY", hex::encode(self.server.root_key().0))
            .env("AMARULA_DRIVER", self.driver);
        command
    }

    pub fn start(&self, args: &[&str]) -> Program {
        Program::start(self.command(args))
    }

    /// Runs to the end, with nothing on stdin.
    pub fn run(&self, args: &[&str]) -> Finished {
        self.start(args).finish()
    }

    /// The phone scans a code as soon as the client is ready for it.
    pub fn scan(&self, account: AccountId, qr: &str) {
        let ready = self.server.wait_for(PATIENCE, |server| {
            let conn = server.connections().map(|(conn, _)| conn).find(|conn| !server.refs(*conn).is_empty())?;
            let mut said = server.trace().iter().filter(|said| said.conn == conn && said.from_client);
            said.find(|said| said.node.tag == "iq" && said.node.text("type") == "result").map(|_| ())
        });
        assert!(ready.is_some(), "no client shows a QR code");
        self.server.with_server(|server, now| server.scan_qr(now, account, qr)).expect("a scan");
    }

    /// Links a profile.
    pub fn pair(&self, profile: &str, account: AccountId) {
        let mut program = self.start(&["pair", "--json", "-p", profile]);
        let qr = program.expect(|line| line["step"] == "qr");
        self.scan(account, qr["text"].as_str().expect("a text"));
        let ready = program.expect(|line| line["event"] == "ready");
        assert_eq!(ready["profile"], profile);
        program.finish().assert(0);
    }

    /// Waits until the phone of `account` has this text.
    pub fn on_phone(&self, account: AccountId, text: &str) {
        let has = |server: &mut amarula_sim::Server| {
            server.phone(account).texts().iter().any(|got| got == text).then_some(())
        };
        assert!(self.server.wait_for(PATIENCE, has).is_some(), "the phone did not get {text:?}");
    }

    /// The phone of `from` writes to `to`.
    pub fn phone_says(&self, from: AccountId, to: &str, text: &str) -> String {
        let to = amarula_core::wire::Jid::pn(to);
        self.server.with_server(|server, now| server.phone_send_text(now, from, &to, text))
    }

    pub fn assert_clean(&self) {
        let violations = self.server.violations();
        assert!(violations.is_empty(), "the server objects: {violations:#?}");
    }
}

/// The program without any of our environment.
pub fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amarula"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AMARULA_") {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

/// A running program. Killed when dropped.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    seen: Vec<String>,
    interrupted: bool,
}

/// What it left behind.
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: Vec<String>,
    pub stderr: String,
}

impl Finished {
    #[track_caller]
    pub fn assert(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {:#?}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        self.stdout.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

impl Program {
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program");
        let (to_stdout, stdout) = channel();
        let (to_stderr, stderr) = channel();
        let out = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if to_stdout.send(line).is_err() {
                    return;
                }
            }
        });
        let mut err = child.stderr.take().expect("piped");
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = err.read_to_string(&mut text);
            let _ = to_stderr.send(text);
        });
        let stdin = child.stdin.take();
        Self { child, stdin, stdout, stderr, seen: Vec::new(), interrupted: false }
    }

    /// The next line of stdout.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.stdout.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.seen.push(line.clone());
                line
            }
            Err(error) => {
                let _ = self.child.kill();
                let stderr = self.stderr.recv_timeout(PATIENCE).unwrap_or_default();
                panic!("{error}\nstdout: {:#?}\nstderr: {stderr}", self.seen)
            }
        }
    }

    /// Reads JSON lines up to one that fits.
    #[track_caller]
    pub fn expect(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.line();
            let value: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            if fits(&value) {
                return value;
            }
        }
    }

    /// Reads lines up to one that holds this.
    #[track_caller]
    pub fn expect_text(&mut self, text: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn write(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open");
        writeln!(stdin, "{line}").expect("it reads");
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends SIGINT.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
        let status = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().expect("kill");
        assert!(status.success());
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits for its end, which the end of its stdin brings about unless an interrupt was to.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        if !self.interrupted {
            self.stdin = None;
        }
        let deadline = Instant::now() + PATIENCE;
        let code = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status.code();
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let stderr = self.stderr.recv_timeout(PATIENCE).unwrap_or_default();
                panic!("it does not end; stdout: {:#?}\nstderr: {stderr}", self.seen);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut stdout = std::mem::take(&mut self.seen);
        while let Ok(line) = self.stdout.recv_timeout(PATIENCE) {
            stdout.push(line);
        }
        let stderr = self.stderr.recv_timeout(PATIENCE).unwrap_or_default();
        Finished { code, stdout, stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether there is nothing at this path.
pub fn absent(path: &Path) -> bool {
    !path.exists()
}
