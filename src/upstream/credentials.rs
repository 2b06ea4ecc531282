//! A pool of credentials for one endpoint: weights, and a rest for keys that were refused or limited.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use http::{HeaderValue, Request};
use secrecy::{ExposeSecret, SecretString};

use super::pool::address;
use super::sigv4::{self, AwsKey, Scope};
use super::tokens::TokenSource;
use crate::domain::error::{Failure, FailureKind};
use crate::domain::target::UnixMillis;

/// Where a credential goes in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// `Authorization: Bearer …`
    Bearer,
    /// A header of this name.
    Header(http::HeaderName),
    /// A query parameter of this name.
    Query(String),
    /// A signature over the whole request.
    SigV4(Scope),
    /// The endpoint takes none.
    None,
}

/// What a credential is made of.
#[derive(Debug)]
enum Secret {
    /// One text.
    Text(SecretString),
    /// For signatures.
    Aws(AwsKey),
    /// A token that somebody else was granted: `Authorization: Bearer`, whatever the place of the other keys.
    Token(SecretString),
    /// What tokens are granted for, likewise.
    Granted(Arc<TokenSource>),
}

/// One credential of the pool.
#[derive(Debug)]
pub struct Credential {
    /// Its name for logs and the ledger (the environment variable or file it came from), never its value.
    pub label: String,
    /// Share of the traffic relative to the others; 0 = only when the others rest.
    pub weight: u32,
    secret: Secret,
    rests_until: AtomicI64,
}

impl Credential {
    /// A credential that is ready.
    #[must_use]
    pub fn new(label: impl Into<String>, weight: u32, secret: SecretString) -> Self {
        Self { label: label.into(), weight, secret: Secret::Text(secret), rests_until: AtomicI64::new(0) }
    }

    /// One for signatures.
    #[must_use]
    pub fn aws(label: impl Into<String>, weight: u32, key: AwsKey) -> Self {
        Self { label: label.into(), weight, secret: Secret::Aws(key), rests_until: AtomicI64::new(0) }
    }

    /// A token that was granted elsewhere and is used as it is.
    #[must_use]
    pub fn token(label: impl Into<String>, weight: u32, token: SecretString) -> Self {
        Self { label: label.into(), weight, secret: Secret::Token(token), rests_until: AtomicI64::new(0) }
    }

    /// One for which tokens are granted.
    #[must_use]
    pub fn granted(label: impl Into<String>, weight: u32, source: Arc<TokenSource>) -> Self {
        Self { label: label.into(), weight, secret: Secret::Granted(source), rests_until: AtomicI64::new(0) }
    }

    fn rested(&self, now: UnixMillis) -> bool {
        self.rests_until.load(Ordering::Relaxed) <= now.0
    }
}

/// All credentials of one endpoint.
#[derive(Debug)]
pub struct CredentialPool {
    placement: Placement,
    credentials: Vec<Credential>,
}

/// The credential chosen for one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Lease<'a> {
    placement: &'a Placement,
    credential: Option<&'a Credential>,
}

impl CredentialPool {
    /// A pool; empty is right only for `Placement::None`.
    #[must_use]
    pub fn new(placement: Placement, credentials: Vec<Credential>) -> Self {
        Self { placement, credentials }
    }

    /// Whether a request can be authorised at all.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.placement == Placement::None || !self.credentials.is_empty()
    }

    /// Whether a credential is rested.
    #[must_use]
    pub fn ready(&self, now: UnixMillis) -> bool {
        self.credentials.iter().any(|c| c.rested(now))
    }

    /// Chooses by weight among the rested; if none is rested, the one that rests shortest.
    #[must_use]
    pub fn choose(&self, now: UnixMillis, dice: u64) -> Lease<'_> {
        let rested = || self.credentials.iter().filter(|c| c.rested(now));
        let total: u64 = rested().map(|c| u64::from(c.weight)).sum();
        let credential = if total > 0 {
            let mut left = dice % total;
            rested().find(|c| {
                let weight = u64::from(c.weight);
                let hit = left < weight;
                left = left.saturating_sub(weight);
                hit
            })
        } else {
            self.credentials.iter().min_by_key(|c| c.rests_until.load(Ordering::Relaxed))
        };
        Lease { placement: &self.placement, credential }
    }
}

impl Lease<'_> {
    /// Lets the credential rest: it was refused or limited. A later moment wins.
    pub fn rest_until(&self, until: UnixMillis) {
        if let Some(credential) = self.credential {
            credential.rests_until.fetch_max(until.0, Ordering::Relaxed);
        }
    }

    /// Whether the whole body must be at hand in one piece before the credential can be applied.
    pub(super) fn signs(&self) -> bool {
        matches!(self.placement, Placement::SigV4(_))
    }

    /// Puts the credential on a request; a token may have to be fetched for it. `body` is the whole of it where the
    /// credential signs.
    ///
    /// # Errors
    /// `Credentials` when it cannot be applied, or what kept a token from coming.
    pub(super) async fn apply(&self, request: &mut Request<()>, body: &[u8]) -> Result<(), Failure> {
        let Some(credential) = self.credential else { return Ok(()) };
        let secret = match (&credential.secret, self.placement) {
            (Secret::Aws(key), Placement::SigV4(scope)) => {
                return sigv4::apply(request, body, key, scope, SystemTime::now());
            }
            (Secret::Granted(source), _) => {
                insert_bearer(request, &source.token().await?);
                return Ok(());
            }
            (Secret::Token(token), _) => {
                insert_bearer(request, token);
                return Ok(());
            }
            (Secret::Text(secret), _) => secret.expose_secret(),
            (Secret::Aws(_), _) => {
                return Err(Failure::new(FailureKind::Credentials, "a signing key has no other place"));
            }
        };
        match self.placement {
            Placement::Bearer => {
                insert_secret(request, http::header::AUTHORIZATION, &format!("Bearer {secret}"));
            }
            Placement::Header(name) => insert_secret(request, name.clone(), secret),
            Placement::Query(name) => {
                let mut url = reqwest::Url::parse(&request.uri().to_string()).map_err(|_| unusable())?;
                url.query_pairs_mut().append_pair(name, secret);
                *request.uri_mut() = address(&url).map_err(|_| unusable())?;
            }
            Placement::SigV4(_) | Placement::None => {}
        }
        Ok(())
    }
}

/// Says nothing of the address, which holds the secret.
fn unusable() -> Failure {
    Failure::new(FailureKind::Credentials, "the key can't be put into the address")
}

fn insert_bearer(request: &mut Request<()>, token: &SecretString) {
    insert_secret(request, http::header::AUTHORIZATION, &format!("Bearer {}", token.expose_secret()));
}

fn insert_secret(request: &mut Request<()>, name: http::HeaderName, value: &str) {
    // A secret with control characters can't be a header; it was refused when the file or variable was read.
    if let Ok(mut value) = HeaderValue::from_str(value) {
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(weights: &[u32]) -> CredentialPool {
        let credentials =
            weights.iter().enumerate().map(|(i, w)| Credential::new(i.to_string(), *w, "secret".into())).collect();
        CredentialPool::new(Placement::Bearer, credentials)
    }

    fn label(lease: Lease<'_>) -> String {
        lease.credential.unwrap().label.clone()
    }

    #[test]
    fn weights_share_the_traffic_exactly_over_all_dice() {
        let pool = pool(&[3, 1]);
        let first = (0..400).filter(|dice| label(pool.choose(UnixMillis(0), *dice)) == "0").count();
        assert_eq!(first, 300);
    }

    #[test]
    fn a_resting_key_is_passed_over_until_its_time() {
        let pool = pool(&[1, 1]);
        pool.choose(UnixMillis(0), 0).rest_until(UnixMillis(100));
        assert!((0..10).all(|dice| label(pool.choose(UnixMillis(99), dice)) == "1"));
        assert!((0..10).any(|dice| label(pool.choose(UnixMillis(100), dice)) == "0"));
    }

    #[test]
    fn when_all_rest_the_shortest_rest_is_taken_and_a_longer_rest_is_kept() {
        let pool = pool(&[1, 1]);
        pool.choose(UnixMillis(0), 0).rest_until(UnixMillis(100));
        pool.choose(UnixMillis(0), 0).rest_until(UnixMillis(50));
        assert_eq!(label(pool.choose(UnixMillis(60), 0)), "1", "key 1 took the second rest and is ready at 50");
    }
}
