//! The engine's HTTP requests, in the shape HTTP clients take.

use std::time::Duration;

use amarula_core::engine::HttpRequest;
use bytes::Bytes;

use crate::error::ConfigError;
use crate::target::{Target, without_query};

/// Time for one request from beginning to end. The engine has no deadline of its own for them.
pub const TIMEOUT: Duration = Duration::from_secs(120);

/// The request.
///
/// # Errors
/// The address, the method or a header is not one; says which.
pub fn request(request: &HttpRequest, allow_plain_text: bool) -> Result<http::Request<Bytes>, String> {
    let (_, uri) = Target::of_url(&request.url, allow_plain_text).map_err(|error| error.to_string())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(ConfigError::Url(without_query(&uri)).to_string());
    }
    let mut built = http::Request::builder().method(request.method).uri(uri);
    for (name, value) in &request.headers {
        built = built.header(name.as_str(), value.as_str());
    }
    built.body(request.body.clone()).map_err(|error| error.to_string())
}

/// Seconds of a `Retry-After` header that gives seconds. The form with a date is not understood.
#[must_use]
pub fn retry_after(headers: &http::HeaderMap) -> Option<u32> {
    headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_checked() {
        let mut asked = HttpRequest {
            method: "GET",
            url: "https://mmg.example.org/a?auth=secret".into(),
            headers: vec![("origin".into(), "https://web.example.org".into())],
            body: Bytes::new(),
            limit: 10,
        };
        let built = request(&asked, false).expect("fine");
        assert_eq!(built.headers()["origin"], "https://web.example.org");
        asked.headers.push(("bad name".into(), "x".into()));
        assert!(request(&asked, false).is_err());
        asked.headers.clear();
        asked.url = "ws://127.0.0.1/".into();
        assert!(request(&asked, false).is_err());
    }
}
