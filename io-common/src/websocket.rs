//! WebSocket settings, and what its errors mean to an engine.

use amarula_core::engine::{Endpoint, OpenError};
use http::{HeaderValue, Request, Uri};
use tungstenite::Error;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::WebSocketConfig;

use crate::error::ConfigError;

/// Largest message and frame taken: a protocol frame may have 2^24 - 1 bytes and its 3 bytes of length, and the server
/// may put several into one message.
pub const READ_LIMIT: usize = 32 << 20;
/// Bytes waiting to be sent at which a connection is given up: the peer does not read.
pub const UNSENT_LIMIT: usize = 32 << 20;
/// How long a closing connection may take to say goodbye.
pub const CLOSE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// The settings. Small buffers: most connections are idle most of the time.
#[must_use]
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(READ_LIMIT))
        .max_frame_size(Some(READ_LIMIT))
}

/// The upgrade request.
///
/// # Errors
/// [`OpenError::Config`] if the origin cannot be a header.
pub fn upgrade(uri: Uri, endpoint: &Endpoint) -> Result<Request<()>, OpenError> {
    let bad = |_| OpenError::from(ConfigError::Url(endpoint.url.to_string()));
    let mut request = uri.into_client_request().map_err(bad)?;
    let origin = HeaderValue::from_str(&endpoint.origin)
        .map_err(|_| OpenError::Config("the origin cannot be sent as a header".into()))?;
    request.headers_mut().insert(http::header::ORIGIN, origin);
    Ok(request)
}

/// Why the upgrade failed.
#[must_use]
pub fn open_error(error: Error) -> OpenError {
    match error {
        Error::Http(response) => OpenError::Status(response.status().as_u16()),
        Error::Io(error) => io_error(&error),
        Error::Url(error) => OpenError::Config(error.to_string().into()),
        other => OpenError::Network(format!("WebSocket upgrade: {other}").into()),
    }
}

/// Why TCP, TLS or the proxy failed.
#[must_use]
pub fn io_error(error: &std::io::Error) -> OpenError {
    match error.kind() {
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => OpenError::Timeout,
        _ => OpenError::Network(error.to_string().into()),
    }
}

/// Whether the error only says "later".
#[must_use]
pub fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrade_says_where_it_comes_from() {
        let endpoint = Endpoint { url: "wss://web.example.org/ws".into(), origin: "https://web.example.org".into() };
        let uri: Uri = endpoint.url.parse().expect("an address");
        let request = upgrade(uri.clone(), &endpoint).expect("fine");
        assert_eq!(request.headers()["origin"], "https://web.example.org");
        assert!(!request.headers().contains_key("sec-websocket-extensions"));
        let bad = Endpoint { origin: "a\nb".into(), ..endpoint };
        assert!(matches!(upgrade(uri, &bad), Err(OpenError::Config(_))));
    }
}
