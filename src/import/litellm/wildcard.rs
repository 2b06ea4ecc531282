//! `openai/*`: every model of a provider. The catalogue's models answer by their names anyway; with a key of its own the
//! provider's file is replaced by the same one with that key.

use toml::Value;

use super::super::emit;
use super::super::names::Kind as Known;
use super::super::node::{At, Fields};
use super::super::notes::{Kind, Notes};
use super::super::provider::{Key, Provenance, Shipped};
use super::{credentials, reasons};

const UNKNOWN: &str =
    "the whole entry: a pattern stands for models here that the catalogue does not know: list them by name";

/// A provider all of whose models are asked by another key.
pub(super) struct Wild {
    provider: String,
    envs: Vec<String>,
    /// Path and line of each entry.
    places: Vec<(String, u32)>,
}

/// Such providers.
#[derive(Default)]
pub(super) struct Wildcards(Vec<Wild>);

impl Wildcards {
    /// One entry whose name or model has a star.
    pub(super) fn entry<'t>(
        &mut self,
        (at, group): (&At<'_>, &str),
        (kind, id): (&Known, &str),
        (params, info): (&mut Fields<'t>, Option<&mut Fields<'t>>),
        (secrets, shipped): (&mut credentials::Secrets, &Shipped),
        notes: &mut Notes,
    ) {
        let provider = &kind.provider;
        let elsewhere = params.take("api_base").or_else(|| params.take("base_url")).is_some();
        let plain = id == "*" && group == format!("{provider}/*") && kind.credentials.is_none();
        let key = params.take("api_key");
        if !plain || elsewhere || key.as_ref().is_some_and(|key| credentials::is_none(key)) {
            return notes.add(Kind::LeftOut, at, UNKNOWN);
        }
        for (name, at) in params.rest().into_iter().chain(info.into_iter().flat_map(Fields::rest)) {
            reasons::left(&at, name, notes);
        }
        let usual = shipped.envs(provider);
        let env = match &key {
            Some(key) => secrets.variable(key, provider, notes),
            None => usual.first().copied().unwrap_or_default().to_owned(),
        };
        // The key that is taken anyway is no key of its own.
        if usual.contains(&env.as_str()) && self.0.iter().all(|wild| wild.provider != *provider) {
            let why = format!("models of the catalogue answer as `{provider}/MODEL`; list others by name");
            return notes.add(Kind::AlwaysSo, at, why);
        }
        let place = (at.path.clone(), at.node.line);
        match self.0.iter_mut().find(|wild| wild.provider == *provider) {
            Some(wild) => {
                if !wild.envs.contains(&env) {
                    wild.envs.push(env);
                }
                wild.places.push(place);
            }
            None => self.0.push(Wild { provider: provider.clone(), envs: vec![env], places: vec![place] }),
        }
    }

    /// The files that replace those of the catalogue. `usual`: whether other entries go to that provider by its usual key.
    pub(super) fn files(
        &self,
        usual: &dyn Fn(&str) -> bool,
        shipped: &Shipped,
        from: &Provenance<'_>,
        notes: &mut Notes,
    ) -> Vec<(String, String)> {
        let mut files = Vec::new();
        for wild in &self.0 {
            let provider = &wild.provider;
            let table = shipped.get(provider).filter(|_| !usual(provider));
            for (path, line) in &wild.places {
                let Some(_) = table else {
                    let why = "the whole entry: other entries use the usual key of the provider, and a provider has one pool of \
                               keys for all its models: list those for this key by name";
                    notes.at(Kind::LeftOut, *line, path, why);
                    continue;
                };
                let why =
                    format!("models of the catalogue answer as `{provider}/MODEL`, by this key; list others by name");
                notes.at(Kind::Differs, *line, path, why);
            }
            if let Some(mut table) = table.cloned() {
                let keys = wild.envs.iter().map(|env| Key::of(env).table()).collect();
                table.insert("keys".into(), Value::Array(keys));
                let places: Vec<&str> = wild.places.iter().map(|(path, _)| path.as_str()).collect();
                let head = emit::schema("provider");
                let head = head + &format!("# Imported from {} ({}): {}\n", from.source, from.tool, places.join(", "));
                let head = head + "# The file of the catalogue with another key; it stands for that one.\n";
                files.push((format!("providers/{provider}.toml"), head + &emit::document(&table)));
            }
        }
        files
    }
}
