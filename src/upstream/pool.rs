//! One pool of connections per endpoint.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};

use super::client::{self, Client, Pieces, ReplyBody};
use super::credentials::{CredentialPool, Lease, Wanted};
use super::keys::{KeyState, Rested};
use crate::domain::error::{Failure, FailureKind};
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
    /// What is to be done there.
    pub method: Method,
    /// The whole address.
    pub to: Uri,
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
    fn of(to: &Uri) -> Self {
        let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
        Self { scheme: text(to.scheme_str()), host: text(to.host()), port: port(to) }
    }

    fn holds(&self, to: &Uri) -> bool {
        to.scheme_str() == Some(&*self.scheme) && to.host() == Some(&*self.host) && port(to) == self.port
    }
}

fn port(to: &Uri) -> Option<u16> {
    to.port_u16().or_else(|| match to.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    })
}

/// Connections and credentials of one endpoint.
#[derive(Debug)]
pub struct Pool {
    client: Client,
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
    pub body: ReplyBody,
}

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
        let base = address(&url)?;
        Ok(Self { client: client::client(spec.connect)?, origin: Origin::of(&base), credentials })
    }

    /// Chooses a credential for one attempt.
    ///
    /// # Errors
    /// The provider lets nothing through until then.
    pub fn lease(&self, wanted: Wanted<'_>, dice: u64) -> Result<Lease, Rested> {
        self.credentials.choose(wanted, dice)
    }

    /// The credential of that label, or where it is gone another.
    ///
    /// # Errors
    /// The provider lets nothing through until then.
    pub fn lease_again(&self, wanted: Wanted<'_>, label: &str, dice: u64) -> Result<Lease, Rested> {
        self.credentials.choose_again(wanted, label, dice)
    }

    /// Whether a credential may be used.
    ///
    /// # Errors
    /// Until when none may.
    pub fn standing(&self, wanted: Wanted<'_>) -> Result<(), Rested> {
        self.credentials.standing(wanted)
    }

    /// What is remembered of its keys.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<KeyState>> {
        self.credentials.keys()
    }

    /// Sends a body and waits for the head of the answer. The ticket is the permission, used up by the call: only a
    /// decision gives one, after it has looked at the target again.
    ///
    /// # Errors
    /// `Connect` or `Timeout` when no answer came; statuses are the caller's to judge, except redirects.
    pub async fn send(
        &self,
        _ticket: Ticket,
        lease: &mut Lease,
        line: Line,
        pieces: Vec<Bytes>,
    ) -> Result<Reply, Failure> {
        // The facts that were checked are those of this endpoint's host.
        if !self.origin.holds(&line.to) {
            return Err(Failure::new(FailureKind::Connect, "the address is not the endpoint's"));
        }
        let mut request = Request::new(());
        *request.method_mut() = line.method;
        *request.uri_mut() = line.to;
        *request.headers_mut() = line.headers;
        let pieces = if lease.signs() { vec![Bytes::from(pieces.concat())] } else { pieces };
        lease.apply(&mut request, pieces.first().map_or(&[][..], |whole| whole)).await?;
        let (head, ()) = request.into_parts();
        let request = Request::from_parts(head, Pieces::new(pieces));
        lease.sent();
        let response = self.client.request(request).await.map_err(|e| client::failure(&e)).inspect_err(|failure| {
            if failure.kind == FailureKind::Connect {
                lease.unsent();
            }
        })?;
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        if (300..400).contains(&status) {
            let mut failure = Failure::new(FailureKind::Malformed, "the upstream answered with a redirect");
            failure.status = Some(status);
            return Err(failure);
        }
        Ok(Reply { status, headers: head.headers, body: ReplyBody::new(body) })
    }
}

/// An address as it goes on the wire, normalised as browsers do.
///
/// # Errors
/// One that is no address of a request.
pub(crate) fn address(url: &reqwest::Url) -> Result<Uri, String> {
    let mut url = url.clone();
    url.set_fragment(None);
    url.as_str().parse().map_err(|error| format!("`{url}` is no address: {error}"))
}

/// Reads a whole body, at most `limit` bytes.
///
/// # Errors
/// `Truncated` when it breaks off, `Malformed` when it is longer.
pub(crate) async fn collect(mut body: ReplyBody, limit: usize) -> Result<Bytes, Failure> {
    let mut first: Option<Bytes> = None;
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let Some(data) = std::future::poll_fn(|cx| body.poll_data(cx)).await.transpose()? else { break };
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
