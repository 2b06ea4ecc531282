//! A pool of credentials for one endpoint: weights, and which of them may be used just now.

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderValue, Request};
use secrecy::{ExposeSecret, SecretString};

use super::headroom::Need;
use super::keys::{Hold, KeyState, Rested};
use super::pool::address;
use super::sigv4::{self, AwsKey, Scope};
use super::tokens::TokenSource;
use crate::dialect::Told;
use crate::domain::error::{Failure, FailureKind};
use crate::domain::target::{Rest, UnixMillis};

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
    /// What is remembered of it.
    pub state: Arc<KeyState>,
    /// Share of the traffic relative to the others; 0 = only when the others rest.
    pub weight: u32,
    secret: Secret,
}

impl Credential {
    /// A credential that is ready.
    #[must_use]
    pub fn new(state: Arc<KeyState>, weight: u32, secret: SecretString) -> Self {
        Self { state, weight, secret: Secret::Text(secret) }
    }

    /// One for signatures.
    #[must_use]
    pub fn aws(state: Arc<KeyState>, weight: u32, key: AwsKey) -> Self {
        Self { state, weight, secret: Secret::Aws(key) }
    }

    /// A token that was granted elsewhere and is used as it is.
    #[must_use]
    pub fn token(state: Arc<KeyState>, weight: u32, token: SecretString) -> Self {
        Self { state, weight, secret: Secret::Token(token) }
    }

    /// One for which tokens are granted.
    #[must_use]
    pub fn granted(state: Arc<KeyState>, weight: u32, source: Arc<TokenSource>) -> Self {
        Self { state, weight, secret: Secret::Granted(source) }
    }
}

/// All credentials of one endpoint.
#[derive(Debug)]
pub struct CredentialPool {
    placement: Arc<Placement>,
    credentials: Vec<Arc<Credential>>,
}

/// Credentials that come before those of the pool, or in their place: a tenant's own.
#[derive(Debug, Default)]
pub struct Own {
    /// The credentials.
    pub keys: Vec<Arc<Credential>>,
    /// Whether those of the pool are never to be taken.
    pub only: bool,
}

/// What a credential is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The target, by its name in the catalogue: providers count each model apart.
    pub target: &'a Arc<str>,
    /// The model, where the target takes any.
    pub named: Option<&'a str>,
    /// What the request is expected to take.
    pub need: Need,
    /// The asking tenant's own credentials for the provider.
    pub own: Option<&'a Own>,
    /// The moment.
    pub now: UnixMillis,
}

/// The credential chosen for one attempt. It holds the attempt's part of what the provider lets through until the attempt
/// is answered or given up.
#[derive(Debug)]
pub struct Lease {
    placement: Arc<Placement>,
    credential: Option<Arc<Credential>>,
    hold: Option<Hold>,
    own: bool,
}

impl CredentialPool {
    /// A pool; empty is right only for `Placement::None`.
    #[must_use]
    pub fn new(placement: Placement, credentials: Vec<Credential>) -> Self {
        let credentials = credentials.into_iter().map(Arc::new).collect();
        Self { placement: Arc::new(placement), credentials }
    }

    /// Whether a request can be authorised at all.
    #[must_use]
    pub fn usable(&self) -> bool {
        *self.placement == Placement::None || !self.credentials.is_empty()
    }

    /// Whether a credential may be used.
    ///
    /// # Errors
    /// Until when none may.
    pub fn standing(&self, wanted: Wanted<'_>) -> Result<(), Rested> {
        if *self.placement == Placement::None {
            return Ok(());
        }
        let mut soonest: Option<Rested> = None;
        for credential in self.groups(wanted).into_iter().flatten() {
            match credential.state.standing(wanted) {
                Ok(()) => return Ok(()),
                Err(rested) if soonest.is_none_or(|known| rested.until < known.until) => soonest = Some(rested),
                Err(_) => {}
            }
        }
        // Where there is no key at all, waiting does not help.
        let none = Rested { until: UnixMillis(wanted.now.0.saturating_add(KEYLESS_MS)), rest: Rest::Firm };
        Err(soonest.unwrap_or(none))
    }

    /// Chooses by weight among those that may be used. Where none may, and that is only our own guess, the one that rests
    /// shortest.
    ///
    /// # Errors
    /// The provider lets nothing through until then.
    pub fn choose(&self, wanted: Wanted<'_>, dice: u64) -> Result<Lease, Rested> {
        let placement = || Arc::clone(&self.placement);
        if *self.placement == Placement::None {
            return Ok(Lease { placement: placement(), credential: None, hold: None, own: false });
        }
        let groups = self.groups(wanted);
        let count = groups.iter().map(|group| group.len()).sum::<usize>();
        // A key can lose its last room to another request between the look and the taking.
        for _ in 0..count {
            let credential = match groups.iter().find_map(|group| ready(group, wanted, dice)) {
                Some(credential) => credential,
                None => {
                    let guessed = self.standing(wanted).err().is_some_and(|rested| rested.rest == Rest::Breaker);
                    let by_rest = |c: &&Arc<Credential>| {
                        let standing = c.state.standing(wanted);
                        standing.err().map(|rested| rested.until)
                    };
                    match groups.into_iter().flatten().min_by_key(by_rest).filter(|_| guessed) {
                        Some(credential) => credential,
                        None => break,
                    }
                }
            };
            if let Ok(hold) = Hold::take(&credential.state, wanted) {
                let own = groups[0].iter().any(|own| Arc::ptr_eq(own, credential));
                let credential = Some(Arc::clone(credential));
                return Ok(Lease { placement: placement(), credential, hold: Some(hold), own });
            }
        }
        let blind = Rested { until: UnixMillis(wanted.now.0.saturating_add(1)), rest: Rest::Limited };
        Err(self.standing(wanted).err().unwrap_or(blind))
    }

    /// The one of that label, where it is still there: what was made with one account is not known to another.
    ///
    /// # Errors
    /// The provider lets nothing through until then.
    pub fn choose_again(&self, wanted: Wanted<'_>, label: &str, dice: u64) -> Result<Lease, Rested> {
        let groups = self.groups(wanted);
        let Some(credential) = groups.iter().copied().flatten().find(|c| **c.state.label() == *label) else {
            return self.choose(wanted, dice);
        };
        let hold = Hold::take(&credential.state, wanted).map_err(|until| Rested { until, rest: Rest::Limited })?;
        let own = groups[0].iter().any(|own| Arc::ptr_eq(own, credential));
        let credential = Some(Arc::clone(credential));
        Ok(Lease { placement: Arc::clone(&self.placement), credential, hold: Some(hold), own })
    }

    /// A tenant's own credentials, then those of the pool, as far as each may be taken.
    fn groups<'s>(&'s self, wanted: Wanted<'s>) -> [&'s [Arc<Credential>]; 2] {
        match wanted.own {
            Some(own) if own.only => [&own.keys, &[]],
            Some(own) => [&own.keys, &self.credentials],
            None => [&[], &self.credentials],
        }
    }

    /// What is remembered of its keys.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<KeyState>> {
        self.credentials.iter().map(|credential| &credential.state)
    }
}

/// One of a group, by weight among those that may be used.
fn ready<'c>(group: &'c [Arc<Credential>], wanted: Wanted<'_>, dice: u64) -> Option<&'c Arc<Credential>> {
    let ready = |c: &&Arc<Credential>| c.state.standing(wanted).is_ok();
    if let [only] = group {
        return Some(only).filter(ready);
    }
    let ready: Vec<&Arc<Credential>> = group.iter().filter(ready).collect();
    let total: u64 = ready.iter().map(|c| u64::from(c.weight)).sum();
    if total == 0 {
        return ready.first().copied();
    }
    let mut left = dice % total;
    ready.into_iter().find(|c| {
        let weight = u64::from(c.weight);
        let hit = left < weight;
        left = left.saturating_sub(weight);
        hit
    })
}

/// Until when a target rests that there is no key for.
const KEYLESS_MS: i64 = 30_000;

impl Lease {
    /// Whether it is a tenant's own.
    #[must_use]
    pub fn own(&self) -> bool {
        self.own
    }

    /// What is remembered of the key; none = the endpoint takes none.
    #[must_use]
    pub fn key(&self) -> Option<&Arc<KeyState>> {
        self.credential.as_ref().map(|credential| &credential.state)
    }

    /// The head of the answer is there, with what it tells of the provider's limits.
    pub fn answered(&mut self, told: impl Iterator<Item = Told>, now: UnixMillis) {
        if let Some(hold) = &mut self.hold {
            hold.answered(told, now);
        }
    }

    /// The provider limits the rate: until then, where it says so. None = the endpoint takes no key.
    pub fn limited(&self, until: Option<UnixMillis>, now: UnixMillis) -> Option<UnixMillis> {
        self.hold.as_ref().map(|hold| hold.limited(until, now))
    }

    /// The request is on its way.
    pub(super) fn sent(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.sent();
        }
    }

    /// It was not, after all.
    pub(super) fn unsent(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.unsent();
        }
    }

    /// Whether the whole body must be at hand in one piece before the credential can be applied.
    pub(super) fn signs(&self) -> bool {
        let signing = self.credential.as_ref().is_some_and(|credential| matches!(credential.secret, Secret::Aws(_)));
        signing && matches!(*self.placement, Placement::SigV4(_))
    }

    /// Puts the credential on a request; a token may have to be fetched for it. `body` is the whole of it where the
    /// credential signs.
    ///
    /// # Errors
    /// `Credentials` when it cannot be applied, or what kept a token from coming.
    pub(super) async fn apply(&self, request: &mut Request<()>, body: &[u8]) -> Result<(), Failure> {
        let Some(credential) = &self.credential else { return Ok(()) };
        let secret = match (&credential.secret, &*self.placement) {
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
            // A text can't sign: there it is a token.
            (Secret::Text(token), Placement::SigV4(_)) => {
                insert_bearer(request, token);
                return Ok(());
            }
            (Secret::Text(secret), _) => secret.expose_secret(),
            (Secret::Aws(_), _) => {
                return Err(Failure::new(FailureKind::Credentials, "a signing key has no other place"));
            }
        };
        match &*self.placement {
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
        let one =
            |(i, w): (usize, &u32)| Credential::new(Arc::new(KeyState::alone(i.to_string())), *w, "secret".into());
        CredentialPool::new(Placement::Bearer, weights.iter().enumerate().map(one).collect())
    }

    fn wanted(target: &Arc<str>, now: i64) -> Wanted<'_> {
        Wanted { target, named: None, need: Need { input: 10, output: 10 }, own: None, now: UnixMillis(now) }
    }

    fn label(lease: &Lease) -> &str {
        lease.key().unwrap().label()
    }

    #[test]
    fn weights_share_the_traffic_exactly_over_all_dice() {
        let (pool, target) = (pool(&[3, 1]), "p/m".into());
        let of = |dice: &u64| label(&pool.choose(wanted(&target, 0), *dice).unwrap()) == "0";
        assert_eq!((0..400).filter(of).count(), 300);
    }

    #[test]
    fn a_resting_key_is_passed_over_until_its_time() {
        let (pool, target) = (pool(&[1, 1]), "p/m".into());
        pool.choose(wanted(&target, 0), 0).unwrap().key().unwrap().rest_until(UnixMillis(100));
        let of = |now, dice| label(&pool.choose(wanted(&target, now), dice).unwrap()).to_owned();
        assert!((0..10).all(|dice| of(99, dice) == "1"));
        assert!((0..10).any(|dice| of(100, dice) == "0"));
    }

    #[test]
    fn when_all_rest_by_our_own_guess_the_shortest_rest_is_taken() {
        let (pool, target) = (pool(&[1, 1]), "p/m".into());
        pool.choose(wanted(&target, 0), 0).unwrap().key().unwrap().rest_until(UnixMillis(100));
        pool.choose(wanted(&target, 0), 0).unwrap().key().unwrap().account_rests_until(UnixMillis(80));
        let rested = Rested { until: UnixMillis(80), rest: Rest::Breaker };
        assert_eq!(pool.standing(wanted(&target, 60)), Err(rested));
        assert_eq!(label(&pool.choose(wanted(&target, 60), 0).unwrap()), "1");
    }

    #[test]
    fn a_limited_key_is_not_taken_even_where_there_is_no_other() {
        let (pool, target, other) = (pool(&[1, 1]), "p/m".into(), "p/n".into());
        let first = pool.choose(wanted(&target, 0), 0).unwrap();
        assert_eq!(first.limited(Some(UnixMillis(500)), UnixMillis(0)), Some(UnixMillis(500)));
        let second = pool.choose(wanted(&target, 0), 0).unwrap();
        assert_eq!((label(&first), label(&second)), ("0", "1"));
        assert_eq!(second.limited(None, UnixMillis(0)), Some(UnixMillis(1_000)), "a bare one rests a second");
        let rested = Rested { until: UnixMillis(500), rest: Rest::Limited };
        assert_eq!(pool.choose(wanted(&target, 60), 0).unwrap_err(), rested);
        assert_eq!(label(&pool.choose(wanted(&target, 500), 7).unwrap()), "0");
        assert_eq!(pool.standing(wanted(&other, 60)), Ok(()), "another model has a limit of its own");
    }

    #[test]
    fn a_limit_of_one_model_says_nothing_of_the_others_of_a_target_that_takes_any() {
        let (pool, target) = (pool(&[1]), "p/*".into());
        fn asked<'a>(target: &'a Arc<str>, model: &'a str, now: i64) -> Wanted<'a> {
            Wanted { named: Some(model), ..wanted(target, now) }
        }
        let first = pool.choose(asked(&target, "a", 0), 0).unwrap();
        assert_eq!(first.limited(Some(UnixMillis(500)), UnixMillis(0)), Some(UnixMillis(500)));
        let rested = Rested { until: UnixMillis(500), rest: Rest::Limited };
        assert_eq!(pool.standing(asked(&target, "a", 499)), Err(rested));
        assert_eq!(pool.standing(asked(&target, "b", 1)), Ok(()));
        assert_eq!(pool.standing(asked(&target, "a", 500)), Ok(()));
        // Clients choose the names: as many as they like leave no more than a bounded trace.
        for at in 0..10_000 {
            let name = format!("m{at}");
            let lease = pool.choose(asked(&target, &name, 1), 0).unwrap();
            lease.limited(Some(UnixMillis(1_000 + at)), UnixMillis(1));
        }
        let limited = |at: i64| pool.standing(asked(&target, &format!("m{at}"), 1)).is_err();
        assert_eq!((0..10_000).filter(|at| limited(*at)).count(), 256, "those that end last");
        assert!(limited(9_999));
    }

    #[test]
    fn a_key_without_room_for_this_request_is_skipped_for_another() {
        let (pool, target) = (pool(&[1, 1]), "p/m".into());
        let told = |remaining| Told {
            counts: crate::dialect::Counted::Tokens,
            limit: Some(1_000),
            remaining,
            reset: Some(std::time::Duration::from_secs(60)),
            period: std::time::Duration::from_secs(60),
            refill: crate::dialect::Refill::Whole,
        };
        let mut first = pool.choose(wanted(&target, 0), 0).unwrap();
        first.answered([told(19)].into_iter(), UnixMillis(0));
        assert!((0..10).all(|dice| label(&pool.choose(wanted(&target, 1), dice).unwrap()) == "1"));
        let small = Wanted { need: Need { input: 10, output: 9 }, ..wanted(&target, 1) };
        assert!((0..10).any(|dice| label(&pool.choose(small, dice).unwrap()) == "0"));
        let mut second = pool.choose(wanted(&target, 1), 0).unwrap();
        second.answered([told(0)].into_iter(), UnixMillis(1));
        let rested = Rested { until: UnixMillis(60_000), rest: Rest::Limited };
        assert_eq!(pool.standing(wanted(&target, 2)), Err(rested));
        assert!(pool.choose(wanted(&target, 2), 0).is_err());
    }

    #[test]
    fn a_tenant_s_own_key_comes_first_or_alone() {
        let (pool, target): (_, Arc<str>) = (pool(&[1, 1]), "p/m".into());
        let own =
            |only| Own { keys: vec![Arc::new(Credential::new(Arc::new(KeyState::alone("own")), 1, "x".into()))], only };
        for only in [false, true] {
            let own = own(only);
            let wanted = |now| Wanted { own: Some(&own), ..wanted(&target, now) };
            let lease = pool.choose(wanted(0), 7).unwrap();
            assert!(lease.own() && label(&lease) == "own");
            lease.limited(Some(UnixMillis(50)), UnixMillis(0));
            match pool.choose(wanted(1), 0) {
                Ok(shared) => assert!(!only && !shared.own() && label(&shared) == "0"),
                Err(rested) => assert!(only && rested.until == UnixMillis(50), "{rested:?}"),
            }
            assert!(pool.choose(wanted(50), 0).unwrap().own());
        }
        let nothing = Own { keys: Vec::new(), only: true };
        let wanted = Wanted { own: Some(&nothing), ..wanted(&target, 0) };
        assert_eq!(pool.choose(wanted, 0).unwrap_err().rest, Rest::Firm, "what can't be opened has no stand-in");
    }

    #[test]
    fn accounts_are_counted_together_where_the_provider_does_so() {
        let account = Arc::new(crate::upstream::Account::new(crate::upstream::Limits { rpm: Some(1), tpm: None }));
        let key = |name: &str| {
            let state = KeyState::new(name, Default::default(), Arc::clone(&account), true);
            Credential::new(Arc::new(state), 1, "secret".into())
        };
        let (pool, target) = (CredentialPool::new(Placement::Bearer, vec![key("a"), key("b")]), "p/m".into());
        let mut lease = pool.choose(wanted(&target, 1), 0).unwrap();
        assert!(pool.choose(wanted(&target, 1), 0).is_err(), "one request a minute for both");
        lease.answered(std::iter::empty(), UnixMillis(1));
        assert!(pool.choose(wanted(&target, 59_000), 0).is_err());
        assert!(pool.choose(wanted(&target, 60_001), 0).is_ok());
    }
}
