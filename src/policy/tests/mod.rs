//! A small market of our own, so that these tests do not move with the shipped catalogue.

mod compile;
mod decide;
mod diff;
mod premium;
mod property;
mod require;
mod shadow;
mod shares;
mod shipped;

use std::sync::Arc;

use super::*;
use crate::domain::id::DialectId;
use crate::domain::money::Rate;
use crate::domain::target::{
    Capabilities, Capability, Country, Fact, Guarantee, Health, Prior, Residency, Rest, Signal, Target, Training,
    UnixMillis,
};
use crate::domain::usage::Bucket;

/// 2026-11-24T00:00:00Z
pub(super) const NOW: UnixMillis = UnixMillis(1_795_478_400_000);
pub(super) const TIERS: [&str; 4] = ["tiny", "small", "reasoning", "frontier-reasoning"];

#[derive(Debug, Default)]
pub(super) struct Shop {
    pub targets: Vec<Target>,
    /// USD per million input and output tokens; none = not known.
    pub prices: Vec<Option<(Rate, Rate)>>,
}

impl Market for Shop {
    fn targets(&self) -> &[Target] {
        &self.targets
    }

    fn tiers(&self) -> Vec<&str> {
        TIERS.to_vec()
    }

    fn tier_rank(&self, tier: &str) -> Option<u32> {
        TIERS.iter().position(|t| *t == tier).map(|p| u32::try_from(p).unwrap())
    }

    fn providers(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.targets.iter().map(|t| &*t.provider).collect();
        all.push("openai-compatible");
        all.dedup();
        all
    }

    fn price(&self, target: &Target, usage: &Usage, _at: UnixMillis) -> Option<Money> {
        let (input, output) = self.prices[target.id.index()]?;
        input.cost(usage.get(Bucket::Input)).checked_add(output.cost(usage.get(Bucket::Output)))
    }
}

impl Shop {
    /// Adds `provider/model@endpoint` with facts of a careful local machine, changed by `edit`.
    pub(super) fn add(&mut self, name: &str, price: Option<(&str, &str)>, edit: impl FnOnce(&mut Target)) -> TargetId {
        let (provider, rest) = name.split_once('/').unwrap();
        let (model, endpoint) = rest.split_once('@').unwrap_or((rest, "main"));
        let id = TargetId(u32::try_from(self.targets.len()).unwrap());
        let mut target = Target {
            id,
            name: name.into(),
            full_name: format!("{provider}/{model}@{endpoint}").into(),
            provider: provider.into(),
            model: model.into(),
            endpoint: endpoint.into(),
            upstream_model: model.into(),
            dialect: DialectId::OpenAiChat,
            also: Arc::from([]),
            family: None,
            tier: Some("reasoning".into()),
            available_from: None,
            available_to: None,
            context: Some(100_000),
            max_output: Some(32_000),
            supports: Capabilities::NONE.with(Capability::Stream).with(Capability::Chat),
            residency: Arc::new(facts("local")),
            prices: Arc::default(),
            prior: Prior { ttft_ms: 1_000, tpot_us: 10_000, output_tokens: 1_000 },
            token_residency: None,
            cancel_stops_billing: true,
            configured: true,
            reachable: true,
            tiered: false,
            translated: &[],
            fast: false,
        };
        edit(&mut target);
        self.targets.push(target);
        self.prices.push(price.map(|(i, o)| (Rate::parse(i).unwrap(), Rate::parse(o).unwrap())));
        id
    }
}

pub(super) fn country(code: &str) -> Country {
    Country::parse(code).unwrap()
}

/// All facts known and strict, everything in one country.
pub(super) fn facts(code: &str) -> Residency {
    Residency {
        processing: Fact::Known(Arc::from([country(code)])),
        operator: Fact::Known(country(code)),
        parent: Fact::Known(country(code)),
        guarantee: Fact::Known(Guarantee::Contract),
        retention_days: Fact::Known(0),
        training: Fact::Known(Training::No),
        expires: None,
    }
}

/// The mission in small: a local R1, R1 in three places, o1 (retired) and its successor, a tiny model.
pub(super) fn shop() -> Shop {
    let mut shop = Shop::default();
    let family = |t: &mut Target| t.family = Some("deepseek-r1".into());
    shop.add("local/r1-7b", Some(("0", "0")), |t| {
        family(t);
        t.dialect = DialectId::Native;
        t.context = Some(8_192);
    });
    shop.add("deepseek/deepseek-reasoner@cn", Some(("0.55", "2.19")), |t| {
        family(t);
        t.residency = Arc::new(Residency { training: Fact::Unknown, ..facts("CN") });
    });
    shop.add("nebius/DeepSeek-R1@eu", Some(("0.80", "2.40")), |t| {
        family(t);
        t.residency = Arc::new(facts("FI"));
    });
    shop.add("together/DeepSeek-R1@us", Some(("3", "7")), |t| {
        family(t);
        t.residency = Arc::new(facts("US"));
    });
    shop.add("openai/o1@global", Some(("15", "60")), |t| {
        t.tier = Some("frontier-reasoning".into());
        t.available_to = Some(UnixMillis(1_792_713_600_000));
        t.residency = Arc::new(facts("US"));
    });
    shop.add("openai/o5@eu", Some(("10", "40")), |t| {
        t.tier = Some("frontier-reasoning".into());
        t.supports = t.supports.with(Capability::Tools);
        t.residency = Arc::new(Residency {
            operator: Fact::Known(country("IE")),
            parent: Fact::Known(country("US")),
            ..facts("DE")
        });
    });
    shop.add("local/tiny", Some(("0", "0")), |t| {
        t.dialect = DialectId::Native;
        t.tier = Some("tiny".into());
    });
    shop
}

pub(super) fn compile(text: &str, shop: &Shop) -> Policy {
    Policy::compile("p", "p.toml", text, shop).unwrap_or_else(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"))
    })
}

pub(super) fn problems(text: &str, shop: &Shop) -> Vec<String> {
    Policy::compile("p", "p.toml", text, shop)
        .map_or_else(|p| p.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

pub(super) fn ask(model: &str) -> Ask<'_> {
    Ask::of(model, NOW)
}

pub(super) fn cold(_: TargetId) -> Signal {
    Signal::COLD
}

pub(super) fn names<'a>(shop: &'a Shop, decision: &Decision) -> Vec<&'a str> {
    decision.admitted.iter().map(|c| &*shop.targets[c.target.index()].name).collect()
}

pub(super) fn reason_of<'a>(shop: &Shop, decision: &'a Decision, name: &str) -> &'a Reason {
    let found = decision.rejected.iter().find(|r| *shop.targets[r.target.index()].name == *name);
    &found.unwrap_or_else(|| panic!("{name} is not rejected")).reason
}

pub(super) fn down(until: Option<i64>) -> Signal {
    let rest = Rest::Firm;
    Signal { state: Health::Down { until: until.map(UnixMillis), rest }, ..Signal::COLD }
}
