//! The engine's HTTP requests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use amarula_core::engine::{HttpError, HttpRequest, HttpResponse};
use amarula_io::http::{TIMEOUT, request, retry_after};
use amarula_io::setup::Network;
use amarula_io::target::Target;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::dial::dial;
use crate::stream::Stream;

/// An HTTP client that connects as the WebSocket does. Cheap to clone; keeps connections for a while.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<Connector, Full<Bytes>>,
    network: Arc<Network>,
}

impl Http {
    pub(crate) fn new(network: Arc<Network>) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(Connector(Arc::clone(&network)));
        Self { client, network }
    }

    /// Performs one request.
    pub(crate) async fn perform(&self, asked: HttpRequest) -> Result<HttpResponse, HttpError> {
        match tokio::time::timeout(TIMEOUT, self.run(&asked)).await {
            Ok(result) => result.map_err(|message| HttpError { message: message.into() }),
            Err(_) => Err(HttpError { message: "not finished in time".into() }),
        }
    }

    async fn run(&self, asked: &HttpRequest) -> Result<HttpResponse, String> {
        let request = request(asked, self.network.allow_plain_text)?.map(Full::new);
        let response = self.client.request(request).await.map_err(|error| chain(&error))?;
        let (head, mut incoming) = response.into_parts();
        let limit = asked.limit as usize;
        let mut body = BytesMut::new();
        while body.len() < limit {
            let Some(frame) = incoming.frame().await else { break };
            if let Ok(data) = frame.map_err(|error| chain(&error))?.into_data() {
                body.extend_from_slice(&data[..data.len().min(limit - body.len())]);
            }
        }
        Ok(HttpResponse { status: head.status.as_u16(), body: body.freeze(), retry_after: retry_after(&head.headers) })
    }
}

/// An error with its causes: hyper's own words alone say little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[derive(Clone)]
struct Connector(Arc<Network>);

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let network = Arc::clone(&self.0);
        Box::pin(async move {
            let target = Target::of_uri(&uri, network.allow_plain_text)?;
            Ok(TokioIo::new(dial(&network, &target).await?))
        })
    }
}
