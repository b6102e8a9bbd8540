//! Serves `/metrics` and `/healthz` over HTTP while a scheduler runs.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::figures::Figures;
use crate::error::{Error, Result};

/// Timeout of a whole request with its response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum concurrent connections; further ones are closed immediately.
const MAX_CONNECTIONS: usize = 32;
/// Content type of `/metrics`.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Data of the endpoint.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Health {
    /// Whether `/healthz` returns 200, else 503.
    pub healthy: bool,
    /// Further members of the `/healthz` object, without data values.
    pub detail: Value,
    /// Data of `/metrics`.
    pub figures: Figures,
}

/// Called for each request; must not block.
type Source = Arc<dyn Fn() -> Health + Send + Sync>;

/// A server that stops when dropped.
pub struct Endpoint {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Endpoint {
    /// Listens on `address`; port 0 means any free port.
    ///
    /// # Errors
    /// `Config` when it cannot listen there.
    pub fn start(
        address: SocketAddr,
        source: Arc<dyn Fn() -> Health + Send + Sync>,
    ) -> Result<Self> {
        let refused = |error: io::Error| {
            Error::config(format!("cannot listen on {address}: {}", error.kind()))
                .hint("set another address in metrics.listen")
        };
        let listener = StdListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("metrics")
            .enable_all()
            .build()
            .map_err(refused)?;
        runtime.spawn(serve(listener, source));
        Ok(Self { address, _runtime: runtime })
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: StdListener, source: Source) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
                let source = Arc::clone(&source);
                tokio::spawn(async move {
                    let _slot = slot;
                    let _ = timeout(REQUEST_TIMEOUT, receive(socket, source)).await;
                });
            }
            // A transient error, such as too many open files.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// One connection, one request.
async fn receive(socket: TcpStream, source: Source) {
    let service = service_fn(move |request| {
        let answer = answer(&request, &source);
        async move { Ok::<_, Infallible>(answer) }
    });
    // On a malformed request the connection is closed.
    let _ = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

fn answer(request: &Request<Incoming>, source: &Source) -> Response<String> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".into());
    }
    match request.uri().path() {
        "/metrics" => reply(StatusCode::OK, OPENMETRICS, source().figures.render()),
        "/healthz" => {
            let Health { healthy, detail, .. } = source();
            let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let mut body = json!({ "status": if healthy { "ok" } else { "unhealthy" } });
            if let (Some(body), Value::Object(detail)) = (body.as_object_mut(), detail) {
                body.extend(detail);
            }
            reply(status, "application/json", format!("{body}\n"))
        }
        _ => reply(StatusCode::NOT_FOUND, "text/plain", "/metrics or /healthz\n".into()),
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let value = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, value);
    response
}
