//! `[[test]]`: what a policy promises, checked without sending anything.
//!
//! A test decides with priors, cold health and its own moment, and every target counts as configured: whether a policy
//! is right does not depend on which credentials the machine has that runs the test.

use std::sync::Arc;

use super::notes::Notes;
use super::plan::{Ask, Decision, Dice, Principal, plan};
use super::raw::{RawExpect, RawTest};
use super::{Market, Pattern, Policy, Requirement, text};
use crate::domain::error::ErrorKind;
use crate::domain::id::TargetId;
use crate::domain::money::Money;
use crate::domain::plan::Operation;
use crate::domain::price::ServiceTier;
use crate::domain::target::{Capabilities, Capability, Health, Rest, Signal, Target, UnixMillis};
use crate::domain::usage::Usage;
use crate::shape::Spanned;

/// What became of one `[[test]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestOutcome {
    /// What the test claims.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// Why not; empty where it holds.
    pub why: String,
}

/// A compiled test.
#[derive(Debug)]
pub(super) struct Case {
    name: String,
    model: String,
    input_tokens: u64,
    max_output: Option<u64>,
    operation: Operation,
    choices: u32,
    stream: bool,
    user: Option<String>,
    session: Option<u64>,
    needs: Capabilities,
    at: Option<UnixMillis>,
    down: Vec<Pattern>,
    key: String,
    team: String,
    tenant: String,
    tags: Vec<Arc<str>>,
    key_require: Requirement,
    require: Requirement,
    expect: Expect,
}

#[derive(Debug)]
struct Expect {
    first: Option<Pattern>,
    never: Vec<Pattern>,
    max_cost: Option<Money>,
    refused: Option<&'static str>,
    route: Option<String>,
}

/// The refusals that deciding can give.
const REFUSALS: [&str; 9] = [
    ErrorKind::UnknownModel.code(),
    ErrorKind::UnsupportedParameter.code(),
    ErrorKind::ContextTooLong.code(),
    ErrorKind::PolicyRefused.code(),
    ErrorKind::PolicyFailed.code(),
    ErrorKind::TooExpensive.code(),
    ErrorKind::Unavailable.code(),
    super::refuse::OUTPUT_CAP,
    super::refuse::NO_OPERATION,
];

impl Case {
    pub(super) fn compile(
        raw: RawTest,
        path: &str,
        notes: &mut Notes<'_>,
        market: &dyn Market,
        routes: Option<&[Arc<str>]>,
    ) -> Self {
        let at = |member: &str| format!("{path}.{member}");
        let given = raw.given;
        let mut needs = Capabilities::NONE;
        for name in given.needs.iter().flatten() {
            let known = Capability::ALL.into_iter().find(|c| c.name() == name.get_ref());
            let read = known.ok_or_else(|| {
                let hint = text::did_you_mean(name.get_ref(), Capability::ALL.map(Capability::name));
                (format!("there is no capability `{}`", name.get_ref()), hint)
            });
            needs = notes.keep(name.span(), &at("given.needs"), read).map_or(needs, |c| needs.with(c));
        }
        let key = given.key.unwrap_or_default();
        Self {
            name: raw.name.into_inner(),
            model: given.model.into_inner(),
            input_tokens: given.input_tokens.unwrap_or(1_000),
            max_output: given.max_output,
            operation: notes.operation(given.operation.as_ref(), &at("given.operation")),
            choices: given.choices.unwrap_or(1),
            stream: given.stream.unwrap_or(false),
            user: given.user,
            session: given.session.map(|session| super::split::hash(0, &session)),
            needs,
            at: notes.moment(given.at.as_ref(), &at("given.at")),
            down: patterns(notes, given.down.as_deref(), &at("given.down"), market),
            key_require: notes.requirement(key.require.as_ref(), &at("given.key.require"), market),
            key: key.name.unwrap_or_default(),
            team: key.team.unwrap_or_default(),
            tenant: key.tenant.unwrap_or_default(),
            tags: key.tags.unwrap_or_default().into_iter().map(Into::into).collect(),
            require: notes.requirement(given.require.as_ref(), &at("given.require"), market),
            expect: Expect::compile(&raw.expect, &at("expect"), notes, market, routes),
        }
    }

    fn run(&self, policy: &Policy, ready: &Ready<'_>, now: UnixMillis) -> TestOutcome {
        let down = |id: TargetId| ready.targets.get(id.index()).is_some_and(|t| self.down.iter().any(|p| p.matches(t)));
        let signals = |id| {
            if down(id) {
                Signal { state: Health::Down { until: None, rest: Rest::Firm }, ..Signal::COLD }
            } else {
                Signal::COLD
            }
        };
        let ask = Ask {
            operation: self.operation,
            input_tokens: self.input_tokens,
            max_output: self.max_output,
            choices: self.choices,
            stream: self.stream,
            needs: self.needs,
            user: self.user.as_deref(),
            session: &|| self.session,
            principal: Principal {
                key: &self.key,
                team: &self.team,
                tenant: &self.tenant,
                tags: &self.tags,
                require: &self.key_require,
            },
            require: &self.require,
            ..Ask::of(&self.model, self.at.unwrap_or(now))
        };
        let decision = plan(policy, ready, &ask, &signals, Dice::default());
        let why = self.expect.violations(&decision, ready).join("; ");
        TestOutcome { name: self.name.clone(), passed: why.is_empty(), why }
    }
}

impl Expect {
    fn compile(
        raw: &Spanned<RawExpect>,
        path: &str,
        notes: &mut Notes<'_>,
        market: &dyn Market,
        routes: Option<&[Arc<str>]>,
    ) -> Self {
        let at = |member: &str| format!("{path}.{member}");
        let (span, raw) = (raw.span(), raw.get_ref());
        if raw.first.is_none()
            && raw.never.is_none()
            && raw.max_cost.is_none()
            && raw.refused.is_none()
            && raw.route.is_none()
        {
            notes.problem(span, path, ("expects nothing".to_owned(), None));
        }
        if let (Some(_), Some(refused)) = (&raw.first, &raw.refused) {
            let message = "`first` and `refused` exclude each other".to_owned();
            notes.problem(refused.span(), &at("refused"), (message, None));
        }
        let refused = raw.refused.as_ref().and_then(|code| {
            let known = REFUSALS.into_iter().find(|c| c == code.get_ref());
            let read = known.ok_or_else(|| {
                let message = format!("`{}` is no code of a refusal: {}", code.get_ref(), REFUSALS.join(", "));
                (message, text::did_you_mean(code.get_ref(), REFUSALS))
            });
            notes.keep(code.span(), &at("refused"), read)
        });
        if let Some(route) = &raw.route
            && route.get_ref() != super::compile::DIRECT
            && let Some(routes) = routes.filter(|r| !r.iter().any(|r| **r == **route.get_ref()))
        {
            let hint = text::did_you_mean(route.get_ref(), routes.iter().map(|r| &**r));
            notes.problem(route.span(), &at("route"), (format!("there is no route `{}`", route.get_ref()), hint));
        }
        Self {
            first: raw.first.as_ref().and_then(|p| notes.pattern(p, &at("first"))),
            never: patterns(notes, raw.never.as_deref(), &at("never"), market),
            max_cost: notes.money(raw.max_cost.as_ref(), &at("max_cost")),
            refused,
            route: raw.route.as_ref().map(|r| r.get_ref().clone()),
        }
    }

    fn violations(&self, decision: &Decision, ready: &Ready<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(route) = self.route.as_deref().filter(|r| **r != *decision.route) {
            wrong.push(format!("the route is `{}`, not `{route}`", decision.route));
        }
        let code = decision.refusal.as_ref().map(crate::domain::error::Error::code_str);
        match (&decision.refusal, self.refused) {
            (None, Some(expected)) => {
                let first = decision.admitted.first().map_or("?", |c| ready.name(c.target));
                wrong.push(format!("not refused ({expected}) but sent to {first}"));
            }
            (Some(error), expected) if expected != code => {
                wrong.push(format!("refused: {}: {}", error.code_str(), error.message));
            }
            _ => {}
        }
        if let (Some(pattern), Some(first)) = (&self.first, decision.admitted.first())
            && !ready.targets.get(first.target.index()).is_some_and(|t| pattern.matches(t))
        {
            wrong.push(format!("the first target is {}, not {}", ready.name(first.target), pattern.as_str()));
        }
        for candidate in decision.admitted.iter().chain(&decision.reserve) {
            let target = ready.targets.get(candidate.target.index());
            for pattern in self.never.iter().filter(|p| target.is_some_and(|t| p.matches(t))) {
                wrong.push(format!("{} is admitted ({})", ready.name(candidate.target), pattern.as_str()));
            }
        }
        for candidate in decision.attempts() {
            let Some(limit) = self.max_cost else { break };
            match candidate.expected_cost {
                Some(cost) if cost <= limit => {}
                Some(cost) => wrong.push(format!("{} is expected to cost {cost} USD", ready.name(candidate.target))),
                None => wrong.push(format!("the price of {} is not known", ready.name(candidate.target))),
            }
        }
        wrong
    }
}

/// Patterns that must match something: one that never can would make `never` hold for the wrong reason.
fn patterns(notes: &mut Notes<'_>, given: Option<&[Spanned<String>]>, path: &str, market: &dyn Market) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for written in given.unwrap_or_default() {
        let Some(pattern) = notes.pattern(written, path) else { continue };
        let known = pattern.any_of_provider().is_some_and(|p| market.providers().contains(&p));
        if !known && !market.targets().iter().any(|t| pattern.matches(t)) {
            let hint = super::select::nearest_target(market.targets(), written.get_ref());
            notes.problem(written.span(), path, (format!("`{}` matches no target", pattern.as_str()), hint));
        }
        patterns.push(pattern);
    }
    patterns
}

/// The catalogue with every target configured.
struct Ready<'a> {
    targets: Vec<Target>,
    inner: &'a dyn Market,
}

impl Ready<'_> {
    fn name(&self, id: TargetId) -> &str {
        self.targets.get(id.index()).map_or("?", |t| &*t.name)
    }
}

impl Market for Ready<'_> {
    fn targets(&self) -> &[Target] {
        &self.targets
    }

    fn tiers(&self) -> Vec<&str> {
        self.inner.tiers()
    }

    fn tier_rank(&self, tier: &str) -> Option<u32> {
        self.inner.tier_rank(tier)
    }

    fn providers(&self) -> Vec<&str> {
        self.inner.providers()
    }

    fn price(&self, target: &Target, usage: &Usage, at: UnixMillis) -> Option<Money> {
        self.inner.price(target, usage, at)
    }

    fn price_in(&self, service: ServiceTier, target: &Target, usage: &Usage, at: UnixMillis) -> Option<Money> {
        self.inner.price_in(service, target, usage, at)
    }
}

/// Runs the tests of a policy. `now` stands for the moment of tests that name none.
#[must_use]
pub fn run_tests(policy: &Policy, market: &dyn Market, now: UnixMillis) -> Vec<TestOutcome> {
    run_tests_of(policy, policy, market, now)
}

/// Runs the tests of one policy under another.
pub(super) fn run_tests_of(tests: &Policy, policy: &Policy, market: &dyn Market, now: UnixMillis) -> Vec<TestOutcome> {
    let configured = |target: &Target| Target { configured: true, ..target.clone() };
    let ready = Ready { targets: market.targets().iter().map(configured).collect(), inner: market };
    tests.tests.iter().map(|case| case.run(policy, &ready, now)).collect()
}
