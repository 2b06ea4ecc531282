//! The decision: from a policy, a catalogue, a request, signals, a clock and dice to ordered targets, and for every
//! other candidate the reason.
//!
//! Pure. Rejections are always collected: they cost one vector of small values, and a decision that cannot say why is
//! worth nothing in an incident. Text is made only when somebody reads it.

use std::sync::Arc;
use std::time::Duration;

use super::compile::{ATTEMPTS, DIRECT};
use super::examine::{Examiner, expected_cost, in_service};
use super::order::{Lead, explored, order};
use super::reason::{Reason, Rejection};
use super::{
    Baseline, Hedge, Lossy, Market, Pick, Policy, Preference, Requirement, Route, Selected, Shadowed, refuse, reserve,
};
use crate::domain::error::Error;
use crate::domain::id::{DialectId, TargetId};
use crate::domain::money::Money;
use crate::domain::plan::{Operation, Timeouts};
use crate::domain::price::ServiceTier;
use crate::domain::target::{Capabilities, Expectation, Health, Signal, Target, UnixMillis};

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
    /// Parameters that change the answer and that a dialect cannot express, or [`WHOLE_OPERATION`](crate::domain::plan::WHOLE_OPERATION) where it does not have
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
    /// Whether it was too slow for the requirement when it was last seen, and this request is to see whether it still is.
    pub look: bool,
    /// Milliseconds to the first token, where measured.
    pub ttft_ms: Option<u32>,
    /// Within so many milliseconds the first token comes in 95 of 100 cases, where measured.
    pub ttft_p95_ms: Option<u32>,
    /// Requests in flight there when it was decided.
    pub in_flight: u32,
    /// What it was ordered by, less is better: pico-USD by exchange rate, milliseconds for the fastest, place in the
    /// list for listed, rank of its share for weighted. None: not comparable for want of a price, so last.
    pub score: Option<i128>,
    /// What it would be ordered by if it were as fast as it usually was: where it was slower when it was last seen, and
    /// that is some time ago.
    pub hope: Option<i128>,
    pub(super) sealed: Sealed,
}

/// Keeps candidates from being made elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealed;

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
