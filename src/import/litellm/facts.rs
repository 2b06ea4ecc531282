//! What a deployment says of its model: limits, abilities, prices.

use toml::{Table, Value};

use super::super::decimal::shifted;
use super::super::node::{At, Fields};
use super::super::notes::{Kind, Notes};
use super::super::provider::{Provenance, Shipped, at_endpoint, tables};

/// LiteLLM's rates per token and ours per million.
const RATES: [(&str, &str); 6] = [
    ("input_cost_per_token", "input"),
    ("output_cost_per_token", "output"),
    ("cache_read_input_token_cost", "cache_read"),
    ("cache_creation_input_token_cost", "cache_write"),
    ("output_cost_per_reasoning_token", "reasoning"),
    ("input_cost_per_audio_token", "input_audio"),
];
/// LiteLLM's abilities and ours.
const ABILITIES: [(&str, &str); 6] = [
    ("supports_function_calling", "tools"),
    ("supports_response_schema", "json_schema"),
    ("supports_vision", "image"),
    ("supports_pdf_input", "file"),
    ("supports_reasoning", "reasoning"),
    ("supports_audio_input", "audio"),
];
/// LiteLLM's modes and our operations.
const MODES: [(&str, Option<&str>); 9] = [
    ("chat", None),
    ("completion", None),
    ("responses", None),
    ("embedding", Some("embeddings")),
    ("image_generation", Some("images")),
    ("audio_transcription", Some("transcription")),
    ("audio_speech", Some("speech")),
    ("rerank", Some("rerank")),
    ("moderation", Some("moderations")),
];

/// What is said.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    /// Rates per million tokens.
    rates: Vec<(&'static str, String)>,
    per_request: Option<String>,
    context: Option<u64>,
    max_output: Option<u64>,
    /// Abilities that are said to be there.
    abilities: Option<Vec<&'static str>>,
    mode: Option<&'static str>,
    base_model: Option<At<'a>>,
    /// Where limits or abilities are said.
    pub window: Option<At<'a>>,
}

impl<'a> Facts<'a> {
    pub(super) fn take(params: &mut Fields<'a>, info: Option<&mut Fields<'a>>, notes: &mut Notes) -> Self {
        let mut facts = Self::default();
        facts.prices(params, notes);
        let Some(info) = info else { return facts };
        facts.prices(info, notes);
        facts.base_model = info.take("base_model");
        for (name, ours) in ABILITIES {
            let Some(at) = info.take(name) else { continue };
            let list = facts.abilities.get_or_insert_default();
            list.extend(Some(ours).filter(|_| at.bool() == Some(true)));
            facts.window.get_or_insert(at);
        }
        let input = info.take("max_input_tokens");
        // One number for both, where LiteLLM knows no other.
        let both = info.take("max_tokens");
        let output = info.take("max_output_tokens");
        facts.context = input.as_ref().and_then(At::whole).filter(|n| *n > 0);
        facts.max_output = output.as_ref().or(both.as_ref()).and_then(At::whole).filter(|n| *n > 0);
        if facts.window.is_none() {
            facts.window = input.or(output).or(both);
        }
        if let Some(at) = info.take("mode") {
            match MODES.iter().find(|(mode, _)| Some(*mode) == at.text()) {
                Some((_, operation)) => facts.mode = *operation,
                None => {
                    notes.add(Kind::LeftOut, &at, "no such operation is offered; the model is taken for one that chats")
                }
            }
        }
        facts
    }

    fn prices(&mut self, fields: &mut Fields<'a>, notes: &mut Notes) {
        let mut rate = |name: &str, power: i32, notes: &mut Notes| {
            let at = fields.take(name)?;
            let rate = at.word().and_then(|word| shifted(word, power));
            // The catalogue counts nine decimals per million.
            let fine = rate.filter(|rate| rate.split_once('.').is_none_or(|(_, part)| part.len() <= 9));
            if fine.is_none() {
                notes.add(Kind::LeftOut, &at, "is no price that can be counted exactly");
            }
            Some((at, fine?))
        };
        for (name, ours) in RATES {
            let Some((at, rate)) = rate(name, 6, notes) else { continue };
            if self.rates.iter().any(|(known, _)| *known == ours) {
                notes.add(Kind::LeftOut, &at, "litellm_params says it as well, and counts");
            } else {
                self.rates.push((ours, rate));
            }
        }
        if let Some((_, fee)) = rate("input_cost_per_request", 0, notes) {
            self.per_request.get_or_insert(fee);
        }
    }
}

/// A model's entry.
pub(super) struct Model {
    pub table: Table,
    /// The catalogue has the model under this name.
    pub known: bool,
    /// Its prices are those of the configuration.
    pub priced: bool,
}

/// The entry of a model: what the catalogue knows, and what the configuration says.
pub(super) fn model(
    shipped: &Shipped,
    (base, endpoint, id): (&str, &str, &str),
    facts: &Facts<'_>,
    from: &Provenance<'_>,
    place: &str,
    notes: &mut Notes,
) -> Model {
    let named = facts.base_model.as_ref().and_then(At::word).map(|name| name.rsplit('/').next().unwrap_or(name));
    let own = shipped.model(base, id).filter(|model| at_endpoint(model, endpoint));
    let alike = || named.and_then(|name| shipped.model(base, name)).filter(|model| at_endpoint(model, endpoint));
    // The same model elsewhere has other prices.
    let foreign = || {
        let name = named?;
        shipped.all().find_map(|(provider, _)| shipped.model(provider, name)).map(|model| {
            let mut model = model.clone();
            model
                .retain(|member, _| ["family", "tier", "context", "max_output", "supports", "prior"].contains(&member));
            model
        })
    };
    let known = own.is_some();
    if let Some(at) = facts.base_model.as_ref().filter(|_| !known && alike().is_none() && foreign().is_none()) {
        notes.add(Kind::LeftOut, at, "the catalogue does not know this model");
    }
    if let Some(at) = facts.window.as_ref().filter(|_| known) {
        notes.add(Kind::AlwaysSo, at, "the catalogue knows the limits and abilities of the model");
    }
    let mut table = own.or_else(alike).cloned().or_else(foreign).unwrap_or_default();
    for member in ["ids", "endpoints", "upstream"] {
        let there = table.remove(member);
        let wire = there.filter(|_| member == "ids").and_then(|ids| ids.get(endpoint)?.as_str().map(str::to_owned));
        if let Some(wire) = wire {
            table.insert("upstream".into(), wire.into());
        }
    }
    table.insert("id".into(), id.into());
    let priced = !facts.rates.is_empty() || facts.per_request.is_some();
    let prices = if priced { vec![Value::Table(price(facts, from, place))] } else { prices_at(&table, endpoint) };
    table.remove("price");
    if !prices.is_empty() {
        table.insert("price".into(), Value::Array(prices));
    }
    if !known {
        said(&mut table, facts);
    }
    Model { table, known, priced }
}

/// The prices that hold at an endpoint.
fn prices_at(table: &Table, endpoint: &str) -> Vec<Value> {
    let here = tables(Some(table), "price").into_iter().filter(|price| at_endpoint(price, endpoint));
    here.map(|price| {
        let mut price = price.clone();
        price.remove("endpoints");
        Value::Table(price)
    })
    .collect()
}

fn price(facts: &Facts<'_>, from: &Provenance<'_>, place: &str) -> Table {
    let mut price = Table::new();
    price.insert("from".into(), Value::Datetime(from.today));
    for (name, rate) in &facts.rates {
        price.insert((*name).into(), rate.as_str().into());
    }
    if let Some(fee) = &facts.per_request {
        price.insert("per_request".into(), fee.as_str().into());
    }
    price.insert("source".into(), format!("{}, {place}", from.source).into());
    price.insert("checked".into(), Value::Datetime(from.today));
    price
}

/// What is said of a model that the catalogue does not know.
fn said(table: &mut Table, facts: &Facts<'_>) {
    for (name, limit) in [("context", facts.context), ("max_output", facts.max_output)] {
        if let Some(limit) = limit.and_then(|limit| i64::try_from(limit).ok()) {
            table.insert(name.into(), limit.into());
        }
    }
    if let Some(operation) = facts.mode {
        table.insert("supports".into(), Value::Array(vec![operation.into()]));
    } else if let Some(abilities) = &facts.abilities {
        let supports = ["stream", "json"].into_iter().chain(abilities.iter().copied());
        table.insert("supports".into(), Value::Array(supports.map(Value::from).collect()));
    }
}

/// What a model does that holds no conversations.
pub(super) fn operation(model: &Table) -> Option<&'static str> {
    let supports: Vec<&str> =
        model.get("supports").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let other = MODES.iter().filter_map(|(_, operation)| *operation).find(|operation| supports.contains(operation));
    other.filter(|_| !supports.contains(&"chat"))
}
