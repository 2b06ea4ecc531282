//! One pool of connections per endpoint.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::StreamBody;

use super::credentials::{CredentialPool, Lease};
use crate::domain::error::{Failure, FailureKind};
use crate::domain::target::UnixMillis;
use crate::policy::Ticket;

/// What is needed to dial an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointSpec {
    /// The base URL.
    pub base: String,
    /// Whether plain HTTP is allowed: loopback and private test beds only.
    pub allow_http: bool,
    /// Longest wait for a connection.
    pub connect: Duration,
}

/// Where one request goes at an endpoint, and with which headers.
#[derive(Debug)]
pub struct Line {
    /// The whole address.
    pub url: reqwest::Url,
    /// All headers but the credential.
    pub headers: HeaderMap,
}

/// Scheme, host and port.
#[derive(Debug)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    fn of(url: &reqwest::Url) -> Self {
        let host = url.host_str().unwrap_or_default().to_owned();
        Self { scheme: url.scheme().to_owned(), host, port: url.port_or_known_default() }
    }

    fn holds(&self, url: &reqwest::Url) -> bool {
        url.scheme() == self.scheme && url.host_str() == Some(&*self.host) && url.port_or_known_default() == self.port
    }
}

/// Connections and credentials of one endpoint.
#[derive(Debug)]
pub struct Pool {
    client: reqwest::Client,
    origin: Origin,
    credentials: CredentialPool,
}

/// The head of an upstream's answer, with its body still to be read.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body, to be polled frame by frame.
    pub body: reqwest::Body,
}

/// Below this, pieces are joined: one copy is cheaper than one more write.
const JOIN_BELOW: usize = 16 * 1024;

impl Pool {
    /// Prepares a pool. Reads the system's trust store, so not for async threads.
    ///
    /// # Errors
    /// A base URL that is none, or plain HTTP where it is not allowed.
    pub fn new(spec: &EndpointSpec, credentials: CredentialPool) -> Result<Self, String> {
        let url = reqwest::Url::parse(&spec.base).map_err(|e| format!("`{}` is not a URL: {e}", spec.base))?;
        if !(url.scheme() == "https" || (spec.allow_http && url.scheme() == "http")) {
            return Err(format!("`{}` must be https (or set allow_http for a private endpoint)", spec.base));
        }
        Ok(Self { client: client(spec.connect)?, origin: Origin::of(&url), credentials })
    }

    /// Chooses a credential for one attempt.
    #[must_use]
    pub fn lease(&self, now: UnixMillis, dice: u64) -> Lease<'_> {
        self.credentials.choose(now, dice)
    }

    /// Whether a credential is ready: none rests that could be chosen instead.
    #[must_use]
    pub fn ready(&self, now: UnixMillis) -> bool {
        self.credentials.ready(now)
    }

    /// Sends a body and waits for the head of the answer. The ticket is the permission, used up by the call: only a
    /// decision gives one, after it has looked at the target again.
    ///
    /// # Errors
    /// `Connect` or `Timeout` when no answer came; statuses are the caller's to judge, except redirects.
    pub async fn send(
        &self,
        _ticket: Ticket,
        lease: &Lease<'_>,
        line: Line,
        pieces: Vec<Bytes>,
    ) -> Result<Reply, Failure> {
        // The facts that were checked are those of this endpoint's host.
        if !self.origin.holds(&line.url) {
            return Err(Failure::new(FailureKind::Connect, "the address is not the endpoint's"));
        }
        let mut request = reqwest::Request::new(http::Method::POST, line.url);
        *request.headers_mut() = line.headers;
        if lease.signs() {
            let whole = Bytes::from(pieces.concat());
            lease.apply(&mut request, &whole).await?;
            *request.body_mut() = Some(reqwest::Body::from(whole));
        } else {
            lease.apply(&mut request, &[]).await?;
            *request.body_mut() = Some(body_of(pieces));
        }
        let response = self.client.execute(request).await.map_err(|e| failure(&e))?;
        let status = response.status().as_u16();
        if (300..400).contains(&status) {
            let mut failure = Failure::new(FailureKind::Malformed, "the upstream answered with a redirect");
            failure.status = Some(status);
            return Err(failure);
        }
        let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        Ok(Reply { status, headers: parts.headers, body })
    }
}

/// A client that goes where it is told and nowhere else. Reads the system's trust store.
///
/// # Errors
/// The trust store can't be read.
pub(super) fn client(connect: Duration) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(connect)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(256)
        .http2_adaptive_window(false)
        .http2_initial_stream_window_size(256 * 1024)
        .http2_initial_connection_window_size(4 * 1024 * 1024)
        .build()
        .map_err(|e| format!("no HTTP client: {e}"))
}

/// One buffer when small, the untouched slices when large; the length is known either way.
fn body_of(mut pieces: Vec<Bytes>) -> reqwest::Body {
    let total: usize = pieces.iter().map(Bytes::len).sum();
    match pieces.len() {
        0 => reqwest::Body::from(Bytes::new()),
        1 => reqwest::Body::from(pieces.swap_remove(0)),
        _ if total < JOIN_BELOW => {
            let mut joined = Vec::with_capacity(total);
            pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
            reqwest::Body::from(joined)
        }
        _ => {
            let frames =
                pieces.into_iter().map(|piece| Ok::<_, std::convert::Infallible>(http_body::Frame::data(piece)));
            reqwest::Body::wrap(Sized { inner: StreamBody::new(stream::iter(frames)), total: total as u64 })
        }
    }
}

/// A body of known length, so that it goes out with `content-length` and not chunked.
struct Sized<B> {
    inner: B,
    total: u64,
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Sized<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, B::Error>>> {
        let polled = std::pin::Pin::new(&mut self.inner).poll_frame(cx);
        if let std::task::Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.total = self.total.saturating_sub(data.len() as u64);
        }
        polled
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.total)
    }
}

/// Classifies what reqwest says. Its text may hold the URL, which is the operator's, so it is for the log only.
pub(crate) fn failure(error: &reqwest::Error) -> Failure {
    let kind = if error.is_connect() {
        FailureKind::Connect
    } else if error.is_timeout() {
        FailureKind::Timeout
    } else {
        FailureKind::Truncated
    };
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    Failure::new(kind, text)
}

/// Reads a whole body, at most `limit` bytes.
///
/// # Errors
/// `Truncated` when it breaks off, `Malformed` when it is longer.
pub(crate) async fn collect(mut body: reqwest::Body, limit: usize) -> Result<Bytes, Failure> {
    let mut first: Option<Bytes> = None;
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|e| failure(&e))?.into_data() else { continue };
        if rest.len() + first.as_ref().map_or(0, Bytes::len) + data.len() > limit {
            return Err(Failure::new(FailureKind::Malformed, "the upstream's answer is larger than the limit"));
        }
        match (&first, rest.is_empty()) {
            (None, true) => first = Some(data),
            (Some(_), true) => {
                rest.extend_from_slice(&first.take().unwrap_or_default());
                rest.extend_from_slice(&data);
            }
            _ => rest.extend_from_slice(&data),
        }
    }
    Ok(first.unwrap_or_else(|| Bytes::from(rest)))
}
