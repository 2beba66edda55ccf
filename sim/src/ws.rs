//! The simulation behind a real WebSocket on loopback, driven by the wall clock (feature `ws`).
//!
//! One [`Server`] behind a mutex, std threads, `ws://127.0.0.1:<port>/ws/chat`. Everything stops when the
//! [`LoopbackServer`] is dropped. For tests and offline trials; it binds loopback only.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use amarula_core::crypto::PublicKey;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

use crate::server::{ClientProfile, ConnId, Server, ServerConfig, ServerOutput};
use crate::time::SimTime;
use crate::violation::{Rule, Violation};

/// More connections than this are not accepted.
const MAX_CONNECTIONS: usize = 256;
/// How long a thread may wait before it looks at its queue again.
const SLICE: Duration = Duration::from_millis(2);
/// How long a client may take to close its side after us.
const DRAIN: Duration = Duration::from_secs(2);
/// Between the last stanza and the close. Baileys handles stanzas asynchronously: a close that follows at once overtakes
/// a `<stream:error code=515/>` and it does not come back (close code 428 instead of 515).
const LINGER: Duration = Duration::from_millis(50);

enum Order {
    Send(Vec<u8>),
    Close,
}

struct Inner {
    server: Server,
    queues: BTreeMap<ConnId, Sender<Order>>,
}

struct Shared {
    inner: Mutex<Inner>,
    stop: AtomicBool,
    next_conn: AtomicU64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of a test inside with_server must not hide what the test would report.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn flush(&mut self) {
        while let Some(output) = self.server.poll() {
            let (conn, order) = match output {
                ServerOutput::Send(conn, bytes) => (conn, Order::Send(bytes)),
                ServerOutput::Close(conn) => (conn, Order::Close),
            };
            if let Some(queue) = self.queues.get(&conn) {
                let _ = queue.send(order);
            }
        }
    }
}

fn now() -> SimTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    SimTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A running server.
pub struct LoopbackServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

impl LoopbackServer {
    /// Binds a free loopback port and starts serving.
    ///
    /// # Errors
    /// No socket or thread to be had.
    pub fn start(config: ServerConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let mut server = Server::new(config);
        server.tick(now());
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner { server, queues: BTreeMap::new() }),
            stop: AtomicBool::new(false),
            next_conn: AtomicU64::new(1),
        });
        let for_thread = Arc::clone(&shared);
        let acceptor =
            thread::Builder::new().name("sim-accept".to_owned()).spawn(move || accept(&for_thread, &listener))?;
        Ok(Self { shared, address, acceptor: Some(acceptor) })
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/ws/chat", self.address)
    }

    /// Where clients of a known kind connect: their connections get that profile, whatever the configured one is.
    #[must_use]
    pub fn url_for(&self, profile: ClientProfile) -> String {
        let name = match profile {
            ClientProfile::Strict => "strict",
            ClientProfile::Baileys => "baileys",
        };
        format!("{}?profile={name}", self.url())
    }

    /// The address behind [`Self::url`].
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients must pin.
    #[must_use]
    pub fn root_key(&self) -> PublicKey {
        self.shared.lock().server.root_key()
    }

    /// Acts on the server (and the phones in it) at the present time; what it wants sent goes out afterwards.
    pub fn with_server<R>(&self, act: impl FnOnce(&mut Server, SimTime) -> R) -> R {
        let mut inner = self.shared.lock();
        let result = act(&mut inner.server, now());
        inner.flush();
        result
    }

    /// Waits until `ready` gives something, for at most `timeout`.
    pub fn wait_for<R>(&self, timeout: Duration, mut ready: impl FnMut(&mut Server) -> Option<R>) -> Option<R> {
        let until = SystemTime::now() + timeout;
        loop {
            if let Some(result) = self.with_server(|server, _| ready(server)) {
                return Some(result);
            }
            if SystemTime::now() >= until {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What was objected to so far.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.lock().server.violations().to_vec()
    }
}

impl Drop for LoopbackServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        threads.retain(|thread| !thread.is_finished());
        match listener.accept() {
            Ok((stream, _)) if threads.len() < MAX_CONNECTIONS => {
                let shared = Arc::clone(shared);
                let spawned = thread::Builder::new().name("sim-conn".to_owned()).spawn(move || serve(&shared, stream));
                threads.extend(spawned.ok());
            }
            Ok(_) => {}
            Err(_) => thread::sleep(SLICE),
        }
        let mut inner = shared.lock();
        let time = now();
        if inner.server.next_deadline().is_some_and(|deadline| deadline <= time) {
            inner.server.tick(time);
        }
        inner.flush();
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// What the upgrade request said.
#[derive(Default)]
struct Upgrade {
    origin: bool,
    profile: Option<ClientProfile>,
}

#[allow(clippy::result_large_err, reason = "tungstenite's callback type")]
fn check_upgrade(request: &Request, response: Response, seen: &mut Upgrade) -> Result<Response, ErrorResponse> {
    let query = request.uri().query().unwrap_or_default();
    seen.profile = query.split('&').find_map(|pair| match pair {
        "profile=strict" => Some(ClientProfile::Strict),
        "profile=baileys" => Some(ClientProfile::Baileys),
        _ => None,
    });
    seen.origin = request.headers().get("origin").is_some_and(|value| value == "https://web.whatsapp.com");
    if request.uri().path() == "/ws/chat" {
        Ok(response)
    } else {
        let mut refusal = ErrorResponse::new(Some("only /ws/chat".to_owned()));
        *refusal.status_mut() = tungstenite::http::StatusCode::NOT_FOUND;
        Err(refusal)
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let Ok(control) = stream.try_clone() else { return };
    let mut seen = Upgrade::default();
    let config = WebSocketConfig::default().max_message_size(Some(1 << 25)).max_frame_size(Some(1 << 25));
    #[allow(clippy::result_large_err, reason = "tungstenite's callback type")]
    let callback = |request: &Request, response: Response| check_upgrade(request, response, &mut seen);
    let Ok(mut socket) = tungstenite::accept_hdr_with_config(stream, callback, Some(config)) else { return };
    let _ = control.set_read_timeout(Some(SLICE));
    let conn = ConnId(shared.next_conn.fetch_add(1, Ordering::Relaxed));
    let (sender, orders) = channel();
    {
        let mut inner = shared.lock();
        inner.queues.insert(conn, sender);
        let profile = seen.profile.unwrap_or(inner.server.config().profile);
        inner.server.connect_as(now(), conn, profile);
        if !seen.origin {
            inner.server.object(
                Some(conn),
                None,
                Rule::Framing,
                None,
                "the Origin header is not https://web.whatsapp.com",
            );
        }
        inner.flush();
    }
    talk(shared, conn, &mut socket, &orders);
    let mut inner = shared.lock();
    inner.queues.remove(&conn);
    inner.server.disconnected(now(), conn);
    inner.flush();
}

fn talk(shared: &Shared, conn: ConnId, socket: &mut WebSocket<TcpStream>, orders: &Receiver<Order>) {
    while !shared.stop.load(Ordering::Relaxed) {
        for order in orders.try_iter() {
            match order {
                Order::Send(bytes) => {
                    if socket.send(Message::binary(bytes)).is_err() {
                        return;
                    }
                }
                Order::Close => {
                    thread::sleep(LINGER);
                    let _ = socket.close(None);
                    let _ = socket.flush();
                    return drain(socket);
                }
            }
        }
        match socket.read() {
            Ok(Message::Binary(bytes)) => {
                let mut inner = shared.lock();
                inner.server.receive(now(), conn, &bytes);
                inner.flush();
            }
            Ok(Message::Text(_)) => {
                let mut inner = shared.lock();
                inner.server.object(Some(conn), None, Rule::Framing, None, "a text message: all messages are binary");
            }
            Ok(Message::Close(_)) => {
                let _ = socket.flush();
                return;
            }
            Ok(_) => {}
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

/// Reads what the client still sends, for a short while: closing a socket with unread bytes resets it, and the client would
/// lose what it has not read yet.
fn drain(socket: &mut WebSocket<TcpStream>) {
    let stream = socket.get_mut();
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let end = Instant::now() + DRAIN;
    let mut rest = [0; 4096];
    while Instant::now() < end {
        match io::Read::read(stream, &mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}
