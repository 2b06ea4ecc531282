//! From the text of a policy file to a [`Policy`], or to all its problems.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use globset::{GlobBuilder, GlobSetBuilder};
use toml::de::{DeTable, DeValue};

use super::condition::Condition;
use super::notes::Notes;
use super::preference::Preferred;
use super::raw::{RawAttempts, RawBaseline, RawHedge, RawMatch, RawRequire, RawRoute, RawShadow, RawTest, RawTimeout};
use super::reach::{self, Reach};
use super::require::{self, Complaint};
use super::{
    Baseline, Hedge, HedgeAfter, Lossy, Market, Names, Pattern, Pick, Policy, Requirement, Route, Shadow, select,
    shadow, text,
};
use crate::domain::plan::{Operation, Timeouts};
use crate::domain::problem::Problem;
use crate::domain::target::Target;
use crate::domain::usage::{Bucket, Usage};
use crate::shape::{Node, Spanned};

/// The name under which requests without a route are recorded.
pub(super) const DIRECT: &str = "direct";
/// Attempts where a route says nothing.
pub(super) const ATTEMPTS: u8 = 3;
const MOST_ATTEMPTS: u8 = 10;

pub(super) fn compile(name: &str, file: &str, source: &str, market: &dyn Market) -> Result<Policy, Vec<Problem>> {
    let mut notes = Notes::new(file, source);
    let (document, errors) = DeTable::parse_recoverable(source);
    for error in errors {
        notes.problem(error.span().unwrap_or(0..0), "", (error.message().to_owned(), None));
    }
    // A broken document would only repeat itself below as missing members.
    if !notes.problems.is_empty() {
        return Err(notes.problems);
    }
    let mut compiler = Compiler {
        notes,
        market,
        require: Requirement::ANY,
        baseline: None,
        routes: Vec::new(),
        reaches: Vec::new(),
        places: Vec::new(),
        tests: Vec::new(),
    };
    compiler.document(document.into_inner());
    let Compiler { mut notes, require, baseline, routes, places, tests, .. } = compiler;
    if !notes.problems.is_empty() {
        notes.problems.sort_by_key(|p| (p.line, p.column));
        return Err(notes.problems);
    }
    let names = Names::new(market.targets());
    let (name, file) = (name.into(), file.into());
    Ok(Policy { name, routes, warnings: notes.warnings, file, places, require, baseline, names, tests })
}

/// `attempts` of a route.
struct Attempts {
    attempts: u8,
    timeouts: Timeouts,
    hedge: Option<Hedge>,
}

pub(super) struct Compiler<'a> {
    pub(super) notes: Notes<'a>,
    pub(super) market: &'a dyn Market,
    require: Requirement,
    baseline: Option<Baseline>,
    routes: Vec<Route>,
    /// What each of them takes.
    reaches: Vec<Reach>,
    places: Vec<(u32, u32)>,
    tests: Vec<super::cases::Case>,
}

impl Compiler<'_> {
    fn document(&mut self, document: DeTable<'_>) {
        let (mut routes, mut tests) = (Vec::new(), Vec::new());
        for (key, value) in document {
            match key.get_ref().as_ref() {
                "route" => routes = self.list(value, "route"),
                "test" => tests = self.list(value, "test"),
                "require" => {
                    if let Some(raw) = self.notes.read::<RawRequire>(value, "require") {
                        self.require = self.requirement(&raw, "require");
                    }
                }
                "baseline" => {
                    let raw = self.notes.read::<Spanned<RawBaseline>>(value, "baseline");
                    self.baseline = raw.and_then(|raw| self.baseline(&raw, "baseline"));
                }
                other => {
                    let hint = text::did_you_mean(other, ["route", "test", "require", "baseline"]);
                    let message =
                        format!("`{other}` is no member of a policy; it has require, baseline, route and test");
                    self.notes.problem(key.span(), other, (message, hint));
                }
            }
        }
        if routes.is_empty() && self.notes.problems.is_empty() && self.require == Requirement::ANY {
            // Most likely a file that is being written: in force, it would refuse every name that only routes know.
            self.notes.problem(0..0, "", ("the policy has neither routes nor requirements".to_owned(), None));
        }
        for (number, value) in routes.into_iter().enumerate() {
            let path = format!("route[{number}]");
            if let Some(raw) = self.notes.read::<RawRoute>(value, &path) {
                self.route(&raw, &path);
            }
        }
        // A route that could not be read is not there, and a test that names it is not at fault.
        let all_read = self.notes.problems.is_empty();
        let names: Vec<Arc<str>> = self.routes.iter().map(|r| Arc::clone(&r.name)).collect();
        for (number, value) in tests.into_iter().enumerate() {
            let path = format!("test[{number}]");
            if let Some(raw) = self.notes.read::<RawTest>(value, &path) {
                let routes = all_read.then_some(names.as_slice());
                let case = super::cases::Case::compile(raw, &path, &mut self.notes, self.market, routes);
                self.tests.push(case);
            }
        }
    }

    /// `[[name]]` as single tables, so that each one's mistakes are reported.
    fn list<'de>(&mut self, value: Node<'de>, name: &str) -> Vec<Node<'de>> {
        let span = value.span();
        if let DeValue::Array(items) = value.into_inner() {
            return items.into_iter().collect();
        }
        self.notes.problem(span, name, (format!("must be written as [[{name}]]"), None));
        Vec::new()
    }

    fn route(&mut self, raw: &RawRoute, path: &str) {
        let at = |member: &str| format!("{path}.{member}");
        let name: Arc<str> = raw.name.get_ref().as_str().into();
        let taken = |complaint: &str| (complaint.to_owned(), None);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            let complaint = taken("a route's name is letters, digits, `-`, `_` and `.`: it is shown in headers");
            self.notes.problem(raw.name.span(), &at("name"), complaint);
        } else if &*name == DIRECT {
            let complaint = taken("`direct` is the name of requests without a route");
            self.notes.problem(raw.name.span(), &at("name"), complaint);
        } else if self.routes.iter().any(|r| r.name == name) {
            self.notes.problem(raw.name.span(), &at("name"), taken("there is a route of that name above"));
        }
        let when = self.condition(raw.when.as_ref(), &at("when"));
        let (models, literal_models, operations) = self.matches(&raw.matches, &at("match"));
        let own = raw.require.as_ref().map_or(Requirement::ANY, |r| self.requirement(r, &at("require")));
        let Attempts { attempts, timeouts, hedge } = self.attempts(raw.attempts.as_ref(), &at("attempts"));
        let max_output = self.tokens(raw.max_output.as_ref(), &at("max_output"));
        let output_cap = self.tokens(raw.output_cap.as_ref(), &at("output_cap"));
        if let (Some(default), Some(cap), Some(written)) = (max_output, output_cap, &raw.max_output)
            && default > cap
        {
            self.notes.problem(written.span(), &at("max_output"), taken("is above the route's `output_cap`"));
        }
        let picks = self.picks(&raw.targets, &at("targets"));
        let Preferred { prefer, split, canary, affinity, explore } =
            self.preferred(raw.prefer.as_ref(), &picks, &at("prefer"));
        let route = Route {
            literal_models,
            picks,
            require: self.require.narrow(&own),
            prefer,
            split,
            canary,
            affinity,
            explore,
            hedge,
            baseline: match &raw.baseline {
                Some(own) => self.baseline(own, &at("baseline")),
                None => self.baseline.clone(),
            },
            shadow: raw.shadow.as_ref().and_then(|raw| self.shadow(raw, &at("shadow"))),
            lossy: self.lossy(raw.lossy.as_ref(), &at("lossy")),
            cache: self.notes.duration(raw.cache.as_ref(), &at("cache")),
            max_output,
            output_cap,
            attempts,
            timeouts,
            models,
            operations,
            when,
            name,
        };
        self.reach(raw, &route, &at("match"));
        self.routes.push(route);
    }

    /// Notes what the route takes, and says so if nothing is left for it.
    fn reach(&mut self, raw: &RawRoute, route: &Route, path: &str) {
        let models = raw.matches.get_ref().model.as_ref();
        let reach = Reach {
            models: models.map(|globs| globs.iter().map(|glob| glob.get_ref().clone()).collect()),
            operations: route.operations.clone(),
            always: raw.when.is_none(),
        };
        if let Some(by) = reach::shadowed(&self.reaches, &reach).and_then(|by| self.routes.get(by)) {
            let message =
                format!("route `{}` is never reached: `{}` above takes all that it matches", route.name, by.name);
            self.notes.warning(raw.matches.span(), path, (message, None));
        }
        self.reaches.push(reach);
        self.places.push(self.notes.place(raw.name.span()));
    }

    fn tokens(&mut self, given: Option<&Spanned<u64>>, path: &str) -> Option<u64> {
        let given = given?;
        if *given.get_ref() == 0 {
            self.notes.problem(given.span(), path, ("must be at least 1".to_owned(), None));
        }
        Some(*given.get_ref())
    }

    fn condition(&mut self, raw: Option<&Spanned<String>>, path: &str) -> Option<Condition> {
        let raw = raw?;
        // Characters of the condition are those of the file unless it is written with escapes.
        let place = |notes: &Notes<'_>, at: usize| {
            let (span, text) = (raw.span(), raw.get_ref());
            let begins = notes.written(span.clone()).find(text.as_str()).map(|before| span.start + before);
            let within = text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
            begins.map_or(span, |begins| begins + within..begins + within)
        };
        match Condition::compile(raw.get_ref()) {
            Ok((condition, warnings)) => {
                for (at, complaint) in warnings {
                    let span = place(&self.notes, at);
                    self.notes.warning(span, path, complaint);
                }
                Some(condition)
            }
            Err(faults) => {
                for (at, complaint) in faults {
                    let span = place(&self.notes, at);
                    self.notes.problem(span, path, complaint);
                }
                None
            }
        }
    }

    fn matches(
        &mut self,
        raw: &Spanned<RawMatch>,
        path: &str,
    ) -> (Option<globset::GlobSet>, Vec<Arc<str>>, Option<Vec<Operation>>) {
        let (span, raw) = (raw.span(), raw.get_ref());
        if raw.model.is_none() && raw.operation.is_none() {
            let hint = Some("write match = { model = [\"*\"] } for all".to_owned());
            self.notes.problem(span.clone(), path, ("names neither models nor operations".to_owned(), hint));
        }
        let mut literals = Vec::new();
        let models = raw.model.as_ref().map(|globs| {
            let mut set = GlobSetBuilder::new();
            for glob in globs {
                let text = glob.get_ref();
                if !text.contains(['*', '?', '[', '{', '\\']) {
                    literals.push(text.as_str().into());
                }
                let read = GlobBuilder::new(text).build().map_err(|e| (format!("`{text}`: {}", e.kind()), None));
                if let Some(glob) = self.notes.keep(glob.span(), &format!("{path}.model"), read) {
                    set.add(glob);
                }
            }
            if globs.is_empty() {
                self.notes.problem(span.clone(), &format!("{path}.model"), ("is empty".to_owned(), None));
            }
            set.build()
        });
        let models = models.and_then(|built| {
            self.notes.keep(span, &format!("{path}.model"), built.map_err(|e| (e.to_string(), None)))
        });
        let operations = raw.operation.as_ref().map(|names| {
            let mut known = Vec::new();
            for name in names {
                let read = Operation::by_name(name.get_ref()).ok_or_else(|| {
                    let hint = text::did_you_mean(name.get_ref(), Operation::ALL.map(Operation::name));
                    (format!("operation `{}` is not supported", name.get_ref()), hint)
                });
                known.extend(self.notes.keep(name.span(), &format!("{path}.operation"), read));
            }
            known
        });
        (models, literals, operations)
    }

    fn picks(&mut self, patterns: &Spanned<Vec<Spanned<String>>>, path: &str) -> Arc<[Pick]> {
        let targets = self.market.targets();
        if patterns.get_ref().is_empty() {
            self.notes.problem(patterns.span(), path, ("a route needs at least one target".to_owned(), None));
        }
        let mut picks: Vec<Pick> = Vec::new();
        for (position, written) in patterns.get_ref().iter().enumerate() {
            let Some(pattern) = self.notes.pattern(written, path) else { continue };
            let position = u16::try_from(position).unwrap_or(u16::MAX);
            let mut any = false;
            for target in targets.iter().filter(|t| pattern.matches(t)) {
                any = true;
                if !picks.iter().any(|p| p.target == target.id) {
                    picks.push(Pick { target: target.id, position });
                }
            }
            if any {
                continue;
            }
            let message = format!("`{}` matches no target", pattern.as_str());
            // A provider whose models come from the configuration may have none today.
            let empty_provider = pattern
                .any_of_provider()
                .is_some_and(|p| self.market.providers().contains(&p) && !targets.iter().any(|t| *t.provider == *p));
            if empty_provider {
                self.notes.warning(written.span(), path, (message + " yet", None));
            } else {
                let hint = self.nearest(written.get_ref());
                self.notes.problem(written.span(), path, (message, hint));
            }
        }
        picks.into()
    }

    pub(super) fn nearest(&self, written: &str) -> Option<String> {
        let targets = self.market.targets();
        if let Some(family) = written.strip_prefix("family:") {
            return text::did_you_mean(family, targets.iter().filter_map(|t| t.family.as_deref()));
        }
        let (provider, model) = written.split_once('/')?;
        if self.market.providers().contains(&provider) {
            let bare = model.rsplit_once('@').map_or(model, |(m, _)| m);
            let same = || targets.iter().filter(|t| *t.provider == *provider);
            let anywhere = Pattern::parse(&format!("{provider}/{bare}")).ok();
            let endpoints: BTreeSet<&str> =
                same().filter(|t| anywhere.as_ref().is_some_and(|p| p.matches(t))).map(|t| &*t.endpoint).collect();
            if !endpoints.is_empty() {
                let (all, endpoints) = (endpoints.len(), endpoints.into_iter().collect::<Vec<_>>().join(", "));
                return Some(format!("its endpoint{} {endpoints}", if all == 1 { " is" } else { "s are" }));
            }
            let begins = || same().map(|t| &*t.model).filter(|id| id.starts_with(bare)).min_by_key(|id| id.len());
            return text::did_you_mean(bare, same().map(|t| &*t.model))
                .or_else(|| select::nearest_target(targets, written))
                .or_else(|| begins().map(|id| format!("did you mean `{id}`?")));
        }
        text::did_you_mean(provider, self.market.providers())
    }

    fn baseline(&mut self, raw: &Spanned<RawBaseline>, path: &str) -> Option<Baseline> {
        let price_as_of = self.notes.moment(raw.get_ref().price_as_of.as_ref(), &format!("{path}.price_as_of"));
        let market = self.market;
        let target = self.one_target(market, &raw.get_ref().target, "a baseline", &format!("{path}.target"))?;
        let retired = target.available_to.is_some();
        let complaint = match price_as_of {
            None if retired && raw.get_ref().price_as_of.is_none() => {
                let hint = Some("add price_as_of = 2025-01-31 or another day of its service".to_owned());
                Some((format!("`{}` has an end of service: as a baseline it needs a date", target.name), hint))
            }
            // A baseline without a price would make every report say that nothing is known.
            Some(day) if market.price(target, &Usage::ZERO.with(Bucket::Input, 1), day).is_none() => {
                Some((format!("the price of `{}` on {} is not known", target.name, text::date(day)), None))
            }
            _ => None,
        };
        if let Some(complaint) = complaint {
            self.notes.problem(raw.span(), path, complaint);
        }
        Some(Baseline { target: target.id, name: Arc::clone(&target.name), price_as_of, retired })
    }

    /// One target, a share and a limit: all three, or no shadow.
    fn shadow(&mut self, raw: &RawShadow, path: &str) -> Option<Shadow> {
        let at = |member: &str| format!("{path}.{member}");
        let (sample, per_day) = shadow::read(raw);
        let sample = self.notes.keep(raw.sample.span(), &at("sample"), sample.map_err(|message| (message, None)));
        let per_day = self.notes.keep(raw.max_cost.span(), &at("max_cost"), per_day.map_err(|message| (message, None)));
        let target = self.one_target(self.market, &raw.target, "a shadow", &at("target"))?;
        if &*target.model == "*" {
            let complaint = (format!("`{}` takes any model; a shadow is one", target.name), None);
            self.notes.problem(raw.target.span(), &at("target"), complaint);
        }
        Some(Shadow { target: target.id, sample_ppm: sample?, per_day: per_day? })
    }

    /// The one target that a pattern stands for.
    pub(super) fn one_target<'m>(
        &mut self,
        market: &'m dyn Market,
        written: &Spanned<String>,
        what: &str,
        path: &str,
    ) -> Option<&'m Target> {
        let pattern = self.notes.pattern(written, path)?;
        let found: Vec<&Target> = market.targets().iter().filter(|t| pattern.matches(t)).collect();
        if let [target] = found.as_slice() {
            return Some(target);
        }
        let complaint = if found.is_empty() {
            (format!("`{}` matches no target", pattern.as_str()), self.nearest(written.get_ref()))
        } else {
            let names: Vec<&str> = found.iter().take(5).map(|t| &*t.name).collect();
            (format!("{what} is one target; `{}` is {}", pattern.as_str(), names.join(", ")), None)
        };
        self.notes.problem(written.span(), path, complaint);
        None
    }

    fn lossy(&mut self, raw: Option<&Spanned<String>>, path: &str) -> Lossy {
        let Some(raw) = raw else { return Lossy::default() };
        let read = match raw.get_ref().as_str() {
            "refuse" => Ok(Lossy::Refuse),
            "allow" => Ok(Lossy::Allow),
            other => {
                Err((format!("`{other}` is not one of refuse, allow"), text::did_you_mean(other, ["refuse", "allow"])))
            }
        };
        self.notes.keep(raw.span(), path, read).unwrap_or_default()
    }

    fn attempts(&mut self, raw: Option<&RawAttempts>, path: &str) -> Attempts {
        let none = Attempts { attempts: ATTEMPTS, timeouts: Timeouts::default(), hedge: None };
        let Some(raw) = raw else { return none };
        let hedge = raw.hedge.as_ref().and_then(|hedge| self.hedge(hedge, &format!("{path}.hedge")));
        let max = raw.max.as_ref().map_or(ATTEMPTS, |max| {
            let read = match *max.get_ref() {
                0 => Err(("a request needs at least one attempt".to_owned(), None)),
                n if n > MOST_ATTEMPTS => Err((format!("at most {MOST_ATTEMPTS} attempts"), None)),
                n => Ok(n),
            };
            self.notes.keep(max.span(), &format!("{path}.max"), read).unwrap_or(ATTEMPTS)
        });
        let none = RawTimeout { connect: None, first_token: None, idle: None, total: None };
        let timeout = raw.timeout.as_ref().unwrap_or(&none);
        let default = Timeouts::default();
        let mut wait = |given: &Option<Spanned<String>>, name: &str, default: Duration| {
            self.notes.duration(given.as_ref(), &format!("{path}.timeout.{name}")).unwrap_or(default)
        };
        let timeouts = Timeouts {
            connect: wait(&timeout.connect, "connect", default.connect),
            first_token: wait(&timeout.first_token, "first_token", default.first_token),
            idle: wait(&timeout.idle, "idle", default.idle),
            total: wait(&timeout.total, "total", default.total),
        };
        if let (1, Some(_), Some(written)) = (max, hedge, &raw.max) {
            self.notes.problem(
                written.span(),
                &format!("{path}.max"),
                ("a hedge is a second attempt".to_owned(), None),
            );
        }
        Attempts { attempts: max, timeouts, hedge }
    }

    fn hedge(&mut self, raw: &RawHedge, path: &str) -> Option<Hedge> {
        let after = match raw.after.get_ref().as_str() {
            "p95" => Some(HedgeAfter::P95),
            other if other.starts_with('p') => {
                let message =
                    (format!("`{other}` is neither a duration nor `p95`, the one share that is measured"), None);
                self.notes.problem(raw.after.span(), &format!("{path}.after"), message);
                None
            }
            _ => self.notes.duration(Some(&raw.after), &format!("{path}.after")).map(HedgeAfter::Fixed),
        };
        let max_extra_cost = self.notes.money(Some(&raw.max_extra_cost), &format!("{path}.max_extra_cost"));
        Some(Hedge { after: after?, max_extra_cost: max_extra_cost? })
    }

    fn requirement(&mut self, raw: &RawRequire, path: &str) -> Requirement {
        let at = |member: &str| format!("{path}.{member}");
        let market = self.market;
        let notes = &mut self.notes;
        let operator = list(notes, raw.operator.as_ref(), &at("operator"), |n| require::countries(n));
        let parent = list(notes, raw.parent.as_ref(), &at("parent"), |n| require::countries(n));
        let word = |given: &Option<Spanned<String>>| given.as_ref().map(|g| (g.span(), g.get_ref().clone()));
        let (guarantee, tier, unmeasured) = (word(&raw.min_guarantee), word(&raw.min_tier), word(&raw.unmeasured));
        Requirement {
            processing: list(notes, raw.processing.as_ref(), &at("processing"), |n| require::countries(n)),
            operator,
            parent: if raw.parent.is_none() { operator } else { parent },
            retention_days: raw.retention_days,
            training: list(notes, raw.training.as_ref(), &at("training"), |n| require::training(n)),
            min_guarantee: guarantee.and_then(|(s, g)| notes.keep(s, &at("min_guarantee"), require::guarantee(&g))),
            min_tier: tier.and_then(|(s, t)| notes.keep(s, &at("min_tier"), require::tier(&t, market))),
            max_cost: notes.money(raw.max_cost.as_ref(), &at("max_cost")),
            ttft_p95_ms: notes.duration(raw.ttft_p95.as_ref(), &at("ttft_p95")).map(require::millis),
            measured_only: unmeasured
                .is_some_and(|(s, u)| notes.keep(s, &at("unmeasured"), require::unmeasured(&u)).unwrap_or(true)),
        }
    }
}

/// Reads a list of words, each of which is complained about at its own place.
fn list<T>(
    notes: &mut Notes<'_>,
    given: Option<&Spanned<Vec<Spanned<String>>>>,
    path: &str,
    read: impl Fn(&mut dyn Iterator<Item = &str>) -> Result<T, Complaint>,
) -> Option<T> {
    let given = given?;
    let mut good = true;
    for word in given.get_ref() {
        good &= notes.keep(word.span(), path, read(&mut std::iter::once(word.get_ref().as_str()))).is_some();
    }
    if !good {
        return None;
    }
    notes.keep(given.span(), path, read(&mut given.get_ref().iter().map(|w| w.get_ref().as_str())))
}
