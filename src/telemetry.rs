//! Prometheus metrics: one table of families, handles resolved per route and target, never per request.
//!
//! Labels are bounded: routes, targets and keys of the loaded files only; never a user, key, request id or free text.
//! Money counters are floats by Prometheus' format; the ledger is the truth.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::domain::money::Money;
use crate::domain::usage::{Bucket, Usage};

/// All families.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    attempts: IntCounterVec,
    tokens: IntCounterVec,
    spend: CounterVec,
    baseline: CounterVec,
    cache_saved: CounterVec,
    unpriced: IntCounterVec,
    cache: IntCounterVec,
    ttft: HistogramVec,
    duration: HistogramVec,
    usage: HistogramVec,
    /// Time the gateway itself took, waiting for the upstream and the client excluded.
    pub overhead: Histogram,
    /// Requests between acceptance and settlement.
    pub in_flight: IntGauge,
    reloads: IntCounterVec,
    /// Number of the snapshot in force.
    pub generation: IntGauge,
    /// Batches at providers whose results are not in the ledger yet.
    pub open_batches: IntGauge,
    /// 1 while the ledger accepts rows.
    pub ledger_healthy: IntGauge,
    local_up: IntGaugeVec,
    refused: IntCounterVec,
    deciding: Deciding,
}

/// Handles of one route and target.
#[derive(Debug)]
pub struct TargetMetrics {
    tokens: [IntCounter; Bucket::COUNT],
    spend: Counter,
    baseline: Counter,
    ttft: Histogram,
    duration: Histogram,
    used: [Histogram; 2],
}

const LATENCY: [f64; 14] = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const OVERHEAD: [f64; 12] = [0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1.0];
/// The bounds that the OpenTelemetry conventions for generative AI advise for tokens.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const TARGET: [&str; 3] = ["route", "provider", "model"];

/// What is told of policies and keys.
#[derive(Clone, Debug)]
struct Deciding {
    policy_errors: IntCounterVec,
    hedges: IntCounterVec,
    retries_refused: IntCounterVec,
    shadow: IntCounterVec,
    facts_end: IntGaugeVec,
    keys: Keys,
}

impl Deciding {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let ints = |name, help, labels: &[&str]| add(registry, IntCounterVec::new(Opts::new(name, help), labels)?);
        Ok(Self {
            keys: Keys::new(registry)?,
            facts_end: add(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "stellwerk_facts_expire_timestamp_seconds",
                        "When the residency facts of what is configured turn stale; after that they count as unknown.",
                    ),
                    &["endpoint"],
                )?,
            )?,
            policy_errors: ints(
                "stellwerk_policy_errors_total",
                "Requests refused because a route's condition could not be evaluated.",
                &["policy", "route"],
            )?,
            hedges: ints(
                "stellwerk_hedges_total",
                "Second targets that were asked beside a first, by whether they won.",
                &["outcome"],
            )?,
            retries_refused: ints(
                "stellwerk_retries_refused_total",
                "Further attempts that were not made, by reason.",
                &["reason"],
            )?,
            shadow: ints(
                "stellwerk_shadow_runs_total",
                "Sampled requests, by what became of their shadow.",
                &["outcome"],
            )?,
        })
    }
}

/// What is told of the keys of providers, by the name of the variable or file they come from.
#[derive(Clone, Debug)]
struct Keys {
    refusals: IntCounterVec,
    headroom: IntGaugeVec,
}

impl Keys {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            refusals: add(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "stellwerk_key_refusals_total",
                        "Attempts that a provider refused for the key's sake, or that no key had room for.",
                    ),
                    &["provider", "key", "reason"],
                )?,
            )?,
            headroom: add(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "stellwerk_key_headroom",
                        "What a provider still lets through, as it told, less what is on its way.",
                    ),
                    &["provider", "key", "target", "limit"],
                )?,
            )?,
        })
    }
}

impl Metrics {
    /// Registers every family.
    ///
    /// # Errors
    /// Two families of one name: a defect that the first test finds.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let ints = |name, help, labels: &[&str]| add(&registry, IntCounterVec::new(Opts::new(name, help), labels)?);
        let floats = |name, help, labels: &[&str]| add(&registry, CounterVec::new(Opts::new(name, help), labels)?);
        let gauge = |name: &str, help: &str| add(&registry, IntGauge::new(name, help)?);
        let histograms = |name, help| {
            add(&registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(LATENCY.to_vec()), &TARGET)?)
        };
        Ok(Self {
            requests: ints(
                "stellwerk_requests_total",
                "Requests answered, by route and status.",
                &["route", "status", "code"],
            )?,
            attempts: ints("stellwerk_attempts_total", "Attempts, by target and outcome.", &["target", "outcome"])?,
            tokens: ints(
                "stellwerk_tokens_total",
                "Tokens in disjoint buckets; the buckets of a request add up.",
                &["route", "provider", "model", "bucket"],
            )?,
            spend: floats("stellwerk_spend_usd_total", "Priced usage in USD; the ledger is the truth.", &TARGET)?,
            baseline: floats(
                "stellwerk_baseline_usd_total",
                "What the same tokens cost at the route's baseline, in USD. Savings = baseline - spend.",
                &TARGET,
            )?,
            cache_saved: floats(
                "stellwerk_cache_saved_usd_total",
                "Cost of answers served from the cache instead.",
                &["route"],
            )?,
            unpriced: ints("stellwerk_unpriced_attempts_total", "Attempts whose price is unknown.", &["reason"])?,
            cache: ints("stellwerk_cache_total", "Cache lookups of routes that cache.", &["route", "outcome"])?,
            ttft: histograms(
                "gen_ai_server_time_to_first_token_seconds",
                "From dispatch to the first token of the answer.",
            )?,
            duration: histograms("gen_ai_server_request_duration_seconds", "From dispatch to the end of the answer.")?,
            usage: add(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new("gen_ai_client_token_usage", "Tokens of an attempt, by their kind.")
                        .buckets(TOKENS.to_vec()),
                    &["gen_ai_token_type", "gen_ai_provider_name", "gen_ai_request_model"],
                )?,
            )?,
            overhead: add(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new("stellwerk_overhead_seconds", "Our own time before the first dispatch.")
                        .buckets(OVERHEAD.to_vec()),
                )?,
            )?,
            in_flight: gauge("stellwerk_in_flight_requests", "Requests not yet settled.")?,
            reloads: ints("stellwerk_reloads_total", "Reloads of config, catalogue and policies.", &["outcome"])?,
            generation: gauge("stellwerk_generation", "Number of the snapshot in force.")?,
            open_batches: gauge("stellwerk_batches_open", "Batches whose results are not in the ledger yet.")?,
            ledger_healthy: gauge("stellwerk_ledger_healthy", "1 while the ledger accepts rows.")?,
            local_up: add(
                &registry,
                IntGaugeVec::new(
                    Opts::new("stellwerk_local_model_up", "1 while the model's worker serves."),
                    &["model"],
                )?,
            )?,
            refused: ints("stellwerk_refused_total", "Requests refused before any attempt, by code.", &["code"])?,
            deciding: Deciding::new(&registry)?,
            registry,
        })
    }

    /// Handles for a route and target.
    #[must_use]
    pub fn target(&self, route: &str, provider: &str, model: &str) -> Arc<TargetMetrics> {
        let labels = [route, provider, model];
        Arc::new(TargetMetrics {
            tokens: Bucket::ALL.map(|b| self.tokens.with_label_values(&[route, provider, model, b.name()])),
            spend: self.spend.with_label_values(&labels),
            baseline: self.baseline.with_label_values(&labels),
            ttft: self.ttft.with_label_values(&labels),
            duration: self.duration.with_label_values(&labels),
            used: ["input", "output"].map(|kind| self.usage.with_label_values(&[kind, provider, model])),
        })
    }

    /// A request was answered.
    pub fn request(&self, route: &str, status: u16, code: &str) {
        self.requests.with_label_values(&[route, status_text(status), code]).inc();
    }

    /// A request was refused before any attempt.
    pub fn refused(&self, code: &str) {
        self.refused.with_label_values(&[code]).inc();
    }

    /// A second target was asked beside the first.
    pub fn hedged(&self, outcome: &str) {
        self.deciding.hedges.with_label_values(&[outcome]).inc();
    }

    /// A further attempt was not made.
    pub fn retry_refused(&self, reason: &str) {
        self.deciding.retries_refused.with_label_values(&[reason]).inc();
    }

    /// A sampled request's shadow: compared, failed, at its limit, without a place.
    pub fn shadow(&self, outcome: &str) {
        self.deciding.shadow.with_label_values(&[outcome]).inc();
    }

    /// The condition of a route could not be evaluated.
    pub fn policy_error(&self, policy: &str, route: &str) {
        self.deciding.policy_errors.with_label_values(&[policy, route]).inc();
    }

    /// An attempt ended.
    pub fn attempt(&self, target: &str, outcome: &str) {
        self.attempts.with_label_values(&[target, outcome]).inc();
    }

    /// An attempt's price is unknown.
    pub fn unpriced(&self, reason: &str) {
        self.unpriced.with_label_values(&[reason]).inc();
    }

    /// A cache lookup ended.
    pub fn cache(&self, route: &str, outcome: &str, saved: Option<Money>) {
        self.cache.with_label_values(&[route, outcome]).inc();
        if let Some(saved) = saved {
            self.cache_saved.with_label_values(&[route]).inc_by(usd(saved));
        }
    }

    /// A reload ended.
    pub fn reload(&self, outcome: &str) {
        self.reloads.with_label_values(&[outcome]).inc();
    }

    /// Which local models there are, and which of them serve.
    pub fn locals<'m>(&self, models: impl Iterator<Item = (&'m str, bool)>) {
        self.local_up.reset();
        models.for_each(|(model, up)| self.local_up.with_label_values(&[model]).set(i64::from(up)));
    }

    /// When which residency facts turn stale, in seconds since 1970.
    pub fn facts_end(&self, ends: impl Iterator<Item = (String, i64)>) {
        self.deciding.facts_end.reset();
        ends.for_each(|(of, at)| self.deciding.facts_end.with_label_values(&[&*of]).set(at));
    }

    /// A key was refused (`refused`, `exhausted`, `limited`), or none had room (`no_room`).
    pub fn key(&self, provider: &str, key: &str, reason: &str) {
        self.deciding.keys.refusals.with_label_values(&[provider, key, reason]).inc();
    }

    /// What is left: provider, key, target, limit, rest.
    pub fn headroom(&self, left: &[(Arc<str>, String, String, &'static str, u64)]) {
        self.deciding.keys.headroom.reset();
        for (provider, key, target, limit, rest) in left {
            let gauge = self.deciding.keys.headroom.with_label_values(&[&**provider, key, target, limit]);
            gauge.set(i64::try_from(*rest).unwrap_or(i64::MAX));
        }
    }

    /// The text exposition.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = Vec::new();
        // Writing to memory can't fail; a family that can't be rendered is left out.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

impl TargetMetrics {
    /// Adds what an attempt used and cost.
    pub fn settled(&self, usage: &Usage, cost: Option<Money>, baseline: Option<Money>) {
        for (bucket, count) in usage.parts() {
            self.tokens[bucket as usize].inc_by(count);
        }
        if !usage.is_zero() {
            let [input, output] = &self.used;
            input.observe(usage.input_tokens() as f64);
            output.observe(usage.output_tokens() as f64);
        }
        if let Some(cost) = cost {
            self.spend.inc_by(usd(cost));
        }
        if let Some(baseline) = baseline {
            self.baseline.inc_by(usd(baseline));
        }
    }

    /// Adds what an attempt took, in seconds.
    pub fn timed(&self, ttft: Option<f64>, duration: f64) {
        if let Some(ttft) = ttft {
            self.ttft.observe(ttft);
        }
        self.duration.observe(duration);
    }
}

/// Float by Prometheus' format; exact money never comes back from here.
#[expect(clippy::cast_precision_loss, reason = "a Prometheus counter is a float; the ledger keeps the exact amount")]
fn usd(money: Money) -> f64 {
    money.pico().max(0) as f64 / 1e12
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn status_text(status: u16) -> &'static str {
    match status {
        200 => "200",
        400 => "400",
        401 => "401",
        402 => "402",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        413 => "413",
        415 => "415",
        429 => "429",
        499 => "499",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        other => match other / 100 {
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spend_and_baseline_are_two_counters_and_families_are_unique() {
        let metrics = Metrics::new().unwrap();
        let target = metrics.target("reasoning", "deepseek", "deepseek-reasoner");
        target.settled(
            &Usage::ZERO.with(Bucket::Input, 7).with(Bucket::Reasoning, 5),
            Some(Money::parse("2.74").unwrap()),
            Some(Money::parse("75").unwrap()),
        );
        let text = metrics.render();
        let labels = r#"model="deepseek-reasoner",provider="deepseek",route="reasoning""#;
        assert!(text.contains(&format!("stellwerk_spend_usd_total{{{labels}}} 2.74")), "{text}");
        assert!(text.contains(&format!("stellwerk_baseline_usd_total{{{labels}}} 75")), "{text}");
        assert!(text.contains(r#"bucket="reasoning""#), "{text}");
        let kinds = r#"gen_ai_provider_name="deepseek",gen_ai_request_model="deepseek-reasoner",gen_ai_token_type="#;
        assert!(text.contains(&format!("gen_ai_client_token_usage_sum{{{kinds}\"input\"}} 7")), "{text}");
        assert!(text.contains(&format!("gen_ai_client_token_usage_sum{{{kinds}\"output\"}} 5")), "{text}");
    }
}
