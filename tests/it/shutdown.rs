//! A stop is clean: nothing that was settled is lost, and it does not wait for what is over.

use std::time::Duration;

use crate::harness::{Gateway, hello};
use crate::upstream::{Upstream, completion, json};

#[tokio::test]
async fn every_receipt_is_written_before_the_gateway_has_stopped() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let mut gateway = Gateway::start(Some(&alpha), None, None).await;
    for _ in 0..20 {
        assert_eq!(gateway.chat(&hello("auto")).await.status, 200);
    }
    let app = gateway.app.take().unwrap();
    tokio::time::timeout(Duration::from_secs(30), app.shutdown()).await.expect("it stops");
    let path = gateway.path("data/stellwerk.db");
    let store = stellwerk::store::Store::open(&path, stellwerk::store::Durability::Process).unwrap();
    let all = stellwerk::ledger::query::Period::between(None, None).unwrap();
    let spend = stellwerk::ledger::query::spend(&store, &all, stellwerk::ledger::query::GroupBy::Route).unwrap();
    assert_eq!(spend.total.requests, 20);
}
