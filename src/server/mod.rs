//! Listening: connections, limits, draining. Knows nothing of models.

mod body;
mod credentials;
mod ids;
mod routes;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::gateway::Body;

pub use routes::DataPlane;

/// Limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at once; more wait in the kernel's backlog.
    pub connections: usize,
    /// Longest wait for the first byte of a connection and for a request's head.
    pub head: Duration,
    /// How long open answers may finish once draining has begun.
    pub drain: Duration,
}

/// What answers the requests of one listener.
pub trait Plane: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;

    /// The body of the answer when a defect of ours made the handler panic.
    fn defect(&self) -> Bytes;
}

/// When a listener ends.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// No new connections; idle ones close, open answers get their time.
    pub drain: CancellationToken,
    /// Open answers are cut as well.
    pub cut: CancellationToken,
}

/// Serves until told to drain, and returns when no connection is left. A failing accept (no file descriptors) waits and
/// goes on.
pub async fn serve<P: Plane>(listener: TcpListener, plane: Arc<P>, limits: Limits, stop: Stop) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let builder = connection_builder(limits);
    loop {
        let slot = tokio::select! {
            () = stop.drain.cancelled() => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let accepted = tokio::select! {
            () = stop.drain.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (plane, builder, watcher) = (Arc::clone(&plane), builder.clone(), graceful.watcher());
        let stop = stop.clone();
        connections.spawn(async move {
            let _slot = slot;
            if !first_byte(&stream, limits.head, &stop.drain).await {
                return;
            }
            let connection = builder.serve_connection(TokioIo::new(stream), rim(plane));
            let ended = tokio::select! {
                () = stop.cut.cancelled() => return,
                ended = watcher.watch(connection.into_owned()) => ended,
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "connection ended");
            }
        });
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = graceful.shutdown() => {}
        () = stop.cut.cancelled() => tracing::warn!("open answers are cut"),
        () = tokio::time::sleep(limits.drain) => {
            tracing::warn!("drain time is over, open answers are cut");
            stop.cut.cancel();
        }
    }
    connections.wait().await;
}

/// The layers at the rim, outermost first.
fn rim<P: Plane>(
    plane: Arc<P>,
) -> TowerToHyperService<
    impl Service<
        Request<Incoming>,
        Response = Response<
            impl http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
        >,
        Error = Infallible,
        Future: Send,
    > + Clone,
> {
    let on_panic = Arc::clone(&plane);
    TowerToHyperService::new(
        ServiceBuilder::new()
            // Answers carry prompts and costs: nobody between us and the client may keep them.
            .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
            // A defect costs one request, not the process.
            .layer(CatchPanicLayer::custom(move |_| defect(&*on_panic)))
            .service_fn(move |request: Request<Incoming>| {
                let plane = Arc::clone(&plane);
                // Boxed here, since each layer above would move it: it is large.
                Box::pin(async move { Ok::<_, Infallible>(plane.answer(request).await) })
            }),
    )
}

fn defect<P: Plane>(plane: &P) -> Response<Body> {
    tracing::error!("a handler panicked");
    let mut response = Response::new(Body::whole(plane.defect()));
    *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// hyper's header timeout starts with the first byte; a connection that sends none would stay for ever, and would hold
/// a stop up.
async fn first_byte(stream: &TcpStream, within: Duration, drain: &CancellationToken) -> bool {
    let _ = stream.set_nodelay(true);
    let mut byte = [0];
    tokio::select! {
        () = drain.cancelled() => false,
        peeked = tokio::time::timeout(within, stream.peek(&mut byte)) => matches!(peeked, Ok(Ok(1))),
    }
}

fn connection_builder(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Buffers bound what a slow reader costs; windows likewise for HTTP/2. Not `pipeline_flush`: it holds every answer
    // back, streams too, as long as there are bytes that the client has sent ahead.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(256 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_send_buf_size(64 * 1024)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Binds, with an error that names the address.
///
/// # Errors
/// The address is taken or not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))
}
