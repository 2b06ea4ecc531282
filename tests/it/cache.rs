//! The exact cache: only where a route asks, never across tenants, one flight for equal requests.

use std::time::Duration;

use stellwerk::admission::NewKey;

use crate::harness::{Gateway, hello, hello_stream};
use crate::upstream::{Step, Upstream, chunk, completion, json, stream_end, stream_head};

#[tokio::test]
async fn a_hit_costs_nothing_and_its_saving_stands_apart() {
    let answer = completion("hi", 1_000_000, 0);
    let alpha = Upstream::start(vec![json(200, &answer)]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let first = gateway.chat(&hello("cached")).await;
    let second = gateway.chat(&hello("cached")).await;
    assert_eq!(first.text, second.text);
    assert_eq!(alpha.seen().len(), 1);
    assert_eq!((first.header("x-stellwerk-cost"), first.header("x-stellwerk-cache")), ("1.00 USD", ""));
    assert_eq!((second.header("x-stellwerk-cost"), second.header("x-stellwerk-cache")), ("0.00 USD", "hit"));
    let row = gateway.ledger(second.id()).await;
    assert_eq!(row["attempts"], serde_json::json!([]), "{row}");
    assert_eq!(row["cache_saved_usd"], "1.00", "{row}");
    assert!(row["baseline"].is_null(), "a saving is counted once: {row}");
}

#[tokio::test]
async fn a_route_that_does_not_ask_is_not_cached() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    gateway.chat(&hello("auto")).await;
    gateway.chat(&hello("auto")).await;
    assert_eq!(alpha.seen().len(), 2);
}

#[tokio::test]
async fn tenants_and_requirements_are_apart() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let mut gateway = Gateway::start(Some(&alpha), None, None).await;
    gateway.chat(&hello("cached")).await;
    gateway.chat_with(&hello("cached"), &[("x-stellwerk-require", "processing=EU")]).await;
    assert_eq!(alpha.seen().len(), 2, "a stricter request is another request");
    gateway.key = gateway.new_key("other", None);
    gateway.wait_for_key().await;
    assert_eq!(gateway.chat(&hello("cached")).await.status, 200);
    assert_eq!(alpha.seen().len(), 3, "another tenant never sees the first one's answer");
}

#[tokio::test]
async fn a_stricter_policy_never_sees_a_laxer_ones_answer() {
    let answer = |text| json(200, &completion(text, 1, 1));
    let (alpha, beta) = (Upstream::start(vec![answer("DE")]).await, Upstream::start(vec![answer("US")]).await);
    let mut gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    let route = |require: &str| {
        format!(
            "[[route]]\nname = \"cached\"\nmatch = {{ model = [\"c\"] }}\ntargets = [\"alpha/*\", \"beta/*\"]\ncache = \"10m\"\n{require}"
        )
    };
    std::fs::write(gateway.path("policies/strict.toml"), route("[route.require]\nprocessing = [\"US\"]\n")).unwrap();
    gateway.policy(&route("")).await;
    assert!(gateway.chat(&hello("c")).await.text.contains("DE"));
    gateway.key = gateway.key_of(NewKey { policy: Some("strict".into()), ..Default::default() });
    gateway.wait_for_key().await;
    let strict = gateway.chat(&hello("c")).await;
    assert_eq!((strict.header("x-stellwerk-target"), strict.header("x-stellwerk-cache")), ("beta/m-1", ""));
}

#[tokio::test]
async fn equal_requests_share_one_flight() {
    let mut script = vec![Step::Wait(Duration::from_millis(300))];
    script.extend(json(200, &completion("hi", 1, 1)));
    let alpha = Upstream::start(vec![script]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let body = hello("cached");
    let answers = futures_util::future::join_all((0..8).map(|_| gateway.chat(&body))).await;
    assert!(answers.iter().all(|a| a.status == 200));
    assert_eq!(alpha.seen().len(), 1);
    assert_eq!(answers.iter().filter(|a| a.header("x-stellwerk-cache") == "hit").count(), 7);
}

#[tokio::test]
async fn a_whole_stream_is_kept_and_a_broken_one_is_not() {
    let delta = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
    let finish = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let broken = vec![stream_head(), chunk(delta)];
    let whole = vec![stream_head(), chunk(delta), chunk(finish), stream_end()];
    let alpha = Upstream::start(vec![broken, whole]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    assert!(gateway.chat(&hello_stream("cached")).await.text.contains("error"));
    let second = gateway.chat(&hello_stream("cached")).await;
    let third = gateway.chat(&hello_stream("cached")).await;
    assert_eq!(second.text, third.text);
    assert!(third.text.ends_with("data: [DONE]\n\n"));
    assert_eq!(alpha.seen().len(), 2);
}

#[tokio::test]
async fn what_stands_beside_the_body_is_part_of_the_question() {
    let answer = |text| json(200, &completion(text, 1, 1));
    let delta = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"three\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let stream = || vec![stream_head(), chunk(delta), stream_end()];
    let scripts = vec![answer("one"), answer("two"), stream(), stream(), answer("five"), answer("six")];
    let alpha = Upstream::start(scripts).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let root = gateway.base.trim_end_matches("/v1").to_owned();
    gateway
        .policy("[[route]]\nname = \"g\"\nmatch = { model = [\"g-*\"] }\ntargets = [\"alpha/*\"]\ncache = \"10m\"\n")
        .await;
    let post = |path: &str, body: &'static str, header: (&'static str, &'static str)| {
        let request = gateway.client.post(format!("{root}{path}")).header("x-api-key", &gateway.key);
        let request = request.header("content-type", "application/json").header(header.0, header.1).body(body);
        async { crate::harness::Answer::read(request.send().await.unwrap()).await }
    };
    // Gemini: model and form of the answer stand in the path.
    let gemini = r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#;
    for (path, text) in [
        ("/v1beta/models/g-a:generateContent", "one"),
        ("/v1beta/models/g-b:generateContent", "two"),
        ("/v1beta/models/g-a:streamGenerateContent?alt=sse", "data: "),
        ("/v1beta/models/g-a:streamGenerateContent", "[{"),
    ] {
        for cached in ["", "hit"] {
            let got = post(path, gemini, ("accept", "*/*")).await;
            assert_eq!((got.status, got.header("x-stellwerk-cache")), (200, cached), "{path}: {}", got.text);
            assert!(got.text.contains(text) || got.text.starts_with(text), "{path}: {}", got.text);
        }
    }
    // Anthropic: a header that a provider sees.
    let anthropic = r#"{"model":"g-a","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}"#;
    for (beta, text) in [("one-2027", "five"), ("two-2027", "six")] {
        let got = post("/v1/messages", anthropic, ("anthropic-beta", beta)).await;
        assert!(got.text.contains(text), "{beta}: {}", got.text);
    }
}
