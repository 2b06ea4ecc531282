//! Residency is a hard constraint: on the first attempt, on fail-over, for every source of a requirement.

use crate::harness::{Gateway, hello};
use crate::upstream::{Upstream, completion, json};

#[tokio::test]
async fn fail_over_never_leaves_the_zone() {
    let alpha = Upstream::start(vec![json(500, "{}")]).await;
    let beta = Upstream::start(vec![json(200, &completion("from the US", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    for _ in 0..6 {
        let got = gateway.chat(&hello("eu")).await;
        assert!(got.status == 502 || got.status == 503, "{}: {}", got.status, got.text);
    }
    assert!(beta.seen().is_empty(), "not a byte went to a forbidden target");
}

#[tokio::test]
async fn a_request_header_narrows_and_a_filter_that_removes_all_refuses() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let beta = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    let got = gateway.chat_with(&hello("auto"), &[("x-stellwerk-require", "processing=US")]).await;
    assert_eq!(got.header("x-stellwerk-target"), "beta/m-1", "{}", got.text);
    let got = gateway.chat_with(&hello("eu"), &[("x-stellwerk-require", "processing=US")]).await;
    assert_eq!(got.status, 403, "EU and US have nothing in common: {}", got.text);
    assert_eq!(got.json()["error"]["code"], "policy_no_target");
    let got = gateway.chat_with(&hello("auto"), &[("x-stellwerk-require", "processing=Mars")]).await;
    assert_eq!(got.status, 400, "{}", got.text);
    assert_eq!(got.json()["error"]["param"], "x-stellwerk-require");
    assert!(alpha.seen().is_empty());
}

#[tokio::test]
async fn a_key_s_requirement_holds_for_all_its_requests() {
    let alpha = Upstream::start(vec![json(500, "{}")]).await;
    let beta = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let mut gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway.key = gateway.new_key("default", Some("processing=EU"));
    gateway.wait_for_key().await;
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!(got.status, 502, "{}", got.text);
    assert_eq!(gateway.chat(&hello("beta/m-1")).await.status, 403, "nor by the model's own name");
    assert!(beta.seen().is_empty());
}

#[tokio::test]
async fn a_price_limit_refuses_after_residency() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = gateway.chat_with(&hello("auto"), &[("x-stellwerk-require", "max_cost=0.000000001 USD")]).await;
    assert_eq!((got.status, got.json()["error"]["code"].as_str().unwrap()), (403, "price_limit"), "{}", got.text);
    assert!(alpha.seen().is_empty());
}

#[tokio::test]
async fn stale_facts_are_unknown_also_in_the_ledger_and_their_end_can_be_watched() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let dir = Gateway::files(Some(&alpha), None, None);
    let file = dir.path().join("providers/alpha.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("expires = 2099-01-01", "expires = 2026-02-01")).unwrap();
    let gateway = Gateway::start_in(dir).await;
    let got = gateway.chat_with(&hello("auto"), &[("x-stellwerk-require", "processing=DE")]).await;
    assert_eq!(got.status, 403, "{}", got.text);
    assert!(got.text.contains("alpha/m-1: its residency facts are stale since 2026-02-01"), "{}", got.text);
    // Nothing is required: it may be asked, but nobody may say afterwards that it was in Germany.
    let got = gateway.chat(&hello("alpha/m-1")).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let row = gateway.ledger(got.id()).await;
    let attempt = &row["attempts"][0];
    assert!(attempt["processing"].is_null() && attempt["operator"].is_null(), "{row}");
    let metrics = gateway.metrics().await;
    let end = |of: &str, at: &str| format!("stellwerk_facts_expire_timestamp_seconds{{endpoint=\"{of}\"}} {at}");
    assert!(metrics.contains(&end("alpha@main", "1769904000")), "{metrics}");
    assert!(metrics.contains(&end("beta@main", "4070908800")), "{metrics}");
}
