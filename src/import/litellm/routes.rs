//! Groups become routes.

use super::super::notes::{Kind, Notes};
use super::super::policy::{Prefer, Route, slug};
use super::deployment::{Deployed, Group, Share};
use super::settings::{Follow, Settings, Strategy, duration};

/// The most attempts that a route can have.
const MOST_ATTEMPTS: u64 = 10;
/// A whole stream has at least so long, since LiteLLM's timeouts are for its pauses.
const LEAST_TOTAL: u64 = 300_000;

/// One for each group, in their order.
pub(super) fn routes(groups: &[Group], settings: &Settings<'_>, notes: &mut Notes) -> Vec<Route> {
    names(groups, settings, notes);
    let mut routes: Vec<Route> = Vec::new();
    for group in groups.iter().filter(|group| !group.targets.is_empty()) {
        let name = slug(&group.name, &|name| routes.iter().any(|route| route.name == name));
        routes.push(route(name, group, groups, settings, notes));
    }
    routes
}

/// Groups that are named and not there.
fn names(groups: &[Group], settings: &Settings<'_>, notes: &mut Notes) {
    let there = |name: &str| groups.iter().any(|group| group.name == name);
    for follow in &settings.follow {
        if follow.group.is_some_and(|group| !there(group)) {
            notes.add(Kind::LeftOut, &follow.at, "no model of the list has this name");
        }
        for (_, at) in follow.others.iter().filter(|(other, _)| !there(other)) {
            notes.add(Kind::LeftOut, at, "no model of the list has this name");
        }
        if follow.for_length {
            notes.add(
                Kind::Differs,
                &follow.at,
                "is asked after the others whatever they fail for, and at once where the prompt fits nowhere else",
            );
        }
    }
    for (_, _, at) in settings.aliases.iter().filter(|(_, group, _)| !there(group)) {
        notes.add(Kind::LeftOut, at, "no model of the list has this name");
    }
}

fn route(name: String, group: &Group, groups: &[Group], settings: &Settings<'_>, notes: &mut Notes) -> Route {
    let mut own: Vec<&Deployed> = group.targets.iter().collect();
    own.sort_by_key(|deployed| deployed.order.unwrap_or(u64::MAX));
    let others = followers(group, groups, settings);
    let others: Vec<&String> = others.into_iter().filter(|other| own.iter().all(|own| own.target != **other)).collect();
    let (prefer, listed) = prefer(group, &own, others.len(), settings, notes);
    let named = own.iter().map(|own| &own.target).chain(others.iter().copied());
    let targets: Vec<String> = named.map(|target| globset::escape(target)).collect();
    let wanted = settings.retries.unwrap_or(2) + 1;
    let needed = u64::try_from(if listed { targets.len() } else { others.len() + 1 }).unwrap_or(MOST_ATTEMPTS);
    let attempts = wanted.max(needed).clamp(1, MOST_ATTEMPTS);
    let aliases = settings.aliases.iter().filter(|(_, of, _)| *of == group.name).map(|(alias, ..)| (*alias).to_owned());
    let taken = |alias: &String| groups.iter().any(|group| group.name == *alias);
    let models = std::iter::once(group.name.clone()).chain(aliases.filter(|alias| !taken(alias))).collect();
    let limits: Vec<Option<u64>> = own.iter().map(|own| own.max_tokens).collect();
    let max_output =
        limits.first().copied().flatten().filter(|first| limits.iter().all(|limit| *limit == Some(*first)));
    if max_output.is_none() && limits.iter().any(Option::is_some) {
        notes.at(Kind::LeftOut, 0, &group.place, "`max_tokens`: not the same for all deployments of the name");
    }
    Route {
        name,
        models,
        targets,
        prefer,
        lossy: settings.lossy,
        cache: settings.cache.clone(),
        max_output,
        require: Vec::new(),
        attempts,
        timeouts: timeouts(group, &own, settings, attempts, notes),
        operation: own.first().and_then(|own| own.operation),
        place: group.place.clone(),
    }
}

/// The targets of the groups that follow.
fn followers<'g>(group: &Group, groups: &'g [Group], settings: &Settings<'_>) -> Vec<&'g String> {
    let of = |wanted: &dyn Fn(&Follow<'_>) -> bool| -> Vec<&'g String> {
        let named = settings.follow.iter().filter(|follow| wanted(follow)).flat_map(|follow| &follow.others);
        let found =
            named.filter_map(|(name, _)| groups.iter().find(|other| other.name == *name && other.name != group.name));
        let alike = |deployed: &&Deployed| deployed.operation == group.targets.first().and_then(|own| own.operation);
        found.flat_map(|other| other.targets.iter().filter(alike).map(|deployed| &deployed.target)).collect()
    };
    let own = |follow: &Follow<'_>| follow.group == Some(&*group.name);
    let mut list = of(&|follow| own(follow) && !follow.for_length);
    if list.is_empty() {
        list = of(&|follow| follow.group.is_none() && !follow.for_length);
    }
    list.extend(of(&|follow| follow.for_length && (own(follow) || follow.group.is_none())));
    let mut seen = Vec::new();
    for target in list {
        if !seen.contains(&target) {
            seen.push(target);
        }
    }
    seen
}

/// How the route chooses, and whether all its targets are tried in order.
fn prefer(
    group: &Group,
    own: &[&Deployed],
    others: usize,
    settings: &Settings<'_>,
    notes: &mut Notes,
) -> (Prefer, bool) {
    let levels = own.iter().filter(|deployed| deployed.order == own.first().and_then(|first| first.order)).count();
    if own.len() == 1 || (levels == 1 && own.iter().any(|deployed| deployed.order.is_some())) {
        return if own.len() + others > 1 { (Prefer::Listed, true) } else { (Prefer::Cheapest, false) };
    }
    match (settings.strategy, others + own.len() - levels) {
        (Strategy::Cheapest, 0) => return (Prefer::Cheapest, false),
        (Strategy::Fastest, 0) => return (Prefer::Fastest, false),
        (Strategy::Cheapest | Strategy::Fastest, _) => {
            notes.at(
                Kind::Differs,
                0,
                &group.place,
                "equal shares instead of the strategy, since others must come after these",
            );
        }
        (Strategy::Shuffle, _) => {}
    }
    if others + own.len() - levels > 1 {
        notes.at(Kind::Differs, 0, &group.place, "after the first ones, the cheapest of the others is tried next");
    }
    let shares: Vec<Share> = own.iter().take(levels).map(|own| own.share).collect();
    (Prefer::Weighted(weights(group, &shares, settings.strategy, notes)), false)
}

/// By weight, else by rpm, else by tpm, where all have it; else alike.
fn weights(group: &Group, shares: &[Share], strategy: Strategy, notes: &mut Notes) -> Vec<u32> {
    let kinds: [fn(&Share) -> Option<u64>; 3] = [|share| share.weight, |share| share.rpm, |share| share.tpm];
    let given = kinds.into_iter().find(|kind| shares.iter().any(|share| kind(share).is_some()));
    let Some(kind) = given.filter(|_| strategy == Strategy::Shuffle) else { return vec![1; shares.len()] };
    let list: Vec<u64> = shares.iter().filter_map(kind).collect();
    if list.len() < shares.len() {
        notes.at(Kind::Differs, 0, &group.place, "equal shares: not every deployment says its own");
        return vec![1; shares.len()];
    }
    let common = list.iter().fold(0, |a, b| gcd(a, *b)).max(1);
    list.iter().map(|weight| u32::try_from(weight / common).unwrap_or(u32::MAX).max(1)).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// LiteLLM's timeout is that of one attempt, and of the pauses of a stream.
fn timeouts(
    group: &Group,
    own: &[&Deployed],
    settings: &Settings<'_>,
    attempts: u64,
    notes: &mut Notes,
) -> Vec<(&'static str, String)> {
    let mut longest = |of: &dyn Fn(&Deployed) -> Option<u64>| {
        let given: Vec<Option<u64>> = own.iter().map(|own| of(own)).collect();
        let most = given.iter().copied().flatten().max();
        if given.iter().any(|time| *time != most) {
            let why = "the longest of the deployments' timeouts holds for all of them";
            notes.at(Kind::Differs, 0, &group.place, why);
        }
        most
    };
    // Who says nothing has what all have.
    let whole = longest(&|own| own.timeout.or(settings.timeout));
    let stream = longest(&|own| own.stream_timeout.or(settings.stream_timeout).or(own.timeout).or(settings.timeout));
    let mut list = Vec::new();
    if let Some(first) = stream {
        list.push(("first_token", duration(first)));
        list.push(("idle", duration(first)));
    }
    if let Some(whole) = whole {
        let total = whole.saturating_mul(attempts).clamp(LEAST_TOTAL, 86_400_000);
        list.push(("total", duration(total)));
    }
    list
}
