//! Bad input: the right status, type, code and param; nothing reaches an upstream; the gateway goes on serving.

use crate::harness::{Answer, Gateway, hello};
use crate::upstream::{Upstream, completion, json};

struct Case {
    name: &'static str,
    body: String,
    status: u16,
    code: &'static str,
    param: Option<&'static str>,
}

fn case(
    name: &'static str,
    body: impl Into<String>,
    status: u16,
    code: &'static str,
    param: Option<&'static str>,
) -> Case {
    Case { name, body: body.into(), status, code, param }
}

fn cases() -> Vec<Case> {
    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    let with = |extra: &str| format!(r#"{{"model":"auto",{messages},{extra}}}"#);
    let deep = format!("{{\"model\":\"auto\",{messages},\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    vec![
        case("empty", "", 400, "empty_body", None),
        case("truncated", r#"{"model":"auto","#, 400, "invalid_json", None),
        case("trailing garbage", format!("{}x", hello("auto")), 400, "invalid_json", None),
        case("lone surrogate", r#"{"model":"\ud800"}"#, 400, "invalid_json", None),
        case("NaN", with(r#""temperature":NaN"#), 400, "invalid_json", None),
        case("array", "[]", 400, "invalid_json", None),
        case("string", "\"x\"", 400, "invalid_json", None),
        case("duplicate", with(r#""model":"auto""#), 400, "duplicate_key", None),
        case("depth", deep, 400, "too_deep", None),
        case("no model", format!("{{{messages}}}"), 400, "invalid_request", Some("model")),
        case("model a number", format!(r#"{{"model":1,{messages}}}"#), 400, "invalid_request", Some("model")),
        case("unknown model", format!(r#"{{"model":"no-such",{messages}}}"#), 404, "model_not_found", Some("model")),
        case("no messages", r#"{"model":"auto"}"#, 400, "invalid_request", Some("messages")),
        case("messages a string", r#"{"model":"auto","messages":"x"}"#, 400, "invalid_request", Some("messages")),
        case("no message", r#"{"model":"auto","messages":[]}"#, 400, "invalid_request", Some("messages")),
        case("a message a number", r#"{"model":"auto","messages":[1]}"#, 400, "invalid_request", Some("messages[0]")),
        case("temperature a word", with(r#""temperature":"hot""#), 400, "invalid_request", Some("temperature")),
        case("tools a word", with(r#""tools":"x""#), 400, "invalid_request", Some("tools")),
        case("stop a number", with(r#""stop":5"#), 400, "invalid_request", Some("stop")),
        case("format a list", with(r#""response_format":["a"]"#), 400, "invalid_request", Some("response_format")),
        case("options a list", with(r#""stream_options":[true]"#), 400, "invalid_request", Some("stream_options")),
        case("tools null", with(r#""tools":null,"max_tokens":0"#), 400, "out_of_range", Some("max_tokens")),
        case("stream a string", with(r#""stream":"yes""#), 400, "invalid_request", Some("stream")),
        case("max_tokens zero", with(r#""max_tokens":0"#), 400, "out_of_range", Some("max_tokens")),
        case("max_tokens negative", with(r#""max_tokens":-1"#), 400, "out_of_range", Some("max_tokens")),
        case("max_tokens a fraction", with(r#""max_tokens":1.5"#), 400, "out_of_range", Some("max_tokens")),
        case("context", with(r#""max_tokens":5000000"#), 400, "context_length_exceeded", Some("max_tokens")),
    ]
}

fn check(got: &Answer, case: &Case) {
    assert_eq!(got.status, case.status, "{}: {}", case.name, got.text);
    let error = &got.json()["error"];
    assert_eq!(error["code"], case.code, "{}: {}", case.name, got.text);
    assert_eq!(error["param"].as_str(), case.param, "{}: {}", case.name, got.text);
    assert!(error["type"].is_string() && error["message"].is_string(), "{}: {}", case.name, got.text);
    assert_eq!(error.as_object().unwrap().len(), 4, "{}: all four members, no more", case.name);
    assert!(got.id().starts_with("req_"), "{}: errors have a request id too", case.name);
    assert_eq!(got.header("x-should-retry"), "false", "{}", case.name);
}

#[tokio::test]
async fn malformed_requests() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    for case in cases() {
        check(&gateway.chat(&case.body).await, &case);
    }
    assert!(alpha.seen().is_empty(), "nothing reached an upstream");
    assert_eq!(gateway.chat(&hello("auto")).await.status, 200, "and the gateway goes on serving");
}

#[tokio::test]
async fn keys() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let url = format!("{}/chat/completions", gateway.base);
    let mut typo = gateway.key.clone();
    typo.pop();
    let credentials: [Option<String>; 8] = [
        None,
        Some("Bearer".into()),
        Some("Bearer ".into()),
        Some("Bearer sk-1234".into()),
        Some(format!("Basic {}", gateway.key)),
        Some(format!("Bearer {typo}")),
        Some("Bearer ' OR '1'='1".into()),
        Some(format!("Bearer {}", "a".repeat(4096))),
    ];
    let mut answers = Vec::new();
    for credential in credentials {
        let mut request = gateway.client.post(&url).body(hello("auto"));
        if let Some(credential) = &credential {
            request = request.header("authorization", credential);
        }
        let got = Answer::read(request.send().await.unwrap()).await;
        assert_eq!(got.status, 401, "{credential:?}: {}", got.text);
        assert_eq!(got.json()["error"]["code"], "invalid_api_key");
        answers.push(got.text);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "all bad credentials look alike");
    let twice =
        gateway.client.post(&url).bearer_auth(&gateway.key).header("authorization", "Bearer x").body(hello("auto"));
    let got = Answer::read(twice.send().await.unwrap()).await;
    assert_eq!((got.status, got.json()["error"]["code"].as_str().unwrap()), (400, "ambiguous_credentials"));
    assert!(alpha.seen().is_empty());
}

#[tokio::test]
async fn bodies_paths_and_media() {
    let gateway = Gateway::start(None, None, None).await;
    let large = format!(r#"{{"model":"auto","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(1100 * 1024));
    let got = gateway.chat(&large).await;
    assert_eq!((got.status, got.json()["error"]["code"].as_str().unwrap()), (413, "body_too_large"));

    let url = format!("{}/chat/completions", gateway.base);
    let send = |request: reqwest::RequestBuilder| async {
        Answer::read(request.bearer_auth(&gateway.key).send().await.unwrap()).await
    };
    let got = send(gateway.client.post(&url).header("content-encoding", "br").body("x")).await;
    assert_eq!(got.status, 415);
    let got = send(gateway.client.post(&url).header("content-encoding", "gzip").body("x")).await;
    assert_eq!((got.status, got.json()["error"]["code"].as_str().unwrap()), (400, "invalid_gzip"));
    let got = send(gateway.client.post(&url).header("content-type", "application/xml").body("x")).await;
    assert_eq!(got.status, 415);
    let got = send(gateway.client.get(&url)).await;
    assert_eq!((got.status, got.json()["error"]["code"].as_str().unwrap()), (405, "method_not_allowed"));
    let got = send(gateway.client.get(format!("{}/nothing", gateway.base))).await;
    assert_eq!((got.status, got.json()["error"]["code"].as_str().unwrap()), (404, "unknown_path"));
}

#[tokio::test]
async fn a_body_that_dribbles_is_given_up() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let gateway = Gateway::start(None, None, None).await;
    let address = gateway.base.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 100\r\n\r\n{{",
        gateway.key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("body_timeout"), "{answer}");
}

#[tokio::test]
async fn a_parameter_no_admissible_target_can_take_is_named() {
    let gamma = Upstream::start(vec![json(200, "{}")]).await;
    let gateway = Gateway::start(None, None, Some(&gamma)).await;
    let body = r#"{"model":"claude","messages":[{"role":"user","content":"x"}],"logit_bias":{"50256":-100}}"#;
    let got = gateway.chat(body).await;
    assert_eq!(got.status, 400, "{}", got.text);
    assert_eq!(got.json()["error"]["code"], "unsupported_parameter");
    assert_eq!(got.json()["error"]["param"], "logit_bias");
    assert!(gamma.seen().is_empty());
}

#[tokio::test]
async fn advisory_parameters_are_dropped_and_listed() {
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m-1","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let gamma = Upstream::start(vec![json(200, answer)]).await;
    let gateway = Gateway::start(None, None, Some(&gamma)).await;
    let body = r#"{"model":"claude","messages":[{"role":"user","content":"x"}],"prompt_cache_key":"k"}"#;
    let got = gateway.chat(body).await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert_eq!(got.header("x-stellwerk-dropped-params"), "prompt_cache_key");
    let row = gateway.ledger(got.id()).await;
    assert_eq!(row["attempts"][0]["dropped_params"], serde_json::json!(["prompt_cache_key"]));
}

#[tokio::test]
async fn an_upstream_line_without_end_is_bounded() {
    use crate::upstream::{chunk, stream_head};
    let mut script = vec![stream_head(), chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"")];
    script.extend((0..200).map(|_| chunk(&"x".repeat(100 * 1024))));
    let alpha = Upstream::start(vec![script]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = gateway.chat(&crate::harness::hello_stream("cached")).await;
    assert!(got.status == 502 || got.text.contains("\"error\""), "{}: {} bytes", got.status, got.text.len());
}

#[tokio::test]
async fn a_large_picture_is_no_long_prompt() {
    let alpha = Upstream::start(vec![json(200, &completion("a cat", 900, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let picture = |text: &str| {
        let data = "iVBORw0KGgoAAAANSUhEUg".repeat(30_000);
        format!(
            r#"{{"model":"auto","messages":[{{"role":"user","content":[{{"type":"text","text":"{text}"}},{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{data}"}}}}]}}]}}"#
        )
    };
    let got = gateway.chat(&picture("what is it?")).await;
    assert_eq!(got.status, 200, "660 kB of picture fit a context of 100,000 tokens: {}", got.text);
    let got = gateway.chat(&hello("auto").replace("hello", &"long text ".repeat(60_000))).await;
    assert_eq!(got.json()["error"]["code"], "context_length_exceeded", "{}", got.text);
}

#[tokio::test]
async fn where_waiting_does_not_help_no_client_is_told_to_try_again() {
    let gateway = Gateway::start(None, None, None).await;
    // The policy admits it; there is no key for it on this machine.
    let got = gateway.chat(&hello("openai-compatible/anything")).await;
    assert_eq!((got.status, got.header("x-should-retry")), (503, "false"), "{}", got.text);
    assert_eq!(got.header("retry-after"), "");
    // A target that is only down comes back.
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!((got.status, got.header("x-should-retry")), (502, "true"), "{}", got.text);
}
