//! A policy file exactly as written. Unknown members are refused; what a later version will understand is read here
//! only to say so.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::shape::{Datetime, Spanned};

/// Which target answers which request. The file's name without `.toml` is the policy's.
// For the schema: the reader takes the parts one by one, so that each is told of by its number.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "stands for the whole in the schema")]
pub(super) struct RawPolicy {
    /// What every request under this policy must fulfil, models named directly included.
    require: Option<RawRequire>,
    /// What savings are compared with, where a route says nothing else.
    baseline: Option<RawBaseline>,
    /// The routes. The first whose `match` holds decides.
    route: Option<Vec<RawRoute>>,
    /// What the policy promises; `stellwerk policy test` runs them.
    test: Option<Vec<RawTest>>,
}

/// `[[route]]`: which requests, which targets, which requirements, which preference.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoute {
    /// Unique in the file; shown in headers, ledger and metrics. `direct` is taken.
    pub name: Spanned<String>,
    /// Which requests. The first route that matches wins.
    #[serde(rename = "match")]
    pub matches: Spanned<RawMatch>,
    /// A condition in CEL, beside `match`. One that fails refuses the request.
    pub when: Option<Spanned<String>>,
    /// Patterns of targets, in order of preference where `prefer.order = "listed"`.
    pub targets: Spanned<Vec<Spanned<String>>>,
    /// What finance compares with.
    pub baseline: Option<Spanned<RawBaseline>>,
    /// `refuse` (default): a parameter that a target cannot express excludes it. `allow`: it is dropped and listed.
    pub lossy: Option<Spanned<String>>,
    /// How long an answer may be served again to the same tenant for the same request. Off unless given.
    pub cache: Option<Spanned<String>>,
    /// Output limit in tokens for requests that set none.
    pub max_output: Option<Spanned<u64>>,
    /// Most output tokens per answer: a request that asks for more is refused by name.
    pub output_cap: Option<Spanned<u64>>,
    /// Hard requirements.
    pub require: Option<RawRequire>,
    /// The preference among what is admitted.
    pub prefer: Option<RawPrefer>,
    /// How often and how long to try.
    pub attempts: Option<RawAttempts>,
    /// Where a sample of the requests goes besides, to be compared.
    pub shadow: Option<RawShadow>,
}

/// `shadow = { target, sample, max_cost }`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawShadow {
    /// Exactly one target; it need not be one of the route's.
    pub target: Spanned<String>,
    /// The share of the requests: above 0, at most 1.
    pub sample: Spanned<f64>,
    /// Most that it may cost on a day in UTC: `"5 USD/day"`.
    pub max_cost: Spanned<String>,
}

/// `match = { model = [...], operation = [...] }`: both must hold where both are given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMatch {
    /// Globs on the model that the client asks for.
    pub model: Option<Vec<Spanned<String>>>,
    /// Operations.
    pub operation: Option<Vec<Spanned<String>>>,
}

/// `baseline = { target, price_as_of }`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBaseline {
    /// Exactly one target.
    pub target: Spanned<String>,
    /// The day whose prices count. Needed where the model is retired.
    pub price_as_of: Option<Spanned<Datetime>>,
}

/// `require`: of the whole file or of a route. What fails one is never used, not even as last resort.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRequire {
    /// Zones or countries where bytes may be processed.
    pub processing: Option<Spanned<Vec<Spanned<String>>>>,
    /// Allowed jurisdictions of the operating company, and of its parent unless `parent` is given too.
    pub operator: Option<Spanned<Vec<Spanned<String>>>>,
    /// Allowed jurisdictions of the ultimate parent.
    pub parent: Option<Spanned<Vec<Spanned<String>>>>,
    /// Most days that prompts may be kept.
    pub retention_days: Option<u32>,
    /// Of `no`, `opt-out`, `yes`.
    pub training: Option<Spanned<Vec<Spanned<String>>>>,
    /// `none`, `documented` or `contract`.
    pub min_guarantee: Option<Spanned<String>>,
    /// The least rung of the quality ladder.
    pub min_tier: Option<Spanned<String>>,
    /// Most that a request may be expected to cost: `"0.05 USD"`.
    pub max_cost: Option<Spanned<String>>,
    /// Within this the first token must have come in 95 of 100 cases of late: `"2s"`.
    pub ttft_p95: Option<Spanned<String>>,
    /// Whether targets may be used whose speed has not been measured enough: `allow` (default) or `refuse`.
    pub unmeasured: Option<Spanned<String>>,
}

/// `prefer`: `second_is_worth` or `order`, not both. Neither: the cheapest. `canary` beside any.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPrefer {
    /// What a second less of waiting is worth: `"0.002 USD"`; `"0"` = the cheapest, `"inf"` = the fastest.
    pub second_is_worth: Option<Spanned<String>>,
    /// `listed`: in the order of `targets`. `weighted`: by `weights`.
    pub order: Option<Spanned<String>>,
    /// How many of the requests go first to the targets of each pattern, as whole numbers in proportion.
    pub weights: Option<Spanned<BTreeMap<String, Spanned<u32>>>>,
    /// What keeps a request with its share of `weights`: `none` (default), `key`, `user` or `session`.
    pub sticky: Option<Spanned<String>>,
    /// A target that a share of the requests tries first.
    pub canary: Option<RawCanary>,
    /// How long a conversation stays with the target that answered it, where the cached prompt makes that the cheapest:
    /// `"5m"` to `"60m"`. Off unless given.
    pub affinity: Option<Spanned<String>>,
    /// How many of the requests try a target first whose speed is not known, or which was slower than usual when it was
    /// last seen: `"1%"`. Default `1%` where a second is worth something, else none; `"0%"` = none.
    pub explore: Option<Spanned<String>>,
}

/// `prefer.canary`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCanary {
    /// Exactly one target; it need not be one of the route's.
    pub target: Spanned<String>,
    /// How many of the requests: `"5%"`.
    pub share: Spanned<String>,
    /// What keeps a request in the share or out of it: `none` (default), `key`, `user` or `session`.
    pub sticky: Option<Spanned<String>>,
}

/// `attempts`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAttempts {
    /// Most targets that are tried, 1 to 10. Default 3.
    pub max: Option<Spanned<u8>>,
    /// Asking a second target when the first frame of a stream does not come. Off unless given.
    pub hedge: Option<RawHedge>,
    /// The four waits.
    pub timeout: Option<RawTimeout>,
}

/// `attempts.hedge`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHedge {
    /// How long the first target has: `"800ms"`, or `"p95"` for the time within which its first token comes in 95 of 100
    /// cases of late.
    pub after: Spanned<String>,
    /// Most that the second attempt may be expected to cost: `"0.01 USD"`.
    pub max_extra_cost: Spanned<String>,
}

/// `timeout`: each absent one keeps its default.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTimeout {
    /// Until the connection stands. Default `5s`.
    pub connect: Option<Spanned<String>>,
    /// Until the first frame of the answer. Default `30s`.
    pub first_token: Option<Spanned<String>>,
    /// Between two pieces of the answer. Default `60s`.
    pub idle: Option<Spanned<String>>,
    /// For the whole request. Default `15m`.
    pub total: Option<Spanned<String>>,
}

/// `[[test]]`: a request and what must become of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTest {
    /// What the test claims, in words.
    pub name: Spanned<String>,
    /// The request.
    pub given: RawGiven,
    /// What must become of it.
    pub expect: Spanned<RawExpect>,
}

/// `given`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGiven {
    /// The model that the client asks for.
    pub model: Spanned<String>,
    /// Tokens of prompt. Default 1000.
    pub input_tokens: Option<u64>,
    /// The client's output limit.
    pub max_output: Option<u64>,
    /// Who asks.
    pub key: Option<RawKey>,
    /// When. Default: the moment the test runs.
    pub at: Option<Spanned<Datetime>>,
    /// What is asked of the model. Default `chat`.
    pub operation: Option<Spanned<String>>,
    /// How many answers. Default 1.
    pub choices: Option<u32>,
    /// Whether a stream is asked for.
    pub stream: Option<bool>,
    /// The client's user, as the request names it.
    pub user: Option<String>,
    /// The conversation, by any name.
    pub session: Option<String>,
    /// Capabilities that the request needs (`tools`, `json_schema`, `image`, ...).
    pub needs: Option<Vec<Spanned<String>>>,
    /// Targets that are down.
    pub down: Option<Vec<Spanned<String>>>,
    /// A requirement of the request in its text form, as in the header `x-stellwerk-require`.
    pub require: Option<Spanned<String>>,
}

/// `given.key`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKey {
    /// The key's name.
    pub name: Option<String>,
    /// Its team.
    pub team: Option<String>,
    /// Its tenant.
    pub tenant: Option<String>,
    /// Its tags.
    pub tags: Option<Vec<String>>,
    /// Its requirement, in the text form.
    pub require: Option<Spanned<String>>,
}

/// `expect`: at least one member.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpect {
    /// The pattern that the first attempt's target matches.
    pub first: Option<Spanned<String>>,
    /// Patterns that no admitted target matches.
    pub never: Option<Vec<Spanned<String>>>,
    /// Most that any attempt may be expected to cost.
    pub max_cost: Option<Spanned<String>>,
    /// The code of the refusal.
    pub refused: Option<Spanned<String>>,
    /// The route that must have been chosen.
    pub route: Option<Spanned<String>>,
}
