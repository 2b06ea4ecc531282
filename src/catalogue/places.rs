//! Where in their files targets stand, for what is no mistake and yet worth knowing.

use std::sync::Arc;

use super::{Catalogue, raw};
use crate::domain::price::ServiceTier;
use crate::domain::problem::Problem;
use crate::domain::target::UnixMillis;

/// How long before residency facts turn stale it is said.
const SOON: i64 = 30 * 86_400_000;

/// The places of one target.
#[derive(Debug)]
pub(super) struct Places {
    file: Arc<str>,
    model: (u32, u32),
    expires: Option<(u32, u32)>,
}

impl Places {
    pub(super) fn new(file: &str, text: &str, model: &raw::Model, endpoint: &raw::Endpoint) -> Self {
        let place = |offset: usize| {
            let problem = Problem::at(file, text, offset, "");
            (problem.line, problem.column)
        };
        Self {
            file: file.into(),
            model: place(model.id.span().start),
            expires: endpoint.expires.as_ref().map(|at| place(at.span().start)),
        }
    }

    fn warning(&self, (line, column): (u32, u32), message: String) -> Problem {
        Problem { line, column, ..Problem::new(&*self.file, message) }
    }
}

impl Catalogue {
    /// What is no mistake and yet most likely not meant, of targets that are configured: residency facts that are stale
    /// or soon will be, and models without a price.
    #[must_use]
    pub fn warnings(&self, now: UnixMillis) -> Vec<Problem> {
        let mut warnings = Vec::new();
        for (target, places) in self.targets.iter().zip(&self.places).filter(|(target, _)| target.configured) {
            let (expires, left) = (target.residency.expires, |at: UnixMillis| at.0 - now.0);
            if let (Some(at), Some(place)) = (expires.filter(|at| left(*at) < SOON), places.expires) {
                let endpoint = format!("{}@{}", target.provider, target.endpoint);
                let message = match left(at) {
                    ..=0 => format!("the residency facts of {endpoint} are stale: they count as unknown"),
                    left => format!(
                        "the residency facts of {endpoint} turn stale in {} days, then they count as unknown",
                        left / 86_400_000
                    ),
                };
                warnings.push(places.warning(place, message));
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
