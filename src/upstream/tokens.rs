//! Access tokens that are granted for a while: Google service accounts (RFC 7523, JWT bearer) and client credentials
//! (RFC 6749, section 4.4; Microsoft Entra).
//!
//! A token is fetched by a request that has been admitted, and by nothing else: the token endpoint's place is among the
//! facts that the request's requirement was checked against. It is renewed ahead of its end, by one request at a time;
//! the others go on with what there is. Neither tokens nor what they are granted for are ever logged or told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Uri};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::client::{Client, Pieces, ReplyBody, client, failure};
use super::pool::{address, collect};
use crate::domain::error::{Failure, FailureKind};

/// Where tokens are granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEndpoint {
    /// Its address.
    pub url: String,
    /// What they are to be good for.
    pub scope: String,
    /// Plain HTTP may be used: test beds only.
    pub allow_http: bool,
}

/// What a token is granted for.
#[derive(Debug)]
pub enum Grant {
    /// A signed statement of who asks.
    ServiceAccount(ServiceAccount),
    /// A name and a secret.
    ClientCredentials {
        /// The client's id.
        id: String,
        /// Its secret.
        secret: SecretString,
    },
}

/// A Google service account.
#[derive(Debug)]
pub struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    key: KeyPair,
}

/// The file that Google gives out. Its own token address is not used: facts are known of the catalogue's alone.
#[derive(Deserialize)]
struct AccountFile {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

impl ServiceAccount {
    /// Reads the JSON of a key file.
    ///
    /// # Errors
    /// What it lacks, in words that hold nothing of it.
    pub fn read(json: &str) -> Result<Self, String> {
        let file: AccountFile =
            serde_json::from_str(json).map_err(|_| "is no service account with `client_email` and `private_key`")?;
        let der = pkcs8(&file.private_key).ok_or("its `private_key` is no PKCS#8 key in PEM form")?;
        let key = KeyPair::from_pkcs8(&der).map_err(|_| "its `private_key` is no RSA key")?;
        Ok(Self { email: file.client_email, key_id: file.private_key_id, key })
    }

    /// The statement: a JWT, signed with RS256, good for an hour.
    fn assertion(&self, endpoint: &TokenEndpoint, now: i64) -> Result<String, Failure> {
        let broken = |_| Failure::new(FailureKind::Credentials, "a statement for a token could not be written");
        let header = Header { alg: "RS256", typ: "JWT", kid: self.key_id.as_deref() };
        let (scope, aud) = (endpoint.scope.as_str(), endpoint.url.as_str());
        let claims = Claims { iss: &self.email, scope, aud, iat: now, exp: now + 3600 };
        let part = |json: Result<Vec<u8>, serde_json::Error>| json.map(|json| URL_SAFE_NO_PAD.encode(json));
        let header = part(serde_json::to_vec(&header)).map_err(broken)?;
        let claims = part(serde_json::to_vec(&claims)).map_err(broken)?;
        let text = format!("{header}.{claims}");
        let mut signature = vec![0; self.key.public_modulus_len()];
        let signed = self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature);
        signed.map_err(|_| Failure::new(FailureKind::Credentials, "a statement for a token could not be signed"))?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The bytes between the marks of a PEM text.
fn pkcs8(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (inner, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let inner: String = inner.chars().filter(|c| !c.is_whitespace()).collect();
    STANDARD.decode(inner).ok()
}

/// A token and how long it may be used.
#[derive(Debug)]
struct Held {
    token: SecretString,
    /// From here on it is renewed.
    renew_at: i64,
    /// From here on it is not used any more.
    ends: i64,
}

/// One grant and the token that it brought last.
#[derive(Debug)]
pub struct TokenSource {
    client: Client,
    url: reqwest::Url,
    to: Uri,
    endpoint: TokenEndpoint,
    grant: Grant,
    held: ArcSwapOption<Held>,
    /// Who holds it fetches.
    turn: tokio::sync::Mutex<()>,
    /// After a failure the next attempt at renewing waits.
    rests_until: AtomicI64,
}

/// Longest wait for a token.
const WAIT: Duration = Duration::from_secs(10);

/// Largest answer of a token endpoint, in bytes.
const MOST: usize = 64 * 1024;

impl TokenSource {
    /// A source that holds no token yet. Reads the system's trust store, so not for async threads.
    ///
    /// # Errors
    /// An address that is none, or plain HTTP where it is not allowed.
    pub fn new(endpoint: TokenEndpoint, grant: Grant) -> Result<Self, String> {
        let url = reqwest::Url::parse(&endpoint.url)
            .map_err(|error| format!("the token address `{}` is not a URL: {error}", endpoint.url))?;
        if !(url.scheme() == "https" || (endpoint.allow_http && url.scheme() == "http")) {
            return Err(format!("the token address `{}` must be https", endpoint.url));
        }
        let (held, turn, rests_until) = (ArcSwapOption::empty(), tokio::sync::Mutex::new(()), AtomicI64::new(0));
        let to = address(&url)?;
        Ok(Self { client: client(Duration::from_secs(5))?, url, to, endpoint, grant, held, turn, rests_until })
    }

    /// A token that is good now.
    ///
    /// # Errors
    /// `Credentials` where none is granted; what else kept it from coming.
    pub(super) async fn token(&self) -> Result<SecretString, Failure> {
        self.token_at(&now).await
    }

    async fn token_at(&self, now: &(dyn Fn() -> i64 + Sync)) -> Result<SecretString, Failure> {
        if let Some(held) = self.good(now()) {
            if now() < held.renew_at {
                return Ok(held.token.clone());
            }
            // One renews it, the others use what there is.
            let turn = self.turn.try_lock();
            if turn.is_err() || now() < self.rests_until.load(Ordering::Relaxed) {
                return Ok(held.token.clone());
            }
            return Ok(match self.fetch(now()).await {
                Ok(token) => token,
                Err(error) => {
                    tracing::warn!(reason = error.for_log(), "an access token could not be renewed yet");
                    self.rests_until.store(now() + 10, Ordering::Relaxed);
                    held.token.clone()
                }
            });
        }
        let _turn = self.turn.lock().await;
        match self.good(now()) {
            Some(held) => Ok(held.token.clone()),
            None => self.fetch(now()).await,
        }
    }

    fn good(&self, now: i64) -> Option<Arc<Held>> {
        self.held.load_full().filter(|held| now < held.ends)
    }

    async fn fetch(&self, now: i64) -> Result<SecretString, Failure> {
        let late = |_| Failure::new(FailureKind::Timeout, "no access token within the limit");
        let granted = tokio::time::timeout(WAIT, self.ask(now)).await.map_err(late)??;
        let lifetime = granted.expires_in.clamp(0, 86_400);
        // A tenth of its life ahead of its end, five minutes at most.
        let renew_at = now + lifetime - (lifetime / 10).min(300);
        let token = SecretString::from(granted.access_token);
        self.held.store(Some(Arc::new(Held { token: token.clone(), renew_at, ends: now + lifetime - lifetime / 100 })));
        Ok(token)
    }

    async fn ask(&self, now: i64) -> Result<Granted, Failure> {
        let mut request = Request::new(Pieces::new(vec![self.form(now)?.into()]));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.to.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let response = self.client.request(request).await.map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        let body = ReplyBody::new(response.into_body());
        // What the endpoint says of a refusal may repeat who asked: it is not told.
        match status {
            200..300 => {}
            500.. => return Err(Failure::new(FailureKind::Upstream, "the token endpoint failed")),
            _ => return Err(Failure::new(FailureKind::Credentials, "no access token was granted")),
        }
        let body = collect(body, MOST).await?;
        let read = serde_json::from_slice::<Granted>(&body);
        read.map_err(|_| Failure::new(FailureKind::Credentials, "the token endpoint answered with no token"))
    }

    fn form(&self, now: i64) -> Result<String, Failure> {
        let pairs = match &self.grant {
            Grant::ServiceAccount(account) => vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()),
                ("assertion", account.assertion(&self.endpoint, now)?),
            ],
            Grant::ClientCredentials { id, secret } => vec![
                ("grant_type", "client_credentials".to_owned()),
                ("client_id", id.clone()),
                ("client_secret", secret.expose_secret().to_owned()),
                ("scope", self.endpoint.scope.clone()),
            ],
        };
        // A query has the form of a form.
        let mut url = self.url.clone();
        url.query_pairs_mut().clear().extend_pairs(&pairs);
        Ok(url.query().unwrap_or_default().to_owned())
    }
}

/// What a token endpoint answers. Not `Debug`: it holds the token.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds.
    #[serde(default = "short")]
    expires_in: i64,
}

fn short() -> i64 {
    300
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
