//! HTTP `CONNECT` (RFC 9110 §9.3.6).

use amarula_core::engine::OpenError;
use base64::Engine as _;

use super::{Login, Step};
use crate::target::Target;

/// Longest answer head taken.
const HEAD_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct HttpConnect {
    request: Option<Vec<u8>>,
    head: Vec<u8>,
    done: bool,
}

impl HttpConnect {
    pub(super) fn new(target: &Target, login: Option<&Login>) -> Self {
        let authority = target.authority();
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(Login { user, password }) = login {
            let value = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            request.push_str(&format!("Proxy-Authorization: Basic {value}\r\n"));
        }
        request.push_str("\r\n");
        Self { request: Some(request.into_bytes()), head: Vec::new(), done: false }
    }

    pub(super) fn next(&mut self) -> Step {
        match self.request.take() {
            Some(request) => Step::Write(request),
            None if self.done => Step::Done,
            // The end of the head is found by its last four bytes; what may be missing of them is safe to read.
            None => Step::Read(match self.head.as_slice() {
                [.., b'\r', b'\n', b'\r'] => 1,
                [.., b'\r', b'\n'] => 2,
                [.., b'\r'] => 3,
                _ => 4,
            }),
        }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        self.head.extend_from_slice(bytes);
        if !self.head.ends_with(b"\r\n\r\n") {
            return if self.head.len() < HEAD_BYTES { Ok(()) } else { Err(network("its answer is too long")) };
        }
        let line = self.head.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let mut words = line.split(|&byte| byte == b' ');
        let version = words.next().unwrap_or_default();
        let status = words.next().and_then(|word| std::str::from_utf8(word).ok()).and_then(|word| word.parse().ok());
        match status {
            _ if !version.starts_with(b"HTTP/1.") => Err(network("it does not speak HTTP")),
            Some(200..=299u16) => {
                self.done = true;
                Ok(())
            }
            Some(407) => Err(OpenError::Config("the proxy does not accept our user and password (407)".into())),
            Some(status) => Err(network(&format!("it answered CONNECT with status {status}"))),
            None => Err(network("it does not speak HTTP")),
        }
    }
}

fn network(what: &str) -> OpenError {
    OpenError::Network(format!("proxy: {what}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target { host: "web.example.org".into(), port: 443, tls: true }
    }

    /// Feeds `answer` as asked; returns the result and how many bytes were taken.
    fn run(answer: &[u8]) -> (Result<(), OpenError>, usize) {
        let mut machine = HttpConnect::new(&target(), None);
        let Step::Write(request) = machine.next() else { panic!("writes first") };
        assert_eq!(request, b"CONNECT web.example.org:443 HTTP/1.1\r\nHost: web.example.org:443\r\n\r\n");
        let mut taken = 0;
        loop {
            match machine.next() {
                Step::Read(count) => {
                    let Some(bytes) = answer.get(taken..taken + count) else { panic!("reads too far") };
                    taken += count;
                    if let Err(error) = machine.read(bytes) {
                        return (Err(error), taken);
                    }
                }
                Step::Done => return (Ok(()), taken),
                Step::Write(_) => panic!("writes once"),
            }
        }
    }

    #[test]
    fn takes_the_head_and_not_a_byte_more() {
        for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n"] {
            let (result, taken) = run(format!("{head}tunnel").as_bytes());
            assert_eq!((result, taken), (Ok(()), head.len()));
        }
    }

    #[test]
    fn refusals() {
        assert!(matches!(run(b"HTTP/1.1 407 No\r\n\r\n....").0, Err(OpenError::Config(_))));
        assert!(matches!(run(b"HTTP/1.1 502 No\r\n\r\n....").0, Err(OpenError::Network(_))));
        assert!(matches!(run(b"SSH-2.0-x y\r\n\r\n....").0, Err(OpenError::Network(_))));
        assert!(matches!(run(&[b'a'; HEAD_BYTES + 8]).0, Err(OpenError::Network(_))));
    }

    #[test]
    fn login() {
        let login = Login { user: "me".into(), password: "pw".into() };
        let mut machine = HttpConnect::new(&target(), Some(&login));
        let Step::Write(request) = machine.next() else { panic!("writes first") };
        assert!(String::from_utf8_lossy(&request).contains("Proxy-Authorization: Basic bWU6cHc=\r\n"));
    }
}
