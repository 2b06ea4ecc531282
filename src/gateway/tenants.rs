//! Keys that tenants bring, ready for use: looked up by tenant once a request, and never by anybody else's.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::admission::{OwnMode, TenantKey};
use crate::upstream::{Credential, KeyState, Own};

/// The keys of all tenants.
#[derive(Debug, Default)]
pub struct Tenants(ArcSwap<HashMap<Arc<str>, Arc<Owned>>>);

/// The keys of one tenant, by provider.
#[derive(Debug, Default)]
pub struct Owned(HashMap<Arc<str>, Own>);

impl Owned {
    /// Its keys for a provider.
    pub(super) fn at(&self, provider: &str) -> Option<&Own> {
        self.0.get(provider)
    }

    /// Whether nobody else's may be used there for this tenant.
    pub(super) fn alone(&self, provider: &str) -> bool {
        self.at(provider).is_some_and(|own| own.only)
    }

    /// Whether it has one that can be used.
    pub(super) fn has(&self, provider: &str) -> bool {
        self.at(provider).is_some_and(|own| !own.keys.is_empty())
    }
}

impl Tenants {
    /// Takes the keys that are in force from now on. What is remembered of those that stay is kept.
    pub fn take(&self, keys: Vec<TenantKey>) {
        let old = self.0.load();
        let known = |tenant: &str, provider: &str, id: &str| {
            let own = old.get(tenant)?.at(provider)?;
            own.keys.iter().find(|key| **key.state.label() == *id).map(Arc::clone)
        };
        let mut new: HashMap<Arc<str>, Owned> = HashMap::new();
        for TenantKey { info, secret } in keys {
            let (tenant, provider) = (info.tenant.as_str(), info.provider.as_str());
            let own = new.entry(tenant.into()).or_default().0.entry(provider.into()).or_default();
            own.only |= info.mode == OwnMode::Only;
            // What can't be opened is not there; where it was to be the only one, nothing takes its place.
            let Some(secret) = secret else { continue };
            let made = || Arc::new(Credential::new(Arc::new(KeyState::alone(info.id.as_str())), 1, secret));
            own.keys.push(known(tenant, provider, &info.id).unwrap_or_else(made));
        }
        self.0.store(Arc::new(new.into_iter().map(|(tenant, owned)| (tenant, Arc::new(owned))).collect()));
    }

    /// The keys of a tenant; none = it has brought none.
    pub(super) fn of(&self, tenant: &str) -> Option<Arc<Owned>> {
        let all = self.0.load();
        if all.is_empty() { None } else { all.get(tenant).map(Arc::clone) }
    }
}
