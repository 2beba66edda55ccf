//! Getting there.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use amarula_core::engine::{Input, OpenError};
use amarula_io::{ConfigError, Error};

use super::{frame, next_shown, start};
use crate::peer::{Peer, nobody, read_head, splice, tls_echo};
use crate::script::Script;
use crate::{ClientUnderTest as _, DriverUnderTest, Options};

fn open_failed(driver: &impl DriverUnderTest, options: Options) -> OpenError {
    let script = Script::default();
    let (client, _events) = start(driver, &script, options);
    let error = script.wait("OpenFailed", |_, input| match input {
        Input::OpenFailed { error, .. } => Some(error.clone()),
        _ => None,
    });
    client.shutdown().expect("ends");
    error
}

fn echoes(driver: &impl DriverUnderTest, options: Options) {
    let script = Script::default();
    let (client, mut events) = start(driver, &script, options);
    script.wait_opened();
    client.call(frame("hello")).expect("sends");
    assert_eq!(next_shown(&mut events), "hello");
    client.shutdown().expect("ends");
}

/// Nobody listens.
pub fn reports_refusal(driver: &impl DriverUnderTest) {
    let error = open_failed(driver, Options::new(&format!("ws://{}/", nobody())));
    assert!(matches!(error, OpenError::Network(_)), "{error:?}");
}

/// The server does not want to upgrade.
pub fn reports_the_http_status(driver: &impl DriverUnderTest) {
    for status in [403, 503] {
        let peer = Peer::start(move |mut tcp| {
            let head = read_head(&mut tcp).to_ascii_lowercase();
            assert!(head.contains("\r\norigin: https://example.org\r\n"), "{head}");
            let _ = tcp.write_all(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n").as_bytes());
        });
        assert_eq!(open_failed(driver, Options::new(&peer.url())), OpenError::Status(status));
    }
    let peer = Peer::start(|mut tcp| {
        read_head(&mut tcp);
        let _ = tcp.write_all(b"SSH-2.0-OpenSSH\r\n");
    });
    let error = open_failed(driver, Options::new(&peer.url()));
    assert!(matches!(error, OpenError::Network(_)), "{error:?}");
}

/// Not encrypted, to another machine: refused before anything is sent.
pub fn refuses_plain_text_elsewhere(driver: &impl DriverUnderTest) {
    let built = driver.build(Options::new("ws://192.0.2.1/ws")).err();
    assert!(matches!(built, Some(Error::Config(ConfigError::PlainText(_)))), "{built:?}");
}

/// Only trusted certificates, only of the right name.
pub fn checks_certificates(driver: &impl DriverUnderTest) {
    let (peer, root) = tls_echo();
    let by_name = format!("wss://localhost:{}/ws", peer.address().port());
    let by_number = format!("wss://{}/ws", peer.address());
    echoes(driver, Options { tls_root: Some(root.clone()), ..Options::new(&by_name) });
    for options in [Options::new(&by_name), Options { tls_root: Some(root), ..Options::new(&by_number) }] {
        let error = open_failed(driver, options);
        assert!(matches!(&error, OpenError::Network(what) if what.contains("certificate")), "{error:?}");
    }
}

/// A proxy that speaks HTTP, and counts.
fn http_proxy(to: &Peer, used: &Arc<AtomicUsize>) -> Peer {
    let (to, used) = (to.address(), Arc::clone(used));
    Peer::start(move |mut tcp| {
        let head = read_head(&mut tcp);
        // The name is the proxy's to resolve.
        assert!(head.starts_with("CONNECT chat.invalid:443 HTTP/1.1\r\n"), "{head}");
        if !head.contains("Proxy-Authorization: Basic bWU6cHc=\r\n") {
            let _ = tcp.write_all(b"HTTP/1.1 407 Who are you\r\n\r\n");
            return;
        }
        used.fetch_add(1, Ordering::Relaxed);
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        if let Ok(other) = TcpStream::connect(to) {
            splice(tcp, other);
        }
    })
}

/// The target's certificate is still checked: the name is another, so TLS refuses, behind the proxy.
pub fn goes_through_an_http_proxy(driver: &impl DriverUnderTest) {
    let used = Arc::new(AtomicUsize::new(0));
    let (target, root) = tls_echo();
    let proxy = http_proxy(&target, &used);
    let error = open_failed(
        driver,
        Options {
            proxy: Some(format!("http://me:pw@{}", proxy.address())),
            tls_root: Some(root),
            ..Options::new("wss://chat.invalid/ws")
        },
    );
    assert!(matches!(&error, OpenError::Network(what) if what.contains("certificate")), "{error:?}");
    assert_eq!(used.load(Ordering::Relaxed), 1);
}

/// Wrong password: trying again is of no use.
pub fn tells_bad_proxy_logins(driver: &impl DriverUnderTest) {
    let proxy = http_proxy(&Peer::echo(), &Arc::default());
    let options = Options { proxy: Some(format!("http://{}", proxy.address())), ..Options::new("wss://chat.invalid/") };
    let error = open_failed(driver, options);
    assert!(matches!(error, OpenError::Config(_)), "{error:?}");
}

/// SOCKS 5, by name.
pub fn goes_through_a_socks_proxy(driver: &impl DriverUnderTest) {
    let (target, root) = tls_echo();
    let to = target.address();
    let proxy = Peer::start(move |mut tcp| {
        let mut greeting = [0; 3];
        let _ = tcp.read_exact(&mut greeting);
        assert_eq!(greeting, [5, 1, 0]);
        let _ = tcp.write_all(&[5, 0]);
        let mut request = [0; 5 + 9 + 2];
        let _ = tcp.read_exact(&mut request);
        assert_eq!(request[..5 + 9], *b"\x05\x01\x00\x03\x09localhost");
        let _ = tcp.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        if let Ok(other) = TcpStream::connect(to) {
            splice(tcp, other);
        }
    });
    echoes(
        driver,
        Options {
            proxy: Some(format!("socks5://{}", proxy.address())),
            tls_root: Some(root),
            ..Options::new("wss://localhost:1/ws")
        },
    );
}
