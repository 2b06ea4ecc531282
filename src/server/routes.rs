//! The data plane: which path means what, the credential, the body. Everything else is the gateway's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming as RequestBody;
use tokio::time::Instant;

use super::Plane;
use crate::admission::{KeyRing, Principal};
use crate::dialect::{self, Ingress, Located};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::{DialectId, RequestId};
use crate::gateway::{Body, Gateway, Incoming};

/// What clients reach.
pub struct DataPlane {
    gateway: Arc<Gateway>,
    keys: Arc<KeyRing>,
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Operation {
    Chat,
    ListModels,
    Model(String),
    Health,
}

impl DataPlane {
    /// The data plane of a gateway.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, keys: Arc<KeyRing>) -> Self {
        Self { gateway, keys }
    }

    async fn route(&self, request: Request<RequestBody>, id: RequestId) -> Result<Response<Body>, Error> {
        let accepted = Instant::now();
        match operation(request.method(), request.uri().path())? {
            Operation::Health => Ok(json(Bytes::from_static(b"{\"status\":\"ok\"}"))),
            Operation::ListModels => {
                let principal = self.authenticate(request.headers())?;
                self.gateway.models(&principal).map(json)
            }
            Operation::Model(model) => {
                let principal = self.authenticate(request.headers())?;
                self.gateway.model(&principal, &model).map(json)
            }
            Operation::Chat => {
                let principal = self.authenticate(request.headers())?;
                let require = single(request.headers(), "x-stellwerk-require")?;
                let show_cost = match single(request.headers(), "x-stellwerk-usage")?.as_deref() {
                    None => false,
                    Some("cost") => true,
                    Some(_) => {
                        let error = Error::new(ErrorKind::InvalidRequest, "`x-stellwerk-usage` takes `cost`");
                        return Err(error.param("x-stellwerk-usage"));
                    }
                };
                let config = Arc::clone(&self.gateway.snapshot().config);
                let body = read(request, config.max_body, config.body_timeout).await?;
                let dialect = DialectId::OpenAiChat;
                let (operation, located, headers) =
                    (crate::domain::plan::Operation::Chat, Located::default(), Vec::new());
                let request = id;
                let incoming = Incoming {
                    request,
                    accepted,
                    principal,
                    dialect,
                    operation,
                    located,
                    headers,
                    body,
                    require,
                    show_cost,
                };
                self.gateway.chat(incoming).await
            }
        }
    }

    /// Every bad credential gets the same answer.
    fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>, Error> {
        let unknown = || Error::new(ErrorKind::InvalidKey, "the API key is missing or not valid");
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = values.next().ok_or_else(unknown)?;
        if values.next().is_some() {
            let error = Error::new(ErrorKind::InvalidRequest, "more than one Authorization header");
            return Err(error.code("ambiguous_credentials"));
        }
        let value = value.to_str().map_err(|_| unknown())?;
        let (scheme, key) = value.split_once(' ').ok_or_else(unknown)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unknown());
        }
        self.keys.authenticate(key.trim()).ok_or_else(unknown)
    }
}

impl Plane for DataPlane {
    async fn answer(&self, request: Request<RequestBody>) -> Response<Body> {
        let id = RequestId(uuid::Uuid::now_v7().as_u128());
        match self.route(request, id).await {
            Ok(mut response) => {
                if !response.headers().contains_key("x-request-id") {
                    stamp(&mut response, id);
                }
                response
            }
            Err(error) => {
                log(id, &error);
                render(&error, id)
            }
        }
    }

    fn defect(&self) -> Bytes {
        encode(&Error::new(ErrorKind::Internal, "a defect of the gateway"))
    }
}

fn operation(method: &Method, path: &str) -> Result<Operation, Error> {
    // Clients configure the base URL with and without `/v1`, and join it with one slash or two.
    let path = path.trim_start_matches('/');
    let path = path.strip_prefix("v1/").unwrap_or(path).trim_matches('/');
    let (operation, allowed) = match path {
        "chat/completions" => (Operation::Chat, Method::POST),
        "models" => (Operation::ListModels, Method::GET),
        "health" | "healthz" => (Operation::Health, Method::GET),
        _ => match path.strip_prefix("models/") {
            Some(model) => (Operation::Model(decode(model)), Method::GET),
            None => return Err(Error::new(ErrorKind::UnknownPath, "no such path")),
        },
    };
    if *method == allowed || (allowed == Method::GET && *method == Method::HEAD) {
        Ok(operation)
    } else {
        Err(Error::new(ErrorKind::MethodNotAllowed, format!("this path takes {allowed} only")))
    }
}

/// Percent-decoding of a model id in a path; malformed escapes stay as they are and name no model.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        let rest = bytes.as_slice();
        let hex = (byte == b'%').then(|| rest.get(..2)).flatten().and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                bytes.nth(1);
            }
            None => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn single(headers: &HeaderMap, name: &str) -> Result<Option<String>, Error> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let error = || Error::new(ErrorKind::InvalidRequest, format!("`{name}` must be given once, as text")).param(name);
    text.map(|t| Some(t.to_owned())).ok_or_else(error)
}

/// The whole body, bounded in size and time.
async fn read(request: Request<RequestBody>, limit: usize, within: Duration) -> Result<Bytes, Error> {
    check_media(request.headers())?;
    let too_large = || Error::new(ErrorKind::BodyTooLarge, format!("the body is larger than {limit} bytes"));
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(within, Limited::new(request.into_body(), limit).collect()).await;
    match collected {
        Err(_) => Err(Error::new(ErrorKind::BodyTimeout, "the body did not arrive in time")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Error::new(ErrorKind::InvalidRequest, "the body broke off").code("body_incomplete")),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

/// JSON, or what curl says by default when it is JSON; no coding, since a bomb hides in those.
fn check_media(headers: &HeaderMap) -> Result<(), Error> {
    let unsupported = |message| Err(Error::new(ErrorKind::UnsupportedMedia, message));
    if headers.get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity") {
        return unsupported("the body must not be compressed");
    }
    let Some(media) = headers.get(header::CONTENT_TYPE).map(|v| v.to_str().unwrap_or("?")) else { return Ok(()) };
    let media = media.split(';').next().unwrap_or_default().trim();
    let known = ["application/json", "text/plain", "application/x-www-form-urlencoded"];
    if known.iter().any(|k| media.eq_ignore_ascii_case(k)) { Ok(()) } else { unsupported("the body must be JSON") }
}

fn json(body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The one place where an error becomes an HTTP answer.
fn render(error: &Error, id: RequestId) -> Response<Body> {
    let mut response = json(encode(error));
    *response.status_mut() = StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    stamp(&mut response, id);
    let headers = response.headers_mut();
    // The gateway has already retried and failed over: three tries of three tries is a storm.
    let retry = HeaderValue::from_static(if error.kind.retryable() { "true" } else { "false" });
    headers.insert("x-should-retry", retry);
    let seconds = error.retry_after.map(|after| after.as_secs() + u64::from(after.subsec_nanos() > 0));
    if let Some(seconds) = seconds.or((error.kind.status() == 429).then_some(1)) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.kind == ErrorKind::BodyTooLarge || error.kind == ErrorKind::BodyTimeout {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn encode(error: &Error) -> Bytes {
    dialect::ingress(DialectId::OpenAiChat)
        .map_or_else(Bytes::new, |ingress: &dyn Ingress| ingress.encode_error(error, ""))
}

fn stamp(response: &mut Response<Body>, id: RequestId) {
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert("x-request-id", value);
    }
}

fn log(id: RequestId, error: &Error) {
    if error.kind.status() >= 500 {
        tracing::warn!(request = %id, code = error.code_str(), detail = error.detail, "request failed");
    } else {
        tracing::debug!(request = %id, code = error.code_str(), "request refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_and_without_v1_and_with_extra_slashes() {
        let get = |path| operation(&Method::GET, path);
        for path in ["/v1/models", "/models", "/v1/models/", "//v1/models"] {
            assert_eq!(get(path).unwrap(), Operation::ListModels, "{path}");
        }
        assert_eq!(get("/v1/models/local%2Ftiny-r1").unwrap(), Operation::Model("local/tiny-r1".into()));
        assert_eq!(get("/v1/models/openai/o1@eu").unwrap(), Operation::Model("openai/o1@eu".into()));
        assert_eq!(get("/v1/chat/completions").unwrap_err().kind, ErrorKind::MethodNotAllowed);
        assert_eq!(get("/v1/nothing").unwrap_err().kind, ErrorKind::UnknownPath);
        assert_eq!(operation(&Method::POST, "/chat/completions").unwrap(), Operation::Chat);
    }

    #[test]
    fn bad_escapes_stay_as_they_are() {
        assert_eq!(decode("a%2"), "a%2");
        assert_eq!(decode("%zz%41"), "%zzA");
    }
}
