//! A receipt as rows. Inserting twice changes nothing.

use super::common::{number, text};
use super::insert::{Inserts, filled, insert};
use crate::domain::money::Money;
use crate::domain::receipt::{AttemptRecord, BaselineCharge, CacheRecord, ChargeRecord, Original, Receipt};
use crate::domain::target::{Country, Fact, Guarantee, Training};
use crate::domain::usage::{Bucket, Usage};

/// An amount as an integer column. An amount beyond nine million dollars is no price of a request: it stands as
/// unpriced, with its reason, rather than stopping the ledger.
fn pico(money: Money) -> Option<i64> {
    i64::try_from(money.pico()).ok()
}

pub(super) fn insert(inserts: &mut Inserts<'_>, receipt: &Receipt) -> Result<(), rusqlite::Error> {
    let id = receipt.request.0.to_be_bytes();
    let baseline = receipt.baseline.as_ref();
    let (input, output, price_id, unpriced) = match baseline.map(|b| &b.charge) {
        Some(BaselineCharge::Priced { input, output, price_id }) => match (pico(*input), pico(*output)) {
            (Some(input), Some(output)) => (Some(input), Some(output), Some(&**price_id), None),
            _ => (None, None, None, Some("overflow")),
        },
        Some(BaselineCharge::Unpriced { reason }) => (None, None, None, Some(*reason)),
        None => (None, None, None, None),
    };
    let (hit, saved) = match receipt.cache {
        CacheRecord::None => (false, None),
        CacheRecord::Hit { saved } => (true, saved.and_then(pico)),
    };
    let common = request_common(inserts, receipt, price_id)?;
    insert!(
        inserts,
        request {
            id: id.as_slice(),
            common: common,
            started_ms: receipt.started.0,
            duration_ms: receipt.duration_ms,
            overhead_us: receipt.overhead_us,
            generation: i64::try_from(receipt.generation).unwrap_or(i64::MAX),
            model_asked: &*receipt.model_asked,
            stream: receipt.stream,
            input_estimate: count(receipt.input_estimate),
            status: receipt.status,
            error: receipt.error,
            cache_hit: hit,
            cache_saved_pico: saved,
            baseline_input_pico: input,
            baseline_output_pico: output,
            baseline_unpriced: unpriced,
        }
    )?;
    super::stored::insert(inserts.connection, (&receipt.stored, receipt.stored_at.as_deref()), receipt.started)?;
    receipt.attempts.iter().try_for_each(|attempt| insert_attempt(inserts, &id, attempt))
}

/// Who asked, by which policy, and what it is compared with.
fn request_common(
    inserts: &mut Inserts<'_>,
    receipt: &Receipt,
    baseline_price: Option<&str>,
) -> Result<i64, rusqlite::Error> {
    let (caller, baseline) = (&receipt.caller, receipt.baseline.as_ref());
    let tags: Vec<&str> = caller.tags.iter().map(|tag| &**tag).collect();
    let tags = serde_json::to_string(&tags).unwrap_or_default();
    let row = [
        ("tenant", text(&*caller.tenant)),
        ("team", text(&*caller.team)),
        ("key_id", text(&*caller.key_id)),
        ("tags", text(&*tags)),
        ("policy", text(&*receipt.policy)),
        ("route", text(receipt.route.as_deref())),
        ("dialect", text(receipt.dialect.name())),
        ("baseline_target", text(baseline.map(|b| &*b.target))),
        ("baseline_as_of_ms", number(baseline.and_then(|b| b.price_as_of).map(|at| at.0))),
        ("baseline_retired_ms", number(baseline.and_then(|b| b.retired).map(|at| at.0))),
        ("baseline_price_id", text(baseline_price)),
    ];
    inserts.common.number(inserts.connection, "request_common", &row)
}

/// Where an attempt went, under whose law, and at which price.
fn attempt_common(
    inserts: &mut Inserts<'_>,
    attempt: &AttemptRecord,
    price: Option<&str>,
    original: Option<&Original>,
) -> Result<i64, rusqlite::Error> {
    let residency = &attempt.residency;
    let (processing, operator, parent) =
        (processing(&residency.processing), country(residency.operator), country(residency.parent));
    let row = [
        ("target", text(&*attempt.target)),
        ("provider", text(&*attempt.provider)),
        ("model", text(&*attempt.model)),
        ("endpoint", text(&*attempt.endpoint)),
        ("processing", text(processing.as_deref())),
        ("operator", text(operator.as_deref())),
        ("parent", text(parent.as_deref())),
        ("guarantee", text(known(residency.guarantee).map(guarantee))),
        ("retention_days", number(known(residency.retention_days).map(i64::from))),
        ("training", text(known(residency.training).map(training))),
        ("basis", text(attempt.basis.name())),
        ("price_id", text(price)),
        ("currency", text(original.map(|o| &*o.currency))),
        ("fx_nanos", number(original.map(|o| o.rate_nanos))),
        ("fx_date_ms", number(original.map(|o| o.rate_date.0))),
        ("own_key", number(i64::from(attempt.own_key))),
    ];
    inserts.common.number(inserts.connection, "attempt_common", &row)
}

fn insert_attempt(inserts: &mut Inserts<'_>, id: &[u8], attempt: &AttemptRecord) -> Result<(), rusqlite::Error> {
    let (cost, unpriced, price_id, original) = match &attempt.charge {
        ChargeRecord::Priced { usd, original, price_id } => match pico(*usd) {
            Some(usd) => (Some(usd), None, Some(&**price_id), original.as_ref()),
            None => (None, Some("overflow"), Some(&**price_id), None),
        },
        ChargeRecord::Unpriced { reason } => (None, Some(*reason), None, None),
        ChargeRecord::Nothing => (Some(0), None, None, None),
    };
    let common = attempt_common(inserts, attempt, price_id, original)?;
    let used = |bucket| used(&attempt.usage, bucket);
    insert!(
        inserts,
        attempt {
            request_id: id,
            no: attempt.no,
            common: common,
            started_ms: attempt.started.0,
            first_token_ms: attempt.first_token_ms,
            duration_ms: attempt.duration_ms,
            outcome: attempt.outcome.label(),
            failure: attempt.outcome.failure().map(|kind| kind.label()),
            upstream_status: attempt.upstream_status,
            input: used(Bucket::Input),
            cache_read: used(Bucket::CacheRead),
            cache_write: used(Bucket::CacheWrite),
            cache_write_1h: used(Bucket::CacheWrite1h),
            output: used(Bucket::Output),
            reasoning: used(Bucket::Reasoning),
            input_audio: used(Bucket::InputAudio),
            output_audio: used(Bucket::OutputAudio),
            input_image: used(Bucket::InputImage),
            output_image: used(Bucket::OutputImage),
            search: used(Bucket::Search),
            cost_pico: cost,
            unpriced: unpriced,
            original_pico: original.and_then(|o| pico(o.amount)),
            dropped_params: filled(&attempt.dropped_params),
        }
    )?;
    Ok(())
}

fn used(usage: &Usage, bucket: Bucket) -> i64 {
    count(usage.get(bucket))
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn known<T>(fact: Fact<T>) -> Option<T> {
    match fact {
        Fact::Known(fact) => Some(fact),
        Fact::Unknown => None,
    }
}

pub(super) fn country(fact: Fact<Country>) -> Option<String> {
    known(fact).map(|country| country.code().to_owned())
}

pub(super) fn processing(fact: &Fact<std::sync::Arc<[Country]>>) -> Option<String> {
    match fact {
        Fact::Known(countries) => Some(countries.iter().map(Country::code).collect::<Vec<_>>().join(",")),
        Fact::Unknown => None,
    }
}

fn guarantee(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::None => "none",
        Guarantee::Documented => "documented",
        Guarantee::Contract => "contract",
    }
}

fn training(training: Training) -> &'static str {
    match training {
        Training::No => "no",
        Training::OptOut => "opt-out",
        Training::Yes => "yes",
    }
}
