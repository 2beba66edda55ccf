//! The engine's HTTP requests.

use std::io::{Read as _, Write as _};

use amarula_core::engine::command::{Presence, SetPresence};
use amarula_core::engine::{HttpError, HttpId, HttpRequest, HttpResponse, Input, Output, Request};
use bytes::Bytes;

use super::start;
use crate::peer::{Peer, nobody, read_head};
use crate::script::{Script, Told, done};
use crate::{ClientUnderTest as _, DriverUnderTest, Options};

fn perform(driver: &impl DriverUnderTest, requests: Vec<HttpRequest>) -> Vec<Result<HttpResponse, HttpError>> {
    let count = requests.len();
    let script = Script::reacting(move |_, told| match told {
        Told::Command(ticket, Request::SetPresence(_)) => {
            let asked = requests.iter().zip(0..).map(|(request, id)| Output::Http(HttpId(id), request.clone()));
            Some(asked.chain([done(ticket)]).collect())
        }
        _ => None,
    });
    let (client, _events) = start(driver, &script, Options::new(&Peer::echo().url()));
    client.call(SetPresence { presence: Presence::Available }).expect("runs");
    let results = (0..count as u64)
        .map(|wanted| {
            script.wait("HttpDone", |_, input| match input {
                Input::HttpDone { id: HttpId(id), result } if *id == wanted => Some(result.clone()),
                _ => None,
            })
        })
        .collect();
    client.shutdown().expect("ends");
    results
}

fn get(url: String) -> HttpRequest {
    HttpRequest { method: "GET", url: url.into(), headers: Vec::new(), body: Bytes::new(), limit: 1000 }
}

/// Method, headers, body; status, body up to the limit, `Retry-After`.
pub fn performs_requests(driver: &impl DriverUnderTest) {
    let server = Peer::start(|mut tcp| {
        let head = read_head(&mut tcp);
        let answer = if head.starts_with("POST /upload HTTP/1.1\r\n") {
            assert!(head.to_ascii_lowercase().contains("\r\nx-test: yes\r\n"), "{head}");
            let mut body = [0; 5];
            let _ = tcp.read_exact(&mut body);
            format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n{}",
                String::from_utf8_lossy(&body)
            )
        } else if head.starts_with("GET /long ") {
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5000\r\n\r\n{}", "x".repeat(5000))
        } else {
            "HTTP/1.1 503 Later\r\nRetry-After: 7\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".into()
        };
        let _ = tcp.write_all(answer.as_bytes());
    });
    let url = |path: &str| format!("http://{}{path}", server.address());
    let mut upload = get(url("/upload"));
    upload.method = "POST";
    upload.headers = vec![("x-test".into(), "yes".into())];
    upload.body = "bytes".into();
    let results = perform(driver, vec![upload, get(url("/long")), get(url("/"))]);
    assert_eq!(results[0], Ok(HttpResponse { status: 200, body: "bytes".into(), retry_after: None }));
    assert_eq!(results[1].as_ref().map(|answer| answer.body.len()), Ok(1000));
    assert_eq!(results[2], Ok(HttpResponse { status: 503, body: Bytes::new(), retry_after: Some(7) }));
}

/// Nobody there, plain text to another machine, not an address.
pub fn reports_failures(driver: &impl DriverUnderTest) {
    let urls = [format!("http://{}/", nobody()), "http://192.0.2.1/".to_owned(), "nonsense".to_owned()];
    for result in perform(driver, urls.into_iter().map(get).collect()) {
        assert!(result.is_err(), "{result:?}");
    }
}
