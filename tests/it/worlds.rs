//! Generated worlds: providers with any facts, policies with any rules, keys and requests with any requirements, upstreams
//! with any fault, and a reload from one world to the next while requests run. Whatever happens, no byte goes where a
//! requirement forbids it, no plan exceeds its attempts, and no request sees two worlds.
//!
//! What is allowed is worked out here once more, from the generated facts alone. One request is one case;
//! `STELLWERK_WORLDS=100000` asks for so many (`make soak`).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stellwerk::admission::NewKey;

use crate::harness::Gateway;
use crate::storm::{BAD, Dice, Double, Mood, files};

const PLACES: [&str; 5] = ["DE", "FI", "US", "CN", "GB"];
const GUARANTEES: [&str; 3] = ["none", "documented", "contract"];
const TRAINING: [&str; 3] = ["no", "opt-out", "yes"];
/// Providers of a world, each with one model.
const SLOTS: usize = 6;
const ROUTES: usize = 4;
const KEYS: usize = 6;
const CLIENTS: usize = 8;
/// Requests of a world; the upstreams are well for the first half.
const EACH: usize = 100;

/// What a provider's file says; `None` = nothing.
#[derive(Clone, Debug)]
struct Facts {
    processing: Option<Vec<usize>>,
    operator: Option<usize>,
    parent: Option<usize>,
    guarantee: Option<usize>,
    retention: Option<usize>,
    training: Option<usize>,
    stale: bool,
    dear: bool,
}

/// A requirement; `None` = nothing is required.
#[derive(Clone, Debug, Default)]
struct Need {
    processing: Option<Vec<usize>>,
    operator: Option<Vec<usize>>,
    parent: Option<Vec<usize>>,
    guarantee: Option<usize>,
    retention: Option<usize>,
    training: Option<Vec<usize>>,
    cheap: bool,
}

impl Dice {
    fn sometimes(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn maybe<T>(&mut self, percent: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.sometimes(percent).then(|| make(self))
    }

    /// Some of so many, one at least.
    fn some_of(&mut self, all: usize) -> Vec<usize> {
        let mut some: Vec<usize> = (0..all).filter(|_| self.sometimes(50)).collect();
        if some.is_empty() {
            some.push(self.below(all));
        }
        some
    }
}

impl Facts {
    fn generate(dice: &mut Dice) -> Self {
        Self {
            processing: dice.maybe(90, |d| (0..=d.below(2)).map(|_| d.below(PLACES.len())).collect()),
            operator: dice.maybe(90, |d| d.below(PLACES.len())),
            parent: dice.maybe(90, |d| d.below(PLACES.len())),
            guarantee: dice.maybe(80, |d| d.below(3)),
            retention: dice.maybe(80, |d| d.below(3)),
            training: dice.maybe(80, |d| d.below(3)),
            stale: dice.sometimes(10),
            dear: dice.sometimes(30),
        }
    }

    fn file(&self, name: &str, model: &str, url: &str) -> String {
        let mut text = format!("name = \"{name}\"\ntitle = \"{name}\"\ndialect = \"openai-chat\"\n");
        text.push_str(
            "auth = { scheme = \"bearer\" }\nkeys = [{ env = \"PATH\" }]\ndocs = \"https://example.invalid\"\n",
        );
        let place = |at: usize| PLACES[at];
        for (member, at) in [("operator", self.operator), ("parent", self.parent)] {
            at.map(|at| writeln!(text, "{member} = \"{}\"", place(at)));
        }
        let _ = write!(text, "[[endpoint]]\nname = \"main\"\nbase_url = \"{url}\"\nallow_http = true\n");
        if let Some(places) = &self.processing {
            let places: Vec<String> = places.iter().map(|at| format!("\"{}\"", place(*at))).collect();
            let _ = writeln!(text, "processing = [{}]", places.join(", "));
        }
        self.guarantee.map(|at| writeln!(text, "guarantee = \"{}\"", GUARANTEES[at]));
        self.retention.map(|days| writeln!(text, "retention_days = {days}"));
        self.training.map(|at| writeln!(text, "training = \"{}\"", TRAINING[at]));
        let expires = if self.stale { "2021-01-01" } else { "2099-01-01" };
        let (input, output) = if self.dear { ("100000", "100000") } else { ("1", "2") };
        let _ = write!(
            text,
            "cancel_stops_billing = true\nsource = \"https://example.invalid\"\nchecked = 2020-06-01\n\
             expires = {expires}\n[[model]]\nid = \"{model}\"\ncontext = 100000\nmax_output = 4096\n\
             supports = [\"stream\", \"tools\"]\n[[model.price]]\nfrom = 2020-01-01\ninput = \"{input}\"\n\
             output = \"{output}\"\nsource = \"https://example.invalid\"\nchecked = 2020-06-01\n"
        );
        text
    }
}

impl Need {
    fn generate(dice: &mut Dice) -> Self {
        let places = |d: &mut Dice| d.some_of(PLACES.len());
        let operator = dice.maybe(15, places);
        // An operator alone is asked of the parent too.
        let parent = dice.maybe(15, places).or_else(|| operator.clone());
        Self {
            processing: dice.maybe(30, places),
            operator,
            parent,
            guarantee: dice.maybe(15, |d| 1 + d.below(2)),
            retention: dice.maybe(15, |d| d.below(3)),
            training: dice.maybe(15, |d| d.some_of(3)),
            cheap: dice.sometimes(20),
        }
    }

    /// Its parts: name, value as words, whether the words are a list.
    fn parts(&self) -> Vec<(&'static str, Vec<String>, bool)> {
        let places = |at: &Vec<usize>| at.iter().map(|at| PLACES[*at].to_owned()).collect();
        let mut parts = Vec::new();
        for (name, list) in [("processing", &self.processing), ("operator", &self.operator), ("parent", &self.parent)] {
            parts.extend(list.as_ref().map(|at| (name, places(at), true)));
        }
        parts.extend(self.retention.map(|days| ("retention_days", vec![days.to_string()], false)));
        let words = |at: &Vec<usize>| at.iter().map(|at| TRAINING[*at].to_owned()).collect();
        parts.extend(self.training.as_ref().map(|at| ("training", words(at), true)));
        parts.extend(self.guarantee.map(|at| ("min_guarantee", vec![GUARANTEES[at].to_owned()], false)));
        parts.extend(self.cheap.then(|| ("max_cost", vec!["0.01 USD".to_owned()], false)));
        parts
    }

    /// As in a header.
    fn line(&self) -> String {
        let parts = self.parts().into_iter().map(|(name, words, _)| format!("{name}={}", words.join(",")));
        parts.collect::<Vec<_>>().join("; ")
    }

    /// As in a file.
    fn table(&self) -> String {
        let parts = self.parts().into_iter().map(|(name, words, list)| match (list, name) {
            (true, _) => format!("{name} = [\"{}\"]", words.join("\", \"")),
            (false, "retention_days") => format!("{name} = {}", words[0]),
            (false, _) => format!("{name} = \"{}\"", words[0]),
        });
        format!("{{ {} }}", parts.collect::<Vec<_>>().join(", "))
    }

    fn allows(&self, facts: &Facts) -> bool {
        let fresh = !facts.stale;
        let among = |allowed: &Option<Vec<usize>>, at: Option<usize>| {
            allowed.as_ref().is_none_or(|allowed| fresh && at.is_some_and(|at| allowed.contains(&at)))
        };
        let everywhere = self.processing.as_ref().is_none_or(|allowed| {
            fresh && facts.processing.as_ref().is_some_and(|all| all.iter().all(|at| allowed.contains(at)))
        });
        everywhere
            && among(&self.operator, facts.operator)
            && among(&self.parent, facts.parent)
            && among(&self.training, facts.training)
            && self.guarantee.is_none_or(|least| fresh && facts.guarantee.is_some_and(|at| at >= least))
            && self.retention.is_none_or(|most| fresh && facts.retention.is_some_and(|days| days <= most))
            && !(self.cheap && facts.dear)
    }
}

/// A route as generated: where it may go, before any requirement.
struct Route {
    need: Need,
    max: usize,
    targets: Vec<usize>,
    /// Where some of its requests go.
    canary: Option<usize>,
    shadow: Option<usize>,
    text: String,
}

struct World {
    facts: Vec<Facts>,
    file: Need,
    routes: Vec<Route>,
    /// Some upstreams give nothing, and nobody waits long for them.
    stalls: bool,
}

fn model(world: usize, slot: usize) -> String {
    format!("m{world}x{slot}")
}

fn target(world: usize, slot: usize) -> String {
    format!("w{world}s{slot}/{}", model(world, slot))
}

impl World {
    fn generate(number: usize, dice: &mut Dice) -> Self {
        let facts = (0..SLOTS).map(|_| Facts::generate(dice)).collect();
        let stalls = dice.sometimes(20);
        let routes = (0..ROUTES).map(|at| Self::route(number, at, stalls, dice)).collect();
        let file = dice.maybe(30, Need::generate).unwrap_or_default();
        Self { facts, file, routes, stalls }
    }

    fn route(world: usize, at: usize, stalls: bool, dice: &mut Dice) -> Route {
        let need = dice.maybe(70, Need::generate).unwrap_or_default();
        let max = 1 + dice.below(4);
        let targets = if dice.sometimes(40) { (0..SLOTS).collect() } else { dice.some_of(SLOTS) };
        let patterns: Vec<String> = if targets.len() == SLOTS {
            vec![format!("\"w{world}s*/*\"")]
        } else {
            targets.iter().map(|slot| format!("\"w{world}s{slot}/*\"")).collect()
        };
        let mut text = format!("[[route]]\nname = \"r{at}\"\nmatch = {{ model = [\"r{at}\"] }}\n");
        let _ = writeln!(text, "targets = [{}]\nrequire = {}", patterns.join(", "), need.table());
        if dice.sometimes(20) {
            text.push_str("when = 'request.input_tokens < 1000000 && key.tenant != \"nobody\"'\n");
        }
        let shadow = dice.maybe(15, |d| d.below(SLOTS));
        if let Some(slot) = shadow {
            let to = target(world, slot);
            let _ = writeln!(text, "shadow = {{ target = \"{to}\", sample = 0.5, max_cost = \"1000000 USD/day\" }}");
        }
        let (first_token, total) = if stalls { ("300ms", "1s") } else { ("20s", "60s") };
        let hedge = if max > 1 && dice.sometimes(30) {
            "hedge = { after = \"5ms\", max_extra_cost = \"1000 USD\" }\n"
        } else {
            ""
        };
        let _ = write!(
            text,
            "[route.attempts]\nmax = {max}\n{hedge}\
             timeout = {{ connect = \"5s\", first_token = \"{first_token}\", idle = \"20s\", total = \"{total}\" }}\n"
        );
        text.push_str("[route.prefer]\n");
        let prefer = [
            String::new(),
            "second_is_worth = \"0.01 USD\"\nexplore = \"20%\"\n".to_owned(),
            "second_is_worth = \"inf\"\n".to_owned(),
            "order = \"listed\"\n".to_owned(),
            format!("order = \"weighted\"\nweights = {{ {} = 3 }}\nsticky = \"session\"\n", patterns[0]),
            "affinity = \"5m\"\n".to_owned(),
        ];
        text.push_str(&prefer[dice.below(prefer.len())]);
        let canary = dice.maybe(25, |d| d.below(SLOTS));
        if let Some(slot) = canary {
            let _ = writeln!(text, "canary = {{ target = \"{}\", share = \"40%\" }}", target(world, slot));
        }
        Route { need, max, targets, canary, shadow, text }
    }

    fn policy(&self) -> String {
        let routes: Vec<&str> = self.routes.iter().map(|route| &*route.text).collect();
        format!("require = {}\n{}", self.file.table(), routes.join(""))
    }

    /// Where a request may go at all, and how often it may be sent.
    fn lawful(&self, asked: &Asked, keys: &[Need]) -> (Vec<usize>, usize) {
        let (mut targets, max) = match asked.goal {
            Goal::Route(at) => (self.routes[at].targets.clone(), self.routes[at].max),
            // What is named directly is tried once: there is no other.
            Goal::Direct(slot) => (vec![slot], 1),
        };
        targets.retain(|slot| self.allows(asked, keys, *slot));
        (targets, max)
    }

    /// What all that has a say says of a place.
    fn allows(&self, asked: &Asked, keys: &[Need], slot: usize) -> bool {
        let route = self.route_of(asked).map(|route| &route.need);
        let needs = [Some(&self.file), route, Some(&keys[asked.key]), asked.header.as_ref()];
        needs.iter().flatten().all(|need| need.allows(&self.facts[slot]))
    }

    fn route_of(&self, asked: &Asked) -> Option<&Route> {
        if let Goal::Route(at) = asked.goal { Some(&self.routes[at]) } else { None }
    }

    fn put(&self, number: usize, doubles: &[Double], gateway: &Gateway) {
        for entry in fs::read_dir(gateway.path("providers")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (slot, facts) in self.facts.iter().enumerate() {
            let name = format!("w{number}s{slot}");
            let text = facts.file(&name, &model(number, slot), &doubles[slot].url);
            fs::write(gateway.path(&format!("providers/{name}.toml")), text).unwrap();
        }
        fs::write(gateway.path("policies/default.toml"), self.policy()).unwrap();
    }
}

#[derive(Clone, Copy, Debug)]
enum Goal {
    Route(usize),
    Direct(usize),
}

/// A request and what came of it.
#[derive(Debug)]
struct Asked {
    prompt: String,
    key: usize,
    header: Option<Need>,
    goal: Goal,
    /// The state of things at its beginning and end: world and half.
    between: (usize, usize),
    status: u16,
    told: String,
}

/// What all tasks of a run share.
struct Run {
    gateway: Gateway,
    keys: Vec<(String, Need)>,
    /// In which worlds some upstreams give nothing.
    stalls: Vec<bool>,
    /// Twice the world's number, plus one when its upstreams may be ill. A reload in progress is the next one's.
    state: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
    done: AtomicUsize,
    stop: AtomicBool,
}

impl Run {
    async fn client(self: Arc<Self>, number: usize) {
        let mut dice = Dice(0x5EED_0001 + number as u64 * 7_919);
        let mut count = 0;
        while !self.stop.load(Ordering::Relaxed) {
            count += 1;
            let begin = self.state.load(Ordering::SeqCst);
            // What is named directly has no route's limits: nobody waits half a minute here.
            let direct = dice.sometimes(20) && !self.stalls[begin / 2];
            let goal = if direct { Goal::Direct(dice.below(SLOTS)) } else { Goal::Route(dice.below(ROUTES)) };
            let name = match goal {
                Goal::Route(at) => format!("r{at}"),
                Goal::Direct(slot) => target(begin / 2, slot),
            };
            let (prompt, key) = (format!("c{number}-{count}"), dice.below(KEYS));
            let header = dice.maybe(40, Need::generate).filter(|need| !need.line().is_empty());
            let stream = dice.sometimes(50);
            let body = format!(
                r#"{{"model":"{name}","stream":{stream},"messages":[{{"role":"user","content":"{prompt}"}}]}}"#
            );
            let url = format!("{}/chat/completions", self.gateway.base);
            let mut request = self.gateway.client.post(url).bearer_auth(&self.keys[key].0);
            if let Some(need) = &header {
                request = request.header("x-stellwerk-require", need.line());
            }
            // Whoever waits a second for a limited target may find that it stalls in a later world, and has the patience of
            // its own.
            let request = request.header("content-type", "application/json").timeout(Duration::from_secs(100));
            let sent = request.body(body).send().await;
            let response = sent.unwrap_or_else(|error| {
                let now = self.state.load(Ordering::SeqCst);
                panic!("{prompt} by key {key} to {name}, stream: {stream}, header: {header:?}, from {begin} to {now}: {error:?}")
            });
            let status = response.status().as_u16();
            // A cut stream may break off for the client as well: what counts here is where it went.
            let told = response.text().await.unwrap_or_default();
            let between = (begin, self.state.load(Ordering::SeqCst));
            self.asked.lock().unwrap().push(Asked { prompt, key, header, goal, between, status, told });
            self.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn until(&self, done: usize) {
        let all = async {
            while self.done.load(Ordering::SeqCst) < done {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), all).await.expect("requests end");
    }
}

/// What was checked, so that a run which checks nothing is seen.
#[derive(Debug, Default)]
struct Tally {
    requests: usize,
    answered: usize,
    refused: usize,
    attempts: usize,
    shadows: usize,
}

fn check(worlds: &[World], run: &Run, hits: &HashMap<String, Vec<String>>) -> Tally {
    let keys: Vec<Need> = run.keys.iter().map(|(_, need)| need.clone()).collect();
    let mut tally = Tally::default();
    for asked in run.asked.lock().unwrap().iter() {
        tally.requests += 1;
        let went: Vec<(usize, usize)> = hits.get(&asked.prompt).into_iter().flatten().map(|m| place(m)).collect();
        let first = went.first().map_or(asked.between.0 / 2, |(world, _)| *world);
        assert!(went.iter().all(|(world, _)| *world == first), "two worlds: {asked:?} went to {went:?}");
        let world = &worlds[first];
        let (lawful, max) = world.lawful(asked, &keys);
        let beside = |of: fn(&Route) -> Option<usize>| {
            world.route_of(asked).and_then(of).filter(|slot| world.allows(asked, &keys, *slot))
        };
        let (canary, shadow) = (beside(|route| route.canary), beside(|route| route.shadow));
        for (_, slot) in &went {
            assert!(
                lawful.contains(slot) || canary == Some(*slot) || shadow == Some(*slot),
                "{asked:?} went to slot {slot}: {:?}, where only {lawful:?} may be asked; key {:?}, file {:?}\n{}",
                world.facts[*slot],
                keys[asked.key],
                world.file,
                world.policy(),
            );
        }
        // One target is asked once, but for the shadow.
        let shadows = usize::from(went.iter().any(|(_, slot)| shadow == Some(*slot)));
        assert!(went.len() <= max + shadows, "{asked:?} was sent {} times, {max} are allowed", went.len());
        tally.attempts += went.len();
        tally.shadows += shadows;
        tally.answered += usize::from(asked.status == 200);
        tally.refused += usize::from(went.is_empty());
        let (begin, end) = asked.between;
        if begin != end {
            continue;
        }
        if lawful.is_empty() && canary.is_none() {
            assert!(asked.status != 200 && went.is_empty(), "nothing is lawful, and yet: {asked:?}");
        } else if !lawful.is_empty() && begin % 2 == 0 && !worlds[begin / 2].stalls {
            assert_eq!(asked.status, 200, "{lawful:?} are lawful and well, and yet {}: {asked:?}", asked.told);
        }
    }
    tally
}

fn place(model: &str) -> (usize, usize) {
    let (world, slot) = model.strip_prefix('m').unwrap().split_once('x').unwrap();
    (world.parse().unwrap(), slot.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_any_world_nothing_goes_where_it_must_not() {
    let total: usize = std::env::var("STELLWERK_WORLDS").ok().map_or(5_000, |text| text.parse().unwrap());
    let mut dice = Dice(20_261_129);
    let mut doubles = Vec::new();
    for _ in 0..SLOTS {
        doubles.push(Double::start().await);
    }
    let worlds: Vec<World> = (0..total.div_ceil(EACH)).map(|number| World::generate(number, &mut dice)).collect();
    let gateway = Gateway::start_in(files(
        &[],
        "[[route]]\nname = \"none\"\nmatch = { model = [\"none\"] }\ntargets = [\"openai/*\"]\n",
    ))
    .await;
    let needs: Vec<Need> =
        (0..KEYS).map(|at| if at == 0 { Need::default() } else { Need::generate(&mut dice) }).collect();
    let keys: Vec<(String, Need)> = needs
        .into_iter()
        .enumerate()
        .map(|(at, need)| {
            let requirement = Some(need.line()).filter(|line| !line.is_empty());
            let tenant = format!("t{at}");
            (gateway.key_of(NewKey { tenant, requirement, ..NewKey::default() }), need)
        })
        .collect();
    let mut run = Run {
        gateway,
        keys,
        stalls: worlds.iter().map(|world| world.stalls).collect(),
        state: AtomicUsize::new(0),
        asked: Mutex::default(),
        done: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
    };
    let first = std::mem::replace(&mut run.gateway.key, run.keys[KEYS - 1].0.clone());
    run.gateway.wait_for_key().await;
    run.gateway.key = first;
    worlds[0].put(0, &doubles, &run.gateway);
    let (status, told) = run.gateway.reload().await;
    assert_eq!(status, 200, "{told}");
    let run = Arc::new(run);
    let clients: Vec<_> = (0..CLIENTS).map(|number| tokio::spawn(Arc::clone(&run).client(number))).collect();
    let mut refused = 0;
    for (number, world) in worlds.iter().enumerate() {
        if number > 0 {
            // From here on requests may see either world: neither is held to be answered.
            run.state.store(2 * number - 1, Ordering::SeqCst);
            doubles.iter().for_each(|double| *double.mood.lock().unwrap() = Mood::Well);
            world.put(number, &doubles, &run.gateway);
            if dice.sometimes(25) {
                let file = run.gateway.path("policies/default.toml");
                fs::write(&file, world.policy().replace("targets = [", "targts = [")).unwrap();
                let (status, _) = run.gateway.reload().await;
                assert_ne!(status, 200, "a policy with a mistake in it");
                refused += 1;
                fs::write(&file, world.policy()).unwrap();
            }
            let (status, told) = run.gateway.reload().await;
            assert_eq!(status, 200, "{told}\n{}", world.policy());
            run.state.store(2 * number, Ordering::SeqCst);
        }
        let begun = run.done.load(Ordering::SeqCst);
        run.until(begun + EACH / 2).await;
        run.state.store(2 * number + 1, Ordering::SeqCst);
        for double in &doubles {
            let ill = BAD[dice.below(BAD.len())];
            let ill = if ill == Mood::Stalled && !world.stalls { Mood::Broken } else { ill };
            *double.mood.lock().unwrap() = if dice.sometimes(50) { ill } else { Mood::Well };
        }
        run.until(begun + EACH).await;
    }
    run.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let mut hits: HashMap<String, Vec<String>> = HashMap::new();
    for double in &doubles {
        let models = std::mem::take(&mut *double.models.lock().unwrap());
        models.into_iter().for_each(|(prompt, models)| hits.entry(prompt).or_default().extend(models));
    }
    let tally = check(&worlds, &run, &hits);
    println!("{} worlds, {refused} bad reloads, {tally:?}", worlds.len());
    let most = tally.requests;
    assert!(most >= total && tally.answered > most / 5 && tally.refused > most / 10 && tally.attempts > tally.answered);
}
