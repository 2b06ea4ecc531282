//! Admission: who may ask. Rates and budgets come to stand here, beside the keys.

mod format;
mod keys;

pub use keys::{KeyInfo, KeyRing, NewKey, Principal, Scope, check_scope, set_scope};
