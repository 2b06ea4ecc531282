//! The `provider` member: which providers may or shall answer.

use toml::{Table, Value};

use super::super::decimal::shifted;
use super::super::names::Names;
use super::super::node::{At, Fields};
use super::super::notes::{Kind, Notes};
use super::super::provider::{Provenance, Shipped, tables, text};
use crate::domain::money::Rate;

/// What counts among those that may answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Price,
    Speed,
}

/// The preferences of a request.
#[derive(Debug, Default)]
pub(super) struct Preferences {
    /// Providers of the catalogue, first ones first.
    order: Vec<String>,
    /// The only ones; none = all.
    only: Option<Vec<String>>,
    ignore: Vec<String>,
    /// Highest rates per million tokens: of the prompt, of the answer.
    most: Vec<(&'static str, Rate)>,
    pub sort: Sort,
    /// All models compete, instead of following each other.
    pub mixed: bool,
    /// Only one attempt.
    pub alone: bool,
    /// A parameter that a target does not take excludes it.
    pub all_parameters: bool,
    /// Members of `require`, as written.
    pub require: Vec<(&'static str, String)>,
    /// There are limits that hold whoever chooses.
    pub bound: bool,
}

impl Preferences {
    pub(super) fn take(fields: &mut Fields<'_>, names: &Names, notes: &mut Notes) -> Self {
        let mut own = Self::default();
        let mut providers = |member: &str, notes: &mut Notes| {
            let at = fields.take(member)?;
            let slugs = at.texts(notes);
            Some(slugs.iter().filter_map(|(slug, at)| provider(slug, at, names, member, notes)).collect::<Vec<_>>())
        };
        own.order = providers("order", notes).unwrap_or_default();
        own.only = providers("only", notes);
        own.ignore = providers("ignore", notes).unwrap_or_default();
        own.bound = own.only.is_some() || !own.ignore.is_empty();
        if let Some(at) = fields.take("allow_fallbacks").filter(|at| at.bool() == Some(false)) {
            own.bound = true;
            // Without an order there is one provider, and no other.
            own.alone = own.order.is_empty();
            if !own.order.is_empty() && own.only.is_none() {
                own.only = Some(own.order.clone());
            }
            notes.add(Kind::Differs, &at, "those in `order` and no others; without an order one attempt");
        }
        own.all_parameters = fields.take("require_parameters").and_then(|at| at.bool()) == Some(true);
        own.data(fields, notes);
        own.sorted(fields, notes);
        own.prices(fields, notes);
        for (name, at) in fields.rest() {
            let why = match name {
                "quantizations" => "the catalogue does not say how weights are stored: name providers instead",
                "preferred_min_throughput" | "preferred_max_latency" => {
                    "a wish, which `second_is_worth` weighs; `ttft_p95` is a limit"
                }
                "enforce_distillable_text" => "the catalogue does not say what answers may be used for",
                _ => "is not known to this importer",
            };
            own.bound |= name == "quantizations" || name == "enforce_distillable_text";
            notes.add(Kind::LeftOut, &at, why);
        }
        own
    }

    fn data(&mut self, fields: &mut Fields<'_>, notes: &mut Notes) {
        let zdr = fields.take("zdr").and_then(|at| at.bool()) == Some(true);
        let collection = fields.take("data_collection");
        match collection.as_ref().map(|at| (at, at.text())) {
            Some((at, Some("deny"))) => {
                notes.add(Kind::Differs, at, "means no training; how long prompts may be kept is `retention_days`");
                self.require.push(("training", "[\"no\"]".to_owned()));
            }
            None | Some((_, Some("allow"))) => {}
            Some((at, _)) => notes.add(Kind::LeftOut, at, "is neither `allow` nor `deny`"),
        }
        if zdr {
            self.require.push(("retention_days", "0".to_owned()));
        }
        self.bound |= !self.require.is_empty();
    }

    fn sorted(&mut self, fields: &mut Fields<'_>, notes: &mut Notes) {
        let Some(at) = fields.take("sort") else { return };
        let (mut by, mut partition) = (Some(at.clone()), None);
        if let Some(mut fields) = at.fields() {
            (by, partition) = (fields.take("by"), fields.take("partition"));
            for (_, at) in fields.rest() {
                notes.add(Kind::LeftOut, &at, "is not known to this importer");
            }
        }
        match by.as_ref().map(|at| (at, at.text())) {
            Some((_, Some("price"))) | None => {}
            Some((at, Some("throughput" | "latency"))) => {
                self.sort = Sort::Speed;
                notes.add(
                    Kind::Differs,
                    at,
                    "what counts is the expected time of the whole answer (`second_is_worth = \"inf\"`)",
                );
            }
            Some((at, _)) => {
                notes.add(Kind::LeftOut, at, "no such order is known to this importer: the cheapest comes first")
            }
        }
        self.mixed = partition.is_some_and(|at| at.text() == Some("none"));
    }

    fn prices(&mut self, fields: &mut Fields<'_>, notes: &mut Notes) {
        let Some(at) = fields.take("max_price") else { return };
        self.bound = true;
        let Some(mut fields) = at.fields() else { return notes.add(Kind::LeftOut, &at, "is no table") };
        for (member, ours) in [("prompt", "input"), ("completion", "output")] {
            let Some(at) = fields.take(member) else { continue };
            let rate = at.word().and_then(|word| shifted(word, 0)).and_then(|text| Rate::parse(&text).ok());
            match rate {
                Some(rate) => {
                    self.most.push((ours, rate));
                    let why = "compared with the catalogue's prices on the day of the import; one that is not known does not pass";
                    notes.add(Kind::Differs, &at, why);
                }
                None => notes.add(Kind::LeftOut, &at, "is no price"),
            }
        }
        for (_, at) in fields.rest() {
            notes.add(Kind::LeftOut, &at, "only rates per token are compared; `max_cost` limits a request as a whole");
        }
    }

    /// Patterns for the targets that have a model: those of `order` first, all others as one. `itself` is the provider that
    /// chooses among others.
    pub(super) fn targets(&self, shipped: &Shipped, itself: &str, slug: &str, from: &Provenance<'_>) -> Vec<String> {
        let name = plain(slug.rsplit('/').next().unwrap_or(slug));
        let weights = name.strip_suffix("-instruct").unwrap_or(&name);
        let mut found: Vec<(&String, &str)> = Vec::new();
        for (provider, table) in shipped.all() {
            let allowed =
                self.only.as_ref().is_none_or(|only| only.contains(provider)) && !self.ignore.contains(provider);
            if !allowed || text(table, "dialect") == Some("native") || provider == itself {
                continue;
            }
            for model in tables(Some(table), "model") {
                let id = text(model, "id").unwrap_or_default();
                let same = plain(id.rsplit('/').next().unwrap_or(id)) == name
                    || text(model, "family").map(plain).is_some_and(|family| family == name || family == weights);
                if same && served(model, from) && self.pays(model, from) {
                    found.push((provider, id));
                }
            }
        }
        let mut patterns = Vec::new();
        for wanted in &self.order {
            let of = found.iter().filter(|(provider, _)| *provider == wanted);
            patterns.extend(of.map(|(provider, id)| globset::escape(&format!("{provider}/{id}"))));
        }
        found.retain(|(provider, _)| !self.order.contains(provider));
        patterns.extend(one_pattern(&found));
        patterns
    }

    /// Those of `order` that none of the patterns is about.
    pub(super) fn lacking<'p>(&'p self, patterns: &'p [String]) -> impl Iterator<Item = &'p String> {
        let about = |provider: &str, pattern: &String| pattern.starts_with(&format!("{}/", globset::escape(provider)));
        self.order.iter().filter(move |provider| !patterns.iter().any(|pattern| about(provider, pattern)))
    }

    /// Whether the catalogue's price is known and low enough on the day of the import.
    fn pays(&self, model: &Table, from: &Provenance<'_>) -> bool {
        let today = from.today.to_string();
        let day = |price: &Table| price.get("from").map(Value::to_string).filter(|day| *day <= today);
        let prices = tables(Some(model), "price");
        let newest = prices.iter().filter_map(|price| day(price)).max();
        let now: Vec<&Table> =
            prices.into_iter().filter(|price| day(price).is_some() && day(price) == newest).collect();
        let usd = |price: &Table| text(price, "currency").is_none_or(|currency| currency == "USD");
        self.most.iter().all(|(member, most)| {
            let fits = |price: &Table| {
                let rate = text(price, member).and_then(|rate| Rate::parse(rate).ok());
                rate.is_some_and(|rate| rate.nanos_per_million() <= most.nanos_per_million())
            };
            !now.is_empty() && now.iter().all(|price| usd(price) && fits(price))
        })
    }
}

/// A model's name as it is compared.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace(['.', '_'], "-")
}

/// Whether a model is in service on the day of the import.
fn served(model: &Table, from: &Provenance<'_>) -> bool {
    let to = model.get("available").and_then(|available| available.get("to")).map(Value::to_string);
    to.is_none_or(|to| to > from.today.to_string())
}

/// One pattern for all of them, so that the cheapest leads.
fn one_pattern(found: &[(&String, &str)]) -> Option<String> {
    let join = |mut names: Vec<String>| {
        names.sort_unstable();
        names.dedup();
        if names.len() == 1 { names.concat() } else { format!("{{{}}}", names.join(",")) }
    };
    if found.is_empty() {
        return None;
    }
    let providers = join(found.iter().map(|(provider, _)| globset::escape(provider)).collect());
    let models = join(found.iter().map(|(_, id)| globset::escape(id)).collect());
    Some(format!("{providers}/{models}"))
}

/// A provider of the catalogue by its slug or its name there.
fn provider(slug: &str, at: &At<'_>, names: &Names, member: &str, notes: &mut Notes) -> Option<String> {
    let (base, variant) = slug.split_once('/').map_or((slug, None), |(base, variant)| (base, Some(variant)));
    let base = base.trim().to_ascii_lowercase().replace(' ', "-");
    let Some(known) = names.openrouter.get(&base) else {
        let why =
            if member == "ignore" { "is not in the catalogue, so it is not asked" } else { "is not in the catalogue" };
        notes.add(if member == "ignore" { Kind::AlwaysSo } else { Kind::LeftOut }, at, why);
        return None;
    };
    if variant.is_some() {
        notes.add(Kind::Differs, at, "variants of a provider are not told apart: the provider is meant");
    }
    Some(known.clone())
}
