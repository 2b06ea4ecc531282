//! The data plane: the path, the credential, the body. Everything else is the gateway's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming as RequestBody};
use tokio::time::Instant;

use super::ids::Ids;
use super::{Plane, body, credentials};
use crate::admission::{KeyRing, Principal};
use crate::dialect::paths::{self, Asked, Does};
use crate::dialect::{self, Ingress, Located};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::{DialectId, RequestId};
use crate::domain::plan::Operation;
use crate::gateway::{Asking, Body, Gateway, Incoming, headers};

/// What clients reach.
pub struct DataPlane {
    gateway: Arc<Gateway>,
    keys: Arc<KeyRing>,
    ids: Ids,
}

/// One piece of work as its path names it.
struct Work {
    dialect: DialectId,
    operation: Operation,
    path: &'static str,
    located: Located,
}

impl DataPlane {
    /// The data plane of a gateway.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, keys: Arc<KeyRing>) -> Self {
        Self { gateway, keys, ids: Ids::new() }
    }

    async fn route(
        &self,
        request: &Parts,
        body: &mut RequestBody,
        id: RequestId,
        asked: Asked,
        dialect: DialectId,
    ) -> Result<Response<Body>, Error> {
        match asked {
            Asked::Health => Ok(json(Bytes::from_static(b"{\"status\":\"ok\"}"))),
            Asked::Preflight => {
                let mut response = Response::new(Body::whole(Bytes::new()));
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok(response)
            }
            Asked::ListModels => {
                let principal = self.authenticate(request, dialect)?;
                self.gateway.models(&principal, dialect, request.uri.query()).map(json)
            }
            Asked::Model(model) => {
                let principal = self.authenticate(request, dialect)?;
                self.gateway.model(&principal, &model, dialect).map(json)
            }
            Asked::Errand(errand) => {
                let (accepted, principal) = (Instant::now(), self.authenticate(request, dialect)?);
                let require = single(&request.headers, &headers::REQUIRE)?;
                if dry_run(&request.headers)? {
                    let error = Error::new(ErrorKind::InvalidRequest, "what lies at one place has no plan to look at");
                    return Err(error.param(headers::DRY_RUN.as_str()));
                }
                let forwarded = forwarded(&request.headers, dialect);
                let config = Arc::clone(&self.gateway.snapshot().config);
                let body = if errand.does == Does::Begin {
                    body::read(&request.headers, body, config.max_body, config.body_timeout).await?
                } else {
                    Bytes::new()
                };
                let asking =
                    Asking { request: id, accepted, principal, dialect, errand, headers: forwarded, require, body };
                // Boxed, since every request would carry its size.
                Box::pin(Arc::clone(&self.gateway).errand(asking)).await
            }
            Asked::Work { operation, path, located } => {
                self.work(request, body, id, Work { dialect, operation, path, located }).await
            }
        }
    }

    async fn work(
        &self,
        request: &Parts,
        body: &mut RequestBody,
        id: RequestId,
        work: Work,
    ) -> Result<Response<Body>, Error> {
        let accepted = Instant::now();
        let principal = self.authenticate(request, work.dialect)?;
        let given = &request.headers;
        let require = single(given, &headers::REQUIRE)?;
        let session = match single(given, &headers::SESSION)? {
            None => session(given, work.dialect),
            named => named,
        };
        let show_cost = match single(given, &headers::USAGE)?.as_deref() {
            None => false,
            Some("cost") => true,
            Some(_) => {
                let error = Error::new(ErrorKind::InvalidRequest, "`x-stellwerk-usage` takes `cost`");
                return Err(error.param(headers::USAGE.as_str()));
            }
        };
        let dry_run = dry_run(given)?;
        let content_type = given.get(header::CONTENT_TYPE).cloned();
        let forwarded = forwarded(given, work.dialect);
        let config = Arc::clone(&self.gateway.snapshot().config);
        let body = body::read(given, body, config.max_body, config.body_timeout).await?;
        let incoming = Incoming {
            request: id,
            accepted,
            alone: self.keys.one_tenant(),
            principal,
            dialect: work.dialect,
            operation: work.operation,
            path: work.path,
            located: work.located,
            headers: forwarded,
            content_type,
            body,
            require,
            session,
            patience: patience(given, work.dialect),
            show_cost,
            dry_run,
        };
        self.gateway.work(incoming).await
    }

    fn authenticate(&self, request: &Parts, dialect: DialectId) -> Result<Arc<Principal>, Error> {
        let own = dialect::ingress(dialect).and_then(Ingress::key_header);
        let key = credentials::of(own, &request.headers, request.uri.query())?;
        self.keys.authenticate(&key).ok_or_else(credentials::unknown)
    }
}

impl Plane for DataPlane {
    async fn answer(&self, request: Request<RequestBody>) -> Response<Body> {
        let id = self.ids.next();
        let (request, mut body) = request.into_parts();
        let browser = Browser::of(&request.headers);
        let paths::Target { dialect, asked } =
            paths::target(request.method.as_str(), request.uri.path(), request.uri.query(), &|name| {
                request.headers.contains_key(name)
            });
        let answered = match asked {
            Ok(asked) => self.route(&request, &mut body, id, asked, dialect).await,
            Err(error) => Err(error),
        };
        let late = answered.as_ref().is_err_and(|error| error.kind == ErrorKind::BodyTimeout);
        let mut response = match answered {
            Ok(response) => response,
            Err(error) => {
                log(id, &error);
                render(&error, dialect, id)
            }
        };
        if !body.is_end_stream() {
            let limit = self.gateway.snapshot().config.max_body;
            if late || !body::discard(&request.headers, &mut body, limit).await {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
        }
        stamp(&mut response, dialect, id);
        if let Some(browser) = browser {
            browser.allow(&mut response);
        }
        response
    }

    fn defect(&self) -> Bytes {
        encode(&Error::new(ErrorKind::Internal, "a defect of the gateway"), DialectId::OpenAiChat, "")
    }
}

/// A page in a browser that asks. Any page may: the key is in a header that only its own code can set, and there are no
/// cookies.
struct Browser {
    /// The headers that it wants to send.
    wants: Option<HeaderValue>,
}

impl Browser {
    fn of(headers: &HeaderMap) -> Option<Self> {
        headers
            .contains_key(header::ORIGIN)
            .then(|| Self { wants: headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned() })
    }

    fn allow(self, response: &mut Response<Body>) {
        /// What SDKs read of answers.
        const READ: &str = "x-request-id,request-id,retry-after,retry-after-ms,x-should-retry,x-stellwerk-target,\
            x-stellwerk-route,x-stellwerk-cost,x-stellwerk-baseline-cost,x-stellwerk-dropped-params,x-stellwerk-usage,\
            x-stellwerk-dry-run";
        let preflight = response.status() == StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
        if preflight {
            headers
                .insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE, OPTIONS"));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
            if let Some(wants) = self.wants {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wants);
            }
        }
    }
}

/// Headers of the client's dialect that a provider of the same must see.
fn forwarded(headers: &HeaderMap, dialect: DialectId) -> Vec<(HeaderName, HeaderValue)> {
    let names = dialect::ingress(dialect).map_or(&[][..], Ingress::forwards);
    let given = names.iter().filter_map(|name| {
        let values: Vec<&[u8]> = headers.get_all(*name).iter().map(HeaderValue::as_bytes).collect();
        let value = HeaderValue::from_bytes(&values.join(&b","[..])).ok().filter(|value| !value.is_empty())?;
        Some((HeaderName::from_static(name), value))
    });
    given.collect()
}

/// Whether only the plan is wanted. A word that is not understood is refused: it must not become a real call.
fn dry_run(given: &HeaderMap) -> Result<bool, Error> {
    match single(given, &headers::DRY_RUN)?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => {
            let error = Error::new(ErrorKind::InvalidRequest, "`x-stellwerk-dry-run` takes `true` or `false`");
            Err(error.param(headers::DRY_RUN.as_str()))
        }
    }
}

fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Error> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let error =
        || Error::new(ErrorKind::InvalidRequest, format!("`{name}` must be given once, as text")).param(name.as_str());
    text.map(|t| Some(t.to_owned())).ok_or_else(error)
}

/// The conversation in the words of the client's dialect. What can't be read names none: it is only a hint there.
fn session(headers: &HeaderMap, dialect: DialectId) -> Option<String> {
    let name = dialect::ingress(dialect)?.session_header()?;
    let named = headers.get(name)?.to_str().ok()?;
    (!named.is_empty()).then(|| named.to_owned())
}

/// How long the client waits, by the shortest of its own words; what is no number of seconds says nothing.
fn patience(headers: &HeaderMap, dialect: DialectId) -> Option<Duration> {
    let seconds = |name: &&str| headers.get(*name)?.to_str().ok()?.parse::<f64>().ok();
    let names = dialect::ingress(dialect)?.patience_headers().iter();
    let times = names.filter_map(seconds).filter_map(|seconds| Duration::try_from_secs_f64(seconds).ok());
    times.filter(|time| !time.is_zero()).min()
}

fn json(body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The one place where an error becomes an HTTP answer, in the words of the client's dialect.
fn render(error: &Error, dialect: DialectId, id: RequestId) -> Response<Body> {
    let mut response = json(encode(error, dialect, &id.to_string()));
    let status = dialect::ingress(dialect).map_or(error.status(), |ingress| ingress.error_status(error));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    // The gateway has already retried and failed over: three tries of three tries is a storm.
    // Where nothing is configured or in service, waiting does not help either.
    let hopeless = error.kind == ErrorKind::Unavailable && error.retry_after.is_none();
    let again = error.retryable() && !hopeless;
    let retry = HeaderValue::from_static(if again { "true" } else { "false" });
    headers.insert("x-should-retry", retry);
    if let Some(after) = error.retry_after {
        headers.insert("retry-after-ms", HeaderValue::from(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)));
    }
    if let Some(seconds) = error.retry_seconds().or((error.kind.status() == 429 && again).then_some(1)) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.kind == ErrorKind::MethodNotAllowed {
        let get = error.message.contains("GET");
        headers
            .insert(header::ALLOW, HeaderValue::from_static(if get { "GET, HEAD, OPTIONS" } else { "POST, OPTIONS" }));
    }
    response
}

fn encode(error: &Error, dialect: DialectId, request: &str) -> Bytes {
    dialect::ingress(dialect)
        .or_else(|| dialect::ingress(DialectId::OpenAiChat))
        .map_or_else(Bytes::new, |ingress| ingress.encode_error(error, request))
}

/// The request's id, under the name that the dialect's clients read besides ours.
fn stamp(response: &mut Response<Body>, dialect: DialectId, id: RequestId) {
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        if let Some(name) = dialect::ingress(dialect).and_then(Ingress::id_header) {
            response.headers_mut().insert(name, value.clone());
        }
        response.headers_mut().insert("x-request-id", value);
    }
}

fn log(id: RequestId, error: &Error) {
    if error.status() >= 500 {
        tracing::warn!(request = %id, code = error.code_str(), detail = error.detail, "request failed");
    } else {
        tracing::debug!(request = %id, code = error.code_str(), "request refused");
    }
}
