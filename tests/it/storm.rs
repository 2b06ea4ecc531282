//! What must hold while everything moves: upstreams that break in every way, reloads under load.
//!
//! The sizes are those of the daily run; `STELLWERK_STORM=60000` asks for so many requests (`make soak`).

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Answer, Gateway, provider};
use crate::upstream::{completion, read_request};

/// How an upstream behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// The connection ends before an answer.
    Killed,
    /// Nothing comes, or a head and nothing more.
    Stalled,
    Limited,
    Broken,
    /// What comes is no answer, in one of several ways.
    Garbage,
    /// Answers begin well and break off.
    Cut,
}

pub(crate) const BAD: [Mood; 6] = [Mood::Killed, Mood::Stalled, Mood::Limited, Mood::Broken, Mood::Garbage, Mood::Cut];

/// An upstream that keeps its connections, counts what it is asked, and remembers which models a prompt asked for.
#[derive(Clone)]
pub(crate) struct Double {
    pub(crate) url: String,
    pub(crate) mood: Arc<Mutex<Mood>>,
    pub(crate) asked: Arc<AtomicUsize>,
    /// How often it was asked in each bad mood, in the order of [`BAD`].
    bad: Arc<[AtomicUsize; BAD.len()]>,
    pub(crate) models: Arc<Mutex<HashMap<String, Vec<String>>>>,
}

impl Double {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (mood, asked) = (Arc::new(Mutex::new(Mood::Well)), Arc::default());
        let this = Self { url, mood, asked, bad: Arc::default(), models: Arc::default() };
        let double = this.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(double.clone().serve(stream));
            }
        });
        this
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while let Some(seen) = read_request(&mut stream, &mut buffer).await {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let asked = seen.json();
            let prompt = asked["messages"][0]["content"].as_str().unwrap().to_owned();
            let model = asked["model"].as_str().unwrap().to_owned();
            self.models.lock().unwrap().entry(prompt).or_default().push(model);
            let mood = *self.mood.lock().unwrap();
            let at = BAD.iter().position(|bad| *bad == mood);
            let nth = at.map_or(0, |at| self.bad[at].fetch_add(1, Ordering::Relaxed));
            let (bytes, goes_on) = answer(mood, asked["stream"] == true, nth);
            if stream.write_all(&bytes).await.is_err() || !goes_on {
                if mood == Mood::Stalled {
                    let _ = stream.read_u8().await;
                }
                return;
            }
        }
    }
}

/// What is sent, and whether the connection lives on. `nth`: of the ways of a mood, which.
fn answer(mood: Mood, stream: bool, nth: usize) -> (Vec<u8>, bool) {
    let whole = |status: u16, kind: &str, extra: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{extra}\r\n{body}")
            .into_bytes()
    };
    let event = |json: &str| format!("data: {json}\n\n");
    let piece = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let delta = event(
        r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"well"},"finish_reason":null}]}"#,
    );
    let finish = event(
        r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#,
    );
    let body = completion("well", 3, 2);
    match mood {
        Mood::Stalled if nth % 2 == 1 => (head.as_bytes().to_vec(), false),
        Mood::Killed | Mood::Stalled => (Vec::new(), false),
        Mood::Limited => {
            (whole(429, "application/json", "retry-after: 1\r\n", r#"{"error":{"message":"slow"}}"#), true)
        }
        Mood::Broken => (whole(500, "application/json", "", r#"{"error":{"message":"boom"}}"#), true),
        Mood::Garbage => {
            let events = "text/event-stream";
            let (kind, text) = match (stream, nth % 4) {
                (_, 0) => ("text/html", "<html>hello</html>"),
                (true, 1) => (events, "data: {\"choices\": [oops\n\n"),
                (true, 2) => (events, "data: [DONE]\n\n"),
                (true, _) => (events, ""),
                (false, 1) => ("application/json", "{\"choices\": \"none\"}"),
                (false, 2) => ("application/json", "[1, 2"),
                (false, _) => ("application/json", ""),
            };
            (whole(200, kind, "", text), true)
        }
        Mood::Cut if stream => (format!("{head}{}", piece(&delta)).into_bytes(), false),
        Mood::Cut => {
            let mut bytes = whole(200, "application/json", "", &body);
            bytes.truncate(bytes.len() / 2);
            (bytes, false)
        }
        Mood::Well if stream => {
            let text = [piece(&delta), piece(&finish), piece(&event("[DONE]")), "0\r\n\r\n".to_owned()].concat();
            (format!("{head}{text}").into_bytes(), true)
        }
        Mood::Well => (whole(200, "application/json", "", &body), true),
    }
}

pub(crate) fn files(providers: &[(String, String)], policy: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["providers", "policies"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for (name, text) in providers {
        fs::write(dir.path().join(format!("providers/{name}.toml")), text).unwrap();
    }
    fs::write(dir.path().join("policies/default.toml"), policy).unwrap();
    dir
}

fn body(prompt: &str, stream: bool) -> String {
    format!(r#"{{"model":"auto","stream":{stream},"messages":[{{"role":"user","content":"{prompt}"}}]}}"#)
}

/// Reproducible numbers (xorshift64*).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % end
    }
}

/// Who is well: at every moment at least one. In fair weather that holds for each request from its beginning to its end: the
/// one changes in two steps, and nobody falls ill while a request is open that began before the other one was well. In foul
/// weather it changes at once, and a request can find each upstream in a bad moment.
struct Weather {
    dice: Dice,
    foul: bool,
    well: usize,
    /// Who is to be the one.
    next: Option<usize>,
    /// Counts its becoming well.
    turn: usize,
    /// Counts all changes.
    changes: usize,
}

impl Weather {
    fn new(seed: u64, foul: bool) -> Self {
        Self { dice: Dice(seed), foul, well: 0, next: None, turn: 0, changes: 0 }
    }

    /// The others are sick or not, each in some way. `oldest`: the turn in which the oldest open request began.
    fn change(&mut self, doubles: &[Double], oldest: usize) {
        self.changes += 1;
        match self.next {
            _ if self.foul => self.well = self.dice.below(doubles.len()),
            Some(next) if oldest >= self.turn => (self.well, self.next) = (next, None),
            Some(_) => {}
            None => {
                let next = self.dice.below(doubles.len());
                *doubles[next].mood.lock().unwrap() = Mood::Well;
                (self.next, self.turn) = (Some(next), self.turn + 1);
            }
        }
        let mut met = met(doubles);
        for (at, double) in doubles.iter().enumerate() {
            let sick = at != self.well && Some(at) != self.next && self.dice.below(2) == 0;
            // The way that was met least: who has been found ill is left alone for a while, and some would never be met.
            let least = (0..BAD.len()).min_by_key(|at| (met[*at], (*at + self.dice.below(BAD.len())) % BAD.len()));
            let mood = least.filter(|_| sick).map_or(Mood::Well, |at| {
                met[at] += 3;
                BAD[at]
            });
            *double.mood.lock().unwrap() = mood;
        }
    }
}

/// How often the upstreams were asked in each bad mood.
fn met(doubles: &[Double]) -> [usize; BAD.len()] {
    std::array::from_fn(|at| doubles.iter().map(|double| double.bad[at].load(Ordering::Relaxed)).sum())
}

const CHAOS: &str = r#"
[[route]]
name = "main"
match = { model = ["auto"] }
targets = ["p*/*"]
[route.attempts]
max = 5
timeout = { connect = "2s", first_token = "2s", idle = "2s", total = "20s" }
"#;

const CLIENTS: usize = 16;
/// After so many requests the moods change.
const EPISODE: usize = 100;

/// So often each way to fail must be met: a run goes on until then, since a busy machine meets some of them late, but for
/// no more than so many times its requests.
const MET: usize = 2;
const MOST: usize = 5;

/// What the requests of a run came to.
#[derive(Default)]
struct Tally {
    done: AtomicUsize,
    cut: AtomicUsize,
    /// Whether the weather changed meanwhile, and what came.
    bad: Mutex<Vec<(bool, String)>>,
}

impl Tally {
    /// `changed`: the weather did while the request was open.
    fn take(&self, answer: &Answer, stream: bool, changed: bool) {
        let good = if stream {
            let last = answer.text.trim_end().rsplit("\n\n").next().unwrap_or_default();
            let error =
                last.strip_prefix("data: ").and_then(|data| serde_json::from_str::<serde_json::Value>(data).ok());
            let error = error.is_some_and(|data| data["error"]["message"].is_string());
            self.cut.fetch_add(usize::from(error), Ordering::Relaxed);
            let done = last == "data: [DONE]";
            answer.status == 200 && answer.text.contains("well") && (done != error)
        } else {
            answer.status == 200 && answer.json()["choices"][0]["message"]["content"] == "well"
        };
        if !good {
            self.bad.lock().unwrap().push((changed, format!("{} {}", answer.status, answer.text)));
        }
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// So many requests or more to five upstreams: what they came to, how often the upstreams were asked, and how often in each bad mood.
async fn chaos(total: usize, foul: bool) -> (Arc<Tally>, usize, [usize; BAD.len()]) {
    let mut doubles = Vec::new();
    for _ in 0..5 {
        doubles.push(Double::start().await);
    }
    let providers = doubles.iter().enumerate().map(|(at, double)| {
        let name = format!("p{at}");
        (name.clone(), provider(&name, "openai-chat", &double.url, "DE", "1", "2"))
    });
    let gateway = Arc::new(Gateway::start_in(files(&providers.collect::<Vec<_>>(), CHAOS)).await);
    let (tally, next) = (Arc::new(Tally::default()), Arc::new(AtomicUsize::new(0)));
    let weather = Arc::new(Mutex::new(Weather::new(20_261_128, foul)));
    // In which turn each client's open request began.
    let began: Arc<Vec<AtomicUsize>> = Arc::new((0..CLIENTS).map(|_| AtomicUsize::new(usize::MAX)).collect());
    let clients = (0..CLIENTS).map(|client| {
        let (gateway, tally, next) = (Arc::clone(&gateway), Arc::clone(&tally), Arc::clone(&next));
        let (weather, began) = (Arc::clone(&weather), Arc::clone(&began));
        let doubles = doubles.clone();
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= total && (number >= MOST * total || met(&doubles).iter().all(|asked| *asked >= MET)) {
                    return;
                }
                let changes = {
                    let mut weather = weather.lock().unwrap();
                    began[client].store(usize::MAX, Ordering::Relaxed);
                    if number % EPISODE == EPISODE / 2 {
                        let oldest = began.iter().map(|turn| turn.load(Ordering::Relaxed)).min();
                        weather.change(&doubles, oldest.unwrap_or(usize::MAX));
                    }
                    began[client].store(weather.turn, Ordering::Relaxed);
                    weather.changes
                };
                let stream = number.is_multiple_of(2);
                let answer = gateway.chat(&body(&format!("n{number}"), stream)).await;
                let changed = weather.lock().unwrap().changes != changes;
                tally.take(&answer, stream, changed);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let attempts = doubles.iter().map(|double| double.asked.load(Ordering::Relaxed)).sum();
    (tally, attempts, met(&doubles))
}

/// What the run was, told and held against what must hold in any weather.
fn told(what: &str, (tally, attempts, moods): &(Arc<Tally>, usize, [usize; BAD.len()])) -> usize {
    let total = tally.done.load(Ordering::Relaxed);
    let (cut, bad) = (tally.cut.load(Ordering::Relaxed), tally.bad.lock().unwrap());
    let moods: Vec<_> = BAD.iter().zip(moods).collect();
    println!(
        "{what}: {total} requests, {attempts} attempts ({moods:?}), {cut} streams cut and told so, {} failed",
        bad.len()
    );
    assert!(attempts * 10 <= total * 12, "{attempts} attempts for {total} requests");
    assert!(moods.iter().all(|(_, asked)| **asked >= MET), "each way to fail was met: {moods:?}");
    total
}

/// One storm at a time: each is a load of its own, and waits are measured in it.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn requests() -> usize {
    std::env::var("STELLWERK_STORM").ok().map_or(2_400, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_upstream_is_well_nothing_fails_that_had_not_begun() {
    let _turn = TURN.lock().await;
    let ran = chaos(requests(), false).await;
    let total = told("fair weather", &ran);
    let bad = ran.0.bad.lock().unwrap();
    assert!(bad.is_empty(), "{} of {total}: {:#?}", bad.len(), &bad[..bad.len().min(5)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_well_upstream_changes_at_once_only_requests_of_that_moment_can_fail() {
    let _turn = TURN.lock().await;
    let ran = chaos(requests(), true).await;
    let total = told("foul weather", &ran);
    let bad = ran.0.bad.lock().unwrap();
    let calm: Vec<_> = bad.iter().filter(|(changed, _)| !changed).collect();
    assert!(calm.is_empty(), "{} of {total} without a change: {:#?}", calm.len(), &calm[..calm.len().min(5)]);
    assert!(bad.len() * 200 <= total, "{} of {total}: {:#?}", bad.len(), &bad[..bad.len().min(5)]);
}

fn versioned(version: usize) -> String {
    format!("[[route]]\nname = \"r{version}\"\nmatch = {{ model = [\"auto\"] }}\ntargets = [\"alpha/v{version}\"]\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_reloads_under_load_fail_nothing_and_mix_no_versions() {
    let _turn = TURN.lock().await;
    let double = Double::start().await;
    let alpha = provider("alpha", "openai-chat", &double.url, "DE", "1", "2");
    let model = |version: usize| alpha.replace("id = \"m-1\"", &format!("id = \"v{version}\""));
    let gateway = Arc::new(Gateway::start_in(files(&[("alpha".into(), model(0))], &versioned(0))).await);
    let stop = Arc::new(AtomicBool::new(false));
    let clients = (0..4).map(|client| {
        let (gateway, stop, double) = (Arc::clone(&gateway), Arc::clone(&stop), double.clone());
        tokio::spawn(async move {
            let (mut number, mut seen) = (0, std::collections::BTreeSet::new());
            while !stop.load(Ordering::Relaxed) {
                let prompt = format!("c{client}-{number}");
                let answer = gateway.chat(&body(&prompt, number % 2 == 1)).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                let version = answer.header("x-stellwerk-route").trim_start_matches('r').to_owned();
                assert_eq!(answer.header("x-stellwerk-target"), format!("alpha/v{version}"));
                let sent = double.models.lock().unwrap().remove(&prompt);
                assert_eq!(sent, Some(vec![format!("v{version}")]), "one snapshot for the whole request");
                seen.insert(version);
                number += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            (number, seen.len())
        })
    });
    let clients: Vec<_> = clients.collect();
    for round in 1..=500_usize {
        let (provider, policy, good) = match round % 4 {
            0 => (model(round), versioned(round).replace("alpha/v", "alpa/v"), false),
            2 => (model(round).replace("operator =", "operator = ="), versioned(round), false),
            _ => (model(round), versioned(round), true),
        };
        fs::write(gateway.path("providers/alpha.toml"), provider).unwrap();
        fs::write(gateway.path("policies/default.toml"), policy).unwrap();
        let (status, told) = gateway.reload().await;
        assert_eq!(status == 200, good, "round {round}: {status} {told}");
    }
    stop.store(true, Ordering::Relaxed);
    let (mut requests, mut versions) = (0, 0);
    for client in clients {
        let (number, seen) = client.await.unwrap();
        requests += number;
        versions = versions.max(seen);
    }
    println!("500 reloads, 250 refused; {requests} requests, none failed, {versions} versions seen by one client");
    assert!(requests > 100 && versions > 20, "there was a load: {requests} requests, {versions} versions");
}
