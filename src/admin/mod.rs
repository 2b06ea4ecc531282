//! The admin plane: health, metrics, and what operators ask. Its own listener, loopback by default.
//!
//! `/healthz`, `/readyz` and `/metrics` are open; `/admin/v1/…` takes the admin token that the first start wrote to a
//! 0600 file. The host name is checked, so that no web page can reach the plane by rebinding a name.

mod credentials;
mod dto;
mod policies;

use std::sync::Arc;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::admission::{KeyRing, Vault};
use crate::domain::error::{Error, ErrorKind};
use crate::gateway::{Body, Gateway};
use crate::ledger::feedback::{self, Feedback, Given};
use crate::ledger::{decisions, query};
use crate::report;
use crate::server::Plane;
use crate::store::{Store, StoreError};

/// Asks for a reload; the answer is the list of problems, empty if the new files are in force.
pub type Reload = Box<dyn Fn() -> tokio::sync::oneshot::Receiver<Vec<String>> + Send + Sync>;

/// The admin plane.
pub struct AdminPlane {
    gateway: Arc<Gateway>,
    store: Store,
    keys: Arc<KeyRing>,
    vault: Arc<Vault>,
    token: SecretString,
    reload: Reload,
    /// One change of the policies at a time, from its check to the reload.
    changing: tokio::sync::Mutex<()>,
}

const MAX_BODY: usize = 64 * 1024;

impl AdminPlane {
    /// The admin plane of a gateway.
    #[must_use]
    pub fn new(
        gateway: Arc<Gateway>,
        store: Store,
        (keys, vault): (Arc<KeyRing>, Arc<Vault>),
        token: SecretString,
        reload: Reload,
    ) -> Self {
        Self { gateway, store, keys, vault, token, reload, changing: tokio::sync::Mutex::default() }
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Body>, Error> {
        let hosts = &self.gateway.snapshot().config.admin_hosts;
        check_host(request.uri().authority(), request.headers(), hosts)?;
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().trim_end_matches('/');
        match (&parts.method, path) {
            (&Method::GET, "/healthz") => return Ok(text("ok\n")),
            (&Method::GET, "/readyz") => return Ok(self.ready()),
            (&Method::GET, "/metrics") => return Ok(self.metrics()),
            _ => {}
        }
        let Some(path) = path.strip_prefix("/admin/v1/") else {
            return Err(Error::new(ErrorKind::UnknownPath, "no such path"));
        };
        self.authorise(&parts.headers)?;
        match (&parts.method, path) {
            (&Method::POST, "feedback") => {
                let given = dto::feedback(&whole(body, MAX_BODY).await?)?;
                self.feedback(given).await
            }
            (&Method::POST, "explain") => {
                let body = whole(body, MAX_BODY).await?;
                let ask: dto::Explain = serde_json::from_slice(&body).map_err(|error| {
                    Error::new(ErrorKind::InvalidRequest, format!("not an explain request: {error}"))
                })?;
                let question = ask.into_question();
                let key = question.key.as_deref().map(|id| {
                    let missing = || Error::new(ErrorKind::InvalidRequest, format!("there is no active key `{id}`"));
                    self.keys.by_id(id).ok_or_else(missing)
                });
                let told = self.gateway.explain(&question, key.transpose()?.as_deref())?;
                let mut response = text(&told);
                if question.json {
                    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                }
                Ok(response)
            }
            (&Method::GET, "targets") => Ok(json(&dto::targets(&self.gateway.snapshot(), self.gateway.shared().now()))),
            (&Method::POST, "reload") => {
                let problems = self.reloaded().await;
                let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
                let mut response = json(&dto::Reloaded { generation: self.gateway.snapshot().generation, problems });
                *response.status_mut() = status;
                Ok(response)
            }
            (method, path) if path == "credentials" || path.starts_with("credentials/") => {
                self.credentials(method, path.strip_prefix("credentials/"), parts.uri.query(), body).await
            }
            (method, path) if path.starts_with("policies/") => {
                let path = path.strip_prefix("policies/").unwrap_or_default();
                self.policies(method, path, body).await
            }
            (&Method::GET, path) => match path.strip_prefix("requests/") {
                Some(id) => self.request(id).await,
                None => match path.strip_prefix("decisions/") {
                    Some(id) => self.decision(id).await,
                    None => Err(Error::new(ErrorKind::UnknownPath, "no such path")),
                },
            },
            _ => Err(Error::new(ErrorKind::UnknownPath, "no such path")),
        }
    }

    /// Reloads; what is wrong, or nothing.
    async fn reloaded(&self) -> Vec<String> {
        (self.reload)().await.unwrap_or_else(|_| vec!["the gateway is busy reloading, or stopping".to_owned()])
    }

    /// One request as the ledger has it.
    async fn request(&self, id: &str) -> Result<Response<Body>, Error> {
        let id = id.parse().map_err(|()| no_such_request())?;
        let found = self.read(move |store| query::request(store, id)).await?;
        found.map(|found| json(&dto::request(&found))).ok_or_else(no_such_request)
    }

    /// Why a request went where it went.
    async fn decision(&self, id: &str) -> Result<Response<Body>, Error> {
        let id = id.parse().map_err(|()| no_such_request())?;
        let found = self.read(move |store| decisions::told(store, id)).await?;
        found.map(|told| json(&report::decision_json(&told))).ok_or_else(no_such_request)
    }

    /// What somebody says of an answer.
    async fn feedback(&self, given: Feedback) -> Result<Response<Body>, Error> {
        let (now, said) = (self.gateway.shared().now(), given.clone());
        match self.read(move |store| feedback::give(store, &said, now)).await? {
            Given::Stored => Ok(json(&dto::given(&given, true))),
            Given::Known => Ok(json(&dto::given(&given, false))),
            Given::NoRequest => Err(no_such_request().param("request_id")),
            Given::TooMany => {
                Err(Error::new(ErrorKind::InvalidRequest, "the request has too many labels").param("label"))
            }
        }
    }

    /// Reads the ledger on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        let failed = |detail: String| Error::new(ErrorKind::Internal, "the ledger can't be read").detail(detail);
        let read =
            tokio::task::spawn_blocking(move || read(&store)).await.map_err(|error| failed(error.to_string()))?;
        read.map_err(|error| {
            tracing::warn!(%error, "the ledger can't be read");
            failed(error.to_string())
        })
    }

    /// Ready = can serve: the ledger takes rows. A provider that is down is a gauge, not a reason to be taken out.
    fn ready(&self) -> Response<Body> {
        let healthy = self.gateway.shared().ledger.healthy();
        let mut response = text(if healthy { "ready\n" } else { "the ledger takes no rows\n" });
        if !healthy {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }

    fn metrics(&self) -> Response<Body> {
        let shared = self.gateway.shared();
        shared.metrics.ledger_healthy.set(i64::from(shared.ledger.healthy()));
        let snapshot = self.gateway.snapshot();
        shared.metrics.locals(snapshot.locals());
        shared.metrics.headroom(&snapshot.headroom(shared.now()));
        shared.metrics.facts_end(snapshot.catalogue.facts_end().into_iter().map(|end| (end.of, end.at.0 / 1000)));
        let mut response = text(&shared.metrics.render());
        let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, format);
        response
    }

    /// Compares digests, so that time tells nothing of the token.
    fn authorise(&self, headers: &HeaderMap) -> Result<(), Error> {
        use sha2::{Digest, Sha256};
        let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
        let digest = |text: &str| Sha256::digest(text.as_bytes());
        if given.is_some_and(|given| digest(given) == digest(self.token.expose_secret())) {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::InvalidKey, "the admin token is missing or not valid"))
        }
    }
}

impl Plane for AdminPlane {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        self.route(request).await.unwrap_or_else(|error| {
            let mut response = json(&dto::problem(&error));
            *response.status_mut() = StatusCode::from_u16(error.kind.status()).unwrap_or_default();
            response
        })
    }

    fn defect(&self) -> Bytes {
        Bytes::from_static(b"{\"error\":{\"message\":\"a defect of the gateway\",\"code\":\"internal_error\"}}")
    }
}

/// Only names of this machine, an address, or names of the configuration. HTTP/2 and proxy requests name the host in
/// the request line; where a header stands beside it, both must be served.
fn check_host(line: Option<&Authority>, headers: &HeaderMap, hosts: &[String]) -> Result<(), Error> {
    let misdirected = || Error::new(ErrorKind::Forbidden, "this host name is not served here").code("misdirected");
    let given = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok().filter(|host| !host.is_empty()));
    let given = given.map(|host| host.and_then(|host| host.parse::<Authority>().ok()));
    for authority in given.chain(line.cloned().map(Some)) {
        let authority = authority.ok_or_else(misdirected)?;
        let name = authority.host().trim_matches(['[', ']']);
        let known = || hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
        if !(name == "localhost" || name.parse::<std::net::IpAddr>().is_ok() || known()) {
            return Err(misdirected());
        }
    }
    Ok(())
}

/// A body, within the limit.
async fn whole(body: Incoming, most: usize) -> Result<Bytes, Error> {
    let body = Limited::new(body, most).collect().await;
    Ok(body.map_err(|_| Error::new(ErrorKind::BodyTooLarge, "the body is too large"))?.to_bytes())
}

fn no_such_request() -> Error {
    Error::new(ErrorKind::UnknownPath, "no such request").code("request_not_found")
}

fn text(body: &str) -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::copy_from_slice(body.as_bytes())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json<T: Serialize>(value: &T) -> Response<Body> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::whole(Bytes::from(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
