//! Dialling hosted providers: pools, credentials, timeouts. Knows no dialect.
//!
//! Redirects are not followed (a redirect would carry the credential elsewhere), the proxy environment is ignored, and
//! nothing that may have been sent is sent again: that is the gateway's decision.

mod client;
mod credentials;
mod pool;
mod sigv4;
mod tokens;

pub use client::ReplyBody;
pub use credentials::{Credential, CredentialPool, Lease, Placement};
pub use pool::{EndpointSpec, Line, Pool, Reply};
pub(crate) use pool::{address, collect};
pub use sigv4::{AwsKey, Scope};
pub use tokens::{Grant, ServiceAccount, TokenEndpoint, TokenSource};
