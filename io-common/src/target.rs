//! Addresses: what may be connected to, and how.

use amarula_core::engine::{Endpoint, OpenError};
use http::uri::{Scheme, Uri};

use crate::error::ConfigError;

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

impl Target {
    /// Reads a `ws`, `wss`, `http` or `https` address. Plain text is refused unless the host is this machine or
    /// `allow_plain_text` is set.
    ///
    /// # Errors
    /// [`ConfigError::Url`], [`ConfigError::PlainText`].
    pub fn of_uri(uri: &Uri, allow_plain_text: bool) -> Result<Self, ConfigError> {
        let bad = || ConfigError::Url(without_query(uri));
        let scheme = uri.scheme().map(Scheme::as_str).ok_or_else(bad)?;
        let (tls, default_port) = match scheme {
            "wss" | "https" => (true, 443),
            "ws" | "http" => (false, 80),
            _ => return Err(bad()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if !tls && !allow_plain_text && !is_loopback(host) {
            return Err(ConfigError::PlainText(without_query(uri)));
        }
        Ok(Self { host: host.to_owned(), port: uri.port_u16().unwrap_or(default_port), tls })
    }

    /// Reads an address in text form. See [`of_uri`](Self::of_uri).
    ///
    /// # Errors
    /// The same.
    pub fn of_url(url: &str, allow_plain_text: bool) -> Result<(Self, Uri), ConfigError> {
        let uri: Uri = url.parse().map_err(|_| ConfigError::Url(url.to_owned()))?;
        Ok((Self::of_uri(&uri, allow_plain_text)?, uri))
    }

    /// Reads the address of a WebSocket, and makes its upgrade request's address.
    ///
    /// # Errors
    /// [`OpenError::Config`].
    pub fn of_endpoint(endpoint: &Endpoint, allow_plain_text: bool) -> Result<(Self, Uri), OpenError> {
        let (target, uri) = Self::of_url(&endpoint.url, allow_plain_text)?;
        if !matches!(uri.scheme_str(), Some("ws" | "wss")) {
            return Err(ConfigError::Url(endpoint.url.to_string()).into());
        }
        Ok((target, uri))
    }

    /// `host:port`, an IPv6 address in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Whether `host` names this machine without asking a name server.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// For errors and logs: queries carry tokens.
pub(crate) fn without_query(uri: &Uri) -> String {
    let mut text = uri.to_string();
    text.truncate(text.find('?').unwrap_or(text.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_this_machine() {
        for url in ["ws://127.0.0.1:9/x", "ws://[::1]:9", "ws://localhost/", "wss://example.org/ws"] {
            assert!(Target::of_url(url, false).is_ok(), "{url}");
        }
        for url in ["ws://example.org/", "http://10.0.0.1/?auth=secret", "ws://localhost.example.org/"] {
            let error = Target::of_url(url, false).expect_err(url);
            assert!(matches!(&error, ConfigError::PlainText(_)), "{url}: {error}");
            assert!(!error.to_string().contains("secret"));
            assert!(Target::of_url(url, true).is_ok());
        }
        for url in ["", "x", "ftp://h/", "wss:///x", "/ws", "wss://"] {
            assert!(matches!(Target::of_url(url, true), Err(ConfigError::Url(_))), "{url}");
        }
    }

    #[test]
    fn ports_and_hosts() {
        let (target, _) = Target::of_url("wss://[2001:db8::1]/x", false).expect("fine");
        assert_eq!((target.host.as_str(), target.port, target.tls), ("2001:db8::1", 443, true));
        assert_eq!(target.authority(), "[2001:db8::1]:443");
        let endpoint = Endpoint { url: "https://example.org/".into(), origin: "x".into() };
        assert!(matches!(Target::of_endpoint(&endpoint, false), Err(OpenError::Config(_))));
    }
}
