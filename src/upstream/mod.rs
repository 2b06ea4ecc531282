//! Dialling hosted providers: pools, credentials, timeouts. Knows no dialect.
//!
//! Redirects are off (a redirect would carry the credential elsewhere), the proxy environment is ignored, and reqwest's
//! own retries are off: whether a request may be sent again is the gateway's decision.

mod credentials;
mod pool;
mod sigv4;
mod tokens;

pub use credentials::{Credential, CredentialPool, Lease, Placement};
pub use pool::{EndpointSpec, Line, Pool, Reply};
pub(crate) use pool::{collect, failure};
pub use sigv4::{AwsKey, Scope};
pub use tokens::{Grant, ServiceAccount, TokenEndpoint, TokenSource};
