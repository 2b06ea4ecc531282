//! What a change of a policy means: not which lines differ, but which requests may go where they could not before.
//!
//! Two policies are compared against one catalogue at one moment. A route's admissible targets are those of its list
//! (its canary and its shadow among them) that fulfil its requirement and are not retired, whether or not this machine has credentials for them. Requests that move from one route
//! to another are found by asking both policies for names: those that the routes spell out, and names of the catalogue
//! and made-up ones that their globs match. What can't be compared, such as a condition, counts as a widening.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Serialize;
use toml::{Table, Value};

use super::cases::run_tests_of;
use super::compile::DIRECT;
use super::{Countries, Market, Policy, Requirement, Route};
use crate::domain::id::TargetId;
use crate::domain::plan::Operation;
use crate::domain::target::{Fact, Target, UnixMillis};

/// One of the two: a policy and the text that it was compiled from.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Its text.
    pub text: &'a str,
}

/// What differs between two policies.
#[derive(Debug, Default, Serialize)]
pub struct PolicyDiff {
    /// The policy's name.
    pub policy: String,
    /// Members outside routes and tests.
    pub members: Vec<MemberDiff>,
    /// Routes that are new, gone or different; `direct` stands for models named without a route.
    pub routes: Vec<RouteDiff>,
    /// The old and the new order of the routes that both have, where it differs.
    pub reordered: Option<(Vec<String>, Vec<String>)>,
    /// Models whose requests take another route.
    pub moved: Vec<Moved>,
    /// Tests that are new, gone or come out otherwise.
    pub tests: Vec<TestDiff>,
    /// Why a request may go to a target, or under a requirement, that it could not before. Empty: none can.
    pub widening: Vec<String>,
}

/// A member that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct MemberDiff {
    /// Its key path within the file or the route.
    pub path: String,
    /// As it was written; none = it was absent.
    pub old: Option<String>,
    /// As it is written now.
    pub new: Option<String>,
}

/// What became of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It differs.
    Changed,
}

/// A route that differs.
#[derive(Debug, Serialize)]
pub struct RouteDiff {
    /// Its name.
    pub route: String,
    /// How.
    pub change: Change,
    /// Members that differ.
    pub members: Vec<MemberDiff>,
    /// The requirement, file and route together, where it differs.
    pub requirement: Option<RequirementDiff>,
    /// Targets that requests may go to now and could not before.
    pub newly_admissible: Vec<TargetFacts>,
    /// Targets that they could go to and no longer can.
    pub no_longer_admissible: Vec<TargetFacts>,
}

/// How a requirement differs.
#[derive(Debug, Serialize)]
pub struct RequirementDiff {
    /// In its text form; empty = nothing was required.
    pub old: String,
    /// In its text form.
    pub new: String,
    /// Whether it lets through more, less, or some more and some less.
    pub direction: Direction,
    /// Countries that came or went, by part.
    pub countries: Vec<CountriesDiff>,
}

/// Which way a requirement went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// It lets through more.
    Widened,
    /// It lets through less.
    Narrowed,
    /// Neither contains the other.
    Shifted,
}

/// Countries of one part of a requirement.
#[derive(Debug, Serialize)]
pub struct CountriesDiff {
    /// `processing`, `operator` or `parent`.
    pub part: &'static str,
    /// Allowed now and not before; none where anything is allowed now.
    pub added: Option<Vec<String>>,
    /// Allowed before and not now; none where anything was allowed before.
    pub removed: Option<Vec<String>>,
}

/// A target, with what residency turns on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TargetFacts {
    /// Its name.
    pub target: String,
    /// Where it processes; none = not known.
    pub processing: Option<Vec<String>>,
    /// The jurisdiction of who operates it.
    pub operator: Option<String>,
}

/// Models whose requests take another route.
#[derive(Debug, Serialize)]
pub struct Moved {
    /// Names that clients may ask for, examples of globs among them.
    pub models: Vec<String>,
    /// The operations for which that is so.
    pub operations: Vec<String>,
    /// The routes that could take them, in order; empty = the model was unknown.
    pub old: Vec<String>,
    /// The routes that can now.
    pub new: Vec<String>,
    /// Targets that such a request may go to now and could not before.
    pub newly_admissible: Vec<TargetFacts>,
    /// Targets that it could go to and no longer can.
    pub no_longer_admissible: Vec<TargetFacts>,
}

/// A test that is new, gone or comes out otherwise.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct TestDiff {
    /// What it claims.
    pub test: String,
    /// Which files have it in this form.
    pub within: Within,
    /// Whether it holds under the old policy.
    pub old_passes: bool,
    /// Whether it holds under the new one.
    pub new_passes: bool,
    /// Why it fails, where it does.
    pub why: String,
}

/// Where a test stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Within {
    /// In the old file only: it has been removed or rewritten.
    Old,
    /// In the new file only.
    New,
    /// In both.
    Both,
}

impl PolicyDiff {
    /// Whether anything differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
            && self.routes.is_empty()
            && self.reordered.is_none()
            && self.moved.is_empty()
            && self.tests.is_empty()
    }
}

/// Compares two policies that were compiled against the same catalogue.
#[must_use]
pub fn diff(old: Side<'_>, new: Side<'_>, market: &dyn Market, now: UnixMillis) -> PolicyDiff {
    let (old, new) = (View::new(old, market, now), View::new(new, market, now));
    let mut diff = PolicyDiff { policy: new.policy.name.to_string(), ..PolicyDiff::default() };
    let outside = |document: &Table| {
        document.iter().filter(|(key, _)| !["route", "test"].contains(&key.as_str())).map(owned).collect::<Table>()
    };
    members(&outside(&old.document), &outside(&new.document), "", &mut diff.members);
    diff.routes.extend(direct(&old, &new));
    diff.routes.extend(old.policy.routes.iter().filter(|r| new.route(&r.name).is_none()).map(|r| gone(&old, r)));
    diff.routes.extend(new.policy.routes.iter().filter_map(|route| match old.route(&route.name) {
        None => Some(come(&new, route)),
        Some(before) => changed(&old, before, &new, route),
    }));
    let order = |view: &View<'_>, other: &View<'_>| -> Vec<String> {
        view.policy.routes.iter().map(|r| r.name.to_string()).filter(|name| other.route(name).is_some()).collect()
    };
    let orders = (order(&old, &new), order(&new, &old));
    diff.reordered = (orders.0 != orders.1).then_some(orders);
    diff.moved = moved(&old, &new);
    diff.tests = tests(&old, &new, market, now);
    diff.widening = widening(&diff);
    diff
}

/// A policy with what is asked of it again and again.
struct View<'a> {
    policy: &'a Policy,
    document: Table,
    /// Its routes, in order.
    routes: Vec<Rc<Possible>>,
    market: &'a dyn Market,
    now: UnixMillis,
}

impl<'a> View<'a> {
    fn new(side: Side<'a>, market: &'a dyn Market, now: UnixMillis) -> Self {
        // A policy that compiled is a document.
        let document = side.text.parse().unwrap_or_default();
        let mut view = Self { policy: side.policy, document, routes: Vec::new(), market, now };
        let possible = |route: &Route| Possible {
            name: route.name.to_string(),
            condition: view.table(&route.name).remove("when"),
            targets: view.of_route(route),
        };
        view.routes = side.policy.routes.iter().map(|route| Rc::new(possible(route))).collect();
        view
    }

    fn route(&self, name: &str) -> Option<&'a Route> {
        self.policy.routes.iter().find(|route| &*route.name == name)
    }

    /// The route as written.
    fn table(&self, name: &str) -> Table {
        let routes = self.document.get("route").and_then(Value::as_array);
        let named = |table: &&Table| table.get("name").and_then(Value::as_str) == Some(name);
        routes.into_iter().flatten().filter_map(Value::as_table).find(named).cloned().unwrap_or_default()
    }

    fn admissible(&self, targets: impl Iterator<Item = TargetId>, require: &Requirement) -> BTreeSet<TargetFacts> {
        let targets = targets.filter_map(|id| self.market.targets().get(id.index()));
        // What will be served later may be reached later; what has been retired can't be reached again.
        let alive = targets.filter(|t| t.available_to.is_none_or(|end| self.now < end));
        alive.filter(|t| require.check(t, self.market, self.now).is_ok()).map(facts).collect()
    }

    fn of_route(&self, route: &Route) -> BTreeSet<TargetFacts> {
        // What a canary or a shadow gets leaves the gateway too.
        let canary = route.canary.as_ref().map(|canary| canary.target);
        let shadow = route.shadow.as_ref().map(|shadow| shadow.target);
        self.admissible(route.picks.iter().map(|pick| pick.target).chain(canary).chain(shadow), &route.require)
    }

    /// Every route that may take such a request, in order, with its condition and its targets. A condition may turn a
    /// request away, so what stands after it is possible too.
    fn possible(&self, model: &str, operation: Operation) -> Vec<Rc<Possible>> {
        let mut found = Vec::new();
        let routes = self.policy.routes.iter().zip(&self.routes);
        for (_, possible) in routes.filter(|(route, _)| route.matches(model, operation)) {
            found.push(Rc::clone(possible));
            if possible.condition.is_none() {
                return found;
            }
        }
        if let Some(picks) = super::select::direct(self.policy, model) {
            let targets = self.admissible(picks.iter().map(|pick| pick.target), self.policy.require());
            found.push(Rc::new(Possible { name: DIRECT.to_owned(), condition: None, targets }));
        }
        found
    }

    /// Names to ask for: literal ones, and for each glob those of the catalogue that it matches and one made up.
    fn probes(&self) -> BTreeSet<String> {
        let mut probes = BTreeSet::new();
        for route in self.document.get("route").and_then(Value::as_array).into_iter().flatten() {
            let globs = route.get("match").and_then(|m| m.get("model")).and_then(Value::as_array);
            probes.extend(globs.into_iter().flatten().filter_map(Value::as_str).map(sample));
        }
        probes
    }
}

/// A route that may take a request.
struct Possible {
    name: String,
    condition: Option<Value>,
    targets: BTreeSet<TargetFacts>,
}

fn owned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// A name that the glob matches; a literal is its own.
fn sample(glob: &str) -> String {
    let mut name = String::with_capacity(glob.len());
    let mut rest = glob.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' | '?' => name.push('x'),
            '\\' => name.extend(rest.next()),
            '[' => name.extend(rest.by_ref().take_while(|c| *c != ']').find(|c| !matches!(c, '!' | '^'))),
            '{' => {
                let choices: String = rest.by_ref().take_while(|c| *c != '}').collect();
                name.push_str(&sample(choices.split(',').next().unwrap_or_default()));
            }
            c => name.push(c),
        }
    }
    name
}

fn facts(target: &Target) -> TargetFacts {
    let processing = match &target.residency.processing {
        Fact::Known(countries) => Some(countries.iter().map(|country| country.code().to_owned()).collect()),
        Fact::Unknown => None,
    };
    let operator = match &target.residency.operator {
        Fact::Known(country) => Some(country.code().to_owned()),
        Fact::Unknown => None,
    };
    TargetFacts { target: target.name.to_string(), processing, operator }
}

fn less(from: &BTreeSet<TargetFacts>, these: &BTreeSet<TargetFacts>) -> Vec<TargetFacts> {
    from.difference(these).cloned().collect()
}

/// Members that differ, each at its own path.
fn members(old: &Table, new: &Table, path: &str, found: &mut Vec<MemberDiff>) {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (old.get(key), new.get(key)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(Value::Table(a)), Some(Value::Table(b))) => members(a, b, &at, found),
            (a, b) => {
                let shown = |value: Option<&Value>| value.map(ToString::to_string);
                found.push(MemberDiff { path: at, old: shown(a), new: shown(b) });
            }
        }
    }
}

fn come(new: &View<'_>, route: &Route) -> RouteDiff {
    RouteDiff {
        route: route.name.to_string(),
        change: Change::Added,
        members: Vec::new(),
        requirement: None,
        newly_admissible: new.of_route(route).into_iter().collect(),
        no_longer_admissible: Vec::new(),
    }
}

fn gone(old: &View<'_>, route: &Route) -> RouteDiff {
    let diff = come(old, route);
    let (newly_admissible, no_longer_admissible) = (Vec::new(), diff.newly_admissible);
    RouteDiff { change: Change::Removed, newly_admissible, no_longer_admissible, ..diff }
}

fn changed(old: &View<'_>, before: &Route, new: &View<'_>, after: &Route) -> Option<RouteDiff> {
    let mut differing = Vec::new();
    members(&old.table(&before.name), &new.table(&after.name), "", &mut differing);
    let (had, has) = (old.of_route(before), new.of_route(after));
    let diff = RouteDiff {
        route: after.name.to_string(),
        change: Change::Changed,
        members: differing,
        requirement: requirement(&before.require, &after.require),
        newly_admissible: less(&has, &had),
        no_longer_admissible: less(&had, &has),
    };
    let same = diff.members.is_empty() && diff.requirement.is_none() && had == has;
    (!same).then_some(diff)
}

/// Models named without a route: every target, under the file's requirement.
fn direct(old: &View<'_>, new: &View<'_>) -> Option<RouteDiff> {
    let all = |view: &View<'_>| view.admissible(view.market.targets().iter().map(|t| t.id), view.policy.require());
    let requirement = requirement(old.policy.require(), new.policy.require())?;
    let (had, has) = (all(old), all(new));
    Some(RouteDiff {
        route: DIRECT.to_owned(),
        change: Change::Changed,
        members: Vec::new(),
        requirement: Some(requirement),
        newly_admissible: less(&has, &had),
        no_longer_admissible: less(&had, &has),
    })
}

fn requirement(old: &Requirement, new: &Requirement) -> Option<RequirementDiff> {
    if old == new {
        return None;
    }
    let both = old.narrow(new);
    let direction = match (both == *old, both == *new) {
        (true, _) => Direction::Widened,
        (false, true) => Direction::Narrowed,
        (false, false) => Direction::Shifted,
    };
    let parts = [
        ("processing", old.processing, new.processing),
        ("operator", old.operator, new.operator),
        ("parent", old.parent, new.parent),
    ];
    let changed = parts.into_iter().filter(|(_, old, new)| old != new);
    let minus = |from: Option<Countries>, these: Option<Countries>| {
        let codes = |from: Countries| {
            let gone = from.iter().filter(|country| these.is_none_or(|these| !these.has(*country)));
            gone.map(|country| country.code().to_owned()).collect()
        };
        // Without a list any country is allowed: what is not on the other list can't be counted out.
        from.map(codes)
    };
    let countries = changed.map(|(part, old, new)| CountriesDiff {
        part,
        added: if old.is_none() { Some(Vec::new()) } else { minus(new, old) },
        removed: if new.is_none() { Some(Vec::new()) } else { minus(old, new) },
    });
    Some(RequirementDiff { old: old.to_string(), new: new.to_string(), direction, countries: countries.collect() })
}

/// Requests that take other routes than before, by what that means for them.
fn moved(old: &View<'_>, new: &View<'_>) -> Vec<Moved> {
    type Kind = (Vec<String>, Vec<String>, Vec<TargetFacts>, Vec<TargetFacts>);
    let mut kinds: BTreeMap<Kind, (BTreeSet<String>, BTreeSet<&str>)> = BTreeMap::new();
    let mut probes = old.probes();
    probes.extend(new.probes());
    probes.extend(new.policy.names.names().map(str::to_owned));
    for model in &probes {
        for operation in Operation::ALL {
            let (before, after) = (old.possible(model, operation), new.possible(model, operation));
            let same = |(a, b): (&Rc<Possible>, &Rc<Possible>)| a.name == b.name && a.condition == b.condition;
            if before.len() == after.len() && before.iter().zip(&after).all(same) {
                continue;
            }
            let names = |list: &[Rc<Possible>]| list.iter().map(|route| route.name.clone()).collect::<Vec<_>>();
            let (gained, lost) = (beyond(&after, &before), beyond(&before, &after));
            let (models, operations) = kinds.entry((names(&before), names(&after), gained, lost)).or_default();
            models.insert(model.clone());
            operations.insert(operation.name());
        }
    }
    let told =
        kinds.into_iter().map(|((old, new, newly_admissible, no_longer_admissible), (models, operations))| Moved {
            models: models.into_iter().collect(),
            operations: operations.into_iter().map(str::to_owned).collect(),
            old,
            new,
            newly_admissible,
            no_longer_admissible,
        });
    told.collect()
}

/// Targets that a request may reach by one of these routes and could not by at least one of those: which of them it
/// took is not known.
fn beyond(these: &[Rc<Possible>], those: &[Rc<Possible>]) -> Vec<TargetFacts> {
    let mut certain: Option<BTreeSet<TargetFacts>> = None;
    for route in those {
        certain = Some(match certain {
            None => route.targets.clone(),
            Some(so_far) => so_far.intersection(&route.targets).cloned().collect(),
        });
    }
    let certain = certain.unwrap_or_default();
    let reached: BTreeSet<TargetFacts> = these.iter().flat_map(|route| route.targets.iter().cloned()).collect();
    less(&reached, &certain)
}

fn tests(old: &View<'_>, new: &View<'_>, market: &dyn Market, now: UnixMillis) -> Vec<TestDiff> {
    let run = |tests: &View<'_>, under: &View<'_>| run_tests_of(tests.policy, under.policy, market, now);
    let (old_old, old_new) = (run(old, old), run(old, new));
    let (new_old, new_new) = (run(new, old), run(new, new));
    let written = |view: &View<'_>| -> Vec<Value> {
        view.document.get("test").and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let (old_written, new_written) = (written(old), written(new));
    let mut found = Vec::new();
    for ((before, after), text) in old_old.iter().zip(&old_new).zip(&old_written) {
        let within = if new_written.contains(text) { Within::Both } else { Within::Old };
        if within == Within::Old || before.passed != after.passed {
            found.push(tested(within, before, after));
        }
    }
    for ((before, after), text) in new_old.iter().zip(&new_new).zip(&new_written) {
        if !old_written.contains(text) {
            found.push(tested(Within::New, before, after));
        }
    }
    found
}

fn tested(within: Within, before: &super::TestOutcome, after: &super::TestOutcome) -> TestDiff {
    let why = if after.passed { &before.why } else { &after.why };
    let (old_passes, new_passes) = (before.passed, after.passed);
    TestDiff { test: after.name.clone(), within, old_passes, new_passes, why: why.clone() }
}

fn widening(diff: &PolicyDiff) -> Vec<String> {
    let named = |targets: &[TargetFacts]| {
        let names: Vec<&str> = targets.iter().take(5).map(|t| t.target.as_str()).collect();
        let more = targets.len().saturating_sub(5);
        if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
    };
    let mut why = Vec::new();
    for route in diff.routes.iter().filter(|route| route.change == Change::Changed) {
        if !route.newly_admissible.is_empty() {
            why.push(format!("route `{}` may go to {}", route.route, named(&route.newly_admissible)));
        }
        if route.requirement.as_ref().is_some_and(|require| require.direction != Direction::Narrowed) {
            why.push(format!("route `{}` no longer requires all that it did", route.route));
        }
        if route.members.iter().any(|member| member.path == "when") {
            why.push(format!("route `{}` has another condition, and conditions can't be compared", route.route));
        }
    }
    for moved in diff.moved.iter().filter(|moved| !moved.newly_admissible.is_empty()) {
        let models: Vec<&str> = moved.models.iter().take(5).map(String::as_str).collect();
        why.push(format!("requests for {} may go to {}", models.join(", "), named(&moved.newly_admissible)));
    }
    why
}
