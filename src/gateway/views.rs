//! What the gateway tells of itself: the models a key may ask for, and how a request would be decided.

use bytes::Bytes;

use super::Gateway;
use super::snapshot::Snapshot;
use super::tenants::Owned;
use crate::admission::Principal;
use crate::catalogue::Target;
use crate::dialect::ModelInfo;
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;
use crate::domain::target::UnixMillis;
use crate::policy::{self, Question, Requirement};

impl Gateway {
    /// The models of a principal's policy, then the targets that can be asked for by name, in a dialect's shape.
    ///
    /// # Errors
    /// A key whose policy does not exist, or a part of the list that is not there.
    pub fn models(&self, principal: &Principal, dialect: DialectId, query: Option<&str>) -> Result<Bytes, Error> {
        let snapshot = self.snapshot.load_full();
        let own = self.shared.tenants.of(&principal.tenant);
        super::ingress(dialect)?.encode_models(&entries(&snapshot, principal, own.as_deref())?, query)
    }

    /// One of them.
    ///
    /// # Errors
    /// There is no such model.
    pub fn model(&self, principal: &Principal, id: &str, dialect: DialectId) -> Result<Bytes, Error> {
        let snapshot = self.snapshot.load_full();
        let own = self.shared.tenants.of(&principal.tenant);
        let found = entries(&snapshot, principal, own.as_deref())?.into_iter().find(|model| model.id == id);
        // Whatever a request may name is a model, also where the list has it under another name.
        let serving = |target: &&Target| serves(target, own.as_deref(), super::now());
        let named = || {
            let target =
                snapshot.catalogue.named(id).into_iter().map(|t| snapshot.catalogue.target(t)).find(serving)?;
            Some(info(target, id))
        };
        let found = found.or_else(named);
        let unknown = || {
            let shown: String = id.chars().take(100).collect();
            Error::new(ErrorKind::UnknownModel, format!("The model `{shown}` does not exist.")).param("model")
        };
        let found = found.ok_or_else(unknown)?;
        super::ingress(dialect)?.encode_model(&found)
    }
}

impl Gateway {
    /// How a request would be decided right now.
    ///
    /// # Errors
    /// A question that can't be read.
    pub fn explain(&self, question: &Question, key: Option<&Principal>) -> Result<String, Error> {
        let snapshot = self.snapshot.load_full();
        let name = question.policy.as_deref().or_else(|| key.and_then(|key| key.policy.as_deref()));
        let name = name.unwrap_or("default");
        let policy = snapshot.policy_named(name).map_err(|error| {
            let there = snapshot.policy_names().join(", ");
            Error { message: format!("there is no policy `{name}`; there are {there}").into(), ..error }.param("policy")
        })?;
        let mut require = Requirement::ANY;
        for text in key.iter().flat_map(|key| key.requirements.iter()) {
            let part = Requirement::parse(text, &*snapshot.catalogue);
            require = require.narrow(&part.map_err(|e| Error::new(ErrorKind::Forbidden, e.to_string()))?);
        }
        let now = super::now();
        let own = key.and_then(|key| self.shared.tenants.of(&key.tenant));
        let asked = Some(&*question.model);
        let load = super::Load { asked, own: own.as_deref(), ..super::Load::of(question.input_tokens) };
        let nobody = policy::Principal { require: &require, ..policy::Principal::ANONYMOUS };
        let principal = key.map_or(nobody, |key| super::asker(key, &require));
        policy::explain(
            policy,
            &*snapshot.catalogue,
            question,
            principal,
            &|id| snapshot.signal(id, load, now),
            &|route, target| snapshot.expectation(route, target),
            now,
        )
    }
}

fn info<'a>(target: &'a Target, id: &'a str) -> ModelInfo<'a> {
    ModelInfo { id, owner: &target.provider, context: target.context, max_output: target.max_output }
}

/// Whether a tenant can use a target.
fn serves(target: &Target, own: Option<&Owned>, now: UnixMillis) -> bool {
    target.is_usable(own.is_some_and(|own| own.has(&target.provider))) && target.is_available(now)
}

fn entries<'a>(
    snapshot: &'a Snapshot,
    principal: &Principal,
    own: Option<&Owned>,
) -> Result<Vec<ModelInfo<'a>>, Error> {
    let now = super::now();
    // Names of routes first: those are what a client should ask for. Globs are no names.
    let policy = snapshot.policy(principal)?;
    let route = |id: &'a str| ModelInfo { id, owner: "stellwerk", context: None, max_output: None };
    let serving = |target: &&Target| serves(target, own, now);
    let targets = snapshot.catalogue.targets().iter().filter(serving).filter(|t| &*t.model != "*");
    // A model with several endpoints can be asked for without naming one.
    let names = |t: &'a Target| [t.name.split_once('@').map_or(&*t.name, |(plain, _)| plain), &*t.name];
    let targets = targets.flat_map(|t| names(t).into_iter().map(|id| info(t, id)));
    let mut seen = std::collections::HashSet::new();
    Ok(policy.model_names().map(route).chain(targets).filter(|model| seen.insert(model.id)).collect())
}
