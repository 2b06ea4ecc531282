//! Which route a request takes: the first whose `match` and `when` hold; else a name of the catalogue; else none.

use std::collections::HashMap;
use std::sync::Arc;

use super::condition::{Facts, Judge};
use super::{Ask, Pick, Policy, Route, text};
use crate::domain::plan::Operation;
use crate::domain::target::Target;

/// What a requested model means under a policy.
#[derive(Clone, Debug)]
pub enum Selected<'p> {
    /// A route of the policy.
    Route(&'p Route),
    /// Whether this route is meant can't be said: its condition fails, for this reason.
    Failed(&'p Route, String),
    /// A name of the catalogue: its endpoints, under the file's requirements.
    Direct(&'p Arc<[Pick]>),
    /// A model id that several providers have: which names to choose from.
    Ambiguous(&'p [Arc<str>]),
    /// Nothing, though a route is for that model: what it asks for, or its condition, is not met.
    Closed(&'p Route),
    /// Nothing; with the nearest names.
    Unknown(Vec<&'p str>),
}

/// The names of a catalogue under which its models can be asked for without a route.
#[derive(Debug, Default)]
pub struct Names {
    /// `provider/model@endpoint`, `provider/model`, and the plain id where one provider has it.
    direct: HashMap<Box<str>, Arc<[Pick]>>,
    /// Plain ids that several providers have, with the names to choose from.
    ambiguous: HashMap<Box<str>, Vec<Arc<str>>>,
    /// `provider` and `provider@endpoint` of targets that take any model.
    any: HashMap<Box<str>, Arc<[Pick]>>,
}

/// The model id of a target that takes any model.
const ANY: &str = "*";

impl Names {
    /// Indexes the targets.
    #[must_use]
    pub fn new(targets: &[Target]) -> Self {
        let mut found: HashMap<String, Vec<Pick>> = HashMap::new();
        let mut owners: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut any: HashMap<Box<str>, Vec<Pick>> = HashMap::new();
        for target in targets {
            let pick = Pick { target: target.id, position: 0 };
            let (provider, model) = (&*target.provider, &*target.model);
            if model == ANY {
                any.entry(provider.into()).or_default().push(pick);
                any.entry(format!("{provider}@{}", target.endpoint).into()).or_default().push(pick);
                continue;
            }
            let full = format!("{provider}/{model}@{}", target.endpoint);
            let short = format!("{provider}/{model}");
            let given = target.name.to_string();
            found.entry(given.clone()).or_default().push(pick);
            for name in [full, short] {
                if name != given {
                    found.entry(name).or_default().push(pick);
                }
            }
            let of_model = owners.entry(model).or_default();
            if !of_model.contains(&provider) {
                of_model.push(provider);
            }
        }
        let mut names = Self::default();
        for (model, providers) in owners {
            let full = |p: &&str| -> Arc<str> { format!("{p}/{model}").into() };
            if let [provider] = providers.as_slice() {
                if let Some(picks) = found.get(&*full(provider)).cloned() {
                    found.entry(model.to_owned()).or_insert(picks);
                }
            } else if !found.contains_key(model) {
                let mut choices: Vec<Arc<str>> = providers.iter().map(full).collect();
                choices.sort();
                names.ambiguous.insert(model.into(), choices);
            }
        }
        names.any = any.into_iter().map(|(name, picks)| (name, picks.into())).collect();
        names.direct = found.into_iter().map(|(name, picks)| (name.into(), picks.into())).collect();
        names
    }

    /// Names that can be asked for without a route.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.direct.keys().map(|name| &**name)
    }

    /// Targets that take any model, for `provider/model` and `provider/model@endpoint`.
    fn any(&self, name: &str) -> Option<&Arc<[Pick]>> {
        let (provider, model) = name.split_once('/').filter(|(_, model)| !model.is_empty() && *model != ANY)?;
        let at_endpoint =
            model.rsplit_once('@').and_then(|(_, endpoint)| self.any.get(&*format!("{provider}@{endpoint}")));
        at_endpoint.or_else(|| self.any.get(provider))
    }
}

impl Route {
    /// Whether the route's `match` holds; its `when` is another matter.
    #[must_use]
    pub fn matches(&self, model: &str, operation: Operation) -> bool {
        self.takes(model, &globset::Candidate::new(model), operation)
    }

    /// The same for a name that was prepared for matching, which many routes do.
    fn takes(&self, name: &str, prepared: &globset::Candidate<'_>, operation: Operation) -> bool {
        // Most ask for a name that stands in the file, and a set of globs costs hundreds of instructions.
        let named = || self.literal_models.iter().any(|literal| **literal == *name);
        self.operations.as_ref().is_none_or(|o| o.contains(&operation))
            && self.models.as_ref().is_none_or(|m| named() || m.is_match_candidate(prepared))
    }
}

pub(super) fn select<'p>(policy: &'p Policy, ask: &Ask<'_>) -> Selected<'p> {
    let model = ask.model;
    let facts = Facts::of(ask);
    let judge = Judge::new(&facts);
    let name = globset::Candidate::new(model);
    for route in policy.routes.iter().filter(|r| r.takes(model, &name, ask.operation)) {
        match route.when.as_ref().map_or(Ok(true), |condition| judge.holds(condition)) {
            Ok(true) => return Selected::Route(route),
            Ok(false) => {}
            Err(why) => return Selected::Failed(route, why),
        }
    }
    if let Some(picks) = direct(policy, model) {
        return Selected::Direct(picks);
    }
    if let Some(choices) = policy.names.ambiguous.get(model) {
        return Selected::Ambiguous(choices);
    }
    if let Some(route) = policy.routes.iter().find(|r| r.models.as_ref().is_some_and(|m| m.is_match(model))) {
        return Selected::Closed(route);
    }
    Selected::Unknown(near(policy, model))
}

/// The targets of a name of the catalogue.
pub(super) fn direct<'p>(policy: &'p Policy, model: &str) -> Option<&'p Arc<[Pick]>> {
    policy.names.direct.get(model).or_else(|| policy.names.any(model))
}

/// Up to three names that were likely meant. The client's text may be long and hostile, so long names are not compared.
fn near<'p>(policy: &'p Policy, model: &str) -> Vec<&'p str> {
    if model.len() > 100 {
        return Vec::new();
    }
    let lower = model.to_lowercase();
    let allowed = (model.chars().count() / 3).max(1);
    let routed = policy.model_names();
    let direct = policy.names.direct.keys().map(|name| &**name);
    let mut near: Vec<(usize, &str)> = routed
        .chain(direct)
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// One sentence on why a model is not known.
pub(super) fn unknown_message(model: &str, selected: &Selected<'_>) -> String {
    // The client's own word, shortened: an error must not carry a megabyte back.
    let shown: String = model.chars().take(100).collect();
    match selected {
        Selected::Ambiguous(choices) => {
            let choices: Vec<&str> = choices.iter().take(8).map(|c| &**c).collect();
            format!("The model `{shown}` is offered by several providers; ask for one of {}.", choices.join(", "))
        }
        Selected::Closed(route) => {
            let name = &route.name;
            format!(
                "No route takes this request for the model `{shown}`: `{name}` is for it, but not for such requests."
            )
        }
        Selected::Unknown(near) if !near.is_empty() => {
            format!("The model `{shown}` does not exist; did you mean {}?", near.join(" or "))
        }
        Selected::Unknown(_) | Selected::Route(_) | Selected::Failed(..) | Selected::Direct(_) => {
            format!("The model `{shown}` does not exist.")
        }
    }
}

/// The problem's hint for a name in a policy file.
pub(super) fn nearest_target(targets: &[Target], name: &str) -> Option<String> {
    text::did_you_mean(name, targets.iter().map(|t| &*t.name))
}
