//! A network between a store and its database that tests can break at will.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::sync::lock;

/// What happens to the next `COMMIT`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Cut {
    /// The connection breaks, and it does not arrive.
    Before,
    /// It arrives, and the connection breaks before the answer.
    After,
    /// The client's side breaks; it arrives when the proxy is opened, however late.
    Late,
}

#[derive(Default)]
struct State {
    /// Nothing moves.
    frozen: bool,
    /// Connections break, and new ones are refused.
    closed: bool,
    cut: Option<Cut>,
    /// Counts the closings: older connections are broken.
    generation: u32,
    cuts: u32,
}

#[derive(Clone)]
pub(super) struct Proxy {
    port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    /// Before this server.
    pub(super) fn new(host: &str, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let (running, target) = (proxy.clone(), (host.to_owned(), port));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                if lock(&running.state.0).closed {
                    continue;
                }
                let Ok(server) = TcpStream::connect((target.0.as_str(), target.1)) else { continue };
                running.join(&client, &server);
            }
        });
        proxy
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state.0));
        self.state.1.notify_all();
    }

    pub(super) fn freeze(&self, frozen: bool) {
        self.change(|state| state.frozen = frozen);
    }

    pub(super) fn close(&self) {
        self.change(|state| {
            state.closed = true;
            state.generation += 1;
        });
    }

    pub(super) fn open(&self) {
        self.change(|state| state.closed = false);
    }

    pub(super) fn cut_next(&self, cut: Cut) {
        self.change(|state| state.cut = Some(cut));
    }

    /// How many were cut.
    pub(super) fn cuts(&self) -> u32 {
        lock(&self.state.0).cuts
    }

    /// Waits while frozen. Whether connections of this generation may go on.
    fn pass(&self, generation: u32) -> bool {
        let mut state = lock(&self.state.0);
        while state.frozen {
            state = self.state.1.wait(state).unwrap();
        }
        state.generation == generation
    }

    fn join(&self, client: &TcpStream, server: &TcpStream) {
        let generation = lock(&self.state.0).generation;
        for (from, to, upstream) in [(client, server, true), (server, client, false)] {
            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            from.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
            let proxy = self.clone();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                loop {
                    let read = from.read(&mut buffer);
                    if !proxy.pass(generation) {
                        break;
                    }
                    let count = match read {
                        Ok(0) => break,
                        Ok(count) => count,
                        Err(error)
                            if matches!(
                                error.kind(),
                                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                            ) =>
                        {
                            continue;
                        }
                        Err(_) => break,
                    };
                    let is_commit = upstream && buffer[..count].windows(7).any(|window| window == b"COMMIT\0");
                    let cut = if is_commit { proxy.take_cut() } else { None };
                    match cut {
                        None => {}
                        Some(Cut::Before) => break,
                        Some(Cut::After) => {
                            // Nothing more comes back to the client.
                            let _ = from.shutdown(Shutdown::Both);
                            let _ = to.write_all(&buffer[..count]);
                            std::thread::sleep(Duration::from_millis(30));
                            break;
                        }
                        Some(Cut::Late) => {
                            let _ = from.shutdown(Shutdown::Both);
                            while lock(&proxy.state.0).closed {
                                std::thread::sleep(Duration::from_millis(2));
                            }
                            let _ = to.write_all(&buffer[..count]);
                            std::thread::sleep(Duration::from_millis(100));
                            break;
                        }
                    }
                    if to.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }

    fn take_cut(&self) -> Option<Cut> {
        let mut state = lock(&self.state.0);
        let cut = state.cut.take()?;
        state.cuts += 1;
        if cut == Cut::Late {
            state.closed = true;
        }
        Some(cut)
    }
}
