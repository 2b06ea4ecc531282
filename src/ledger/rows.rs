//! A receipt as rows. Inserting twice changes nothing.

use rusqlite::{Connection, named_params};

use crate::domain::money::Money;
use crate::domain::receipt::{AttemptRecord, BaselineCharge, CacheRecord, ChargeRecord, Receipt};
use crate::domain::target::{Country, Fact, Guarantee, Training};
use crate::domain::usage::{Bucket, Usage};

/// An amount as an integer column. An amount beyond nine million dollars is no price of a request: it stands as
/// unpriced, with its reason, rather than stopping the ledger.
fn pico(money: Money) -> Option<i64> {
    i64::try_from(money.pico()).ok()
}

pub(super) fn insert(connection: &Connection, receipt: &Receipt) -> Result<(), rusqlite::Error> {
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
    let tags: Vec<&str> = receipt.caller.tags.iter().map(|tag| &**tag).collect();
    let mut statement = connection.prepare_cached(
        "INSERT OR IGNORE INTO request VALUES (:id, :started, :duration, :overhead, :tenant, :team, :key, :tags, :policy,
         :generation, :route, :dialect, :model, :stream, :estimate, :status, :error, :hit, :saved, :b_target, :b_as_of,
         :b_retired, :b_input, :b_output, :b_price, :b_unpriced)",
    )?;
    statement.execute(named_params! {
        ":id": id.as_slice(),
        ":started": receipt.started.0,
        ":duration": receipt.duration_ms,
        ":overhead": receipt.overhead_us,
        ":tenant": &*receipt.caller.tenant,
        ":team": &*receipt.caller.team,
        ":key": &*receipt.caller.key_id,
        ":tags": serde_json::to_string(&tags).unwrap_or_default(),
        ":policy": &*receipt.policy,
        ":generation": i64::try_from(receipt.generation).unwrap_or(i64::MAX),
        ":route": receipt.route.as_deref(),
        ":dialect": receipt.dialect.name(),
        ":model": &*receipt.model_asked,
        ":stream": receipt.stream,
        ":estimate": count(receipt.input_estimate),
        ":status": receipt.status,
        ":error": receipt.error,
        ":hit": hit,
        ":saved": saved,
        ":b_target": baseline.map(|b| &*b.target),
        ":b_as_of": baseline.and_then(|b| b.price_as_of).map(|at| at.0),
        ":b_retired": baseline.and_then(|b| b.retired).map(|at| at.0),
        ":b_input": input,
        ":b_output": output,
        ":b_price": price_id,
        ":b_unpriced": unpriced,
    })?;
    receipt.attempts.iter().try_for_each(|attempt| insert_attempt(connection, &id, attempt))
}

fn insert_attempt(connection: &Connection, id: &[u8], attempt: &AttemptRecord) -> Result<(), rusqlite::Error> {
    let (cost, unpriced, price_id, original) = match &attempt.charge {
        ChargeRecord::Priced { usd, original, price_id } => match pico(*usd) {
            Some(usd) => (Some(usd), None, Some(&**price_id), original.as_ref()),
            None => (None, Some("overflow"), Some(&**price_id), None),
        },
        ChargeRecord::Unpriced { reason } => (None, Some(*reason), None, None),
        ChargeRecord::Nothing => (Some(0), None, None, None),
    };
    let residency = &attempt.residency;
    let mut statement = connection.prepare_cached(
        "INSERT OR IGNORE INTO attempt VALUES (:id, :no, :target, :provider, :model, :endpoint, :processing, :operator,
         :parent, :guarantee, :retention, :training, :started, :first, :duration, :outcome, :failure, :status, :basis,
         :input, :cache_read, :cache_write, :cache_write_1h, :output, :reasoning, :input_audio, :output_audio,
         :input_image, :output_image, :search, :cost, :unpriced, :price, :original, :currency, :fx, :fx_date, :dropped)",
    )?;
    let used = |bucket| used(&attempt.usage, bucket);
    statement.execute(named_params! {
        ":id": id,
        ":no": attempt.no,
        ":target": &*attempt.target,
        ":provider": &*attempt.provider,
        ":model": &*attempt.model,
        ":endpoint": &*attempt.endpoint,
        ":processing": processing(&residency.processing),
        ":operator": country(residency.operator),
        ":parent": country(residency.parent),
        ":guarantee": known(residency.guarantee).map(guarantee),
        ":retention": known(residency.retention_days),
        ":training": known(residency.training).map(training),
        ":started": attempt.started.0,
        ":first": attempt.first_token_ms,
        ":duration": attempt.duration_ms,
        ":outcome": attempt.outcome.label(),
        ":failure": attempt.outcome.failure().map(|kind| kind.label()),
        ":status": attempt.upstream_status,
        ":basis": attempt.basis.name(),
        ":input": used(Bucket::Input),
        ":cache_read": used(Bucket::CacheRead),
        ":cache_write": used(Bucket::CacheWrite),
        ":cache_write_1h": used(Bucket::CacheWrite1h),
        ":output": used(Bucket::Output),
        ":reasoning": used(Bucket::Reasoning),
        ":input_audio": used(Bucket::InputAudio),
        ":output_audio": used(Bucket::OutputAudio),
        ":input_image": used(Bucket::InputImage),
        ":output_image": used(Bucket::OutputImage),
        ":search": used(Bucket::Search),
        ":cost": cost,
        ":unpriced": unpriced,
        ":price": price_id,
        ":original": original.and_then(|o| pico(o.amount)),
        ":currency": original.map(|o| &*o.currency),
        ":fx": original.map(|o| o.rate_nanos),
        ":fx_date": original.map(|o| o.rate_date.0),
        ":dropped": serde_json::to_string(&attempt.dropped_params).unwrap_or_default(),
    })?;
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

fn country(fact: Fact<Country>) -> Option<String> {
    known(fact).map(|country| country.code().to_owned())
}

fn processing(fact: &Fact<std::sync::Arc<[Country]>>) -> Option<String> {
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
