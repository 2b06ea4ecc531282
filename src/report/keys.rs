//! Virtual keys, without their secrets.

use serde_json::json;

use super::day;
use crate::admission::{KeyInfo, TenantKeyInfo};

/// For people.
#[must_use]
pub fn keys_table(keys: &[KeyInfo]) -> String {
    if keys.is_empty() {
        return "no keys yet: stellwerk keys create NAME".to_owned();
    }
    let state = |key: &KeyInfo| match (key.revoked, key.expires) {
        (Some(at), _) => format!("revoked {}", day(at)),
        (None, Some(at)) => format!("until {}", day(at)),
        (None, None) => "active".to_owned(),
    };
    let rows = keys.iter().map(|key| {
        let scope = format!("{}/{}", key.tenant, key.team);
        let policy = key.policy.as_deref().unwrap_or("-");
        let require = key.requirement.as_deref().unwrap_or("-");
        format!(
            "{:<16}  {:<20}  {scope:<20}  {:<18}  {policy:<12}  {require}",
            key.id,
            shortened(&key.name),
            state(key)
        )
    });
    let head =
        format!("{:<16}  {:<20}  {:<20}  {:<18}  {:<12}  requires", "id", "name", "tenant/team", "state", "policy");
    std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
}

/// Names are free text: what could disturb a terminal is shown escaped.
fn shortened(name: &str) -> String {
    name.escape_default().to_string().chars().take(20).collect()
}

/// For programs.
#[must_use]
pub fn keys_json(keys: &[KeyInfo]) -> String {
    let list = keys.iter().map(|key| {
        json!({
            "id": &*key.id, "name": key.name, "tenant": key.tenant, "team": key.team, "tags": key.tags,
            "policy": key.policy, "requirement": key.requirement, "created": day(key.created),
            "expires": key.expires.map(day), "revoked": key.revoked.map(day),
        })
    });
    serde_json::Value::from(list.collect::<Vec<_>>()).to_string()
}

/// Keys that tenants brought, for people.
#[must_use]
pub fn tenant_keys_table(keys: &[TenantKeyInfo]) -> String {
    if keys.is_empty() {
        return "no keys of tenants: stellwerk credentials add --tenant T --provider P".to_owned();
    }
    let rows = keys.iter().map(|key| {
        let (tenant, mode) = (shortened(&key.tenant), key.mode.name());
        format!(
            "{:<22}  {tenant:<20}  {:<20}  {mode:<6}  {:<10}  {}",
            key.id,
            key.provider,
            day(key.created),
            key.master
        )
    });
    let head =
        format!("{:<22}  {:<20}  {:<20}  {:<6}  {:<10}  master key", "id", "tenant", "provider", "mode", "added");
    std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
}

/// For programs.
#[must_use]
pub fn tenant_keys_json(keys: &[TenantKeyInfo]) -> String {
    let list = keys.iter().map(|key| {
        json!({
            "id": key.id, "tenant": key.tenant, "provider": key.provider, "mode": key.mode.name(),
            "master_key": key.master, "created": day(key.created),
        })
    });
    serde_json::Value::from(list.collect::<Vec<_>>()).to_string()
}
