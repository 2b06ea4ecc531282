//! Admission: who may ask, and what keys tenants bring. Rates and budgets come to stand here, beside the keys.

mod format;
mod keys;
mod vault;

pub use keys::{KeyInfo, KeyRing, NewKey, Principal, Scope, check_scope, set_scope};
pub use vault::{MASTER_KEY_ENV, NewTenantKey, Opened, OwnMode, TenantKey, TenantKeyInfo, Vault, VaultError};
