//! Where bytes went and under whose law: attempts and spend by the facts of their moment.

use std::collections::BTreeMap;

use super::query::Period;
use crate::domain::money::Money;
use crate::domain::target::UnixMillis;
use crate::store::{Store, StoreError};

/// What went to one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Attempts.
    pub attempts: u64,
    /// Requests that were answered there.
    pub answered: u64,
    /// What the attempts cost.
    pub cost: Money,
    /// Attempts whose price is not known: the line is incomplete.
    pub unpriced: u64,
}

/// What residency cost on a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PremiumLine {
    /// Requests for which residency was asked and a premium is known.
    pub asked: u64,
    /// Of these, requests for which a cheaper target was kept out.
    pub dearer: u64,
    /// The sum of their premiums, expected.
    pub premium: Money,
}

/// Residency of a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Residency {
    /// When the first and the last attempt began.
    pub span: Option<(UnixMillis, UnixMillis)>,
    /// By processing countries and the operator's jurisdiction; `unknown` where a fact was not known.
    pub places: BTreeMap<(String, String), Place>,
    /// Shadow runs beside these, by the same: nobody's spend, and bytes all the same.
    pub shadows: BTreeMap<(String, String), u64>,
    /// By route, from the trail: only as far back as it reaches.
    pub premiums: BTreeMap<String, PremiumLine>,
}

/// Where the attempts of a period went.
///
/// # Errors
/// The database can't be read.
pub fn residency(store: &Store, period: &Period) -> Result<Residency, StoreError> {
    let connection = store.connect()?;
    let mut found = Residency::default();
    let mut statement = connection.prepare(
        "SELECT coalesce(nullif(a.processing, ''), 'unknown'), coalesce(a.operator, 'unknown'), a.started_ms,
                a.outcome = 'completed', a.cost_pico
         FROM request r JOIN attempts a ON a.request_id = r.id WHERE r.started_ms >= ?1 AND r.started_ms < ?2",
    )?;
    let mut rows = statement.query([period.from.0, period.to.0])?;
    while let Some(row) = rows.next()? {
        let at = UnixMillis(row.get(2)?);
        found.span = Some(found.span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        let place = found.places.entry((row.get(0)?, row.get(1)?)).or_default();
        place.attempts += 1;
        place.answered += u64::from(row.get::<_, bool>(3)?);
        match row.get::<_, Option<i64>>(4)? {
            Some(cost) => place.cost = plus(place.cost, cost)?,
            None => place.unpriced += 1,
        }
    }
    let mut statement = connection.prepare(
        "SELECT coalesce(nullif(processing, ''), 'unknown'), coalesce(operator, 'unknown'), count(*) FROM shadow
         WHERE at_ms >= ?1 AND at_ms < ?2 GROUP BY 1, 2",
    )?;
    let mut rows = statement.query([period.from.0, period.to.0])?;
    while let Some(row) = rows.next()? {
        let runs: u32 = row.get(2)?;
        found.shadows.insert((row.get(0)?, row.get(1)?), runs.into());
    }
    let mut statement = connection.prepare(
        "SELECT d.route, d.premium_pico FROM request r JOIN decisions d ON d.request_id = r.id
         WHERE r.started_ms >= ?1 AND r.started_ms < ?2 AND d.premium_pico IS NOT NULL",
    )?;
    let mut rows = statement.query([period.from.0, period.to.0])?;
    while let Some(row) = rows.next()? {
        let premium: i64 = row.get(1)?;
        let line = found.premiums.entry(row.get(0)?).or_default();
        line.asked += 1;
        line.dearer += u64::from(premium > 0);
        line.premium = plus(line.premium, premium)?;
    }
    Ok(found)
}

fn plus(sum: Money, pico: i64) -> Result<Money, StoreError> {
    let sum = sum.checked_add(Money::from_pico(i128::from(pico)));
    sum.ok_or_else(|| StoreError::Row("a sum beyond all money".to_owned()))
}
