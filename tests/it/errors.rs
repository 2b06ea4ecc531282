//! Errors of providers in the clients' words: what is kept, what is never told, and what is advised.

use serde_json::{Value, json};

use crate::dialects::{Asked, DELTA, anthropic, ask, gemini, responses};
use crate::harness::{Gateway, hello, hello_stream};
use crate::upstream::{Step, Upstream, chunk, completion, json as whole, json_with, stream_end, stream_head};

/// The last event of a stream, as JSON.
fn last(text: &str) -> Value {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// A stream of alpha's that breaks with these events after its first text.
fn breaks(event: &str) -> Vec<Step> {
    vec![stream_head(), chunk(DELTA), chunk(event), stream_end()]
}

const LIMITED: &str = r#"data: {"error":{"message":"Rate limit reached in organization org-AbCdEf0123456789AbCdEf01: try again in 2s","type":"tokens","code":"rate_limit_exceeded"}}

"#;

#[tokio::test]
async fn an_error_after_the_first_frame_keeps_its_kind_code_and_words_in_every_clients_dialect() {
    let said = "Rate limit reached in organization [hidden]: try again in 2s";
    let clients: Vec<(Asked, &str, Value)> = vec![
        (anthropic(true), "/error", json!({"type": "rate_limit_error", "message": said, "code": "rate_limited"})),
        (responses(true), "/response/error", json!({"code": "rate_limit_exceeded", "message": said})),
    ];
    for (asked, place, want) in clients {
        let alpha = Upstream::start(vec![breaks(LIMITED)]).await;
        let gateway = Gateway::start(Some(&alpha), None, None).await;
        let got = ask(&gateway, &asked).await;
        assert!(got.text.contains("Hello there"), "{}: {}", asked.path, got.text);
        assert_eq!(last(&got.text).pointer(place), Some(&want), "{}: {}", asked.path, got.text);
        let row = gateway.ledger(got.id()).await;
        assert_eq!(row["error"], "rate_limited", "{row}");
        assert_eq!(row["attempts"][0]["failure"], "rate_limited", "{row}");
    }
    let alpha = Upstream::start(vec![breaks(LIMITED)]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = last(&ask(&gateway, &gemini(true)).await.text);
    assert_eq!((&got["error"]["code"], &got["error"]["status"]), (&json!(429), &json!("RESOURCE_EXHAUSTED")), "{got}");
    assert_eq!(got["error"]["message"], said);
    // The same dialect: the frames before it as they came, also where they come in one piece with it.
    let one = vec![stream_head(), chunk(DELTA), chunk(&[DELTA, LIMITED].concat()), stream_end()];
    for script in [breaks(LIMITED), one] {
        let alpha = Upstream::start(vec![script]).await;
        let gateway = Gateway::start(Some(&alpha), None, None).await;
        let got = gateway.chat(&hello_stream("auto")).await;
        let want = json!({"message": said, "type": "rate_limit_error", "param": null, "code": "rate_limit_exceeded"});
        assert!(got.text.starts_with(DELTA), "{}", got.text);
        assert_eq!(last(&got.text)["error"], want);
    }
}

#[tokio::test]
async fn an_error_event_that_comes_in_pieces_is_one_event_for_the_client() {
    let (first, second) = LIMITED.split_at(25);
    let alpha =
        Upstream::start(vec![vec![stream_head(), chunk(DELTA), chunk(first), chunk(second), stream_end()]]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = gateway.chat(&hello_stream("auto")).await;
    assert_eq!(got.text.matches("data: ").count(), 2, "{}", got.text);
    assert_eq!(last(&got.text)["error"]["code"], "rate_limit_exceeded");
}

#[tokio::test]
async fn a_refused_key_in_the_middle_of_a_stream_is_the_gateways_own_matter() {
    let refused = "data: {\"error\":{\"message\":\"Incorrect API key provided: sk-abcdefgh12345678\",\"type\":\"invalid_request_error\",\"code\":\"invalid_api_key\"}}\n\n";
    let alpha = Upstream::start(vec![breaks(refused)]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = gateway.chat(&hello_stream("auto")).await;
    assert_eq!(last(&got.text)["error"]["code"], "upstream_auth");
    assert!(!got.text.contains("sk-") && !got.text.contains("Incorrect"), "{}", got.text);
}

#[tokio::test]
async fn an_overloaded_anthropic_provider_in_its_own_and_another_dialect() {
    let head = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"m-1\",\"usage\":{\"input_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"hi\"}}\n\n";
    let event = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let gamma = Upstream::start(vec![vec![stream_head(), chunk(head), chunk(event), stream_end()]]).await;
    let gateway = Gateway::start(None, None, Some(&gamma)).await;
    let mut asked = anthropic(true);
    asked.body["model"] = json!("claude");
    let got = last(&ask(&gateway, &asked).await.text);
    assert_eq!((&got["error"]["type"], &got["error"]["message"]), (&json!("overloaded_error"), &json!("Overloaded")));
    let got = last(&gateway.chat(&hello_stream("claude")).await.text);
    assert_eq!(got["error"]["code"], "upstream_overloaded", "{got}");
    assert_eq!((&got["error"]["type"], &got["error"]["message"]), (&json!("server_error"), &json!("Overloaded")));
}

#[tokio::test]
async fn advice_to_try_again_is_passed_on_and_made_where_none_is_given() {
    let busy = r#"{"error":{"message":"busy"}}"#;
    type Case = (u16, &'static [&'static str], u16, &'static str, &'static str, &'static str);
    let cases: Vec<Case> = vec![
        (429, &["retry-after: 7", "x-should-retry: false"], 429, "false", "7", "7000"),
        (429, &["retry-after-ms: 1500"], 429, "true", "2", "1500"),
        (500, &["x-should-retry: false"], 500, "false", "", ""),
        (502, &[], 502, "true", "", ""),
        (503, &["retry-after: 3"], 503, "true", "3", "3000"),
        (401, &[], 502, "false", "", ""),
        (403, &["x-should-retry: true"], 502, "true", "", ""),
        (400, &["x-should-retry: true"], 400, "true", "", ""),
        (409, &[], 409, "true", "", ""),
        (422, &[], 422, "false", "", ""),
        (404, &[], 404, "false", "", ""),
    ];
    for (status, headers, told, again, seconds, millis) in cases {
        let alpha = Upstream::start(vec![json_with(status, headers, busy)]).await;
        let gateway = Gateway::start(Some(&alpha), None, None).await;
        gateway.policy(ALONE).await;
        let got = gateway.chat(&hello("auto")).await;
        let advice = (got.header("x-should-retry"), got.header("retry-after"), got.header("retry-after-ms"));
        assert_eq!((got.status, advice), (told, (again, seconds, millis)), "{status} {headers:?}: {}", got.text);
    }
}

/// One target: what it says is what is told.
const ALONE: &str = "[[route]]\nname = \"main\"\nmatch = { model = [\"auto\"] }\ntargets = [\"alpha/*\"]\n";

#[tokio::test]
async fn what_is_wrong_with_a_request_keeps_its_status_where_the_client_has_it() {
    let too_large = r#"{"detail":[{"loc":["body","messages",0],"msg":"too large for org-AbCdEf0123456789AbCdEf01"}]}"#;
    for (status, of_openai, of_anthropic, of_gemini) in
        [(409, 409, 409, 409), (413, 413, 413, 400), (422, 422, 422, 400), (418, 400, 400, 400)]
    {
        let alpha = Upstream::start(vec![whole(status, too_large)]).await;
        let gateway = Gateway::start(Some(&alpha), None, None).await;
        let got = gateway.chat(&hello("auto")).await;
        assert_eq!(got.status, of_openai, "{}", got.text);
        let error = got.json()["error"].clone();
        assert_eq!(error["message"], "messages.0: too large for [hidden]");
        assert_eq!(error["param"], "messages.0");
        assert_eq!(gateway.ledger(got.id()).await["status"], of_openai);
        let got = ask(&gateway, &anthropic(false)).await;
        assert_eq!(got.status, of_anthropic, "{}", got.text);
        let kind = if status == 413 { "request_too_large" } else { "invalid_request_error" };
        assert_eq!(got.json()["error"]["type"], kind);
        let got = ask(&gateway, &gemini(false)).await;
        assert_eq!((got.status, &got.json()["error"]["code"]), (of_gemini, &json!(of_gemini)), "{}", got.text);
    }
}

#[tokio::test]
async fn a_bad_key_that_a_provider_calls_a_bad_request_fails_over_and_rests() {
    let xai = r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***Ab."}"#;
    let alpha = Upstream::start(vec![whole(400, xai), whole(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = gateway.chat(&hello("pooled")).await;
    assert_eq!((got.status, alpha.seen().len()), (200, 2), "the other key: {}", got.text);
}

#[tokio::test]
async fn operations_that_pass_try_another_key_and_rest_the_refused_one() {
    let good = r#"{"id":"modr-1","model":"m-1","results":[]}"#;
    let alpha = Upstream::start(vec![whole(401, "{}"), whole(200, good)]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    gateway.offer("pool", "openai-chat", "moderations").await;
    let ask = || {
        let request = gateway.client.post(format!("{}/moderations", gateway.base)).bearer_auth(&gateway.key);
        request.header("content-type", "application/json").body(r#"{"model":"pool/m-1","input":"x"}"#)
    };
    for _ in 0..2 {
        assert_eq!(ask().send().await.unwrap().status(), 200);
    }
    let keys: Vec<_> = alpha.seen().iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(keys.len(), 3, "two for the first, one for the second");
    assert!(keys[0] != keys[1] && keys[1] == keys[2], "the refused key rests");
}

#[tokio::test]
async fn what_a_provider_tells_of_its_limits_is_shown_in_the_clients_headers() {
    let told = [
        "x-ratelimit-limit-requests: 100",
        "x-ratelimit-remaining-requests: 99",
        "x-ratelimit-reset-requests: 600ms",
        "x-ratelimit-remaining-tokens: 5000",
        "x-ratelimit-key: secret",
    ];
    let alpha = Upstream::start(vec![json_with(200, &told, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let limits = |got: &crate::harness::Answer| {
        let named = got.headers.iter().filter(|(name, _)| name.as_str().contains("ratelimit"));
        let mut all: Vec<_> = named.map(|(name, v)| format!("{name}: {}", v.to_str().unwrap())).collect();
        all.sort_unstable();
        all
    };
    let got = gateway.chat(&hello("auto")).await;
    let mut want = told[..4].to_vec();
    want.sort_unstable();
    assert_eq!(limits(&got), want);
    let got = limits(&ask(&gateway, &anthropic(false)).await);
    let reset = got.iter().find_map(|header| header.strip_prefix("anthropic-ratelimit-requests-reset: "));
    assert!(reset.unwrap().ends_with('Z'), "{got:?}");
    let rest: Vec<_> = got.iter().filter(|header| !header.contains("-reset")).collect();
    let want = [
        "anthropic-ratelimit-requests-limit: 100",
        "anthropic-ratelimit-requests-remaining: 99",
        "anthropic-ratelimit-tokens-remaining: 5000",
    ];
    assert_eq!(rest, want);
    assert!(limits(&ask(&gateway, &gemini(false)).await).is_empty(), "its clients know no such headers");
    assert!(limits(&gateway.chat(&hello("pooled")).await).is_empty(), "one key of two is not what is left");
}
