//! Routes that no request can reach, or that can answer none: no mistake, and most likely not meant.

use globset::GlobBuilder;

use super::{Market, Policy};
use crate::domain::plan::Operation;
use crate::domain::problem::Problem;
use crate::domain::target::UnixMillis;

/// What a route takes, as far as that can be said without a request.
pub(super) struct Reach {
    /// Globs on the model; none = any.
    pub models: Option<Vec<String>>,
    /// None = any.
    pub operations: Option<Vec<Operation>>,
    /// Whether it takes everything that matches; a condition may turn requests away.
    pub always: bool,
}

impl Reach {
    /// Whether every request for that model that `later` takes is taken here.
    fn takes_all(&self, model: Option<&str>, later: &Self) -> bool {
        let operations = match (&self.operations, &later.operations) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(theirs)) => theirs.iter().all(|operation| own.contains(operation)),
        };
        let everything = |glob: &str| matches!(glob, "*" | "**");
        let models = match (&self.models, model) {
            (None, _) => true,
            (Some(own), None) => own.iter().any(|glob| everything(glob)),
            (Some(own), Some(model)) => own.iter().any(|glob| {
                let literal = !model.contains(['*', '?', '[', '{', '\\']);
                everything(glob) || glob == model || (literal && matches(glob, model))
            }),
        };
        self.always && operations && models
    }
}

fn matches(glob: &str, model: &str) -> bool {
    GlobBuilder::new(glob).build().is_ok_and(|glob| glob.compile_matcher().is_match(model))
}

/// The number of the earlier route that takes the last of what this one could take; none if something is left for it.
pub(super) fn shadowed(earlier: &[Reach], route: &Reach) -> Option<usize> {
    let models: Vec<Option<&str>> = match &route.models {
        None => vec![None],
        Some(globs) => globs.iter().map(|glob| Some(glob.as_str())).collect(),
    };
    let taken = models.iter().map(|model| earlier.iter().position(|other| other.takes_all(*model, route)));
    taken.collect::<Option<Vec<_>>>()?.into_iter().max()
}

impl Policy {
    /// What is no mistake and yet most likely not meant: also what holds at this moment only.
    #[must_use]
    pub fn warnings(&self, market: &dyn Market, now: UnixMillis) -> Vec<Problem> {
        let mut warnings = self.warnings.clone();
        for (route, (line, column)) in self.routes.iter().zip(&self.places) {
            let canary = route.canary.as_ref().map(|canary| canary.target);
            let ids = || route.picks.iter().map(|pick| pick.target).chain(canary);
            let targets = || ids().filter_map(|id| market.targets().get(id.index()));
            let admitted = targets().any(|target| route.require.check(target, market, now).is_ok());
            if targets().next().is_some() && !admitted {
                let message = format!(
                    "route `{}` refuses every request: none of its targets fulfils its requirements now",
                    route.name
                );
                warnings.push(Problem { line: *line, column: *column, ..Problem::new(&*self.file, message) });
            }
            let shadow = route.shadow.as_ref().map(|shadow| shadow.target);
            for (what, id) in [("canary", canary), ("shadow", shadow)] {
                let target = id.and_then(|id| market.targets().get(id.index()));
                if let Some((target, why)) = target.and_then(|t| Some((t, route.require.check(t, market, now).err()?)))
                {
                    let message =
                        format!("the {what} {} of route `{}` is never asked: it {why}", target.name, route.name);
                    warnings.push(Problem { line: *line, column: *column, ..Problem::new(&*self.file, message) });
                }
            }
        }
        warnings
    }
}
