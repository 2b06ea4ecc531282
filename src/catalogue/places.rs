//! Where in their files targets stand, for what is no mistake and yet worth knowing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Catalogue, raw};
use crate::domain::price::ServiceTier;
use crate::domain::problem::Problem;
use crate::domain::target::{Target, UnixMillis};

/// How long before residency facts turn stale it is said, in milliseconds.
const SOON: i64 = 30 * 86_400_000;

/// The end of some residency facts: whose they are, and when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FactsEnd {
    /// `provider@endpoint`, or `provider token` for the place that grants access tokens.
    pub of: String,
    /// Then they are stale.
    pub at: UnixMillis,
}

impl FactsEnd {
    /// What there is to say of it at a moment; none = it is far off.
    #[must_use]
    pub fn warning(&self, now: UnixMillis) -> Option<String> {
        let (of, day) = (&self.of, date(self.at));
        match self.at.0 - now.0 {
            ..=0 => Some(format!("the residency facts of {of} are stale since {day}: they count as unknown")),
            left if left < SOON => {
                Some(format!("the residency facts of {of} turn stale on {day}, then they count as unknown"))
            }
            _ => None,
        }
    }
}

/// The day of a moment in UTC.
fn date(at: UnixMillis) -> String {
    let time = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d").to_string()
}

/// The places of one target.
#[derive(Debug)]
pub(super) struct Places {
    file: Arc<str>,
    model: (u32, u32),
    expires: Option<(u32, u32)>,
    token_expires: Option<(u32, u32)>,
}

impl Places {
    pub(super) fn new(
        file: &str,
        text: &str,
        (model, endpoint, token): (&raw::Model, &raw::Endpoint, Option<&raw::Token>),
    ) -> Self {
        let place = |offset: usize| {
            let problem = Problem::at(file, text, offset, "");
            (problem.line, problem.column)
        };
        Self {
            file: file.into(),
            model: place(model.id.span().start),
            expires: endpoint.expires.as_ref().map(|at| place(at.span().start)),
            token_expires: token.and_then(|token| token.expires.as_ref()).map(|at| place(at.span().start)),
        }
    }

    fn warning(&self, (line, column): (u32, u32), message: String) -> Problem {
        Problem { line, column, ..Problem::new(&*self.file, message) }
    }
}

/// When the facts of a target's endpoint end, and those of the place that grants it tokens.
fn facts_end(target: &Target) -> [Option<FactsEnd>; 2] {
    let own = target.residency.expires;
    let token = target.token_residency.as_ref().and_then(|facts| facts.expires);
    [
        own.map(|at| FactsEnd { of: format!("{}@{}", target.provider, target.endpoint), at }),
        token.map(|at| FactsEnd { of: format!("{} token", target.provider), at }),
    ]
}

impl Catalogue {
    /// When which residency facts of targets that are configured end.
    #[must_use]
    pub fn facts_end(&self) -> BTreeSet<FactsEnd> {
        self.targets.iter().filter(|target| target.configured).flat_map(facts_end).flatten().collect()
    }

    /// What is no mistake and yet most likely not meant, of targets that are configured: residency facts that are stale
    /// or soon will be, and models without a price.
    #[must_use]
    pub fn warnings(&self, now: UnixMillis) -> Vec<Problem> {
        let mut warnings = Vec::new();
        for (target, places) in self.targets.iter().zip(&self.places).filter(|(target, _)| target.configured) {
            let ends = facts_end(target).into_iter().zip([places.expires, places.token_expires]);
            for (end, place) in ends.filter_map(|(end, place)| Some((end?, place?))) {
                warnings.extend(end.warning(now).map(|message| places.warning(place, message)));
            }
            if target.is_available(now) && target.prices.at((now, now), 0, ServiceTier::Standard).is_none() {
                let message = format!(
                    "{} has no price now: its requests are recorded as unpriced, and `max_cost` refuses it",
                    target.name
                );
                warnings.push(places.warning(places.model, message));
            }
        }
        warnings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        // The models of an endpoint share its facts.
        warnings.dedup();
        warnings
    }
}
