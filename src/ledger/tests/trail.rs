//! The trail: what a decision was made from comes back, is never changed, and is dropped when it is old.

use super::*;
use crate::catalogue::{Catalogue, Surroundings};
use crate::dialect::Envelope;
use crate::domain::id::TargetId;
use crate::domain::plan::Operation;
use crate::domain::target::{Capabilities, Capability, Signal, Usual};
use crate::ledger::common::Common;
use crate::ledger::insert::Inserts;
use crate::ledger::{Trail, decisions, trail};
use crate::policy::{Ask, Dice, Policy, plan};

const POLICY: &str = r#"
[[route]]
name = "reasoning"
match = { model = ["auto"] }
targets = ["deepseek/*", "openai/*", "mistral/*"]
require = { processing = ["CN"] }
"#;

/// 2026-11-24T00:00:00Z
const AT: UnixMillis = UnixMillis(1_795_478_400_000);

pub(crate) fn trail_of(at: UnixMillis) -> Trail {
    let env = |name: &str| name.ends_with("_KEY").then(|| "key".to_owned());
    let catalogue = Catalogue::compile(&[], &Surroundings { env: &env, served: &[] }).unwrap();
    let policy = Policy::compile("default", "default.toml", POLICY, &catalogue).unwrap();
    let needs = Capabilities::NONE.with(Capability::Tools);
    let members = ["model", "messages", "tools", "seed"].map(Into::into).to_vec();
    let envelope = Envelope { model: "auto".into(), needs, choices: 1, members, ..Envelope::default() };
    let ask = Ask { needs, ..Ask::of("auto", at) };
    let decision = plan(&policy, &catalogue, &ask, &|_| Signal::COLD, Dice(u64::MAX));
    let first = decision.admitted.first().unwrap().target;
    let usual = Some(Usual { ttft_ms: Some(50), tpot_us: 9 });
    let seen = Signal { in_flight: 3, ttft_ms: Some(70), usual, ..Signal::COLD };
    Trail {
        catalogue: Arc::new(catalogue),
        snapshot: "0011".into(),
        decision: Arc::new(decision),
        operation: Operation::Chat,
        dialect: DialectId::OpenAiChat,
        envelope: Arc::new(envelope),
        input_tokens: 1_000,
        key_requires: Arc::from(["training=no,opt-out,yes".into()]),
        request_requires: Some("processing=CN".to_owned()),
        signals: vec![(first, seen), (TargetId(0), Signal::COLD)],
        inexpressible: Vec::new(),
        user: Some("u-1".to_owned()),
        session: Some(u64::MAX),
        home: Some(first),
    }
}

#[tokio::test]
async fn a_decision_comes_back_with_every_candidate() {
    let (_dir, store, ledger, _writer) = open();
    let trail = trail_of(AT);
    ledger.try_reserve().unwrap().send(Box::new(receipt(7, vec![], None)), Some(Box::new(trail.clone())));
    ledger.flush().await;
    let row = decisions::decision(&store, RequestId(7)).unwrap().unwrap();
    let decision = &*trail.decision;
    assert_eq!((row.at, row.dice, row.snapshot.as_str()), (AT, u64::MAX, "0011"));
    assert_eq!((row.policy.as_str(), row.route.as_str(), row.operation.as_str()), ("default", "reasoning", "chat"));
    assert_eq!(row.needs, ["tools"]);
    assert_eq!(row.key_requires.as_deref(), Some(&["training=no,opt-out,yes".to_owned()][..]));
    assert_eq!((row.request_requires.as_deref(), row.requires.as_str()), (Some("processing=CN"), "processing=CN"));
    assert_eq!(row.admitted.len(), decision.admitted.len());
    assert_eq!(row.rejected.len(), decision.rejected.len());
    assert_eq!(row.admitted[0].cost(), decision.admitted[0].expected_cost);
    assert!(row.rejected.iter().any(|r| r.reason == "processing" && r.why.contains("is not allowed")), "{row:?}");
    assert_eq!(row.inexpressible.get("anthropic").map(String::as_str), Some("seed"));
    assert!(!row.inexpressible.contains_key("openai-chat"));
    assert_eq!(row.signals.len(), 1, "what is not known is not written");
    assert_eq!((row.signals[0].in_flight, row.signals[0].ttft_ms, row.signals[0].down), (3, Some(70), false));
    assert_eq!(row.signals[0].usual, Some((Some(50), 9)));
    assert_eq!((row.user.as_deref(), row.session, row.service.as_str()), (Some("u-1"), Some(u64::MAX), "standard"));
    assert_eq!(row.home.as_ref(), Some(&row.admitted[0].target));
    assert!(row.premium.is_some() && row.left_out == 0);
    assert_eq!(decisions::decision(&store, RequestId(8)).unwrap(), None);
}

#[tokio::test]
async fn a_decision_is_never_changed_and_dropped_when_it_is_old() {
    let (_dir, store, ledger, writer) = open();
    let now = UnixMillis(jiff::Timestamp::now().as_millisecond());
    let days = |days: i64| UnixMillis(now.0 - days * 86_400_000);
    for (id, at) in [(1, days(40)), (2, days(29)), (3, now)] {
        let trail = Trail {
            decision: Arc::new(crate::policy::Decision { at, ..(*trail_of(now).decision).clone() }),
            ..trail_of(now)
        };
        ledger.try_reserve().unwrap().send(Box::new(receipt(id, vec![], None)), Some(Box::new(trail)));
    }
    ledger.flush().await;
    writer.shutdown(&ledger).await.unwrap();
    let connection = store.connect().unwrap();
    assert!(connection.execute("UPDATE decision SET left_out = 1", []).is_err());
    assert!(connection.execute("DELETE FROM decision WHERE at_ms > ?1", [days(1).0 + 60_000]).is_err());
    let count = || connection.query_row("SELECT count(*) FROM decision", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(), 2, "the writer has dropped the one that is forty days old");
    assert!(!trail::prune(&connection, days(20)).unwrap());
    assert_eq!(count(), 1);
}

#[tokio::test]
async fn where_nothing_is_kept_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("x.db"), Durability::Process).unwrap();
    let (ledger, _writer) = LedgerWriter::start(&store, 4, 0).unwrap();
    ledger.try_reserve().unwrap().send(Box::new(receipt(7, vec![], None)), Some(Box::new(trail_of(AT))));
    ledger.flush().await;
    assert_eq!(decisions::decision(&store, RequestId(7)).unwrap(), None);
    assert!(query::request(&store, RequestId(7)).unwrap().is_some());
}

#[test]
fn a_row_is_bounded() {
    let mut trail = trail_of(AT);
    let decision = Arc::make_mut(&mut trail.decision);
    let reason = crate::policy::Reason::Parameter("ü".repeat(10_000).into());
    let rejection = crate::policy::Rejection { target: TargetId(0), reason };
    decision.rejected = vec![rejection; 500];
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("x.db"), Durability::Process).unwrap();
    trail.request_requires = Some("x".repeat(100_000));
    let connection = store.connect().unwrap();
    trail::insert(&mut Inserts::new(&connection, &mut Common::default()), RequestId(1), &trail).unwrap();
    let row = decisions::decision(&store, RequestId(1)).unwrap().unwrap();
    assert_eq!((row.rejected.len(), row.left_out, row.request_requires), (48, 452, None));
    assert!(row.rejected.iter().all(|r| r.why.len() <= 160));
}
