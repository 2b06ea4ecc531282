//! Recorded requests, decided again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::catalogue::{SourceFile, Surroundings};
use crate::dialect::Envelope;
use crate::domain::error::FailureKind;
use crate::domain::id::RequestId;
use crate::domain::receipt::{AttemptRecord, CacheRecord, Caller, ChargeRecord, Outcome, Receipt};
use crate::domain::usage::Basis;
use crate::ledger::query::{self, Period};
use crate::ledger::{Ledger, LedgerWriter, Trail, feedback};
use crate::store::{Durability, Store};

const ALL: Period = Period { from: UnixMillis(0), to: UnixMillis(i64::MAX) };
/// 2026-03-01 and 2026-09-01, before and after `cheap` became dearer.
const SPRING: UnixMillis = UnixMillis(1_772_323_200_000);
const AUTUMN: UnixMillis = UnixMillis(1_788_220_800_000);

fn provider(name: &str, country: &str, spring: &str, autumn: &str) -> SourceFile {
    let period = |from: &str, price: &str| {
        format!(
            "  [[model.price]]\n  from = {from}\n  input = \"{price}\"\n  output = \"{price}\"\n  \
             source = \"https://example.invalid\"\n  checked = 2026-01-01\n"
        )
    };
    let (first, second) = (period("2020-01-01", spring), period("2026-06-01", autumn));
    let text = format!(
        "name = \"{name}\"\ntitle = \"{name}\"\ndialect = \"openai-chat\"\nauth = {{ scheme = \"bearer\" }}\n\
         keys = [{{ env = \"KEY\" }}]\noperator = \"{country}\"\nparent = \"{country}\"\ndocs = \"https://example.invalid\"\n\
         [[endpoint]]\nname = \"main\"\nbase_url = \"https://{name}.example.invalid\"\nprocessing = [\"{country}\"]\n\
         guarantee = \"contract\"\nretention_days = 0\ntraining = \"no\"\ncancel_stops_billing = true\n\
         source = \"https://example.invalid\"\nchecked = 2026-01-01\nexpires = 2099-01-01\n\
         [[model]]\nid = \"m\"\ntier = \"standard\"\ncontext = 100000\nmax_output = 4096\nsupports = [\"stream\", \"tools\"]\n\
         {first}{second}"
    );
    SourceFile { name: format!("{name}.toml"), text }
}

fn catalogue(with_keys: bool) -> Arc<Catalogue> {
    // USD per million tokens: `cheap` is at 1, then at 30; `dear` at 10, `far` at 5.
    let mut files =
        [provider("cheap", "DE", "1", "30"), provider("dear", "FR", "10", "10"), provider("far", "US", "5", "5")];
    files[2].text.push_str("    [[model.price.service]]\n    name = \"flex\"\n    input = \"2\"\n    output = \"2\"\n");
    let env = |_: &str| with_keys.then(|| "key".to_owned());
    Arc::new(Catalogue::compile(&files, &Surroundings { env: &env, served: &[] }).unwrap())
}

fn policies(catalogue: &Catalogue, text: &str) -> BTreeMap<Arc<str>, Policy> {
    let policy = Policy::compile("default", "default.toml", text, catalogue).unwrap();
    [(Arc::clone(&policy.name), policy)].into()
}

fn route(order: &str, more: &str) -> String {
    format!(
        "[[route]]\nname = \"main\"\nmatch = {{ model = [\"auto\"] }}\ntargets = [{order}]\n\
         prefer = {{ order = \"listed\" }}\nbaseline = {{ target = \"dear/m\" }}\n{more}"
    )
}

const LISTED: &str = r#""dear/*", "cheap/*", "far/*""#;

/// How a recorded request was asked, besides.
#[derive(Clone, Copy, Default)]
struct Manner {
    service: ServiceTier,
    user: Option<&'static str>,
    session: Option<u64>,
    /// Output tokens that were expected of `far/m`.
    expected: Option<u32>,
}

/// A ledger with recorded requests.
struct Recordings {
    _dir: tempfile::TempDir,
    store: Store,
    ledger: Ledger,
    _writer: LedgerWriter,
    catalogue: Arc<Catalogue>,
}

impl Recordings {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("x.db"), Durability::Process).unwrap();
        // Rows of long ago must not be dropped here.
        let (ledger, writer) = LedgerWriter::start(&store, 8, 3_660).unwrap();
        Self { _dir: dir, store, ledger, _writer: writer, catalogue: catalogue(true) }
    }

    /// A request of 1,000,000 tokens in, 100,000 of them cached, and 500,000 out, that these targets were tried for.
    async fn record(&self, id: u128, at: UnixMillis, require: &str, tried: &[(&str, Outcome)], down: &[&str]) {
        self.record_as(id, at, require, tried, down, Manner::default()).await;
    }

    async fn record_as(
        &self,
        id: u128,
        at: UnixMillis,
        require: &str,
        tried: &[(&str, Outcome)],
        down: &[&str],
        manner: Manner,
    ) {
        let policy = policies(&self.catalogue, &route(LISTED, "")).remove("default").unwrap();
        let requirement = Requirement::parse(require, &*self.catalogue).unwrap();
        let state =
            |name: &str| if down.contains(&name) { Health::Down { until: None, rest: Rest::Firm } } else { Health::Up };
        let signals: Vec<(TargetId, Signal)> =
            self.catalogue.targets().iter().map(|t| (t.id, Signal { state: state(&t.name), ..Signal::COLD })).collect();
        let expect = |_: &str, target: &Target| Expectation {
            output_tokens: manner.expected.filter(|_| &*target.name == "far/m"),
            ..Expectation::UNKNOWN
        };
        let ask = Ask { require: &requirement, service: manner.service, expect: &expect, ..Ask::of("auto", at) };
        let seen = |id: TargetId| signals[id.index()].1;
        let decision = plan(&policy, &*self.catalogue, &ask, &seen, Dice(1));
        let refused = decision.refusal.is_some();
        let trail = Trail {
            catalogue: Arc::clone(&self.catalogue),
            snapshot: "0".into(),
            decision: Arc::new(decision),
            operation: Operation::Chat,
            dialect: DialectId::OpenAiChat,
            envelope: Arc::new(Envelope { model: "auto".into(), choices: 1, ..Envelope::default() }),
            input_tokens: 1_000,
            key_requires: Arc::from([]),
            request_requires: Some(require.to_owned()),
            signals,
            inexpressible: Vec::new(),
            user: manner.user.map(ToOwned::to_owned),
            session: manner.session,
            home: None,
        };
        let attempts =
            tried.iter().enumerate().map(|(n, (name, outcome))| self.attempt(n, at, name, *outcome)).collect();
        let receipt = Receipt {
            request: RequestId(id),
            started: at,
            duration_ms: 10,
            overhead_us: 5,
            caller: Caller { tenant: "t".into(), team: "web".into(), key_id: "k".into(), tags: Arc::from([]) },
            policy: "default".into(),
            generation: 1,
            route: Some("main".into()),
            dialect: DialectId::OpenAiChat,
            model_asked: "auto".into(),
            stream: false,
            input_estimate: 1_000,
            attempts,
            baseline: None,
            cache: CacheRecord::None,
            status: if refused { 403 } else { 200 },
            error: None,
            stored: Vec::new(),
            stored_at: None,
        };
        self.ledger.reserve().unwrap().send(Box::new(receipt), Some(Box::new(trail)));
        self.ledger.flush().await;
    }

    fn attempt(&self, number: usize, at: UnixMillis, name: &str, outcome: Outcome) -> AttemptRecord {
        let target = self.catalogue.exactly(name).unwrap();
        let failed = matches!(outcome, Outcome::Failed(_));
        let usage =
            Usage::ZERO.with(Bucket::Input, 900_000).with(Bucket::CacheRead, 100_000).with(Bucket::Output, 500_000);
        let usage = if failed { Usage::ZERO } else { usage };
        // Cached tokens are as dear as others here, for want of a price of their own.
        let charge = match Market::price(&*self.catalogue, target, &uncached(&usage), at) {
            _ if failed => ChargeRecord::Nothing,
            Some(usd) => ChargeRecord::Priced { usd, original: None, price_id: "p".into() },
            None => ChargeRecord::Unpriced { reason: "no_price_period" },
        };
        AttemptRecord {
            own_key: false,
            no: u32::try_from(number + 1).unwrap(),
            target: Arc::clone(&target.name),
            provider: Arc::clone(&target.provider),
            model: Arc::clone(&target.model),
            endpoint: Arc::clone(&target.endpoint),
            residency: Arc::clone(&target.residency),
            started: at,
            first_token_ms: None,
            duration_ms: 9,
            outcome,
            usage,
            basis: Basis::Provider,
            charge,
            upstream_status: Some(200),
            dropped_params: Vec::new(),
        }
    }

    fn backtest(&self, text: &str) -> Backtest {
        let policies = policies(&self.catalogue, text);
        backtest(&self.store, &ALL, None, &self.catalogue, &policies, None).unwrap()
    }
}

const OK: Outcome = Outcome::Completed;

#[tokio::test]
async fn requests_are_decided_again_with_the_prices_of_their_moment() {
    let past = Recordings::new();
    past.record(1, SPRING, "", &[("dear/m", OK)], &[]).await;
    past.record(2, AUTUMN, "", &[("dear/m", OK)], &[]).await;
    let same = past.backtest(&route(LISTED, "")).total();
    assert_eq!((same.requests, same.moved, same.before, same.after), (2, 0, same.after, same.before));
    assert_eq!(same.before.to_string(), "30.00", "twice 1.5 million tokens at 10");
    // The cheapest: `cheap` at 1 in spring, `far` at 5 when `cheap` costs 30.
    let cheapest = route(LISTED, "").replace("prefer = { order = \"listed\" }\n", "");
    let found = past.backtest(&cheapest);
    let total = found.total();
    assert_eq!((total.after.to_string(), total.moved), ("9.00".to_owned(), 2), "1.5 and 7.5");
    let pair = |from: &str, to: &str| ((from.to_owned(), to.to_owned()), 1);
    assert_eq!(found.moves, [pair("dear/m", "cheap/m"), pair("dear/m", "far/m")].into());
    assert_eq!(found.residency, [pair("FR", "DE"), pair("FR", "US")].into());
    assert_eq!((total.baseline.to_string(), total.after_with_baseline.to_string()), ("30.00".into(), "9.00".into()));
    let shown = backtest_text(&found);
    for part in ["main", "t/web", "70.0", "dear/m → cheap/m", "FR → US", "Assumptions:", "prompt cache"] {
        assert!(shown.contains(part), "missing {part}:\n{shown}");
    }
    let json: serde_json::Value = serde_json::from_str(&backtest_json(&found)).unwrap();
    assert_eq!((&json["total"]["cost_after_usd"], &json["looked_at"]), (&"9.00".into(), &2.into()));
}

#[tokio::test]
async fn what_was_down_or_failed_then_is_so_again() {
    let past = Recordings::new();
    past.record(1, SPRING, "", &[("dear/m", OK)], &["cheap/m"]).await;
    let failed = Outcome::Failed(FailureKind::Upstream);
    past.record(2, SPRING, "", &[("dear/m", failed), ("far/m", OK)], &["cheap/m"]).await;
    let cheap_first = route(r#""cheap/*", "dear/*", "far/*""#, "");
    let found = past.backtest(&cheap_first);
    assert!(found.moves.is_empty(), "`cheap` was down, and `dear` failed where it failed: {:?}", found.moves);
    assert_eq!(found.total().requests, 2);
}

/// Attempts stand in the order in which they began, so one that was made beside the answer may be the last.
#[tokio::test]
async fn an_attempt_that_was_overtaken_answered_nobody() {
    let past = Recordings::new();
    past.record(1, SPRING, "", &[("dear/m", OK), ("cheap/m", Outcome::Hedged)], &[]).await;
    past.record(2, SPRING, "", &[("dear/m", Outcome::Hedged), ("cheap/m", OK)], &[]).await;
    let failed = Outcome::Failed(FailureKind::Upstream);
    past.record(3, SPRING, "", &[("far/m", failed)], &[]).await;
    let hedges = "[route.attempts]\nhedge = { after = \"1s\", max_extra_cost = \"100 USD\" }\n";
    let same = past.backtest(&route(LISTED, hedges)).total();
    assert_eq!((same.requests, same.moved), (2, 0), "the same policy moves nothing");
    assert_eq!((same.before.to_string(), same.after.to_string()), ("33.00".into(), "33.00".into()), "twice 15 and 1.5");
    let alone = past.backtest(&route(LISTED, "")).total();
    assert_eq!((alone.moved, alone.after.to_string()), (1, "30.00".to_owned()), "without a hedge `dear` answers both");

    for id in 1..=3 {
        let score = feedback::Score::GOOD;
        let said = feedback::Feedback { request: RequestId(id), label: String::new(), score, comment: None };
        assert_eq!(feedback::give(&past.store, &said, SPRING).unwrap(), feedback::Given::Stored);
    }
    let advice = advise(&past.store, &ALL, &past.catalogue, None).unwrap().remove("main").unwrap();
    let moves: Vec<(&str, &str)> = advice.moves.keys().map(|(from, to)| (&**from, &**to)).collect();
    assert_eq!(moves, [("dear/m", "far/m")], "`cheap` was asked and was too slow");
    let judged: Vec<(&str, u64)> = advice.feedback.iter().map(|((target, _), said)| (&**target, said.all)).collect();
    assert_eq!(judged, [("cheap/m", 1), ("dear/m", 1)], "and a failure is no answer to be judged");
    let spend = query::spend(&past.store, &ALL, query::GroupBy::Target).unwrap();
    let mut requests: Vec<(&str, u64)> = spend.lines.iter().map(|(name, line)| (&**name, line.requests)).collect();
    requests.sort_unstable();
    assert_eq!(requests, [("cheap/m", 1), ("dear/m", 1), ("far/m", 1)]);
}

#[tokio::test]
async fn refusals_and_what_cant_be_decided_again_are_counted() {
    let past = Recordings::new();
    past.record(1, SPRING, "processing=US", &[("far/m", OK)], &[]).await;
    past.record(2, SPRING, "processing=IS", &[], &[]).await;
    past.record(3, SPRING, "", &[("dear/m", OK)], &[]).await;
    let eu = route(LISTED, "[route.require]\nprocessing = [\"EU\"]\n");
    let found = past.backtest(&eu);
    let total = found.total();
    assert_eq!((total.newly_refused, total.refused, total.newly_admitted, total.requests), (1, 1, 0, 1));
    assert_eq!(found.refusals, [("policy_no_target".to_owned(), 2)].into());
    assert_eq!(past.backtest(&route(LISTED, "")).total().before, past.backtest(&route(LISTED, "")).total().after);
    let none = backtest(&past.store, &ALL, None, &past.catalogue, &BTreeMap::new(), None).unwrap();
    assert_eq!((none.unplannable, none.looked_at), ([(Unplannable::NoPolicy, 3)].into(), 3));
    let newest = backtest(&past.store, &ALL, Some(2), &past.catalogue, &policies(&past.catalogue, &eu), None).unwrap();
    assert_eq!(newest.looked_at, 3, "rows of one moment belong together");
}

#[tokio::test]
async fn the_limit_takes_the_newest_and_another_machine_needs_no_keys() {
    let past = Recordings::new();
    past.record(1, SPRING, "", &[("dear/m", OK)], &[]).await;
    past.record(2, AUTUMN, "", &[("dear/m", OK)], &[]).await;
    let keyless = catalogue(false);
    let same = policies(&keyless, &route(LISTED, ""));
    let found = backtest(&past.store, &ALL, Some(1), &keyless, &same, Some("default")).unwrap();
    assert_eq!((found.looked_at, found.span), (1, Some((AUTUMN, AUTUMN))));
    assert_eq!(found.total().requests, 1, "what was dialable then is so here: {found:?}");
    let other = backtest(&past.store, &ALL, None, &keyless, &same, Some("other")).unwrap();
    assert_eq!(other.looked_at, 0);
}

#[tokio::test]
async fn another_tier_of_service_has_its_own_price_or_none() {
    let past = Recordings::new();
    let asked = |service| Manner { service, ..Manner::default() };
    past.record_as(1, AUTUMN, "", &[("dear/m", OK)], &[], asked(ServiceTier::Flex)).await;
    past.record_as(2, AUTUMN, "", &[("dear/m", OK)], &[], asked(ServiceTier::Priority)).await;
    let far = past.backtest(&route(r#""far/*", "dear/*""#, ""));
    let total = far.total();
    assert_eq!((total.requests, total.after.to_string()), (1, "3.00".to_owned()), "1.5 million tokens at 2, not at 5");
    assert_eq!(far.unpriced, 1, "`far` has tiers and no price for this one");
    // `cheap` has no tiers: it gives everybody the same.
    let cheap = past.backtest(&route(r#""cheap/*", "dear/*""#, "")).total();
    assert_eq!((cheap.requests, cheap.after.to_string()), (2, "90.00".to_owned()));
    let advice = advise(&past.store, &ALL, &past.catalogue, None).unwrap();
    let advised = &advice["main"].moves[&("dear/m".to_owned(), "far/m".to_owned())];
    assert_eq!((advised.requests, advised.saving.to_string()), (1, "12.00".to_owned()));
}

#[tokio::test]
async fn the_clients_user_and_the_conversation_are_those_of_then() {
    let past = Recordings::new();
    for (id, user) in [(1, Some("vip")), (2, Some("other")), (3, None)] {
        past.record_as(id, SPRING, "", &[("dear/m", OK)], &[], Manner { user, ..Manner::default() }).await;
    }
    let long = Manner { user: Some(Box::leak("x".repeat(300).into_boxed_str())), ..Manner::default() };
    past.record_as(4, SPRING, "", &[("dear/m", OK)], &[], long).await;
    let vip = route(r#""far/*""#, "").replace("name = \"main\"", "name = \"vip\"\nwhen = 'request.user == \"vip\"'");
    let found = past.backtest(&format!("{vip}{}", route(LISTED, "")));
    let key = |route: &str| (route.to_owned(), "t/web".to_owned());
    assert_eq!((found.lines[&key("vip")].moved, found.lines[&key("main")].requests), (1, 2));
    assert_eq!(found.unplannable, [(Unplannable::User, 1)].into(), "what was not kept is not guessed");

    // All requests of a conversation are in one share, whatever was thrown.
    let prefer =
        "prefer = { order = \"weighted\", sticky = \"session\", weights = { \"cheap/*\" = 1, \"far/*\" = 1 } }";
    let past = Recordings::new();
    for id in 0..40 {
        let manner = Manner { session: Some(u64::try_from(id / 10).unwrap()), ..Manner::default() };
        past.record_as(id, SPRING, "", &[("dear/m", OK)], &[], manner).await;
    }
    let text = route(r#""cheap/*", "far/*""#, "").replace("prefer = { order = \"listed\" }", prefer);
    let moves = past.backtest(&text).moves;
    assert_eq!(moves.values().sum::<u64>(), 40);
    assert!(moves.len() == 2 && moves.values().all(|requests| requests % 10 == 0), "{moves:?}");
}

#[tokio::test]
async fn what_was_expected_of_a_target_then_is_expected_again() {
    let past = Recordings::new();
    // A thousand tokens in at 5 a million, and a hundred out instead of five hundred.
    past.record_as(1, SPRING, "", &[("dear/m", OK)], &[], Manner { expected: Some(100), ..Manner::default() }).await;
    past.record(2, SPRING, "", &[("dear/m", OK)], &[]).await;
    let capped = route(r#""far/*", "cheap/*""#, "require = { max_cost = \"0.006 USD\" }\n");
    let pair = |to: &str| (("dear/m".to_owned(), to.to_owned()), 1);
    assert_eq!(past.backtest(&capped).moves, [pair("cheap/m"), pair("far/m")].into());
}

#[tokio::test]
async fn advice_counts_admitted_targets_only_and_has_a_range() {
    let past = Recordings::new();
    past.record(1, SPRING, "", &[("dear/m", OK)], &[]).await;
    past.record(2, SPRING, "processing=FR", &[("dear/m", OK)], &[]).await;
    past.record(3, AUTUMN, "", &[("cheap/m", OK)], &[]).await;
    let id = RequestId(1);
    for (label, score) in [("", "0.9"), ("", "0.2"), ("tone", "1")] {
        let score = feedback::Score::parse(score).unwrap();
        let said = feedback::Feedback { request: id, label: label.to_owned(), score, comment: None };
        assert_eq!(feedback::give(&past.store, &said, SPRING).unwrap(), feedback::Given::Stored);
        assert_eq!(feedback::give(&past.store, &said, SPRING).unwrap(), feedback::Given::Known);
    }
    let found = advise(&past.store, &ALL, &past.catalogue, None).unwrap();
    let advice = &found["main"];
    assert_eq!((advice.requests, advice.cost.to_string()), (3, "75.00".to_owned()), "15, 15 and 45");
    let to = |from: &str, to: &str| &advice.moves[&(from.to_owned(), to.to_owned())];
    let first = to("dear/m", "cheap/m");
    assert_eq!((first.requests, first.saving.to_string()), (1, "13.50".to_owned()), "15 less 1.5");
    // A quarter more or less of half a million tokens at 1.
    assert_eq!((first.low.to_string(), first.high.to_string()), ("13.375".to_owned(), "13.625".to_owned()));
    assert_eq!(to("cheap/m", "far/m").saving.to_string(), "37.50", "45 less 7.5");
    assert_eq!(advice.moves.len(), 2, "what a requirement kept out is no alternative");
    assert_eq!(advice.premium_requests, 1, "and has a premium");
    let answer = &advice.feedback[&("dear/m".to_owned(), String::new())];
    assert_eq!((answer.good, answer.all), (0, 1), "the latest word counts");
    let shown = advice_text(&found);
    for part in [
        "dear/m → cheap/m",
        "13.3750 to 13.6250",
        "feedback on dear/m: 0 of 1 good",
        "feedback on cheap/m: none",
        "not known",
    ] {
        assert!(shown.contains(part), "missing {part}:\n{shown}");
    }
    assert!(advise(&past.store, &ALL, &past.catalogue, Some("other")).unwrap().is_empty());
    let json: serde_json::Value = serde_json::from_str(&advice_json(&found)).unwrap();
    assert_eq!(json["routes"][0]["saving_usd"], "51.00");
}

#[test]
fn scores_are_exact_or_refused() {
    let score = |text: &str| feedback::Score::parse(text).map(|s| s.to_string());
    assert_eq!(score("0.5").as_deref(), Some("0.5"));
    assert_eq!(score("1").as_deref(), Some("1"));
    assert_eq!(score("0.000001").as_deref(), Some("0.000001"));
    for bad in ["", "1.1", "-1", ".5", "1.", "0.0000001", "1e0", "NaN", "2"] {
        assert_eq!(score(bad), None, "{bad}");
    }
}
