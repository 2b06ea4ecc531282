//! Streams that end in odd ways, answers in another form than asked for, and usage that no provider tells.

use serde_json::{Value, json};

use crate::dialects::{DELTA, anthropic, ask, gemini, responses};
use crate::harness::{Gateway, hello, hello_stream};
use crate::upstream::{Upstream, chunk, completion, json as whole, stream_end, stream_head};

const DONE: &str = "data: [DONE]\n\n";
const FINISH: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

fn with_usage(model: &str) -> String {
    json!({"model": model, "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "hello"}]})
    .to_string()
}

/// The JSON of a stream's events.
fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {data}"))).collect()
}

#[tokio::test]
async fn the_end_mark_of_nothing_is_no_answer() {
    for asked in [hello_stream("auto"), hello("auto")] {
        let stream = asked.contains("stream");
        let nothing = vec![stream_head(), chunk(DONE), stream_end()];
        let good = if stream {
            vec![stream_head(), chunk(DELTA), chunk(FINISH), chunk(DONE), stream_end()]
        } else {
            whole(200, &completion("Hello there", 1, 1))
        };
        let (alpha, beta) = (Upstream::start(vec![nothing]).await, Upstream::start(vec![good]).await);
        let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
        let got = gateway.chat(&asked).await;
        assert_eq!(got.header("x-stellwerk-target"), "beta/m-1", "{}", got.text);
        let row = gateway.ledger(got.id()).await;
        let failure = if stream { "truncated" } else { "malformed" };
        assert_eq!(row["attempts"][0]["failure"], failure, "{row}");
    }
    // In another dialect as well.
    let nothing = vec![stream_head(), chunk(DONE), stream_end()];
    let alpha = Upstream::start(vec![nothing]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = ask(&gateway, &anthropic(true)).await;
    assert_eq!((got.status, &got.json()["type"]), (502, &json!("error")), "{}", got.text);
}

#[tokio::test]
async fn a_whole_answer_to_a_request_for_a_stream_becomes_a_stream() {
    let answer = format!("\n\n {}", completion("Hello there", 7, 3));
    let alpha = Upstream::start(vec![whole(200, &answer)]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = gateway.chat(&with_usage("auto")).await;
    assert_eq!(got.header("content-type"), "text/event-stream; charset=utf-8");
    assert!(got.text.ends_with(DONE), "{}", got.text);
    let chunks = events(&got.text);
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": "Hello there"}));
    assert_eq!(chunks[1]["choices"][0]["finish_reason"], "stop");
    assert_eq!((&chunks[2]["choices"], &chunks[2]["usage"]["total_tokens"]), (&json!([]), &json!(10)));
    let row = gateway.ledger(got.id()).await;
    assert_eq!(
        (&row["attempts"][0]["outcome"], &row["attempts"][0]["basis"]),
        (&json!("completed"), &json!("provider"))
    );
    for (asked, end) in [
        (anthropic(true), "event: message_stop"),
        (responses(true), "event: response.completed"),
        (gemini(true), "\"finishReason\":\"STOP\""),
    ] {
        let got = ask(&gateway, &asked).await;
        assert!(got.text.contains("Hello there") && got.text.contains(end), "{}: {}", asked.path, got.text);
    }
}

#[tokio::test]
async fn an_error_in_the_form_of_a_whole_answer_fails_over_from_a_stream() {
    let alpha = Upstream::start(vec![whole(200, r#"{"error":{"message":"busy","code":429}}"#)]).await;
    let good = vec![stream_head(), chunk(DELTA), chunk(FINISH), chunk(DONE), stream_end()];
    let beta = Upstream::start(vec![good]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    let got = gateway.chat(&hello_stream("auto")).await;
    assert_eq!(got.header("x-stellwerk-target"), "beta/m-1", "{}", got.text);
    assert_eq!(gateway.ledger(got.id()).await["attempts"][0]["failure"], "rate_limited");
}

#[tokio::test]
async fn usage_that_no_provider_tells_is_told_as_the_ledger_has_it() {
    let mut silent: Value = serde_json::from_str(&completion("Hello there", 1, 1)).unwrap();
    silent.as_object_mut().unwrap().remove("usage");
    let stream = vec![stream_head(), chunk(DELTA), chunk(FINISH), chunk(DONE), stream_end()];
    let alpha =
        Upstream::start(vec![whole(200, &silent.to_string()), stream.clone(), stream, whole(200, &silent.to_string())])
            .await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = ask(&gateway, &anthropic(false)).await;
    let usage = got.json()["usage"].clone();
    let row = gateway.ledger(got.id()).await["attempts"][0].clone();
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&row["usage"]["input"], &json!(3)), "{row}");
    assert_eq!((&row["usage"]["output"], &row["basis"]), (&json!(3), &json!("estimated")), "eleven bytes: {row}");
    assert_eq!(got.header("x-stellwerk-usage"), "estimated");
    let got = ask(&gateway, &responses(true)).await;
    let row = gateway.ledger(got.id()).await["attempts"][0].clone();
    let usage = events(&got.text).last().unwrap()["response"]["usage"].clone();
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&row["usage"]["input"], &json!(3)), "{row}");
    assert_eq!(row["basis"], "estimated", "{row}");
    // The same dialect: bytes pass.
    let got = gateway.chat(&with_usage("auto")).await;
    assert_eq!(got.text, [DELTA, FINISH, DONE].concat());
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!((got.text, got.headers["x-stellwerk-usage"].to_str().unwrap()), (silent.to_string(), "estimated"));
}
