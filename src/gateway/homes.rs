//! Which target answered a conversation last, so that its next turn finds the prompt cached there.
//!
//! A bounded memory of this process, by tenant and conversation. What is forgotten costs a cold prompt, nothing else.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::domain::target::UnixMillis;

/// Most conversations that are remembered.
const CONVERSATIONS: u64 = 100_000;
/// Longest memory: the longest life of a provider's prompt cache.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The memory.
#[derive(Debug)]
pub(super) struct Homes(Cache<(Arc<str>, u64), (Arc<str>, UnixMillis)>);

impl Default for Homes {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(CONVERSATIONS).time_to_live(LONGEST).build())
    }
}

impl Homes {
    /// The target of a tenant's conversation.
    pub(super) fn find(&self, tenant: &Arc<str>, session: u64, now: UnixMillis) -> Option<Arc<str>> {
        let (target, until) = self.0.get(&(Arc::clone(tenant), session))?;
        (until > now).then_some(target)
    }

    /// A target answered it.
    pub(super) fn keep(&self, tenant: &Arc<str>, session: u64, target: Arc<str>, until: UnixMillis) {
        self.0.insert((Arc::clone(tenant), session), (target, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_s_own_for_a_while() {
        let homes = Homes::default();
        let (mine, other): (Arc<str>, Arc<str>) = ("mine".into(), "other".into());
        homes.keep(&mine, 7, "a/b".into(), UnixMillis(10));
        assert_eq!(homes.find(&mine, 7, UnixMillis(9)).as_deref(), Some("a/b"));
        assert_eq!(homes.find(&mine, 7, UnixMillis(10)), None);
        assert_eq!(homes.find(&other, 7, UnixMillis(9)), None);
        assert_eq!(homes.find(&mine, 8, UnixMillis(9)), None);
    }
}
