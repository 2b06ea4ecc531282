//! Shadow runs: a sample of a route's requests also goes to another target, whose answers nobody gets and which are
//! compared. What may be sent there is decided like everything else: by the requirements of the very request.

use super::examine::{expected_cost, expected_tokens, output_limit};
use super::premium::carries;
use super::raw::RawShadow;
use super::{Ask, Decision, Dice, Market};
use crate::domain::id::TargetId;
use crate::domain::money::Money;
use crate::domain::price::ServiceTier;
use crate::domain::target::{Capabilities, Capability, Health, Signal, Target, UnixMillis};
use crate::domain::usage::{Bucket, Usage};

/// The shadow of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Where sampled requests go besides.
    pub target: TargetId,
    /// How many of a million requests.
    pub sample_ppm: u32,
    /// Most that it may cost on a day in UTC.
    pub per_day: Money,
}

/// A request that goes to its route's shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// Where to.
    pub target: TargetId,
    /// What it is expected to cost there.
    pub expected_cost: Money,
    /// Output tokens that are expected of each answer.
    pub expected_output: u64,
    /// The output limit per answer: the client's, else what the model and its context have room for; none = not known.
    pub max_output: Option<u64>,
    /// Most that the route's shadow may cost on a day.
    pub per_day: Money,
}

impl Shadow {
    /// Whether a decided request goes to the shadow as well: it is drawn, the target is not the one that would answer,
    /// fulfils the same requirements, can carry the request, is up, and has a known price.
    pub(super) fn of(
        &self,
        decision: &Decision,
        market: &dyn Market,
        ask: &Ask<'_>,
        signals: &dyn Fn(TargetId) -> Signal,
        dice: Dice,
    ) -> Option<Shadowed> {
        decision.admitted.first().filter(|first| first.target != self.target)?;
        if !drawn(dice, self.sample_ppm) {
            return None;
        }
        let target = market.targets().get(self.target.index())?;
        let serves = target.configured && target.is_available(ask.at);
        let fits = decision.requirement.check(target, market, ask.at).is_ok() && carries(target, ask, decision.lossy);
        if !serves || !fits || !matches!(signals(self.target).state, Health::Up) {
            return None;
        }
        let max_output = output_limit(target, ask, decision.max_output);
        let (expected_input, each, output) = expected_tokens(target, ask, &decision.route, max_output);
        let service = target.served(ask.service, ask.dialect);
        let expected_cost = expected_cost(market, (target, service), expected_input, output, ask.at)?;
        decision.requirement.check_cost(Some(expected_cost)).ok()?;
        Some(Shadowed { target: self.target, expected_cost, expected_output: each, max_output, per_day: self.per_day })
    }
}

/// What a run can cost at most: what is reserved for it.
pub struct Worst<'a> {
    market: &'a dyn Market,
    target: &'a Target,
    services: [ServiceTier; 2],
    input: u64,
    choices: u64,
    audio: bool,
    at: [UnixMillis; 2],
}

/// Tokens of prompt that a provider may add by itself: how tools are to be called, marks of turns.
const ADDED: u64 = 1_000;

impl<'a> Worst<'a> {
    /// Of a request with so many bytes that is answered between two moments. None: nobody can say.
    ///
    /// No token of text is shorter than a byte. How many tokens an image, sound or document is, only the provider knows: the
    /// whole context then.
    #[must_use]
    pub fn of(
        decision: &Decision,
        market: &'a dyn Market,
        (bytes, needs, choices): (usize, Capabilities, u32),
        at: [UnixMillis; 2],
    ) -> Option<Self> {
        let target = market.targets().get(decision.shadow?.target.index())?;
        let media = [Capability::Image, Capability::Audio, Capability::File].into_iter().any(|media| needs.has(media));
        let text = u64::try_from(bytes).ok()?.saturating_add(ADDED);
        let input = if media { target.context? } else { text.min(target.context.unwrap_or(u64::MAX)) };
        Some(Self {
            market,
            target,
            // Where the tier that is asked for has no room, some give what everybody gets.
            services: [target.served(decision.service, decision.client), ServiceTier::Standard],
            input,
            choices: choices.max(1).into(),
            audio: needs.has(Capability::Audio),
            at,
        })
    }

    /// With so many output tokens per answer; none = a price is not known.
    #[must_use]
    pub fn cost(&self, each: u64) -> Option<Money> {
        const PROMPT: [Bucket; 4] = [Bucket::Input, Bucket::CacheRead, Bucket::CacheWrite, Bucket::CacheWrite1h];
        const ANSWER: [Bucket; 2] = [Bucket::Output, Bucket::Reasoning];
        let output = each.checked_mul(self.choices)?;
        let dearest = |input: &[Bucket], answer: &[Bucket]| {
            let pairs = input.iter().flat_map(|read| answer.iter().map(move |write| (*read, *write)));
            let usages = pairs.map(|(read, write)| Usage::ZERO.with(read, self.input).with(write, output));
            let prices = usages.flat_map(|usage| {
                let moments = self.services.into_iter().flat_map(|service| self.at.map(|at| (service, at)));
                moments.map(move |(service, at)| self.market.price_in(service, self.target, &usage, at))
            });
            prices.collect::<Vec<_>>()
        };
        let known = dearest(&PROMPT, &ANSWER).into_iter().collect::<Option<Vec<_>>>()?.into_iter().max();
        // What has no price of its own for sound tells none.
        let sound =
            self.audio.then(|| dearest(&[Bucket::Input, Bucket::InputAudio], &[Bucket::Output, Bucket::OutputAudio]));
        known.max(sound.and_then(|prices| prices.into_iter().flatten().max()))
    }

    /// What a run is given that may cost so much: its output limit, and what it costs with it at most. None: too little is
    /// left. A limit that the client set is kept, since a shorter answer would be another one. Where the client set none
    /// the run gets what the money pays for, if that is several times what is expected: else it would mostly be cut short,
    /// which compares with nothing.
    #[must_use]
    pub fn within(&self, left: Money, limit: u64, least: u64) -> Option<(u64, Money)> {
        let fits = |each: u64| self.cost(each).filter(|cost| *cost <= left);
        if let Some(cost) = fits(limit) {
            return Some((limit, cost));
        }
        let (mut low, mut high) = (least.min(limit), limit);
        let mut found = fits(low)?;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match fits(middle) {
                Some(cost) => (low, found) = (middle, cost),
                None => high = middle,
            }
        }
        Some((low, found))
    }
}

/// Whether a request is in the sample. Zero is no throw: nothing is drawn then.
fn drawn(dice: Dice, ppm: u32) -> bool {
    // Other bits than those that break near-ties (splitmix64).
    let mut z = dice.0.wrapping_add(0x5AAD_0E5A_3B1E_D00D);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    dice.0 != 0 && (u128::from(z) * 1_000_000) >> 64 < u128::from(ppm)
}

/// What a route says of its shadow, read: parts per million, and money a day.
pub(super) fn read(raw: &RawShadow) -> (Result<u32, String>, Result<Money, String>) {
    let sample = *raw.sample.get_ref();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million")]
    let ppm = if sample > 0.0 && sample <= 1.0 { Some((sample * 1e6).round() as u32) } else { None };
    let ppm = ppm.filter(|ppm| *ppm > 0);
    let ppm = ppm.ok_or_else(|| format!("`{sample}` is no share: from 0.000001 to 1, 0.02 is two of a hundred"));
    let text = raw.max_cost.get_ref();
    let bad = || format!("`{text}` is no limit such as \"5 USD/day\"");
    let per_day = text.trim().strip_suffix("/day").ok_or_else(bad).and_then(super::text::money);
    (ppm, per_day)
}
