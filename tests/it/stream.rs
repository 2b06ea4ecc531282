//! Streams: identity, translation, breaks, clients that go away.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::dialects::{anthropic, ask, responses};
use crate::harness::{Gateway, hello_stream};
use crate::upstream::{self, Step, Upstream, chunk, stream_end, stream_head};

fn delta(text: &str) -> String {
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"x_vendor\":7,\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

const FINISH: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":4,\"total_tokens\":14,\"prompt_tokens_details\":{\"cached_tokens\":6}}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn whole() -> Vec<Step> {
    vec![stream_head(), chunk(&delta("a")), chunk(&delta("b")), chunk(FINISH), chunk(USAGE), chunk(DONE), stream_end()]
}

#[tokio::test]
async fn usage_is_asked_for_metered_and_hidden_when_the_client_did_not_ask() {
    let alpha = Upstream::start(vec![whole()]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = gateway.chat(&hello_stream("auto")).await;
    assert_eq!(got.text, [&delta("a"), &delta("b"), FINISH, DONE].concat());
    assert_eq!(got.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(alpha.seen()[0].json()["stream_options"]["include_usage"], true);
    let row = gateway.ledger(got.id()).await;
    let usage = &row["attempts"][0]["usage"];
    assert_eq!(*usage, serde_json::json!({"input": 4, "cache_read": 6, "output": 4}), "{row}");
    assert_eq!(row["attempts"][0]["outcome"], "completed");
}

#[tokio::test]
async fn usage_passes_when_the_client_asked() {
    let alpha = Upstream::start(vec![whole()]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let body = r#"{"model":"auto","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"x"}]}"#;
    let got = gateway.chat(body).await;
    assert_eq!(got.text, [&delta("a"), &delta("b"), FINISH, USAGE, DONE].concat());
}

#[tokio::test]
async fn a_cut_stream_ends_with_an_error_event_and_never_with_done() {
    let cuts: Vec<(&str, Vec<Step>)> = vec![
        ("closed", vec![stream_head(), chunk(&delta("a"))]),
        ("ended without a finish", vec![stream_head(), chunk(&delta("a")), stream_end()]),
        (
            "error event",
            vec![stream_head(), chunk(&delta("a")), chunk("data: {\"error\":{\"message\":\"x\"}}\n\n"), stream_end()],
        ),
        ("silent", vec![stream_head(), chunk(&delta("a")), Step::Hang]),
    ];
    for (name, script) in cuts {
        let alpha = Upstream::start(vec![script]).await;
        let beta = Upstream::start(vec![whole()]).await;
        let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
        let got = gateway.chat(&hello_stream("auto")).await;
        assert!(got.text.starts_with(&delta("a")), "{name}: {}", got.text);
        let last = got.text.trim_end().rsplit("\n\n").next().unwrap();
        let error: serde_json::Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
        assert!(error["error"]["message"].is_string(), "{name}: {last}");
        assert!(!got.text.contains("[DONE]"), "{name}");
        assert!(beta.seen().is_empty(), "{name}: no fail-over after the first frame");
        let row = gateway.ledger(got.id()).await;
        assert_eq!(row["attempts"][0]["outcome"], "truncated", "{name}: {row}");
        assert!(row["attempts"][0]["failure"].is_string(), "what broke is written: {name}: {row}");
        assert_eq!(row["attempts"][0]["basis"], "estimated", "{name}: what was delivered is paid for");
    }
}

#[tokio::test]
async fn when_the_client_goes_away_the_upstream_is_cancelled_and_the_usage_settled() {
    let alpha = Upstream::start(vec![vec![stream_head(), chunk(&delta("aaaaaaaa")), Step::Hang]]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let request = gateway.client.post(format!("{}/chat/completions", gateway.base)).bearer_auth(&gateway.key);
    let response = request.body(hello_stream("auto")).send().await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let mut body = response.bytes_stream();
    body.next().await.unwrap().unwrap();
    drop(body);
    let row = gateway.ledger(&id).await;
    assert_eq!(row["attempts"][0]["outcome"], "cancelled", "{row}");
    assert_eq!(row["attempts"][0]["usage"]["output"], 2, "eight bytes were delivered: {row}");
    for _ in 0..250 {
        if alpha.closed() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the upstream call went on");
}

#[tokio::test]
async fn an_anthropic_stream_becomes_an_openai_stream() {
    let events = [
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m-1\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":4}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ];
    let mut script = vec![stream_head()];
    script.extend(events.iter().map(|e| chunk(e)));
    script.push(stream_end());
    let gamma = Upstream::start(vec![script]).await;
    let gateway = Gateway::start(None, None, Some(&gamma)).await;
    let body = r#"{"model":"claude","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"x"}]}"#;
    let got = gateway.chat(body).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let chunks: Vec<serde_json::Value> = got
        .text
        .split("\n\n")
        .filter_map(|e| e.strip_prefix("data: ").filter(|d| *d != "[DONE]"))
        .map(|d| serde_json::from_str(d).unwrap())
        .collect();
    let text: String = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "Hello");
    assert_eq!(chunks.iter().filter(|c| c["choices"][0]["finish_reason"] == "stop").count(), 1);
    let usage = chunks.last().unwrap();
    assert_eq!(usage["choices"], serde_json::json!([]));
    assert_eq!(usage["usage"]["prompt_tokens"], 9);
    assert_eq!(usage["usage"]["completion_tokens"], 4, "the placeholder of message_start is not added");
    assert!(got.text.ends_with(DONE));
    assert_eq!(gateway.ledger(got.id()).await["attempts"][0]["usage"], serde_json::json!({"input": 9, "output": 4}));
}

#[tokio::test]
async fn chunks_reach_the_client_as_they_come() {
    let script = vec![
        stream_head(),
        chunk(&delta("first")),
        Step::Wait(Duration::from_secs(1)),
        chunk(FINISH),
        chunk(DONE),
        stream_end(),
    ];
    let alpha = Upstream::start(vec![script]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let request = gateway.client.post(format!("{}/chat/completions", gateway.base)).bearer_auth(&gateway.key);
    let body = r#"{"model":"auto","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"x"}]}"#;
    let mut body = request.body(body).send().await.unwrap().bytes_stream();
    let first = body.next().await.unwrap().unwrap();
    assert_eq!(first, delta("first"), "the first chunk does not wait for the second");
}

#[tokio::test]
async fn the_cost_stands_in_the_usage_report_if_the_client_asks() {
    let usage = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[],"usage":{"prompt_tokens":1000000,"completion_tokens":500000,"total_tokens":1500000}}"#;
    let script =
        || vec![stream_head(), chunk(&delta("hi")), chunk(FINISH), chunk(&format!("data: {usage}\n\n")), chunk(DONE)];
    let alpha = Upstream::start(vec![script(), script()]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = gateway.chat_with(&hello_stream("auto"), &[("x-stellwerk-usage", "cost")]).await;
    let reports: Vec<serde_json::Value> = got
        .text
        .split("\n\n")
        .filter_map(|e| e.strip_prefix("data: ").filter(|d| d.contains("\"usage\":{")))
        .map(|d| serde_json::from_str(d).unwrap())
        .collect();
    let note = &reports.last().unwrap()["usage"]["stellwerk"];
    assert_eq!(note, &serde_json::json!({"cost": "2.00", "baseline_cost": "45.00", "currency": "USD"}), "{}", got.text);
    assert!(got.text.ends_with(DONE));
    assert_eq!(gateway.ledger(got.id()).await["attempts"][0]["cost_usd"], "2.00");
    assert!(!gateway.chat(&hello_stream("auto")).await.text.contains("stellwerk"), "only if asked");
    let wrong = gateway.chat_with(&hello_stream("auto"), &[("x-stellwerk-usage", "all")]).await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn the_last_word_of_a_stream_ends_it_even_if_the_connection_stays_open() {
    let script = vec![stream_head(), chunk(&delta("hi")), chunk(FINISH), chunk(DONE), Step::Hang];
    let alpha = Upstream::start(vec![script]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = gateway.chat(&hello_stream("auto")).await;
    assert!(got.text.ends_with(DONE), "{}", got.text);
    assert_eq!(gateway.ledger(got.id()).await["attempts"][0]["outcome"], "completed");
}

#[tokio::test]
async fn a_whole_answer_that_is_billed_anyway_is_read_to_its_end() {
    let mut script = vec![Step::Wait(Duration::from_millis(700))];
    script.extend(crate::upstream::json(200, &crate::upstream::completion("hi", 1000, 500)));
    let alpha = Upstream::start(vec![script]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let file = gateway.path("providers/alpha.toml");
    let bills_on = std::fs::read_to_string(&file).unwrap().replace("cancel_stops_billing = true", "");
    std::fs::write(&file, bills_on).unwrap();
    assert_eq!(gateway.reload().await.0, 200);
    let request = gateway.client.post(format!("{}/chat/completions", gateway.base)).bearer_auth(&gateway.key);
    let sent = request.body(crate::harness::hello("auto")).timeout(Duration::from_millis(300)).send().await;
    assert!(sent.unwrap_err().is_timeout());
    for _ in 0..250 {
        let metrics = gateway.metrics().await;
        if metrics
            .lines()
            .any(|l| l.starts_with("stellwerk_tokens_total") && l.contains("\"output\"") && l.ends_with(" 500"))
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the usage was lost: {}", gateway.metrics().await);
}

#[tokio::test]
async fn calls_that_have_no_id_get_one_that_no_other_answer_has() {
    let call = |index: u32| json!({"index": index, "id": "", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let whole_answer = json!({"object": "chat.completion", "model": "m-1", "choices": [{"index": 0, "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": null, "tool_calls": [call(0), call(1)]}}]});
    let piece = |delta: Value, finish: Value| {
        let told = json!({"object": "chat.completion.chunk", "model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        chunk(&format!("data: {told}\n\n"))
    };
    let streamed = || {
        let calls = json!({"role": "assistant", "tool_calls": [call(0), call(1)]});
        vec![
            stream_head(),
            piece(calls, Value::Null),
            piece(json!({}), json!("tool_calls")),
            chunk("data: [DONE]\n\n"),
            stream_end(),
        ]
    };
    let answers = vec![
        upstream::json(200, &whole_answer.to_string()),
        streamed(),
        upstream::json(200, &whole_answer.to_string()),
        streamed(),
    ];
    for (first, second) in [(anthropic(false), anthropic(true)), (responses(false), responses(true))] {
        let alpha = Upstream::start(answers.clone()).await;
        let gateway = Gateway::start(Some(&alpha), None, None).await;
        let mut ids = std::collections::BTreeSet::new();
        for asked in [&first, &second, &first, &second] {
            let got = ask(&gateway, asked).await;
            assert_eq!(got.status, 200, "{}", got.text);
            let named = got.text.split("\"call_").skip(1).filter_map(|rest| rest.split('"').next());
            let here: std::collections::BTreeSet<&str> =
                named.filter(|id| id.ends_with("_0_0") || id.ends_with("_0_1")).collect();
            assert_eq!(here.len(), 2, "{}", got.text);
            ids.extend(here.into_iter().map(str::to_owned));
        }
        assert_eq!(ids.len(), 8, "{ids:?}");
    }
}
