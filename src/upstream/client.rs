//! The HTTP client below the pools: hyper's, with what a gateway must not do left out. It follows no redirect, asks no
//! proxy, keeps no cookie and tries nothing again but a request that never left on a connection that had just closed.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

use crate::domain::error::{Failure, FailureKind};

/// The client of one pool.
pub(super) type Client = legacy::Client<Timed<HttpsConnector<HttpConnector>>, Pieces>;

/// Makes a client. Reads the system's trust store, so not for async threads.
///
/// # Errors
/// The trust store can't be used.
pub(super) fn client(connect: Duration) -> Result<Client, String> {
    /// A peer that is gone without a word is noticed between two answers.
    const KEEP_ALIVE: Duration = Duration::from_secs(15);
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(connect));
    http.set_keepalive(Some(KEEP_ALIVE));
    http.set_keepalive_interval(Some(KEEP_ALIVE));
    http.set_keepalive_retries(Some(3));
    #[cfg(target_os = "linux")]
    http.set_tcp_user_timeout(Some(2 * KEEP_ALIVE));
    let tls = HttpsConnectorBuilder::new()
        .with_provider_and_platform_verifier(rustls::crypto::aws_lc_rs::default_provider())
        .map_err(|error| format!("no trust store: {error}"))?;
    // Whether plain HTTP is allowed has been decided with the address.
    let connector = tls.https_or_http().enable_http1().enable_http2().wrap_connector(http);
    Ok(legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(256)
        .http2_initial_stream_window_size(256 * 1024)
        .http2_initial_connection_window_size(4 * 1024 * 1024)
        .build(Timed { inner: connector, within: connect }))
}

/// A connector with a limit on all of it: name, connection and TLS.
#[derive(Clone, Debug)]
pub(super) struct Timed<C> {
    inner: C,
    within: Duration,
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, Box<dyn std::error::Error + Send + Sync>>> + Send>>;

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri, Error = Box<dyn std::error::Error + Send + Sync>>,
    C::Future: Send + 'static,
    C::Response: 'static,
{
    type Response = C::Response;
    type Error = C::Error;
    type Future = Boxed<C::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (connecting, within) = (self.inner.call(to), self.within);
        Box::pin(async move {
            match tokio::time::timeout(within, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err("no connection within the limit".into()),
            }
        })
    }
}

/// The body of a request: pieces of known length in all, so that it goes out with `content-length` and not chunked.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl Pieces {
    /// One buffer when small, the untouched slices when large.
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        /// Below this, pieces are joined: one copy is cheaper than one more piece to write.
        const JOIN_BELOW: usize = 16 * 1024;
        let total: usize = pieces.iter().map(Bytes::len).sum();
        let pieces = if pieces.len() > 1 && total < JOIN_BELOW { vec![pieces.concat().into()] } else { pieces };
        Self { pieces: pieces.into_iter(), left: total as u64 }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = self.pieces.next();
        if let Some(piece) = &next {
            self.left = self.left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The body of an answer. After it has been taken it is at its end.
#[derive(Debug)]
pub struct ReplyBody {
    rest: Option<Incoming>,
    /// Read already, to be read once more.
    ahead: Option<Bytes>,
}

/// How much white space before an answer is waited through to see how it begins.
const BLANK: usize = 64 * 1024;

impl ReplyBody {
    pub(super) fn new(body: Incoming) -> Self {
        Self { rest: Some(body), ahead: None }
    }

    /// The body, with its end left in its place.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self { rest: self.rest.take(), ahead: self.ahead.take() }
    }

    /// The first byte that is no white space, if there is one; all of it is still to be read.
    ///
    /// # Errors
    /// As [`Self::poll_data`].
    pub fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<u8>, Failure>> {
        loop {
            if let Some(ahead) = &self.ahead {
                let first = ahead.trim_ascii_start().first().copied();
                if first.is_some() || ahead.len() > BLANK {
                    return Poll::Ready(Ok(first));
                }
            }
            let blank = self.ahead.take();
            let more = match self.poll_data(cx) {
                Poll::Ready(more) => more.transpose()?,
                Poll::Pending => {
                    self.ahead = blank;
                    return Poll::Pending;
                }
            };
            let ended = more.is_none();
            self.ahead = match (blank, more) {
                (Some(blank), Some(more)) => Some(Bytes::from([blank, more].concat())),
                (blank, more) => more.or(blank),
            };
            if ended {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// The next bytes; trailers are of no interest.
    ///
    /// # Errors
    /// `Truncated` when it breaks off.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Some(Ok(ahead)));
        }
        let Some(body) = &mut self.rest else { return Poll::Ready(None) };
        loop {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(broken(FailureKind::Truncated, &error)))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}

/// Classifies what the client says of a request without an answer.
pub(super) fn failure(error: &legacy::Error) -> Failure {
    broken(if error.is_connect() { FailureKind::Connect } else { FailureKind::Truncated }, error)
}

/// With all that is told. The text may hold the address, which is the operator's, so it is for the log only.
fn broken(kind: FailureKind, error: &dyn std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    Failure::new(kind, text)
}
