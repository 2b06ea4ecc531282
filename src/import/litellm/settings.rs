//! `router_settings`, `litellm_settings` and `general_settings`.

use super::super::decimal::shifted;
use super::super::node::{At, Fields};
use super::super::notes::{Kind, Notes};
use super::reasons;

/// How a group chooses among its deployments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Strategy {
    /// By weight, rpm or tpm.
    #[default]
    Shuffle,
    Cheapest,
    Fastest,
}

/// Groups that follow another one.
#[derive(Debug)]
pub(super) struct Follow<'a> {
    /// Whom; none = every group that has none of its own.
    pub group: Option<&'a str>,
    pub others: Vec<(&'a str, At<'a>)>,
    /// Meant for prompts that are too long, and nothing else.
    pub for_length: bool,
    pub at: At<'a>,
}

/// What holds for all routes.
#[derive(Debug, Default)]
pub(super) struct Settings<'a> {
    pub strategy: Strategy,
    pub follow: Vec<Follow<'a>>,
    /// Another name and the group that it stands for.
    pub aliases: Vec<(&'a str, &'a str, At<'a>)>,
    pub retries: Option<u64>,
    /// In milliseconds.
    pub timeout: Option<u64>,
    pub stream_timeout: Option<u64>,
    pub lossy: bool,
    pub cache: Option<String>,
}

impl<'a> Settings<'a> {
    pub(super) fn read(root: &mut Fields<'a>, notes: &mut Notes) -> Self {
        let mut settings = Self::default();
        let mut router = root.table("router_settings", notes);
        let mut module = root.table("litellm_settings", notes);
        let general = root.table("general_settings", notes);
        if let Some(module) = &mut module {
            settings.module(module, notes);
        }
        for fields in [&mut router, &mut module].into_iter().flatten() {
            settings.both(fields, notes);
        }
        if let Some(at) = router.as_mut().and_then(|router| router.take("routing_strategy")) {
            settings.strategy = strategy(&at, notes);
        }
        if let Some(at) = router.as_mut().and_then(|router| router.take("model_group_alias")) {
            settings.aliases(&at, notes);
        }
        for (name, at) in [router, module, general].iter_mut().flatten().flat_map(Fields::rest) {
            reasons::left(&at, name, notes);
        }
        settings
    }

    /// What stands in either section; the router's comes first.
    fn both(&mut self, fields: &mut Fields<'a>, notes: &mut Notes) {
        let twice = |at: &At<'_>, notes: &mut Notes| {
            notes.add(Kind::LeftOut, at, "router_settings says it as well, and counts")
        };
        if let Some(at) = fields.take("num_retries") {
            match (at.whole(), self.retries) {
                (Some(retries), None) => {
                    self.retries = Some(retries);
                    notes.add(
                        Kind::Differs,
                        &at,
                        "an attempt goes to the next target (or the next key), never twice to the same",
                    );
                }
                (_, Some(_)) => twice(&at, notes),
                (None, None) => notes.add(Kind::LeftOut, &at, "is no whole number"),
            }
        }
        for (name, stream) in [("timeout", false), ("request_timeout", false), ("stream_timeout", true)] {
            let Some(at) = fields.take(name) else { continue };
            let slot = if stream { &mut self.stream_timeout } else { &mut self.timeout };
            match *slot {
                Some(_) => twice(&at, notes),
                None => *slot = time(&at, notes),
            }
        }
        for (name, for_length) in [("fallbacks", false), ("context_window_fallbacks", true)] {
            for at in fields.list(name, notes) {
                let Some(mut pairs) = at.fields() else {
                    notes.add(Kind::LeftOut, &at, "is no table of a group and those that follow it");
                    continue;
                };
                for (group, at) in pairs.rest() {
                    let others = at.texts(notes);
                    self.follow.push(Follow {
                        group: Some(group).filter(|group| *group != "*"),
                        others,
                        for_length,
                        at,
                    });
                }
            }
        }
        if let Some(at) = fields.take("default_fallbacks") {
            let others = at.texts(notes);
            self.follow.push(Follow { group: None, others, for_length: false, at });
        }
    }

    fn module(&mut self, fields: &mut Fields<'a>, notes: &mut Notes) {
        self.lossy = fields.take("drop_params").and_then(|at| at.bool()) == Some(true);
        let (cache, params) = (fields.take("cache"), fields.take("cache_params"));
        let on = cache.as_ref().and_then(At::bool) == Some(true);
        let Some(mut params) = params.as_ref().and_then(At::fields) else {
            if let Some(at) = cache.filter(|_| on) {
                self.cache = Some("10m".to_owned());
                notes.add(
                    Kind::Differs,
                    &at,
                    "no time is given: answers are kept for ten minutes, in memory, for each tenant apart",
                );
            }
            return;
        };
        let (kind, mode, ttl) = (params.take("type"), params.take("mode"), params.take("ttl"));
        let alike = kind.as_ref().filter(|kind| kind.text().is_some_and(|kind| kind.contains("semantic")));
        let asked = mode.as_ref().filter(|mode| mode.text() == Some("default_off"));
        if let Some(at) = alike {
            notes.add(Kind::LeftOut, at, "only the very same request gets the same answer here: nothing is cached");
        } else if let Some(at) = asked {
            notes.add(
                Kind::LeftOut,
                at,
                "a request can't ask to be cached: nothing is cached; write `cache` into a route",
            );
        } else if on {
            let time = ttl.as_ref().and_then(At::word).and_then(millis);
            self.cache = Some(time.map_or_else(|| "10m".to_owned(), duration));
            if let Some(kind) = kind.filter(|kind| kind.text() != Some("local")) {
                notes.add(Kind::Differs, &kind, "answers are kept in the memory of the gateway, for each tenant apart");
            }
        }
        for (_, at) in params.rest() {
            notes.add(Kind::LeftOut, &at, "answers are kept in the memory of the gateway");
        }
    }

    fn aliases(&mut self, at: &At<'a>, notes: &mut Notes) {
        let Some(mut pairs) = at.fields() else { return notes.add(Kind::LeftOut, at, "is no table") };
        for (alias, at) in pairs.rest() {
            let Some(mut more) = at.fields() else {
                match at.word() {
                    Some(group) => self.aliases.push((alias, group, at)),
                    None => notes.add(Kind::LeftOut, &at, "names no group"),
                }
                continue;
            };
            let group = more.take("model").as_ref().and_then(At::word);
            if let Some(hidden) = more.take("hidden").filter(|hidden| hidden.bool() == Some(true)) {
                notes.add(Kind::LeftOut, &hidden, "lists of models show the catalogue's targets and no routes");
            }
            for (name, at) in more.rest() {
                reasons::left(&at, name, notes);
            }
            match group {
                Some(group) => self.aliases.push((alias, group, at)),
                None => notes.add(Kind::LeftOut, &at, "names no group"),
            }
        }
    }
}

fn strategy(at: &At<'_>, notes: &mut Notes) -> Strategy {
    match at.text() {
        Some("simple-shuffle") => Strategy::Shuffle,
        Some("cost-based-routing") => {
            notes.add(Kind::Differs, at, "what counts is the expected cost of the request, not the sum of two rates");
            Strategy::Cheapest
        }
        Some("latency-based-routing") => {
            notes.add(
                Kind::Differs,
                at,
                "what counts is the expected time of the whole answer (`second_is_worth = \"inf\"`)",
            );
            Strategy::Fastest
        }
        Some("usage-based-routing" | "usage-based-routing-v2") => {
            notes.add(
                Kind::Differs,
                at,
                "shares follow the rpm or tpm that are declared, not what was used in this minute",
            );
            Strategy::Shuffle
        }
        Some("least-busy") => {
            notes.add(
                Kind::Differs,
                at,
                "equal shares; where a second is worth something, the less loaded of two near ties leads",
            );
            Strategy::Shuffle
        }
        _ => {
            notes.add(Kind::LeftOut, at, "no such strategy is known to this importer: shares by weight are taken");
            Strategy::Shuffle
        }
    }
}

/// A time in seconds as milliseconds.
pub(super) fn time(at: &At<'_>, notes: &mut Notes) -> Option<u64> {
    let time = at.word().and_then(millis);
    match time {
        Some(_) => notes.add(
            Kind::Differs,
            at,
            "is the wait for a stream's first token and for its next piece; a whole answer has its share of `total`",
        ),
        None => notes.add(Kind::LeftOut, at, "is no time in seconds"),
    }
    time
}

/// Seconds as milliseconds; none for nothing, and for more than a day.
fn millis(seconds: &str) -> Option<u64> {
    let millis = shifted(seconds, 3)?;
    let whole = millis.split('.').next()?;
    whole.parse().ok().filter(|millis| (1..=86_400_000).contains(millis))
}

/// As policies write it.
pub(super) fn duration(millis: u64) -> String {
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}
