//! What the gateway tells of itself: the models a key may ask for, and how a request would be decided.

use bytes::Bytes;
use serde::Serialize;

use super::Gateway;
use super::snapshot::Snapshot;
use crate::admission::Principal;
use crate::domain::error::{Error, ErrorKind};
use crate::policy::{self, Question, Requirement};

/// One entry of the model list.
#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'a str,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

impl Gateway {
    /// The models of a principal's policy, then the targets that can be asked for by name.
    ///
    /// # Errors
    /// A key whose policy does not exist.
    pub fn models(&self, principal: &Principal) -> Result<Bytes, Error> {
        let snapshot = self.snapshot.load_full();
        let list = List { object: "list", data: entries(&snapshot, principal)? };
        encode(&list)
    }

    /// One of them.
    ///
    /// # Errors
    /// There is no such model.
    pub fn model(&self, principal: &Principal, id: &str) -> Result<Bytes, Error> {
        let snapshot = self.snapshot.load_full();
        let found = entries(&snapshot, principal)?.into_iter().find(|model| model.id == id);
        let found = found.ok_or_else(|| Error::new(ErrorKind::UnknownModel, "no such model").param("model"))?;
        encode(&found)
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
        let policy = snapshot.policy_named(name.unwrap_or("default"))?;
        let mut require = Requirement::ANY;
        for text in key.iter().flat_map(|key| key.requirements.iter()) {
            let part = Requirement::parse(text, &*snapshot.catalogue);
            require = require.narrow(&part.map_err(|e| Error::new(ErrorKind::Forbidden, e.to_string()))?);
        }
        let now = super::now();
        policy::explain(policy, &*snapshot.catalogue, question, &require, &|id| snapshot.signal(id, now), now)
    }
}

fn entries<'a>(snapshot: &'a Snapshot, principal: &Principal) -> Result<Vec<Model<'a>>, Error> {
    let now = super::now();
    let entry = |id: &'a str, owned_by: &'a str| Model { id, object: "model", created: 0, owned_by };
    // Names of routes first: those are what a client should ask for. Globs are no names.
    let policy = snapshot.policy(principal)?;
    let names = policy.model_names().map(|name| entry(name, "stellwerk"));
    let serving = |target: &&crate::catalogue::Target| target.configured && target.is_available(now);
    let targets = snapshot.catalogue.targets().iter().filter(serving);
    let targets = targets.filter(|t| &*t.model != "*").map(|t| entry(&t.name, &t.provider));
    let mut seen = std::collections::HashSet::new();
    Ok(names.chain(targets).filter(|model| seen.insert(model.id)).collect())
}

fn encode<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    let body = serde_json::to_vec(value)
        .map_err(|e| Error::new(ErrorKind::Internal, "a list could not be written").detail(e.to_string()))?;
    Ok(Bytes::from(body))
}
