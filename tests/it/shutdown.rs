//! A stop is clean: nothing that was settled is lost, and it does not wait for what is over.

use std::time::Duration;

use crate::harness::{Gateway, hello, hello_stream};
use crate::upstream::{Step, Upstream, chunk, completion, json, stream_head};

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

#[tokio::test]
async fn a_connection_that_says_nothing_holds_no_stop_up() {
    let mut gateway = Gateway::start(None, None, None).await;
    let address = gateway.base.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    let silent = tokio::net::TcpStream::connect(&address).await.unwrap();
    gateway.chat(&hello("auto")).await;
    let app = gateway.app.take().unwrap();
    // Such a connection is closed by itself after ten seconds.
    tokio::time::timeout(Duration::from_secs(8), app.shutdown()).await.expect("it stops at once");
    drop(silent);
}

#[tokio::test]
async fn what_is_cut_at_the_end_is_settled_too() {
    let delta = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"some words\"},\"finish_reason\":null}]}\n\n";
    let endless = vec![stream_head(), chunk(delta), Step::Hang];
    let alpha = Upstream::start(vec![endless]).await;
    let dir = Gateway::files(Some(&alpha), None, None);
    // A provider that bills on when we hang up: its answer is read on after the client has gone.
    let file = dir.path().join("providers/alpha.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("cancel_stops_billing = true", "cancel_stops_billing = false")).unwrap();
    let mut gateway = Gateway::start_draining(dir, "100ms").await;
    let ask = || {
        let request = gateway.client.post(format!("{}/chat/completions", gateway.base)).bearer_auth(&gateway.key);
        let body = hello_stream("auto").replace("hello", "some prompt");
        async { request.body(body).send().await.unwrap() }
    };
    let (open, left) = (ask().await, ask().await);
    drop(left);
    let app = gateway.app.take().unwrap();
    tokio::time::timeout(Duration::from_secs(30), app.shutdown()).await.expect("it stops");
    drop(open);
    let path = gateway.path("data/stellwerk.db");
    let store = stellwerk::store::Store::open(&path, stellwerk::store::Durability::Process).unwrap();
    let all = stellwerk::ledger::query::Period::between(None, None).unwrap();
    let spend = stellwerk::ledger::query::spend(&store, &all, stellwerk::ledger::query::GroupBy::Route).unwrap();
    assert_eq!((spend.total.requests, spend.total.estimated), (2, 2));
}
