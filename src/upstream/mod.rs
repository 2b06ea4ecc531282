//! Dialling hosted providers: pools, credentials, timeouts. Knows no dialect.
//!
//! Redirects are not followed (a redirect would carry the credential elsewhere), the proxy environment is ignored, and
//! nothing that may have been sent is sent again: that is the gateway's decision.

mod client;
mod credentials;
mod headroom;
mod keys;
mod pool;
mod sigv4;
mod tokens;

pub use client::ReplyBody;
pub use credentials::{Credential, CredentialPool, Lease, Own, Placement, Wanted};
pub use headroom::{Headroom, Limits, Need};
pub use keys::{Account, KeyState, Rested};
pub use pool::{EndpointSpec, Line, Pool, Reply};
pub(crate) use pool::{address, collect};
pub use sigv4::{AwsKey, Scope};
pub use tokens::{Grant, ServiceAccount, TokenEndpoint, TokenSource};

/// The moment, for what is given up without anybody saying when.
fn now() -> crate::domain::target::UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    crate::domain::target::UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
