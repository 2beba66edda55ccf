//! Reaching a server through a proxy: the conversation with it, as bytes. Sockets are the driver's.
//!
//! The target's name is always resolved by the proxy.

mod http_connect;
mod socks5;

use std::fmt;
use std::str::FromStr;

use amarula_core::engine::OpenError;

use crate::error::ConfigError;
use crate::target::Target;

/// A proxy. Made from text: `http://[user:password@]host:port` (its `CONNECT` method) or
/// `socks5://[user:password@]host:port`. `socks5h` is the same; user and password may be percent-encoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    login: Option<Login>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
}

impl Proxy {
    /// Host of the proxy itself.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port of the proxy itself.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts asking the proxy for a connection to `target`.
    #[must_use]
    pub fn conversation(&self, target: &Target) -> Conversation {
        Conversation(match self.kind {
            Kind::Http => Inner::Http(http_connect::HttpConnect::new(target, self.login.as_ref())),
            Kind::Socks5 => Inner::Socks5(socks5::Socks5::new(target, self.login.as_ref())),
        })
    }
}

/// One conversation with a proxy. Ask [`next_step`](Self::next_step) what to do, do it, tell it what came, until it is done.
#[derive(Debug)]
pub struct Conversation(Inner);

#[derive(Debug)]
enum Inner {
    Http(http_connect::HttpConnect),
    Socks5(socks5::Socks5),
}

/// What a [`Conversation`] needs.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Write these bytes.
    Write(Vec<u8>),
    /// Read exactly so many bytes, and pass them to [`Conversation::read`]. Never more: what follows belongs to the
    /// target.
    Read(usize),
    /// The connection now goes to the target.
    Done,
}

impl Conversation {
    /// What to do now.
    pub fn next_step(&mut self) -> Step {
        match &mut self.0 {
            Inner::Http(inner) => inner.next(),
            Inner::Socks5(inner) => inner.next(),
        }
    }

    /// Takes the bytes that [`Step::Read`] asked for.
    ///
    /// # Errors
    /// The proxy refused: [`OpenError::Config`] if it does not like our login, else [`OpenError::Network`].
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        match &mut self.0 {
            Inner::Http(inner) => inner.read(bytes),
            Inner::Socks5(inner) => inner.read(bytes),
        }
    }
}

impl FromStr for Proxy {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let bad = || ConfigError::Proxy(without_login(text));
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => Kind::Http,
            "socks5" | "socks5h" => Kind::Socks5,
            _ => return Err(bad()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (Some(Login::parse(login).ok_or_else(bad)?), address),
            None => (None, rest),
        };
        let authority: http::uri::Authority = address.parse().map_err(|_| bad())?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().ok_or_else(bad)?;
        if host.is_empty() || port == 0 {
            return Err(bad());
        }
        Ok(Self { kind, host, port, login })
    }
}

impl Login {
    fn parse(text: &str) -> Option<Self> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let login = Self { user: percent_decode(user)?, password: percent_decode(password)? };
        // SOCKS5 has one byte for each length.
        (!login.user.is_empty() && login.user.len() <= 255 && login.password.len() <= 255).then_some(login)
    }
}

/// Shows the address, never the password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Socks5 => "socks5",
        };
        let login = if self.login.is_some() { "..@" } else { "" };
        write!(f, "Proxy({scheme}://{login}{}:{})", self.host, self.port)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

fn without_login(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => format!("{}..{}", &text[..scheme + 3], &text[at..]),
        (None, Some(at)) => format!("..{}", &text[at..]),
        _ => text.to_owned(),
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let proxy: Proxy = "socks5h://me:p%40ss@[::1]:1080/".parse().expect("fine");
        assert_eq!((proxy.host(), proxy.port()), ("::1", 1080));
        assert_eq!(proxy.login.as_ref().map(|login| login.password.as_str()), Some("p@ss"));
        assert_eq!(format!("{proxy:?}"), "Proxy(socks5://..@::1:1080)");
        for bad in ["", "proxy:3128", "ftp://h:1", "http://h", "http://:3128", "http://u:secret@h", "socks5://%zz@h:1"]
        {
            let error = bad.parse::<Proxy>().expect_err(bad);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
