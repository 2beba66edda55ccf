//! SOCKS version 5 (RFC 1928) with user and password (RFC 1929).

use amarula_core::engine::OpenError;

use super::{Login, Step};
use crate::target::Target;

#[derive(Debug)]
pub(super) struct Socks5 {
    login: Option<Login>,
    connect: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    Greet,
    AwaitMethod,
    Login,
    AwaitLogin,
    Connect,
    AwaitReply,
    /// The bound address follows: so many bytes, of no interest.
    AwaitAddress(usize),
    /// A name's length byte follows.
    AwaitNameLength,
    Done,
}

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const USER_PASSWORD: u8 = 2;

impl Socks5 {
    pub(super) fn new(target: &Target, login: Option<&Login>) -> Self {
        let mut connect = vec![VERSION, 1, 0];
        match target.host.parse() {
            Ok(std::net::IpAddr::V4(ip)) => {
                connect.push(1);
                connect.extend(ip.octets());
            }
            Ok(std::net::IpAddr::V6(ip)) => {
                connect.push(4);
                connect.extend(ip.octets());
            }
            Err(_) => {
                // A host name has at most 253 bytes; a longer one cannot exist and is cut here to be refused there.
                let name = target.host.as_bytes();
                let name = &name[..name.len().min(255)];
                connect.extend([3, name.len() as u8]);
                connect.extend(name);
            }
        }
        connect.extend(target.port.to_be_bytes());
        Self { login: login.cloned(), connect, state: State::Greet }
    }

    pub(super) fn next(&mut self) -> Step {
        let (step, state) = match std::mem::replace(&mut self.state, State::Done) {
            State::Greet => {
                let greeting = if self.login.is_some() {
                    vec![VERSION, 2, NO_LOGIN, USER_PASSWORD]
                } else {
                    vec![VERSION, 1, NO_LOGIN]
                };
                (Step::Write(greeting), State::AwaitMethod)
            }
            State::Login => {
                let mut bytes = vec![1];
                for text in self.login.iter().flat_map(|login| [&login.user, &login.password]) {
                    // Lengths were checked when the address was read.
                    bytes.push(text.len() as u8);
                    bytes.extend(text.as_bytes());
                }
                (Step::Write(bytes), State::AwaitLogin)
            }
            State::Connect => (Step::Write(std::mem::take(&mut self.connect)), State::AwaitReply),
            State::AwaitMethod => (Step::Read(2), State::AwaitMethod),
            State::AwaitLogin => (Step::Read(2), State::AwaitLogin),
            State::AwaitReply => (Step::Read(4), State::AwaitReply),
            State::AwaitNameLength => (Step::Read(1), State::AwaitNameLength),
            State::AwaitAddress(count) => (Step::Read(count), State::AwaitAddress(count)),
            State::Done => (Step::Done, State::Done),
        };
        self.state = state;
        step
    }

    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        self.state = match (&self.state, bytes) {
            (State::AwaitMethod, [VERSION, NO_LOGIN]) => State::Connect,
            (State::AwaitMethod, [VERSION, USER_PASSWORD]) if self.login.is_some() => State::Login,
            (State::AwaitMethod, [VERSION, _]) => return Err(config("the proxy wants another kind of login")),
            (State::AwaitLogin, [_, 0]) => State::Connect,
            (State::AwaitLogin, [_, _]) => return Err(config("the proxy does not accept our user and password")),
            (State::AwaitReply, [VERSION, 0, _, 1]) => State::AwaitAddress(4 + 2),
            (State::AwaitReply, [VERSION, 0, _, 4]) => State::AwaitAddress(16 + 2),
            (State::AwaitReply, [VERSION, 0, _, 3]) => State::AwaitNameLength,
            (State::AwaitReply, [VERSION, code @ 1..=255, _, _]) => return Err(network(reply_text(*code))),
            (State::AwaitNameLength, [length]) => State::AwaitAddress(usize::from(*length) + 2),
            (State::AwaitAddress(_), _) => State::Done,
            _ => return Err(network("it does not speak SOCKS 5")),
        };
        Ok(())
    }
}

fn reply_text(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "connection not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "time to live expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unknown failure",
    }
}

fn network(what: &str) -> OpenError {
    OpenError::Network(format!("proxy: {what}").into())
}

fn config(what: &'static str) -> OpenError {
    OpenError::Config(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(login: Option<&Login>, host: &str, answer: &[u8]) -> (Result<(), OpenError>, usize, Vec<Vec<u8>>) {
        let target = Target { host: host.into(), port: 443, tls: true };
        let mut machine = Socks5::new(&target, login);
        let (mut taken, mut written) = (0, Vec::new());
        loop {
            match machine.next() {
                Step::Write(bytes) => written.push(bytes),
                Step::Read(count) => {
                    let bytes = &answer[taken..taken + count];
                    taken += count;
                    if let Err(error) = machine.read(bytes) {
                        return (Err(error), taken, written);
                    }
                }
                Step::Done => return (Ok(()), taken, written),
            }
        }
    }

    #[test]
    fn by_name_without_login() {
        let answer = [5, 0, 5, 0, 0, 3, 2, b'x', b'y', 0, 80, b'!'];
        let (result, taken, written) = run(None, "ab", &answer);
        assert_eq!((result, taken), (Ok(()), answer.len() - 1));
        assert_eq!(written, [vec![5, 1, 0], vec![5, 1, 0, 3, 2, b'a', b'b', 1, 187]]);
    }

    #[test]
    fn by_address_with_login() {
        let login = Login { user: "me".into(), password: "pw".into() };
        let answer = [5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let (result, _, written) = run(Some(&login), "10.0.0.1", &answer);
        assert_eq!(result, Ok(()));
        assert_eq!(written[1], [1, 2, b'm', b'e', 2, b'p', b'w']);
        assert_eq!(written[2], [5, 1, 0, 1, 10, 0, 0, 1, 1, 187]);
    }

    #[test]
    fn refusals() {
        assert!(matches!(run(None, "a", &[5, 0xff]).0, Err(OpenError::Config(_))));
        assert!(matches!(run(None, "a", &[5, 2]).0, Err(OpenError::Config(_))));
        assert!(matches!(run(None, "a", &[5, 0, 5, 5, 0, 1]).0, Err(OpenError::Network(_))));
        assert!(matches!(run(None, "a", b"HTTP").0, Err(OpenError::Network(_))));
        let login = Login { user: "me".into(), password: "pw".into() };
        assert!(matches!(run(Some(&login), "a", &[5, 2, 1, 1]).0, Err(OpenError::Config(_))));
    }
}
