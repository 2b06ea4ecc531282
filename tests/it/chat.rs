//! One request, one answer: identity, translation, headers, ledger.

use crate::harness::{Gateway, hello};
use crate::upstream::{Upstream, completion, json};

#[tokio::test]
async fn same_dialect_bytes_pass_both_ways_and_the_request_is_priced() {
    let answer = completion("hi", 1_000_000, 500_000);
    let alpha = Upstream::start(vec![json(200, &answer)]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let body = r#"{ "messages": [{"role":"user","content":"hello"}],  "x_new": {"kept": 1e2}, "model" :"auto" }"#;
    let got = gateway.chat(body).await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert_eq!(got.text, answer, "the answer's bytes pass");
    assert_eq!(alpha.seen()[0].body, body.replace("\"auto\"", "\"m-1\""), "only the model is replaced");
    assert_eq!(got.header("x-stellwerk-target"), "alpha/m-1");
    assert_eq!(got.header("x-stellwerk-route"), "main");
    assert_eq!(got.header("x-stellwerk-cost"), "2.00 USD", "1 M × 1 + 0.5 M × 2");
    assert_eq!(got.header("x-stellwerk-baseline-cost"), "45.00 USD", "o1 of January 2025: 15 + 30");

    let row = gateway.ledger(got.id()).await;
    assert_eq!(row["cost_usd"], "2.00", "{row}");
    assert_eq!(row["attempts"][0]["basis"], "provider");
    assert_eq!(row["attempts"][0]["usage"]["input"], 1_000_000);
    assert_eq!(row["baseline"]["target"], "openai/o1@global");
    assert!(row["baseline"]["retired"].is_string(), "o1 can no longer be bought: {row}");
    let metrics = gateway.metrics().await;
    let labels = r#"model="m-1",provider="alpha",route="main""#;
    assert!(metrics.contains(&format!("stellwerk_spend_usd_total{{{labels}}} 2\n")), "{metrics}");
    assert!(metrics.contains(&format!("stellwerk_baseline_usd_total{{{labels}}} 45\n")), "{metrics}");
}

#[tokio::test]
async fn the_gateway_key_never_reaches_the_provider() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    gateway.chat(&hello("auto")).await;
    let seen = &alpha.seen()[0];
    assert!(!seen.head.contains(&gateway.key));
    let own = format!("authorization: bearer {}", std::env::var("PATH").unwrap().to_ascii_lowercase());
    assert!(seen.head.to_ascii_lowercase().contains(&own), "the provider's own key is there");
}

#[tokio::test]
async fn an_anthropic_provider_answers_an_openai_client_with_tools() {
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m-1","content":[{"type":"text","text":"Looking."},{"type":"tool_use","id":"toolu_1","name":"weather","input":{"city":"Paris"}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":7,"cache_read_input_tokens":3,"cache_creation_input_tokens":0,"output_tokens":5}}"#;
    let gamma = Upstream::start(vec![json(200, answer)]).await;
    let gateway = Gateway::start(None, None, Some(&gamma)).await;
    let got = gateway
        .chat(r#"{"model":"claude","max_tokens":50,"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Weather in Paris?"}],"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}]}"#)
        .await;
    assert_eq!(got.status, 200, "{}", got.text);
    let body = got.json();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["choices"][0]["message"]["content"], "Looking.");
    let call = &body["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["id"], "toolu_1");
    assert_eq!(call["function"]["name"], "weather");
    let arguments: serde_json::Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, serde_json::json!({"city": "Paris"}));
    assert_eq!(body["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(body["usage"]["prompt_tokens"], 10, "the cached part counts as prompt in this dialect");
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 3);
    let sent = gamma.seen()[0].json();
    assert_eq!(sent["max_tokens"], 50);
    assert_eq!(sent["tools"][0]["name"], "weather");
    assert!(gamma.seen()[0].head.to_ascii_lowercase().contains("anthropic-version:"));
    let row = gateway.ledger(got.id()).await;
    assert_eq!(row["attempts"][0]["usage"], serde_json::json!({"input": 7, "cache_read": 3, "output": 5}));
}

#[tokio::test]
async fn models_are_listed_and_found() {
    let gateway = Gateway::start(None, None, None).await;
    let list = gateway.client.get(format!("{}/models", gateway.base)).bearer_auth(&gateway.key).send().await.unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list.bytes().await.unwrap()).unwrap();
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"auto") && ids.contains(&"alpha/m-1"), "{ids:?}");
    let one = gateway.client.get(format!("{}/models/alpha%2Fm-1", gateway.base)).bearer_auth(&gateway.key).send().await;
    assert_eq!(one.unwrap().status(), 200);
    let none = gateway.client.get(format!("{}/models/nothing", gateway.base)).bearer_auth(&gateway.key).send().await;
    assert_eq!(none.unwrap().status(), 404);
}

#[tokio::test]
async fn http2_without_tls_is_served_on_the_same_port() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let url = format!("{}/chat/completions", gateway.base);
    let got = client.post(url).bearer_auth(&gateway.key).body(hello("auto")).send().await.unwrap();
    assert_eq!(got.version(), reqwest::Version::HTTP_2);
    assert_eq!(got.status(), 200);
}

#[tokio::test]
async fn an_answer_without_usage_is_estimated_and_marked_so() {
    let answer = r#"{"id":"x","object":"chat.completion","created":1,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"12345678"},"finish_reason":"stop"}]}"#;
    let alpha = Upstream::start(vec![json(200, answer)]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = gateway.chat(&hello("auto")).await;
    let row = gateway.ledger(got.id()).await;
    assert_eq!(row["attempts"][0]["basis"], "estimated", "{row}");
    assert!(row["attempts"][0]["usage"]["output"].as_u64().unwrap() >= 2);
}
