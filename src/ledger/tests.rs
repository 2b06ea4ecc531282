//! The ledger keeps what it is given, once, and lets nobody change it.

mod common;
mod objects;
mod shadow;
mod trail;

use std::sync::Arc;
use std::time::Duration;

use super::query::{self, GroupBy, Period};
use super::{Full, Ledger, LedgerWriter};
use crate::domain::error::FailureKind;
use crate::domain::id::{DialectId, RequestId};
use crate::domain::money::Money;
use crate::domain::receipt::{
    AttemptRecord, BaselineCharge, BaselineRecord, CacheRecord, Caller, ChargeRecord, Outcome, Receipt,
};
use crate::domain::target::{Fact, Residency, UnixMillis};
use crate::domain::usage::{Basis, Bucket, Usage};
use crate::store::{Durability, Store};

const ALL: Period = Period { from: UnixMillis(0), to: UnixMillis(i64::MAX) };

pub(crate) fn attempt(no: u32, cost: Option<&str>) -> AttemptRecord {
    AttemptRecord {
        own_key: false,
        no,
        target: "deepseek/deepseek-reasoner".into(),
        provider: "deepseek".into(),
        model: "deepseek-reasoner".into(),
        endpoint: "cn".into(),
        residency: Arc::new(Residency {
            processing: Fact::Unknown,
            operator: Fact::Unknown,
            parent: Fact::Unknown,
            guarantee: Fact::Unknown,
            retention_days: Fact::Unknown,
            training: Fact::Unknown,
            expires: None,
        }),
        started: UnixMillis(0),
        first_token_ms: Some(5),
        duration_ms: 9,
        outcome: Outcome::Completed,
        usage: Usage::ZERO.with(Bucket::Input, 100).with(Bucket::Reasoning, 20),
        basis: Basis::Provider,
        charge: match cost {
            Some(cost) => {
                ChargeRecord::Priced { usd: Money::parse(cost).unwrap(), original: None, price_id: "p".into() }
            }
            None => ChargeRecord::Unpriced { reason: "no_price_period" },
        },
        upstream_status: Some(200),
        dropped_params: vec!["store".into()],
    }
}

pub(crate) fn receipt(id: u128, attempts: Vec<AttemptRecord>, baseline: Option<(&str, &str)>) -> Receipt {
    Receipt {
        request: RequestId(id),
        started: UnixMillis(1_738_584_000_000),
        duration_ms: 10,
        overhead_us: 50,
        caller: Caller { tenant: "t".into(), team: "a".into(), key_id: "k".into(), tags: Arc::from(["x".into()]) },
        policy: "default".into(),
        generation: 1,
        route: Some("reasoning".into()),
        dialect: DialectId::OpenAiChat,
        model_asked: "o1".into(),
        stream: false,
        input_estimate: 90,
        attempts,
        baseline: baseline.map(|(input, output)| BaselineRecord {
            target: "openai/o1@global".into(),
            price_as_of: Some(UnixMillis(1_738_281_600_000)),
            retired: Some(UnixMillis(1_792_713_600_000)),
            charge: BaselineCharge::Priced {
                input: Money::parse(input).unwrap(),
                output: Money::parse(output).unwrap(),
                price_id: "b".into(),
            },
        }),
        cache: CacheRecord::None,
        status: 200,
        error: None,
        stored: Vec::new(),
        stored_at: None,
    }
}

fn open() -> (tempfile::TempDir, Store, Ledger, LedgerWriter) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("x.db"), Durability::Process).unwrap();
    let (ledger, writer) = LedgerWriter::start(&store, 4, 30).unwrap();
    (dir, store, ledger, writer)
}

async fn write(ledger: &Ledger, receipts: Vec<Receipt>) {
    for receipt in receipts {
        ledger.try_reserve().unwrap().send(Box::new(receipt), None);
        ledger.flush().await;
    }
}

#[tokio::test]
async fn a_receipt_comes_back_as_it_was_and_writing_it_twice_changes_nothing() {
    let (_dir, store, ledger, writer) = open();
    let failed = AttemptRecord { outcome: Outcome::Failed(FailureKind::Timeout), ..attempt(1, Some("0.5")) };
    let original = receipt(7, vec![failed, attempt(2, Some("1.25"))], Some(("10", "20")));
    write(&ledger, vec![original.clone(), original]).await;
    writer.shutdown(&ledger).await.unwrap();
    let row = query::request(&store, RequestId(7)).unwrap().unwrap();
    assert_eq!(row.cost().unwrap().to_string(), "1.75");
    assert_eq!((row.attempts.len(), row.attempts[0].failure.as_deref()), (2, Some("timeout")));
    assert_eq!(row.attempts[1].usage.get(Bucket::Reasoning), 20);
    assert_eq!(row.attempts[1].dropped_params, ["store"]);
    assert_eq!(row.baseline_cost.unwrap().to_string(), "30.00");
    assert_eq!(query::spend(&store, &ALL, GroupBy::Team).unwrap().total.attempts, 2);
    assert_eq!(query::request(&store, RequestId(8)).unwrap(), None);
}

#[tokio::test]
async fn savings_are_signed_and_count_failed_attempts_and_leave_out_what_has_no_price() {
    let (_dir, store, ledger, _writer) = open();
    let failed = AttemptRecord { outcome: Outcome::Failed(FailureKind::Timeout), ..attempt(1, Some("0.5")) };
    write(
        &ledger,
        vec![
            receipt(1, vec![failed, attempt(2, Some("1"))], Some(("10", "20"))),
            receipt(2, vec![attempt(1, Some("100"))], Some(("10", "20"))),
            receipt(3, vec![attempt(1, None)], Some(("10", "20"))),
            receipt(4, vec![attempt(1, Some("5"))], None),
            Receipt {
                cache: CacheRecord::Hit { saved: Some(Money::parse("0.25").unwrap()) },
                ..receipt(5, vec![], None)
            },
            Receipt { status: 504, ..receipt(6, vec![attempt(1, Some("0.5")), attempt(2, Some("0.25"))], None) },
            Receipt { status: 502, ..receipt(7, vec![attempt(1, Some("0"))], None) },
        ],
    )
    .await;
    let found = query::savings(&store, &ALL, GroupBy::Model).unwrap();
    assert_eq!(found.total.requests, 2);
    assert_eq!(found.total.cost.to_string(), "101.50");
    assert_eq!(found.total.saved().to_string(), "-41.50");
    assert_eq!((found.total.dearer, found.total.unpriced, found.without_baseline), (1, 1, 1));
    assert_eq!(found.unanswered, (1, Money::parse("0.75").unwrap()));
    assert_eq!(found.cache_hits, (1, Money::parse("0.25").unwrap()));
    let spend = query::spend(&store, &ALL, GroupBy::Day).unwrap();
    assert_eq!(spend.lines[0].0, "2025-02-03");
    assert_eq!((spend.total.cost.to_string(), spend.total.unpriced), ("107.25".to_owned(), 1));
}

#[tokio::test]
async fn nobody_changes_or_removes_a_row() {
    let (_dir, store, ledger, _writer) = open();
    write(&ledger, vec![receipt(1, vec![attempt(1, Some("1"))], None)]).await;
    let connection = store.connect().unwrap();
    for sql in [
        "UPDATE attempt SET cost_pico = 0",
        "DELETE FROM attempt",
        "UPDATE request SET status = 0",
        "DELETE FROM request",
    ] {
        let error = connection.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn places_are_bounded_and_given_back() {
    let (_dir, _store, ledger, _writer) = open();
    let held: Vec<_> = (0..4).map(|_| ledger.try_reserve().unwrap()).collect();
    assert_eq!(ledger.try_reserve().unwrap_err(), Full);
    drop(held);
    assert!(ledger.try_reserve().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_place_is_waited_for_a_moment() {
    let (_dir, _store, ledger, _writer) = open();
    let mut held: Vec<_> = (0..4).map(|_| ledger.try_reserve().unwrap()).collect();
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.reserve().await }
    });
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(!waiting.is_finished());
    held.pop();
    held.push(waiting.await.unwrap().unwrap());
    // Nobody gives one back, and no more than four wait.
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.reserve().await })
        })
        .collect();
    tokio::task::yield_now().await;
    let asked = tokio::time::Instant::now();
    assert_eq!(ledger.reserve().await.unwrap_err(), Full);
    assert_eq!(asked.elapsed(), Duration::ZERO);
    for one in waiting {
        assert_eq!(one.await.unwrap().unwrap_err(), Full);
    }
    assert!(asked.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn sums_beyond_what_a_column_holds_are_exact() {
    let (_dir, store, ledger, _writer) = open();
    let receipts = (0..3).map(|id| receipt(id, vec![attempt(1, Some("9000000"))], None)).collect();
    write(&ledger, receipts).await;
    let spend = query::spend(&store, &ALL, GroupBy::Key).unwrap();
    assert_eq!(spend.total.cost.to_string(), "27000000.00");
}

#[tokio::test]
async fn an_amount_no_column_holds_stands_as_unpriced() {
    let (_dir, store, ledger, _writer) = open();
    write(&ledger, vec![receipt(1, vec![attempt(1, Some("10000000"))], None)]).await;
    let row = query::request(&store, RequestId(1)).unwrap().unwrap();
    assert_eq!((row.cost(), row.attempts[0].unpriced.as_deref()), (None, Some("overflow")));
}
