//! A provider file as written. `providers/README.md` explains it to those who edit one.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::shape::{Datetime, Spanned};

/// `providers/<name>.toml`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Provider {
    /// The provider's name in targets and policies.
    pub name: Spanned<String>,
    /// Its name for people.
    pub title: String,
    /// What it speaks.
    pub dialect: Spanned<String>,
    /// How a request is authorised.
    pub auth: Auth,
    /// The pool of credentials.
    #[serde(default)]
    pub keys: Vec<Spanned<Key>>,
    /// Where access tokens are granted to keys with a `grant`.
    pub token: Option<Token>,
    /// How it limits rates.
    #[serde(default)]
    pub limits: Limits,
    /// Jurisdiction of the operating company; absent = unknown.
    pub operator: Option<Spanned<String>>,
    /// Jurisdiction of its ultimate parent; absent = unknown.
    pub parent: Option<Spanned<String>>,
    /// Its documentation.
    pub docs: Option<String>,
    /// Peculiarities of its dialect.
    #[serde(default)]
    pub quirks: Quirks,
    /// Where it is reached.
    #[serde(rename = "endpoint")]
    pub endpoints: Vec<Endpoint>,
    /// What it offers.
    #[serde(rename = "model", default)]
    pub models: Vec<Model>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    /// `bearer`, `header`, `query`, `aws-sigv4` or `none`.
    pub scheme: Spanned<String>,
    /// The header or query parameter.
    pub name: Option<String>,
    /// What `aws-sigv4` signs for.
    pub service: Option<String>,
}

/// Where access tokens are granted. Its facts are looked at like those of an endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    /// Its address; `${NAME}` stands for an environment variable.
    pub url: Spanned<String>,
    /// What tokens are to be good for.
    pub scope: String,
    /// Plain HTTP may be used: test beds only.
    #[serde(default)]
    pub allow_http: bool,
    /// Countries where it is served; absent = unknown.
    pub processing: Option<Spanned<Vec<String>>>,
    /// `contract`, `documented`, `none` or `unknown`.
    pub guarantee: Option<Spanned<String>>,
    /// Jurisdiction of the operating company; absent = the provider's.
    pub operator: Option<Spanned<String>>,
    /// Jurisdiction of its ultimate parent; absent = the provider's.
    pub parent: Option<Spanned<String>>,
    /// Where these facts come from.
    #[expect(dead_code, reason = "provenance for people who read the file; demanded so that no fact comes without it")]
    pub source: String,
    /// When they were looked up.
    #[expect(dead_code, reason = "as above")]
    pub checked: Datetime,
    /// When they turn stale.
    pub expires: Option<Spanned<Datetime>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    /// Environment variable that holds the key; either this or `file`.
    pub env: Option<String>,
    /// File that holds it; a relative path starts at the directory of the configuration file.
    pub file: Option<String>,
    /// For `aws-sigv4`, where `env` is the id of the key: the variable of its secret.
    pub secret_env: Option<String>,
    /// For `aws-sigv4`: the variable of the session's token, for temporary keys.
    pub session_env: Option<String>,
    /// How it becomes an access token: `token` (it is one), `service-account` (Google's key file, or its path), or
    /// `client-credentials` (the secret of `id_env`).
    pub grant: Option<Spanned<String>>,
    /// For `client-credentials`: the variable of the client's id.
    pub id_env: Option<String>,
    /// Share of the traffic.
    #[serde(default = "one")]
    pub weight: u32,
    /// Requests a minute that the provider lets through per model, until its answers tell.
    pub rpm: Option<u64>,
    /// Tokens a minute, likewise.
    pub tpm: Option<u64>,
    /// The account that it belongs to, where several keys are of one: what exhausts one exhausts all.
    pub account: Option<String>,
    /// Only for these endpoints; absent = all.
    pub endpoints: Option<Spanned<Vec<String>>>,
}

/// How a provider limits rates.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// Whose limits they are: of each `key` (the default), or of the `account`, whatever key is used.
    pub of: Option<Spanned<String>>,
    /// In which headers of an answer it tells of them, instead of those of its dialect.
    #[serde(rename = "header")]
    pub headers: Vec<LimitHeader>,
}

/// The headers of one limit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitHeader {
    /// `requests`, `tokens`, `input_tokens` or `output_tokens`.
    pub counts: Spanned<String>,
    /// The header of the limit.
    pub limit: Option<String>,
    /// The header of what is left.
    pub remaining: String,
    /// The header of the reset: a duration (`6m0s`), seconds, or a moment.
    pub reset: Option<String>,
    /// Seconds in which a limit is there again, where no header tells; absent = a minute.
    pub period_s: Option<u32>,
    /// `steady` (the default: it comes back evenly) or `whole` (all at once, at the reset).
    pub refill: Option<Spanned<String>>,
}

fn one() -> u32 {
    1
}

/// See `dialect::Quirks`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Quirks {
    /// `option`, `always` or `never`.
    pub stream_usage: Option<Spanned<String>>,
    /// The only member the provider takes for the output limit.
    pub max_output_member: Option<String>,
    /// Members it refuses and nobody misses.
    pub drop: Vec<String>,
    /// Whether completion tokens exclude reasoning tokens.
    pub reasoning_outside_output: bool,
    /// Members that not every provider of the dialect takes and this one does.
    pub takes: Vec<String>,
    /// Members that some of its models refuse, as `part of its id/member`: what asks for them cannot go there.
    pub refuses: Vec<String>,
    /// The member in which it wants its earlier thinking back.
    pub reasoning_member: Option<String>,
    /// Whether a schema must be told in words.
    pub json_schema_in_words: bool,
    /// Whether thinking stands between `<think>` tags.
    pub think_tags: bool,
    /// How many letters and digits an id of a call has, where no others are taken.
    pub call_id_length: Option<std::num::NonZeroU8>,
    /// What in its streams is mended where they pass: `id`, `role`, `finish_reason`, `tool_calls`, `usage`, `done`.
    pub mends: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    /// Its name within the provider.
    pub name: Spanned<String>,
    /// Base URL; `${NAME}` stands for an environment variable, without which the endpoint is not configured.
    pub base_url: Option<Spanned<String>>,
    /// The region that signatures name; `${NAME}` as above.
    pub region: Option<Spanned<String>>,
    /// Path below it, instead of the dialect's; `{model}` stands for the model's name on the wire.
    pub path: Option<String>,
    /// Dialects that are spoken here besides, by name.
    #[serde(default)]
    pub also: std::collections::BTreeMap<Spanned<String>, Also>,
    /// Query parameters.
    #[serde(default)]
    pub query: std::collections::BTreeMap<String, String>,
    /// Headers.
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
    /// Plain HTTP may be used.
    #[serde(default)]
    pub allow_http: bool,
    /// Countries where bytes are processed; absent = unknown.
    pub processing: Option<Spanned<Vec<String>>>,
    /// `contract`, `documented`, `none` or `unknown`.
    pub guarantee: Option<Spanned<String>>,
    /// Days that prompts are kept, or `unknown`.
    pub retention_days: Option<Spanned<Days>>,
    /// `no`, `opt-out`, `yes` or `unknown`.
    pub training: Option<Spanned<String>>,
    /// Overrides the provider's.
    pub operator: Option<Spanned<String>>,
    /// Overrides the provider's.
    pub parent: Option<Spanned<String>>,
    /// Whether hanging up stops the meter.
    #[serde(default)]
    pub cancel_stops_billing: bool,
    /// Where these facts come from.
    #[expect(dead_code, reason = "provenance for people who read the file; demanded so that no fact comes without it")]
    pub source: String,
    /// When they were looked up.
    #[expect(dead_code, reason = "as above")]
    pub checked: Datetime,
    /// When they turn stale.
    pub expires: Option<Spanned<Datetime>>,
}

/// Another dialect of an endpoint.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Also {
    /// Its base URL, where it is another; the same host, since the endpoint's residency facts hold for it.
    pub base_url: Option<Spanned<String>>,
    /// Its path, instead of the dialect's own.
    pub path: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Days {
    /// So many.
    Known(u32),
    /// `unknown`.
    Text(String),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    /// Its id; `*` takes any name.
    pub id: Spanned<String>,
    /// Its name on the wire, where it differs.
    pub upstream: Option<String>,
    /// Its name on the wire at certain endpoints.
    #[serde(default)]
    pub ids: std::collections::BTreeMap<Spanned<String>, String>,
    /// Only at these endpoints; absent = all.
    pub endpoints: Option<Spanned<Vec<String>>>,
    /// Same weights elsewhere share a family.
    pub family: Option<String>,
    /// Rung of the quality ladder.
    pub tier: Option<Spanned<String>>,
    /// When it is served.
    #[serde(default)]
    pub available: Available,
    /// Context window in tokens.
    pub context: Option<u64>,
    /// Most output tokens.
    pub max_output: Option<u64>,
    /// What it can do; absent = everything its dialect has.
    pub supports: Option<Spanned<Vec<String>>>,
    /// What to expect before there are measurements.
    #[serde(default)]
    pub prior: Prior,
    /// Dated prices.
    #[serde(rename = "price", default)]
    pub prices: Vec<Price>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Available {
    /// First day or moment.
    pub from: Option<Spanned<Datetime>>,
    /// First day or moment after.
    pub to: Option<Spanned<Datetime>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Prior {
    /// Milliseconds to the first token.
    pub ttft_ms: Option<u32>,
    /// Output tokens per second.
    pub tokens_per_second: Option<u32>,
    /// Output tokens of a typical answer.
    pub output_tokens: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Price {
    /// First day or moment, UTC.
    pub from: Spanned<Datetime>,
    /// First day or moment after; absent = until the next period.
    pub to: Option<Spanned<Datetime>>,
    /// Only at these endpoints; absent = all that have no entry of their own for the time.
    pub endpoints: Option<Spanned<Vec<String>>>,
    /// Of the rates.
    #[serde(default = "usd")]
    pub currency: String,
    /// `request_start` or `request_end`.
    pub timestamp_basis: Option<Spanned<String>>,
    /// A fee per request, in whole units.
    pub per_request: Option<Spanned<String>>,
    /// Of the prompt, per million tokens, as decimal text.
    pub input: Option<Spanned<String>>,
    /// Of what the provider had in its cache.
    pub cache_read: Option<Spanned<String>>,
    /// Of what the provider puts into its cache.
    pub cache_write: Option<Spanned<String>>,
    /// The same for an hour.
    pub cache_write_1h: Option<Spanned<String>>,
    /// Of the answer.
    pub output: Option<Spanned<String>>,
    /// Of thinking, where it differs from `output`.
    pub reasoning: Option<Spanned<String>>,
    /// Of sound in the prompt.
    pub input_audio: Option<Spanned<String>>,
    /// Of sound in the answer.
    pub output_audio: Option<Spanned<String>>,
    /// Of pictures in the prompt.
    pub input_image: Option<Spanned<String>>,
    /// Of pictures in the answer.
    pub output_image: Option<Spanned<String>>,
    /// Per million searches.
    pub search: Option<Spanned<String>>,
    /// Other rates at certain times of day.
    #[serde(rename = "window", default)]
    pub windows: Vec<Window>,
    /// Other rates for large prompts.
    #[serde(rename = "tier", default)]
    pub tiers: Vec<Tier>,
    /// Rates of other tiers of service. One that is not here has no known price.
    #[serde(rename = "service", default)]
    pub services: Vec<Service>,
    /// Where the price was read.
    #[expect(
        dead_code,
        reason = "provenance for people who read the file; demanded so that no price comes without it"
    )]
    pub source: String,
    /// When.
    #[expect(dead_code, reason = "as above")]
    pub checked: Datetime,
}

fn usd() -> String {
    "USD".to_owned()
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    /// Names it (`off-peak`).
    pub name: String,
    /// `HH:MM-HH:MM`, UTC; may cross midnight.
    pub utc: Spanned<Vec<String>>,
    /// `mon` … `sun`; absent = every day.
    pub days: Option<Spanned<Vec<String>>>,
    /// Of the prompt, per million tokens, as decimal text.
    pub input: Option<Spanned<String>>,
    /// Of what the provider had in its cache.
    pub cache_read: Option<Spanned<String>>,
    /// Of the answer.
    pub output: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tier {
    /// Above so many input tokens.
    pub above_input: u64,
    /// Of the prompt, per million tokens, as decimal text.
    pub input: Option<Spanned<String>>,
    /// Of what the provider had in its cache.
    pub cache_read: Option<Spanned<String>>,
    /// Of what the provider puts into its cache.
    pub cache_write: Option<Spanned<String>>,
    /// Of the answer.
    pub output: Option<Spanned<String>>,
}

/// Rates of a tier of service, as requests and answers name it. A rate that the standard has and that is left out here is
/// not known.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    /// `flex`, `priority`, `batch` or `fast`.
    pub name: Spanned<String>,
    /// Since when these rates are known; absent = since the price's own beginning.
    pub from: Option<Spanned<Datetime>>,
    /// Of the prompt, per million tokens, as decimal text.
    pub input: Option<Spanned<String>>,
    /// Of what the provider had in its cache.
    pub cache_read: Option<Spanned<String>>,
    /// Of what the provider puts into its cache.
    pub cache_write: Option<Spanned<String>>,
    /// Of the answer.
    pub output: Option<Spanned<String>>,
    /// Other rates for large prompts.
    #[serde(rename = "tier", default)]
    pub tiers: Vec<Tier>,
}

/// `providers/currencies.toml`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Currencies {
    /// Dated exchange rates to US dollars.
    #[serde(rename = "rate", default)]
    pub rates: Vec<Rate>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rate {
    /// Of this currency.
    pub currency: Spanned<String>,
    /// From this day on.
    pub from: Spanned<Datetime>,
    /// US dollars per unit.
    pub usd: Spanned<String>,
    /// Where it was read.
    #[expect(dead_code, reason = "provenance for people who read the file")]
    pub source: String,
}
