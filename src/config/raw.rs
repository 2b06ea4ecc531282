//! The configuration file as written. Every field has a default: an empty file is a valid configuration.

use schemars::JsonSchema;
use serde::Deserialize;

/// `stellwerk.toml`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    /// The data plane.
    pub server: Server,
    /// The admin plane.
    pub admin: Admin,
    /// Ledger, keys and secrets of the gateway.
    pub data: Data,
    /// What the ledger keeps.
    pub ledger: Ledger,
    /// Overlay of provider files.
    pub catalogue: Catalogue,
    /// Policy files.
    pub policies: Policies,
    /// The embedded runtime.
    pub local: Local,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    /// Address and port of the data plane.
    pub listen: String,
    /// Largest request body.
    pub max_body: String,
    /// Largest whole (not streamed) answer of a provider.
    pub max_answer: String,
    /// Longest wait for a request body.
    pub body_timeout: String,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most requests at once; as many more wait for a second, the rest is answered 503.
    pub max_in_flight: usize,
    /// How long streams may finish after a signal to stop.
    pub drain: String,
    /// Output limit for requests without one, where the target's dialect demands it and the route sets none.
    pub default_max_output: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            max_body: "32 MiB".into(),
            max_answer: "64 MiB".into(),
            body_timeout: "30s".into(),
            max_connections: 10_000,
            max_in_flight: 4_096,
            drain: "30s".into(),
            default_max_output: 8_192,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    /// Address and port of the admin plane.
    pub listen: String,
    /// Names under which it is reached, beside `localhost` and addresses.
    pub hosts: Vec<String>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8081".into(), hosts: Vec::new() }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Data {
    /// Where the ledger, the keys and the secrets are.
    pub dir: String,
    /// `process` or `power`.
    pub durability: String,
}

impl Default for Data {
    fn default() -> Self {
        Self { dir: "var".into(), durability: "process".into() }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ledger {
    /// Days that decisions are kept; 0 = none are written.
    pub decisions_days: u32,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { decisions_days: 30 }
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Catalogue {
    /// Directory of provider files that replace or add to the compiled-in ones.
    pub dir: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Policies {
    /// Directory of policy files; without it the compiled-in ones hold.
    pub dir: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Local {
    /// Models to load.
    pub model: Vec<LocalModel>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LocalModel {
    /// The model's id in the `local` provider.
    pub name: String,
    /// The GGUF file.
    pub path: String,
    /// Threads; absent = one less than the cores.
    pub threads: Option<u32>,
    /// Context in tokens; absent = 8192 or the model's own, whichever is smaller.
    pub context: Option<u32>,
    /// Requests that may wait.
    pub queue: Option<usize>,
}
