//! `/metrics` and `/healthz` over HTTP, for as long as a scheduler lives.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as Bound, TcpStream as Plain};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use super::figures::Figures;
use crate::error::{Error, Result};

/// One request, from its first byte to its last answer's.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests that are answered at the same time; others find the door shut.
const GUESTS: usize = 32;
/// How long an end that did not get through may wait.
const TICK: Duration = Duration::from_secs(1);
/// The format of `/metrics`.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How somebody is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Health {
    /// Whether `/healthz` answers 200 rather than 503.
    pub healthy: bool,
    /// What it tells besides: a JSON object without values of the data.
    pub detail: Value,
    /// What `/metrics` tells.
    pub figures: Figures,
}

/// Asked for each request; must not block.
type Source = Arc<dyn Fn() -> Health + Send + Sync>;

/// A server that ends when it is dropped.
pub struct Endpoint {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Listens on `address`; port 0 stands for any that is free.
    ///
    /// # Errors
    /// `Config` when it cannot listen there.
    pub fn start(
        address: SocketAddr,
        source: Arc<dyn Fn() -> Health + Send + Sync>,
    ) -> Result<Self> {
        let refused = |error: io::Error| {
            Error::config(format!("cannot listen on {address}: {}", error.kind()))
                .hint("metrics.listen names another address")
        };
        let bound = Bound::bind(address).map_err(refused)?;
        bound.set_nonblocking(true).map_err(refused)?;
        let address = bound.local_addr().map_err(refused)?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let work = move || serve(&runtime, bound, &source, &told);
        let thread = thread::Builder::new().name("metrics".into()).spawn(work).map_err(refused)?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Somebody at the door wakes who waits there; if not, its own clock does.
        let ip = match self.address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let knock = SocketAddr::new(ip, self.address.port());
        let _ = Plain::connect_timeout(&knock, Duration::from_millis(200));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Lets guests in until told to stop. Those who are inside then are sent away.
fn serve(runtime: &Runtime, bound: Bound, source: &Source, stop: &AtomicBool) {
    let guests = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let Ok(listener) = TcpListener::from_std(bound) else { return };
        while !stop.load(Ordering::SeqCst) {
            match timeout(TICK, listener.accept()).await {
                Ok(Ok((socket, _))) => {
                    let guest = Guest::enter(&guests);
                    if guest.place > GUESTS {
                        continue;
                    }
                    let source = Arc::clone(source);
                    tokio::spawn(async move {
                        let _guest = guest;
                        let _ = timeout(PATIENCE, receive(socket, source)).await;
                    });
                }
                // No more files, for example: that passes.
                Ok(Err(_)) => sleep(Duration::from_millis(100)).await,
                Err(_) => {}
            }
        }
    });
}

/// Somebody who is inside.
struct Guest {
    guests: Arc<AtomicUsize>,
    place: usize,
}

impl Guest {
    fn enter(guests: &Arc<AtomicUsize>) -> Self {
        let place = guests.fetch_add(1, Ordering::SeqCst) + 1;
        Self { guests: Arc::clone(guests), place }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One connection, one request.
async fn receive(socket: TcpStream, source: Source) {
    let service = service_fn(move |request| {
        let answer = answer(&request, &source);
        async move { Ok::<_, Infallible>(answer) }
    });
    // A guest who talks nonsense is shown out.
    let _ = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
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
