//! The next target takes over, as long as nothing has gone to the client.

use std::time::Duration;

use crate::harness::{Gateway, POLICY, hello, hello_stream};
use crate::upstream::{Step, Upstream, chunk, completion, json, json_with, stream_end, stream_head};

const GOOD: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"from beta\"},\"finish_reason\":null}]}\n\n";
const FINISH: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\ndata: [DONE]\n\n";

async fn beta() -> Upstream {
    Upstream::start(vec![json(200, &completion("from beta", 1, 1))]).await
}

#[tokio::test]
async fn every_kind_of_bad_start_fails_over_and_is_recorded() {
    let bad: Vec<(&str, Vec<Step>, &str)> = vec![
        ("500", json(500, r#"{"error":{"message":"boom"}}"#), "upstream"),
        ("429", json_with(429, &["retry-after: 7"], r#"{"error":{"message":"slow"}}"#), "rate_limited"),
        ("401", json(401, r#"{"error":{"message":"bad key","code":"invalid_api_key"}}"#), "credentials"),
        ("html", json(200, "<html>hello</html>"), "malformed"),
        ("truncated JSON", json(200, r#"{"id":"x","choices":[{"ind"#), "malformed"),
        (
            "no message",
            json(200, r#"{"id":"x","model":"m-1","choices":[{"index":0,"finish_reason":"stop"}]}"#),
            "malformed",
        ),
        ("no choices", json(200, r#"{"id":"x","model":"m-1","choices":[]}"#), "malformed"),
        ("error under 200", json(200, r#"{"error":{"message":"content filter"}}"#), "upstream"),
        ("redirect", json_with(302, &["location: http://127.0.0.1:9/"], ""), "malformed"),
        ("nothing", vec![], "truncated"),
    ];
    for (name, script, kind) in bad {
        let (alpha, beta) = (Upstream::start(vec![script]).await, beta().await);
        let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
        let got = gateway.chat(&hello("auto")).await;
        assert_eq!(got.status, 200, "{name}: {}", got.text);
        assert_eq!(got.header("x-stellwerk-target"), "beta/m-1", "{name}");
        let row = gateway.ledger(got.id()).await;
        let attempts = row["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 2, "{name}: {row}");
        assert_eq!(attempts[0]["failure"], kind, "{name}: {row}");
        assert_eq!(attempts[1]["outcome"], "completed", "{name}");
    }
}

#[tokio::test]
async fn a_slow_whole_answer_has_its_share_of_the_time_and_a_silent_target_no_more() {
    // Longer than `first_token`, which is for streams.
    let mut slow = vec![Step::Wait(Duration::from_millis(2500))];
    slow.extend(json(200, &completion("from alpha", 1, 1)));
    let (alpha, beta) = (Upstream::start(vec![slow, vec![Step::Hang]]).await, beta().await);
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!(got.header("x-stellwerk-target"), "alpha/m-1", "{}", got.text);
    gateway.policy(&POLICY.replace("total = \"20s\"", "total = \"3s\"")).await;
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!(got.header("x-stellwerk-target"), "beta/m-1", "{}", got.text);
    let first = gateway.ledger(got.id()).await["attempts"][0].clone();
    assert_eq!((&first["failure"], &first["basis"]), (&"timeout".into(), &"estimated".into()), "{first}");
    assert!(first["usage"]["input"].as_u64().unwrap() > 0, "the prompt was sent and may be billed: {first}");
}

#[tokio::test]
async fn another_key_of_the_same_target_takes_over_and_the_target_is_not_blamed() {
    for (status, word) in [(401, "credentials"), (429, "rate_limited")] {
        let refused = json_with(status, &["retry-after: 20"], r#"{"error":{"message":"not this one"}}"#);
        let good = json(200, &completion("hi", 1, 1));
        let alpha = Upstream::start(vec![refused, good.clone(), good]).await;
        let gateway = Gateway::start(Some(&alpha), None, None).await;
        let got = gateway.chat(&hello("pooled")).await;
        assert_eq!((got.status, alpha.seen().len()), (200, 2), "{word}: {}", got.text);
        let keys: Vec<_> = alpha.seen().iter().map(|r| r.header("authorization").to_owned()).collect();
        assert_ne!(keys[0], keys[1], "{word}");
        assert_eq!(gateway.chat(&hello("pooled")).await.status, 200, "{word}");
        assert_eq!(alpha.seen()[2].header("authorization"), keys[1], "{word}: the refused key rests");
        let row = gateway.ledger(got.id()).await;
        assert_eq!(row["attempts"][0]["failure"], word, "{row}");
    }
}

#[tokio::test]
async fn a_mistyped_name_is_told_and_takes_nothing_down() {
    let missing = json(404, r#"{"error":{"message":"no such model"}}"#);
    let good = json(200, &completion("hi", 1, 1));
    let alpha = Upstream::start(vec![missing.clone(), missing.clone(), missing.clone(), missing, good]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    for n in 0..4 {
        let got = gateway.chat(&hello(&format!("any/typo-{n}"))).await;
        assert_eq!(got.status, 404, "{}", got.text);
        assert!(got.text.contains("model_not_found"), "{}", got.text);
    }
    assert_eq!(gateway.chat(&hello("any/good")).await.status, 200);
}

#[tokio::test]
async fn a_provider_that_is_not_there_fails_over() {
    let beta = beta().await;
    let gateway = Gateway::start(None, Some(&beta), None).await;
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!(got.header("x-stellwerk-target"), "beta/m-1", "{}", got.text);
    assert_eq!(gateway.ledger(got.id()).await["attempts"][0]["failure"], "connect");
}

#[tokio::test]
async fn a_stream_that_breaks_before_its_first_token_fails_over() {
    let starts: Vec<(&str, Vec<Step>)> = vec![
        ("comments only", vec![stream_head(), chunk(": keep-alive\n\n")]),
        ("error event", vec![stream_head(), chunk("data: {\"error\":{\"message\":\"busy\"}}\n\n"), stream_end()]),
        ("closed at once", vec![stream_head()]),
        ("silent", vec![stream_head(), Step::Hang]),
    ];
    for (name, script) in starts {
        let alpha = Upstream::start(vec![script]).await;
        let beta = Upstream::start(vec![vec![stream_head(), chunk(GOOD), chunk(FINISH), stream_end()]]).await;
        let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
        let got = gateway.chat(&hello_stream("auto")).await;
        assert_eq!(got.status, 200, "{name}");
        assert_eq!(got.header("x-stellwerk-target"), "beta/m-1", "{name}");
        assert!(got.text.contains("from beta") && got.text.ends_with("data: [DONE]\n\n"), "{name}: {}", got.text);
        assert!(!got.text.contains("busy"), "{name}: nothing of the failed attempt shows");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_request_is_told_at_once_and_not_tried_elsewhere() {
    let error = r#"{"error":{"message":"temperature must be <= 2","type":"invalid_request_error","param":"temperature","code":null}}"#;
    let (alpha, beta) = (Upstream::start(vec![json(400, error)]).await, beta().await);
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!(got.status, 400);
    assert_eq!(got.json()["error"]["param"], "temperature");
    assert_eq!(got.json()["error"]["message"], "temperature must be <= 2");
    assert!(beta.seen().is_empty());
}

#[tokio::test]
async fn when_all_fail_the_provider_s_401_is_not_the_client_s_own() {
    let refused = || Upstream::start(vec![json(401, r#"{"error":{"message":"secret text of the provider"}}"#)]);
    let (alpha, beta) = (refused().await, refused().await);
    let gateway = Gateway::start(Some(&alpha), Some(&beta), Some(&refused().await)).await;
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!(got.status, 502, "{}", got.text);
    assert_eq!(got.json()["error"]["code"], "upstream_auth");
    assert!(!got.text.contains("secret text"));
}

#[tokio::test]
async fn a_target_that_keeps_failing_is_left_alone_for_a_while() {
    let (alpha, beta) = (Upstream::start(vec![json(500, "{}")]).await, beta().await);
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    for _ in 0..6 {
        assert_eq!(gateway.chat(&hello("auto")).await.status, 200);
    }
    assert_eq!(alpha.seen().len(), 3, "the breaker opens after three failures in a row");
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let trap = beta().await;
    let location = format!("location: {}/v1/chat/completions", trap.url());
    let alpha = Upstream::start(vec![json_with(307, &[&location], "")]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!(got.status, 502);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(trap.seen().is_empty());
}

#[tokio::test]
async fn a_prompt_that_is_too_long_for_one_target_goes_to_the_next() {
    let words = "This model's maximum context length is 8192 tokens. However, your messages have 9000 tokens.";
    let said =
        format!(r#"{{"error":{{"message":"{words}","type":"invalid_request_error","param":"messages","code":400}}}}"#);
    let alpha = Upstream::start(vec![json(400, &said)]).await;
    let beta = Upstream::start(vec![json(200, &completion("I have room", 9000, 3))]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!((got.status, got.header("x-stellwerk-target")), (200, "beta/m-1"), "{}", got.text);
    let row = gateway.ledger(got.id()).await;
    assert_eq!(row["attempts"][0]["failure"], "rejected", "{row}");
    let refused = gateway.chat(&hello("pooled")).await;
    let error = &refused.json()["error"];
    assert_eq!(
        (refused.status, &error["code"], &error["param"]),
        (400, &"context_length_exceeded".into(), &"messages".into())
    );
    assert_eq!(error["message"], words);
    assert!(gateway.metrics().await.contains(r#"stellwerk_attempts_total{outcome="rejected",target="alpha/m-1"} 1"#));
}
