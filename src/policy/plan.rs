//! The decision: from a policy, a catalogue, a request, signals, a clock and dice to ordered targets, and for every
//! other candidate the reason.
//!
//! Pure. Rejections are always collected: they cost one vector of small values, and a decision that cannot say why is
//! worth nothing in an incident. Text is made only when somebody reads it.

use std::sync::Arc;
use std::time::Duration;

use super::compile::{ATTEMPTS, DIRECT};
use super::order::{Lead, explored, order};
use super::reason::{Reason, Rejection};
use super::{
    Baseline, Hedge, Lossy, Market, Pick, Policy, Preference, Requirement, Route, Selected, Shadowed, Split, refuse,
    reserve,
};
use crate::domain::error::Error;
use crate::domain::id::{DialectId, TargetId};
use crate::domain::money::Money;
use crate::domain::plan::{Operation, Timeouts, WHOLE_OPERATION};
use crate::domain::price::ServiceTier;
use crate::domain::target::{Capabilities, Capability, Expectation, Health, Signal, Target, UnixMillis};
use crate::domain::usage::{Bucket, Usage};

/// What a request asks for, as far as deciding needs to know.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The model as the client named it.
    pub model: &'a str,
    /// What is asked of it.
    pub operation: Operation,
    /// What the client speaks: targets that speak it too need no translation.
    pub dialect: DialectId,
    /// Expected tokens of prompt.
    pub input_tokens: u64,
    /// The client's output limit, per answer.
    pub max_output: Option<u64>,
    /// How many answers; 0 counts as 1.
    pub choices: u32,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// The tier of service that is asked for.
    pub service: ServiceTier,
    /// What the target must be able to do.
    pub needs: Capabilities,
    /// Parameters that change the answer and that a dialect cannot express, or [`WHOLE_OPERATION`] where it does not have
    /// what is asked of it. Asked at most once per dialect.
    pub inexpressible: &'a dyn Fn(DialectId) -> Vec<String>,
    /// The client's user, where the request names one.
    pub user: Option<&'a str>,
    /// The conversation that the request belongs to, as a hash that holds the tenant. Asked only where a route needs it.
    pub session: &'a dyn Fn() -> Option<u64>,
    /// The target that answered this conversation last, where that is remembered. Asked only where a route needs it.
    pub home: &'a dyn Fn() -> Option<TargetId>,
    /// Who asks.
    pub principal: Principal<'a>,
    /// The requirement of the request itself (`x-stellwerk-require`).
    pub require: &'a Requirement,
    /// What is expected of the tokens of a route's requests at a target.
    pub expect: &'a dyn Fn(&str, &Target) -> Expectation,
    /// The moment of the decision.
    pub at: UnixMillis,
}

impl<'a> Ask<'a> {
    /// A plain conversation with a model by nobody in particular, to be changed where it is not so plain.
    #[must_use]
    pub fn of(model: &'a str, at: UnixMillis) -> Self {
        Self {
            model,
            operation: Operation::Chat,
            dialect: DialectId::OpenAiChat,
            input_tokens: 1_000,
            max_output: None,
            choices: 1,
            stream: false,
            service: ServiceTier::Standard,
            needs: Capabilities::NONE,
            inexpressible: &|_| Vec::new(),
            user: None,
            session: &|| None,
            home: &|| None,
            principal: Principal::ANONYMOUS,
            require: &Requirement::ANY,
            expect: &|_, _| Expectation::UNKNOWN,
            at,
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Principal<'a> {
    /// The key's id.
    pub key: &'a str,
    /// Its team.
    pub team: &'a str,
    /// Its tenant.
    pub tenant: &'a str,
    /// Its tags.
    pub tags: &'a [Arc<str>],
    /// The requirements of tenant, team and key together.
    pub require: &'a Requirement,
}

impl Principal<'static> {
    /// Nobody in particular, without requirements.
    pub const ANONYMOUS: Self = Self { key: "", team: "", tenant: "", tags: &[], require: &Requirement::ANY };
}

/// One throw: uniformly random bits from the caller. Zero is no throw: nothing is left to chance then, and what is most
/// likely happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dice(pub u64);

impl Dice {
    /// The throw, where there is one.
    pub(super) fn thrown(self) -> Option<u64> {
        Some(self.0).filter(|bits| *bits != 0)
    }
}

/// An admitted target. Only the planner makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub target: TargetId,
    /// The place of the pattern that named it.
    pub position: u16,
    /// What the request is expected to cost there, in USD; none = its price is not known.
    pub expected_cost: Option<Money>,
    /// Output tokens that are expected of all answers together.
    pub expected_output: u64,
    /// Tokens of prompt that are expected to be counted there, and how many of them come from the provider's cache.
    pub expected_input: (u64, u64),
    /// The output limit per answer: the client's, else the route's default as far as the model and its context allow.
    /// None: nobody sets one.
    pub max_output: Option<u64>,
    /// Milliseconds until the answer is expected to be complete.
    pub latency_ms: u64,
    /// Whether `latency_ms` rests on measurement alone.
    pub measured: bool,
    /// Milliseconds to the first token, where measured.
    pub ttft_ms: Option<u32>,
    /// Within so many milliseconds the first token comes in 95 of 100 cases, where measured.
    pub ttft_p95_ms: Option<u32>,
    /// Requests in flight there when it was decided.
    pub in_flight: u32,
    /// What it was ordered by, less is better: pico-USD by exchange rate, milliseconds for the fastest, place in the
    /// list for listed, rank of its share for weighted. None: not comparable for want of a price, so last.
    pub score: Option<i128>,
    sealed: Sealed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sealed;

/// Leave to connect to a target, once. Only [`Decision::ticket`] makes them, after looking at the target again.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    target: TargetId,
}

impl Ticket {
    /// For [`Policy::errand`], which has looked.
    pub(super) fn to(target: TargetId) -> Self {
        Self { target }
    }

    /// Where to.
    #[must_use]
    pub fn target(&self) -> TargetId {
        self.target
    }
}

/// The outcome of deciding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The policy.
    pub policy: Arc<str>,
    /// The route; `direct` for a name of the catalogue, empty where the model is unknown.
    pub route: Arc<str>,
    /// What every attempt must fulfil: file, route, principal and request together.
    pub requirement: Requirement,
    /// Targets in the order in which they are to be tried.
    pub admitted: Vec<Candidate>,
    /// Why the first of them is the first.
    pub lead: Lead,
    /// Those of the rejected that rest by our own guess alone, or no longer than [`PATIENCE_MS`](super::PATIENCE_MS), guesses and the
    /// shortest rests first: tried when all that is admitted has failed.
    pub reserve: Vec<Candidate>,
    /// All other candidates, in the order of the route's list.
    pub rejected: Vec<Rejection>,
    /// Most attempts.
    pub max_attempts: u8,
    /// The waits.
    pub timeouts: Timeouts,
    /// When a second target is asked as well.
    pub hedge: Option<Hedge>,
    /// How long the conversation stays with the target that answers; none = it does not.
    pub affinity: Option<Duration>,
    /// What savings are compared with.
    pub baseline: Option<Baseline>,
    /// Where the request goes besides, to be compared.
    pub shadow: Option<Shadowed>,
    /// How long an answer may be served again; none = no cache.
    pub cache: Option<Duration>,
    /// Whether parameters may be dropped.
    pub lossy: Lossy,
    /// The route's output limit for requests without one.
    pub max_output: Option<u64>,
    /// Tokens of prompt that were expected.
    pub input_tokens: u64,
    /// The tier of service that was asked for.
    pub service: ServiceTier,
    /// The client's dialect.
    pub client: DialectId,
    /// Why nothing is admitted; none = something is.
    pub refusal: Option<Error>,
    /// The moment of the decision.
    pub at: UnixMillis,
    /// The throw that broke near-ties.
    pub dice: Dice,
}

impl Decision {
    /// The targets that may be tried, in order: the admitted ones as far as the attempts go.
    #[must_use]
    pub fn attempts(&self) -> &[Candidate] {
        &self.admitted[..self.admitted.len().min(usize::from(self.max_attempts))]
    }

    /// Leave to go to the [candidate](Self::candidate) of that number, after so many attempts. Looks at the target again: a
    /// retry may come minutes after the decision, when the model has been retired, its facts have turned stale, its price
    /// has changed or it has become slow.
    ///
    /// # Errors
    /// Why not; none = there is no such target, or no more attempt.
    pub fn ticket(
        &self,
        number: usize,
        made: u8,
        market: &dyn Market,
        signals: &dyn Fn(TargetId) -> Signal,
        now: UnixMillis,
    ) -> Result<Ticket, Option<Reason>> {
        let candidate = self.candidate(number).filter(|_| made < self.max_attempts).ok_or(None)?;
        let target = market.targets().get(candidate.target.index()).ok_or(None)?;
        in_service(target, now)?;
        self.requirement.check(target, market, now)?;
        if !target.configured && !target.is_usable(signals(candidate.target).own_key) {
            return Err(Some(Reason::NotConfigured));
        }
        if self.requirement.max_cost.is_some() {
            let cost = expected_cost(
                market,
                (target, target.served(self.service, self.client)),
                candidate.expected_input,
                candidate.expected_output,
                now,
            );
            self.requirement.check_cost(cost)?;
        }
        if self.requirement.ttft_p95_ms.is_some() || self.requirement.measured_only {
            self.requirement.check_speed(&signals(candidate.target))?;
        }
        Ok(Ticket { target: candidate.target })
    }

    /// Leave to go to the shadow. Looks at the target again, as for every attempt.
    ///
    /// # Errors
    /// Why not; none = the request has no shadow.
    pub fn shadow_ticket(&self, market: &dyn Market, now: UnixMillis) -> Result<Ticket, Option<Reason>> {
        let shadow = self.shadow.ok_or(None)?;
        let target = market.targets().get(shadow.target.index()).ok_or(None)?;
        in_service(target, now)?;
        self.requirement.check(target, market, now)?;
        if !target.configured {
            return Err(Some(Reason::NotConfigured));
        }
        Ok(Ticket { target: shadow.target })
    }
}

/// Decides. The same arguments give the same decision.
#[must_use]
pub fn plan(
    policy: &Policy,
    market: &dyn Market,
    ask: &Ask<'_>,
    signals: &dyn Fn(TargetId) -> Signal,
    dice: Dice,
) -> Decision {
    let selected = policy.select(ask);
    let (route, picks): (Option<&Route>, &[Pick]) = match &selected {
        Selected::Route(route) => (Some(route), &route.picks),
        Selected::Direct(picks) => (None, picks),
        Selected::Failed(route, why) => {
            let mut decision = outline(policy, Arc::clone(&route.name), Some(route), ask, dice);
            decision.refusal = Some(refuse::failed_condition(&policy.name, &route.name, why));
            return decision;
        }
        Selected::Ambiguous(_) | Selected::Closed(_) | Selected::Unknown(_) => {
            let mut decision = outline(policy, "".into(), None, ask, dice);
            decision.refusal = Some(refuse::unknown_model(ask.model, &selected));
            return decision;
        }
    };
    let name = route.map_or_else(|| Arc::from(DIRECT), |r| Arc::clone(&r.name));
    let mut decision = outline(policy, name, route, ask, dice);
    if let Some((asked, cap)) = ask.max_output.zip(route.and_then(|r| r.output_cap)).filter(|(asked, cap)| asked > cap)
    {
        decision.refusal = Some(refuse::above_cap(&decision, asked, cap));
        return decision;
    }
    let name = Arc::clone(&decision.route);
    let ranks = route.and_then(|r| r.split.as_deref().map(|split| (split, split.ranks(&r.name, ask, dice))));
    let mut examiner = Examiner {
        route: &name,
        market,
        ask,
        requirement: &decision.requirement,
        lossy: decision.lossy,
        default_output: decision.max_output,
        prefer: route.map_or(Preference::Exchange { second: Money::ZERO }, |r| r.prefer),
        ranks: ranks.as_ref().map(|(split, ranks)| (*split, ranks.as_slice())),
        inexpressible: Default::default(),
    };
    let chosen = choose(&mut examiner, route, picks, signals, dice);
    let Chosen { admitted, reserve, rejected, lead } = chosen;
    (decision.admitted, decision.rejected, decision.lead) = (admitted, rejected, lead);
    decision.reserve = reserve;
    if decision.admitted.is_empty() {
        decision.refusal = Some(refuse::refusal(&decision, market, ask, route.is_some()));
    }
    decision.shadow = route.and_then(|r| r.shadow?.of(&decision, market, ask, signals, dice));
    decision
}

/// Candidates, examined and ordered.
struct Chosen {
    admitted: Vec<Candidate>,
    reserve: Vec<Candidate>,
    rejected: Vec<Rejection>,
    lead: Lead,
}

fn choose(
    examiner: &mut Examiner<'_>,
    route: Option<&Route>,
    picks: &[Pick],
    signals: &dyn Fn(TargetId) -> Signal,
    dice: Dice,
) -> Chosen {
    let canary = route.and_then(|r| r.canary.filter(|canary| canary.takes(&r.name, examiner.ask, dice)));
    let canary = canary.map(|canary| canary.target);
    // It need not be one of the route's targets.
    let outside = canary.filter(|target| picks.iter().all(|pick| pick.target != *target));
    let outside = outside.map(|target| Pick { target, position: u16::MAX });
    let mut admitted = Vec::with_capacity(picks.len());
    let mut rejected = Vec::with_capacity(picks.len());
    for pick in picks.iter().chain(&outside) {
        match examiner.examine(*pick, &signals(pick.target)) {
            Ok(candidate) => admitted.push(candidate),
            Err(reason) => rejected.push(Rejection { target: pick.target, reason }),
        }
    }
    let mut lead = order(&mut admitted, examiner.prefer, dice);
    let at = |target: TargetId, admitted: &[Candidate]| admitted.iter().position(|c| c.target == target);
    let other = if let Some(first) = canary.and_then(|canary| at(canary, &admitted)) {
        Some((first, Lead::Canary))
    } else if let Some(home) = route.and_then(|r| r.affinity).and_then(|_| (examiner.ask.home)()) {
        at(home, &admitted).filter(|home| examiner.worth_staying(&admitted, *home)).map(|home| (home, Lead::Affinity))
    } else {
        let share = route.and_then(|r| r.explore);
        share.and_then(|share| explored(&admitted, share, dice)).map(|unknown| (unknown, Lead::Explored))
    };
    if let Some((first, why)) = other {
        admitted[..=first].rotate_right(1);
        lead = why;
    }
    let mut reserve = Vec::new();
    for (target, guessed) in reserve::rests(&rejected, examiner.ask.at) {
        let pick = picks.iter().chain(&outside).find(|pick| pick.target == target);
        let up = Signal { state: Health::Up, ..signals(target) };
        reserve.extend(pick.and_then(|pick| Some((examiner.examine(*pick, &up).ok()?, guessed))));
    }
    if let Some(soonest) = reserve.iter().position(|(_, guessed)| *guessed).filter(|_| admitted.is_empty()) {
        let (soonest, _) = reserve.remove(soonest);
        rejected.retain(|rejection| rejection.target != soonest.target);
        admitted.push(soonest);
        lead = Lead::LastResort;
    }
    let reserve = reserve.into_iter().map(|(candidate, _)| candidate).collect();
    Chosen { admitted, reserve, rejected, lead }
}

/// A decision without targets yet.
fn outline(policy: &Policy, name: Arc<str>, route: Option<&Route>, ask: &Ask<'_>, dice: Dice) -> Decision {
    let own = route.map_or(policy.require(), |r| &r.require);
    Decision {
        policy: Arc::clone(&policy.name),
        route: name,
        requirement: own.narrow(ask.principal.require).narrow(ask.require),
        admitted: Vec::new(),
        lead: Lead::Best,
        reserve: Vec::new(),
        rejected: Vec::new(),
        max_attempts: route.map_or(ATTEMPTS, |r| r.attempts),
        timeouts: route.map_or_else(Timeouts::default, |r| r.timeouts),
        hedge: route.and_then(|r| r.hedge),
        affinity: route.and_then(|r| r.affinity),
        baseline: route.map_or(&policy.baseline, |r| &r.baseline).clone(),
        shadow: None,
        cache: route.and_then(|r| r.cache),
        lossy: route.map_or_else(Lossy::default, |r| r.lossy),
        max_output: route.and_then(|r| r.max_output.or(r.output_cap)),
        input_tokens: ask.input_tokens,
        service: ask.service,
        client: ask.dialect,
        refusal: None,
        at: ask.at,
        dice,
    }
}

struct Examiner<'a> {
    route: &'a str,
    market: &'a dyn Market,
    ask: &'a Ask<'a>,
    requirement: &'a Requirement,
    lossy: Lossy,
    default_output: Option<u64>,
    prefer: Preference,
    /// The shares of a weighted route and their ranks for this request.
    ranks: Option<(&'a Split, &'a [usize])>,
    /// The first parameter that each dialect cannot express, once asked.
    inexpressible: [Option<Option<Arc<str>>>; DialectId::COUNT],
}

impl Examiner<'_> {
    /// One candidate, through the stages of [`super::Stage`] in their order.
    fn examine(&mut self, pick: Pick, signal: &Signal) -> Result<Candidate, Reason> {
        let (market, ask) = (self.market, self.ask);
        // A pick of another catalogue would be a defect of the caller; it is not dialled.
        let target = market.targets().get(pick.target.index()).ok_or(Reason::NotConfigured)?;
        in_service(target, ask.at)?;
        self.requirement.check(target, market, ask.at)?;
        let max_output = self.output_limit(target);
        let expected = (ask.expect)(self.route, target);
        let each = u64::from(expected.output_tokens.unwrap_or(target.prior.output_tokens));
        let each = each.min(max_output.unwrap_or(u64::MAX));
        let expected_output = each.saturating_mul(u64::from(ask.choices.max(1)));
        let input = per_million(ask.input_tokens, expected.input_ppm);
        let expected_input = (input, per_million(input, expected.cached_ppm).min(input));
        let expected_cost = expected_cost(
            market,
            (target, target.served(ask.service, ask.dialect)),
            expected_input,
            expected_output,
            ask.at,
        );
        self.requirement.check_cost(expected_cost)?;
        if !target.is_usable(signal.own_key) {
            return Err(Reason::NotConfigured);
        }
        self.can_carry(target)?;
        self.requirement.check_speed(signal)?;
        if let Health::Down { until, rest } = signal.state
            && until.is_none_or(|until| until > ask.at)
        {
            return Err(Reason::Down { until, rest });
        }
        let ttft = signal.ttft_ms.unwrap_or(target.prior.ttft_ms);
        let tpot = signal.tpot_us.unwrap_or(target.prior.tpot_us);
        // Several answers are written side by side, so their number does not lengthen the wait.
        let latency_ms = u64::from(ttft).saturating_add(each.saturating_mul(u64::from(tpot)) / 1_000);
        let latency_ms = latency_ms.saturating_mul(u64::from(signal.crowd_permille.max(1_000))) / 1_000;
        Ok(Candidate {
            target: pick.target,
            position: pick.position,
            expected_cost,
            expected_output,
            expected_input,
            max_output,
            latency_ms,
            measured: signal.ttft_ms.is_some() && signal.tpot_us.is_some(),
            ttft_ms: signal.ttft_ms,
            ttft_p95_ms: signal.ttft_p95_ms,
            in_flight: signal.in_flight,
            score: self.score(pick, expected_cost, latency_ms),
            sealed: Sealed,
        })
    }

    /// The client's limit is its own; the route's default is ours and gives way to what the model can do.
    fn output_limit(&self, target: &Target) -> Option<u64> {
        self.ask.max_output.or_else(|| {
            let room = target.context.map(|context| context.saturating_sub(self.ask.input_tokens));
            let limits = [self.default_output, target.max_output, room];
            limits.into_iter().flatten().min()
        })
    }

    /// Whether the target can carry this very request.
    fn can_carry(&mut self, target: &Target) -> Result<(), Reason> {
        let ask = self.ask;
        let needs = ask.needs.with(ask.operation.capability());
        let needs = if ask.stream { needs.with(Capability::Stream) } else { needs };
        if let Some(missing) = target.supports.missing(needs) {
            return Err(Reason::Capability(missing));
        }
        // A route may do without parameters, never without the operation.
        if self.lossy == Lossy::Refuse || !matches!(ask.operation, Operation::Chat | Operation::Completions) {
            let spoken = target.spoken(ask.dialect);
            let slot = &mut self.inexpressible[spoken as usize];
            let first = slot.get_or_insert_with(|| (ask.inexpressible)(spoken).into_iter().next().map(Into::into));
            match first {
                Some(name) if **name == *WHOLE_OPERATION => return Err(Reason::Operation(ask.operation)),
                Some(name) if self.lossy == Lossy::Refuse => return Err(Reason::Parameter(Arc::clone(name))),
                Some(_) | None => {}
            }
        }
        if let (Some(asked), Some(has)) = (ask.max_output, target.max_output)
            && asked > has
        {
            return Err(Reason::Output { asked, has });
        }
        let needed = ask.input_tokens.saturating_add(ask.max_output.unwrap_or(1).max(1));
        match target.context {
            Some(has) if needed > has => Err(Reason::Context { needed, has }),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a target of number `home` is the best once its prompt is read from its cache.
    fn worth_staying(&self, admitted: &[Candidate], home: usize) -> bool {
        let (Some(best), Some(candidate)) = (admitted.first(), admitted.get(home)) else { return false };
        let Preference::Exchange { second } = self.prefer else { return false };
        let Some(target) = self.market.targets().get(candidate.target.index()) else { return false };
        let output = candidate.expected_output;
        let usage = Usage::ZERO.with(Bucket::CacheRead, self.ask.input_tokens).with(Bucket::Output, output);
        let cached = self
            .market
            .price_in(target.served(self.ask.service, self.ask.dialect), target, &usage, self.ask.at)
            .or(candidate.expected_cost);
        let score = cached.map(|cost| exchanged(cost, candidate.latency_ms, second));
        home == 0 || score.zip(best.score).is_some_and(|(score, best)| score <= best)
    }

    fn score(&self, pick: Pick, cost: Option<Money>, latency_ms: u64) -> Option<i128> {
        match self.prefer {
            Preference::Exchange { second } => cost.map(|cost| exchanged(cost, latency_ms, second)),
            Preference::Fastest => Some(i128::from(latency_ms)),
            Preference::Listed => Some(i128::from(pick.position)),
            Preference::Weighted => {
                let (split, ranks) = self.ranks?;
                // Targets without a weight stand behind all that have one.
                let rank = split.group(pick.target).and_then(|group| ranks.get(group).copied());
                i128::try_from(rank.unwrap_or(ranks.len())).ok()
            }
        }
    }
}

/// Cost and waiting as one number, in pico-USD.
fn exchanged(cost: Money, latency_ms: u64, second: Money) -> i128 {
    let waiting = second.pico().saturating_mul(i128::from(latency_ms)) / 1_000;
    cost.pico().saturating_add(waiting)
}

/// What so many tokens are expected to cost, in USD; none = not known.
/// `input`: tokens of prompt, and how many of them come from the cache.
fn expected_cost(
    market: &dyn Market,
    (target, service): (&Target, ServiceTier),
    input: (u64, u64),
    output: u64,
    at: UnixMillis,
) -> Option<Money> {
    let (all, cached) = input;
    let usage = Usage::ZERO.with(Bucket::Input, all - cached.min(all)).with(Bucket::CacheRead, cached.min(all));
    market.price_in(service, target, &usage.with(Bucket::Output, output), at)
}

fn per_million(tokens: u64, ppm: u32) -> u64 {
    u64::try_from(u128::from(tokens) * u128::from(ppm) / 1_000_000).unwrap_or(u64::MAX)
}

fn in_service(target: &Target, at: UnixMillis) -> Result<(), Reason> {
    if let Some(from) = target.available_from.filter(|from| *from > at) {
        return Err(Reason::NotYet { from });
    }
    target.available_to.filter(|to| *to <= at).map_or(Ok(()), |to| Err(Reason::Retired { to }))
}
