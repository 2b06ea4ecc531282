//! Clients of every dialect, through the gateway, to providers of their own and of other dialects.

use serde_json::{Value, json};

use crate::harness::{Answer, Gateway};
use crate::upstream::{Upstream, chunk, completion, json as whole, stream_end, stream_head};

/// One request in a client's dialect: path, key header, body.
pub(crate) struct Asked {
    pub(crate) path: &'static str,
    key: &'static str,
    pub(crate) body: Value,
}

pub(crate) fn anthropic(stream: bool) -> Asked {
    let body = json!({"model": "auto", "max_tokens": 50, "stream": stream, "unknown_beta": 1,
        "messages": [{"role": "user", "content": "hello"}]});
    Asked { path: "/v1/messages?beta=true", key: "x-api-key", body }
}

pub(crate) fn responses(stream: bool) -> Asked {
    Asked {
        path: "/v1/responses",
        key: "authorization",
        body: json!({"model": "auto", "input": "hello", "stream": stream}),
    }
}

pub(crate) fn gemini(stream: bool) -> Asked {
    let path =
        if stream { "/v1beta/models/auto:streamGenerateContent?alt=sse" } else { "/v1/models/auto:generateContent" };
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
    Asked { path, key: "x-goog-api-key", body }
}

pub(crate) fn completions(stream: bool) -> Asked {
    let body = json!({"model": "auto", "prompt": "hello", "stream": stream, "stream_options": {"include_usage": true}});
    Asked { path: "/v1/completions", key: "authorization", body }
}

pub(crate) async fn ask(gateway: &Gateway, asked: &Asked) -> Answer {
    let root = gateway.base.trim_end_matches("/v1");
    let key = if asked.key == "authorization" { format!("Bearer {}", gateway.key) } else { gateway.key.clone() };
    let request = gateway.client.post(format!("{root}{}", asked.path)).header(asked.key, key);
    let request = request.header("anthropic-version", "2023-06-01").header("anthropic-beta", "one-2027,two-2027");
    Answer::read(request.header("content-type", "application/json").body(asked.body.to_string()).send().await.unwrap())
        .await
}

pub(crate) const DELTA: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hello there\"},\"finish_reason\":null}]}\n\n";
const LAST: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\"total_tokens\":10}}\n\ndata: [DONE]\n\n";

#[tokio::test]
async fn whole_answers_of_an_openai_provider_in_every_clients_words() {
    type Text = fn(&Value) -> &Value;
    let text: Vec<(Asked, Text)> = vec![
        (anthropic(false), |v| &v["content"][0]["text"]),
        (responses(false), |v| &v["output"][0]["content"][0]["text"]),
        (gemini(false), |v| &v["candidates"][0]["content"]["parts"][0]["text"]),
        (completions(false), |v| &v["choices"][0]["text"]),
    ];
    for (asked, text) in text {
        let alpha = Upstream::start(vec![whole(200, &completion("Hello there", 7, 3))]).await;
        let gateway = Gateway::start(Some(&alpha), None, None).await;
        let got = ask(&gateway, &asked).await;
        assert_eq!(got.status, 200, "{}: {}", asked.path, got.text);
        assert_eq!(text(&got.json()), "Hello there", "{}: {}", asked.path, got.text);
        assert_eq!(got.header("x-stellwerk-target"), "alpha/m-1");
        let row = gateway.ledger(got.id()).await;
        assert_eq!(row["attempts"][0]["usage"], json!({"input": 7, "output": 3}), "{}: {row}", asked.path);
        let sent = alpha.seen()[0].json();
        assert_eq!(sent["messages"].as_array().unwrap().last().unwrap()["content"], "hello", "{sent}");
        assert_eq!(alpha.seen()[0].header("anthropic-beta"), "", "betas stay with their own dialect");
    }
}

#[tokio::test]
async fn streams_of_an_openai_provider_in_every_clients_words_and_never_a_fake_end() {
    let ends: Vec<(Asked, &str, &str)> = vec![
        (anthropic(true), "event: message_stop", "event: error"),
        (responses(true), "event: response.completed", "event: response.failed"),
        (gemini(true), "\"finishReason\":\"STOP\"", "\"error\":{\"code\":502"),
        (completions(true), "data: [DONE]", "data: {\"error\""),
    ];
    for (asked, end, broken_end) in ends {
        let good = vec![stream_head(), chunk(DELTA), chunk(LAST), stream_end()];
        let broken = vec![stream_head(), chunk(DELTA)];
        let alpha = Upstream::start(vec![good, broken]).await;
        let gateway = Gateway::start(Some(&alpha), None, None).await;
        let got = ask(&gateway, &asked).await;
        assert!(got.text.contains("Hello there") && got.text.contains(end), "{}: {}", asked.path, got.text);
        assert!(!got.text.contains(broken_end), "{}", got.text);
        let row = gateway.ledger(got.id()).await;
        assert_eq!(row["attempts"][0]["usage"], json!({"input": 7, "output": 3}), "{}: {row}", asked.path);
        let cut = ask(&gateway, &asked).await;
        assert!(cut.text.contains(broken_end) && !cut.text.contains(end), "{}: {}", asked.path, cut.text);
        assert_eq!(gateway.ledger(cut.id()).await["attempts"][0]["outcome"], "truncated");
    }
}

#[tokio::test]
async fn an_anthropic_client_reaches_an_anthropic_provider_byte_for_byte() {
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m-1","content":[{"type":"text","text":"hi","future_member":1}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":2}}"#;
    let gamma = Upstream::start(vec![whole(200, answer)]).await;
    let gateway = Gateway::start(None, None, Some(&gamma)).await;
    let mut asked = anthropic(false);
    asked.body["model"] = json!("claude");
    let got = ask(&gateway, &asked).await;
    assert_eq!(got.text, answer, "what came back is what was sent");
    let seen = &gamma.seen()[0];
    let mut want = asked.body.clone();
    want["model"] = json!("m-1");
    assert_eq!(seen.json(), want, "unknown members survive");
    assert_eq!((seen.header("anthropic-beta"), seen.header("anthropic-version")), ("one-2027,two-2027", "2023-06-01"));
    assert_eq!(got.header("request-id"), got.id());
    assert_eq!(gateway.ledger(got.id()).await["attempts"][0]["usage"], json!({"input": 5, "output": 2}));
}

#[tokio::test]
async fn a_responses_client_reaches_an_anthropic_provider() {
    let events = [
        r#"{"type":"message_start","message":{"id":"msg_1","model":"m-1","usage":{"input_tokens":9,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t1","name":"patch","input":{}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"input\":\"*** Begin\"}"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":4}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let mut script = vec![stream_head()];
    script.extend(events.iter().map(|event| chunk(&format!("data: {event}\n\n"))));
    script.push(stream_end());
    let gamma = Upstream::start(vec![script]).await;
    let gateway = Gateway::start(None, None, Some(&gamma)).await;
    let body = json!({"model": "claude", "stream": true, "input": "hello", "parallel_tool_calls": true, "store": false,
        "include": ["reasoning.encrypted_content"], "client_metadata": {"a": "b"},
        "tools": [{"type": "custom", "name": "patch", "description": "d"}, {"type": "web_search"}]});
    let got = ask(&gateway, &Asked { path: "/v1/responses", key: "authorization", body }).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let last = got.text.trim_end().rsplit("data: ").next().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["type"], "response.completed", "{last}");
    let call = &last["response"]["output"][0];
    assert_eq!((&call["type"], &call["input"]), (&json!("custom_tool_call"), &json!("*** Begin")), "{last}");
    assert_eq!(last["response"]["usage"]["total_tokens"], 13);
    assert!(got.header("x-stellwerk-dropped-params").contains("tools[1]"), "{:?}", got.headers);
    assert_eq!(gamma.seen()[0].json()["tools"].as_array().unwrap().len(), 1);
}

/// An answer of an Anthropic provider that calls a tool, whole and streamed.
fn calling(name: &str) -> [Vec<crate::upstream::Step>; 2] {
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1", "stop_reason": "tool_use",
        "content": [{"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}], "stop_sequence": null,
        "usage": {"input_tokens": 5, "output_tokens": 2}});
    let mut begun = answer.clone();
    (begun["content"], begun["stop_reason"]) = (json!([]), json!(null));
    let events = [
        json!({"type": "message_start", "message": begun}),
        json!({"type": "content_block_start", "index": 0, "content_block": answer["content"][0]}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}}),
        json!({"type": "message_stop"}),
    ];
    let event = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    let events: String = events.iter().map(event).collect();
    [whole(200, &answer.to_string()), vec![stream_head(), chunk(&events), stream_end()]]
}

#[tokio::test]
async fn tools_are_called_by_the_clients_names_whatever_a_provider_takes() {
    let long = format!("mcp__{}", "x".repeat(90));
    for name in ["files/read", "db.query", long.as_str()] {
        let gateway_and_name = async |told: Option<&str>| {
            let gamma = Upstream::start(calling(told.unwrap_or("f")).into()).await;
            (Gateway::start(None, None, Some(&gamma)).await, gamma)
        };
        let body = |stream: bool| {
            json!({"model": "claude", "stream": stream, "tool_choice": {"type": "function", "function": {"name": name}},
                "messages": [{"role": "user", "content": "hello"},
                    {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": name, "arguments": "{}"}}]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "ok"}],
                "tools": [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}]})
        };
        let asked = |stream| Asked { path: "/v1/chat/completions", key: "authorization", body: body(stream) };
        let (gateway, gamma) = gateway_and_name(None).await;
        ask(&gateway, &asked(false)).await;
        let sent = gamma.seen()[0].json();
        let told = sent["tools"][0]["name"].as_str().unwrap().to_owned();
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!(told.len() <= 64 && told.chars().all(legal), "{told}");
        assert_eq!(
            (&sent["tool_choice"]["name"], &sent["messages"][1]["content"][0]["name"]),
            (&json!(told), &json!(told))
        );
        // The model calls it as it was told.
        let (gateway, gamma) = gateway_and_name(Some(&told)).await;
        let got = ask(&gateway, &asked(false)).await;
        assert_eq!(got.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"], name, "{}", got.text);
        assert_eq!(got.header("x-stellwerk-dropped-params"), "", "nothing is lost");
        let streamed = ask(&gateway, &asked(true)).await;
        assert!(streamed.text.contains(&format!("\"name\":\"{name}\"")), "{}", streamed.text);
        assert!(!streamed.text.contains(&told), "{}", streamed.text);
        assert_eq!(gamma.seen()[1].json()["tools"], sent["tools"], "the same name every time");
    }
}

#[tokio::test]
async fn thinking_that_was_done_elsewhere_is_not_looked_for_at_a_provider_that_stores() {
    let thinks = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m-1","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":2}}"#;
    let stored = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m-1","output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"hi","annotations":[]}]}],"usage":{"input_tokens":5,"output_tokens":2,"total_tokens":7}}"#;
    let (alpha, gamma) =
        (Upstream::start(vec![whole(200, stored)]).await, Upstream::start(vec![whole(200, thinks)]).await);
    let gateway = Gateway::start(Some(&alpha), None, Some(&gamma)).await;
    let file = gateway.path("providers/alpha.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"openai-chat\"", "\"openai-responses\"");
    std::fs::write(&file, text).unwrap();
    assert_eq!(gateway.reload().await.0, 200);
    let mut asked = responses(false);
    asked.body["model"] = json!("claude");
    let first = ask(&gateway, &asked).await.json();
    assert_eq!(first["output"][0]["type"], "reasoning", "{first}");
    let mut input = vec![json!({"role": "user", "content": "hello"})];
    input.extend(first["output"].as_array().unwrap().iter().cloned());
    input.push(json!({"role": "user", "content": "and?"}));
    asked.body = json!({"model": "auto", "input": input});
    let got = ask(&gateway, &asked).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let sent = alpha.seen()[0].json();
    let kinds: Vec<&str> =
        sent["input"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap_or("said")).collect();
    assert_eq!(kinds, ["said", "message", "said"], "{sent}");
    assert_eq!(got.header("x-stellwerk-dropped-params"), "input[1]");
}

#[tokio::test]
async fn errors_are_told_in_the_clients_own_words() {
    let gateway = Gateway::start(None, None, None).await;
    for (mut asked, kind) in [
        (anthropic(false), "/error/type"),
        (responses(false), "/error/code"),
        (gemini(false), "/error/status"),
        (completions(false), "/error/code"),
    ] {
        let down = ask(&gateway, &asked).await;
        assert!(down.status >= 500, "{}: {}", asked.path, down.status);
        assert!(down.json().pointer(kind).is_some_and(Value::is_string), "{}: {}", asked.path, down.text);
        asked.body = json!([]);
        let wrong = ask(&gateway, &asked).await;
        assert_eq!(wrong.status, 400, "{}: {}", asked.path, wrong.text);
        assert!(wrong.json().pointer(kind).is_some_and(Value::is_string), "{}: {}", asked.path, wrong.text);
    }
    let root = gateway.base.trim_end_matches("/v1");
    let unknown = gateway.client.post(format!("{root}/v1/messages")).body("{}").send().await.unwrap();
    let unknown = Answer::read(unknown).await;
    assert_eq!((unknown.status, unknown.json()["error"]["type"].as_str()), (401, Some("authentication_error")));
    let files = gateway.client.post(format!("{root}/v1/uploads")).body("{}").send().await.unwrap();
    let files = Answer::read(files).await;
    assert_eq!((files.status, files.json()["error"]["code"].as_str()), (404, Some("api_not_offered")));
}

#[tokio::test]
async fn embeddings_pass_metered_and_other_dialects_are_refused() {
    let answer = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AAAA"}],"model":"m-1","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    let alpha = Upstream::start(vec![whole(200, answer)]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let file = gateway.path("providers/any.toml");
    let text =
        std::fs::read_to_string(&file).unwrap().replace("\"logprobs\", \"n\"]", "\"logprobs\", \"n\", \"embeddings\"]");
    std::fs::write(&file, text).unwrap();
    assert_eq!(gateway.reload().await.0, 200);
    let body = json!({"model": "any/e-1", "input": [[1, 2, 3]], "encoding_format": "base64"});
    let got = ask(&gateway, &Asked { path: "/v1/embeddings", key: "authorization", body: body.clone() }).await;
    assert_eq!((got.status, got.text.as_str()), (200, answer));
    assert!(alpha.seen()[0].head.starts_with("POST /embeddings "), "{}", alpha.seen()[0].head);
    assert_eq!(alpha.seen()[0].json()["input"], json!([[1, 2, 3]]), "token numbers pass");
    assert_eq!(gateway.ledger(got.id()).await["attempts"][0]["usage"], json!({"input": 8}));
    let mut chat = body;
    chat["model"] = json!("alpha/m-1");
    let refused = ask(&gateway, &Asked { path: "/v1/embeddings", key: "authorization", body: chat }).await;
    assert_eq!(refused.status, 400, "a chat model makes no vectors: {}", refused.text);
    assert_eq!(alpha.seen().len(), 1);
}

#[tokio::test]
async fn what_cohere_has_under_a_path_of_its_own_passes_metered() {
    let answer =
        r#"{"id":"r","results":[{"index":1,"relevance_score":0.9}],"meta":{"billed_units":{"search_units":1}}}"#;
    let alpha = Upstream::start(vec![whole(200, answer)]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    gateway.offer("alpha", "cohere", "rerank").await;
    let body = json!({"model": "alpha/m-1", "query": "q", "documents": ["a", "b"], "top_n": 1});
    for path in ["/v1/rerank", "/v2/rerank"] {
        let got = ask(&gateway, &Asked { path, key: "authorization", body: body.clone() }).await;
        assert_eq!((got.status, got.text.as_str()), (200, answer), "{path}");
        let seen = alpha.seen().pop().unwrap();
        assert!(seen.head.starts_with("POST /v2/rerank "), "{}", seen.head);
        let mut sent = body.clone();
        sent["model"] = json!("m-1");
        assert_eq!(seen.json(), sent);
    }
    let asked =
        Asked { path: "/v1/moderations", key: "authorization", body: json!({"model": "alpha/m-1", "input": "x"}) };
    let refused = ask(&gateway, &asked).await;
    assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some("model")), "{}", refused.text);
}

#[tokio::test]
async fn vectors_of_vertex_are_asked_in_the_models_own_form_whoever_asks() {
    let alpha =
        Upstream::start(vec![whole(200, r#"{"embedding":{"values":[0.5]},"usageMetadata":{"promptTokenCount":2}}"#)])
            .await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    gateway.offer("alpha", "gemini", "embeddings").await;
    gateway.quirk("alpha", "takes = [\"embedContent\"]").await;
    let one =
        json!({"model": "models/alpha/m-1", "content": {"parts": [{"text": "hello"}]}, "taskType": "RETRIEVAL_QUERY"});
    let path = "/v1beta/models/alpha%2Fm-1:batchEmbedContents";
    let got = ask(&gateway, &Asked { path, key: "x-goog-api-key", body: json!({"requests": [one]}) }).await;
    assert_eq!((got.status, &got.json()["embeddings"][0]["values"]), (200, &json!([0.5])), "{}", got.text);
    let seen = alpha.seen().pop().unwrap();
    assert!(seen.head.contains("/models/m-1:embedContent "), "{}", seen.head);
    assert_eq!(seen.json(), json!({"content": {"parts": [{"text": "hello"}]}, "taskType": "RETRIEVAL_QUERY"}));
    let two = json!({"requests": [one, one]});
    let got = ask(&gateway, &Asked { path, key: "x-goog-api-key", body: two }).await;
    assert_eq!((got.status, got.json()["error"]["status"].as_str()), (400, Some("INVALID_ARGUMENT")), "{}", got.text);
    let body = json!({"model": "alpha/m-1", "input": ["a", "b"]});
    let got = ask(&gateway, &Asked { path: "/v1/embeddings", key: "authorization", body }).await;
    assert_eq!((got.status, got.json()["error"]["param"].as_str()), (400, Some("input")), "{}", got.text);
    assert_eq!(alpha.seen().len(), 1);
}

#[tokio::test]
async fn an_operation_that_a_dialect_lacks_is_called_that_and_no_parameter() {
    let alpha = Upstream::start(vec![]).await;
    for (dialect, operation, path) in
        [("cohere", "moderations", "/v1/moderations"), ("anthropic", "embeddings", "/v1/embeddings")]
    {
        let gateway = Gateway::start(Some(&alpha), None, None).await;
        gateway.offer("alpha", dialect, operation).await;
        let body = json!({"model": "alpha/m-1", "input": "x"});
        let refused = ask(&gateway, &Asked { path, key: "authorization", body }).await;
        let error = &refused.json()["error"];
        assert_eq!((refused.status, error["code"].as_str()), (400, Some("operation_not_offered")), "{error}");
        assert_eq!(error["message"], format!("No admitted target offers `{operation}` to clients of this API."));
    }
    assert_eq!(alpha.seen().len(), 0);
}

#[tokio::test]
async fn what_a_provider_of_another_dialect_blames_is_named_in_the_clients_words() {
    let no = |param: &str| {
        json!({"error": {"message": "no", "type": "invalid_request_error", "param": param, "code": "bad"}}).to_string()
    };
    let script =
        ["messages[0].content", "max_completion_tokens", "messages[0].content"].map(|param| whole(400, &no(param)));
    let alpha = Upstream::start(script.to_vec()).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let param = async |asked: Asked| ask(&gateway, &asked).await.json()["error"]["param"].clone();
    assert_eq!(param(responses(false)).await, "input");
    assert_eq!(param(responses(false)).await, "max_output_tokens");
    assert_eq!(
        gateway
            .chat(&json!({"model": "auto", "messages": [{"role": "user", "content": "x"}]}).to_string())
            .await
            .json()["error"]["param"],
        "messages[0].content"
    );
}

#[tokio::test]
async fn a_need_that_no_target_meets_is_named_in_the_clients_words() {
    let alpha = Upstream::start(vec![]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let sound = json!({"inlineData": {"mimeType": "audio/wav", "data": "aGk="}});
    let asked = Asked { body: json!({"contents": [{"role": "user", "parts": [sound]}]}), ..gemini(false) };
    let refused = ask(&gateway, &asked).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let needs_too_much = json!({"model": "auto", "input": "x".repeat(900_000)});
    let asked = Asked { body: needs_too_much, ..responses(false) };
    let refused = ask(&gateway, &asked).await;
    assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some("input")), "{}", refused.text);
}

#[tokio::test]
async fn vectors_of_another_dialect_are_translated_metered_and_lossless_or_refused_by_name() {
    let answer = r#"{"embeddings":[{"values":[0.25,-0.013168523]},{"values":[1,2]}]}"#;
    let alpha = Upstream::start(vec![whole(200, answer)]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    gateway.offer("alpha", "gemini", "embeddings").await;
    let mut body = json!({"model": "alpha/m-1", "input": ["hello", "there"], "user": "u-1", "dimensions": 2});
    let got = ask(&gateway, &Asked { path: "/v1/embeddings", key: "authorization", body: body.clone() }).await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert_eq!(got.json()["data"][1], json!({"object": "embedding", "index": 1, "embedding": [1, 2]}));
    assert!(got.text.contains("-0.013168523"), "not a digit changes: {}", got.text);
    assert_eq!(got.header("x-stellwerk-dropped-params"), "user");
    assert!(alpha.seen()[0].head.starts_with("POST /models/m-1:batchEmbedContents "), "{}", alpha.seen()[0].head);
    assert_eq!(alpha.seen()[0].json()["requests"][0]["outputDimensionality"], 2);
    let row = gateway.ledger(got.id()).await;
    assert_eq!(row["attempts"][0]["basis"], "estimated", "Google does not say what it used: {row}");
    assert!(row["attempts"][0]["usage"]["input"].as_u64().unwrap() > 0, "{row}");
    body["encoding_format"] = json!("base64");
    let packed = ask(&gateway, &Asked { path: "/v1/embeddings", key: "authorization", body: body.clone() }).await;
    assert_eq!(packed.json()["data"][0]["embedding"], "AACAPsrAV7w=", "{}", packed.text);
    for (member, value) in [("input", json!([[1, 2], [3]])), ("output_dtype", json!("int8"))] {
        let mut wrong = body.clone();
        wrong[member] = value;
        let refused = ask(&gateway, &Asked { path: "/v1/embeddings", key: "authorization", body: wrong }).await;
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(member)), "{}", refused.text);
    }
    let short = json!({"model": "alpha/m-1", "input": "one"});
    let broken = ask(&gateway, &Asked { path: "/v1/embeddings", key: "authorization", body: short }).await;
    assert_eq!(broken.status, 502, "two vectors for one input: {}", broken.text);
    assert_eq!(alpha.seen().len(), 3, "what is refused is not sent");
}

#[tokio::test]
async fn googles_clients_get_vectors_of_openais_providers_and_residency_holds() {
    let answer = r#"{"object":"list","data":[{"index":0,"embedding":[0.5]}],"model":"m-1","usage":{"prompt_tokens":2,"total_tokens":2}}"#;
    let alpha = Upstream::start(vec![whole(200, answer)]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    gateway.offer("alpha", "openai-chat", "embeddings").await;
    let body = json!({"content": {"parts": [{"text": "hello"}]}, "taskType": "RETRIEVAL_QUERY"});
    let asked = Asked { path: "/v1beta/models/alpha%2Fm-1:embedContent", key: "x-goog-api-key", body: body.clone() };
    let got = ask(&gateway, &asked).await;
    assert_eq!(
        (got.status, got.json()),
        (200, json!({"embedding": {"values": [0.5]}, "usageMetadata": {"promptTokenCount": 2}}))
    );
    assert_eq!(got.header("x-stellwerk-dropped-params"), "taskType");
    assert_eq!(alpha.seen()[0].json(), json!({"model": "m-1", "input": ["hello"]}));
    assert_eq!(gateway.ledger(got.id()).await["attempts"][0]["usage"], json!({"input": 2}));
    let root = gateway.base.trim_end_matches("/v1");
    let request = gateway.client.post(format!("{root}{}", asked.path)).header("x-goog-api-key", &gateway.key);
    let request = request.header("x-stellwerk-require", "processing=US").body(body.to_string());
    let refused = Answer::read(request.header("content-type", "application/json").send().await.unwrap()).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert_eq!(alpha.seen().len(), 1);
}

#[tokio::test]
async fn tokens_are_counted_by_the_provider_that_can_and_estimated_otherwise() {
    let gamma = Upstream::start(vec![whole(200, r#"{"input_tokens":42}"#)]).await;
    let gateway = Gateway::start(None, None, Some(&gamma)).await;
    let ask_count = |model: &'static str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
        Asked { path: "/v1/messages/count_tokens", key: "x-api-key", body }
    };
    let exact = ask(&gateway, &ask_count("claude")).await;
    assert_eq!((exact.status, exact.json()["input_tokens"].as_u64()), (200, Some(42)), "{}", exact.text);
    assert!(gamma.seen()[0].head.starts_with("POST /v1/messages/count_tokens"));
    let row = gateway.ledger(exact.id()).await;
    assert_eq!(row["attempts"][0]["usage"], json!({}), "counting costs nothing: {row}");
    let estimated = ask(&gateway, &ask_count("auto")).await;
    assert_eq!(estimated.header("x-stellwerk-count"), "estimated", "{}", estimated.text);
    assert!(estimated.json()["input_tokens"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn lists_of_models_have_the_shape_of_the_dialect() {
    let gateway = Gateway::start(None, None, None).await;
    let list = |headers: Vec<(&'static str, &'static str)>| async {
        let mut request = gateway.client.get(format!("{}/models", gateway.base)).bearer_auth(&gateway.key);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        Answer::read(request.send().await.unwrap()).await.json()
    };
    let openai = list(vec![]).await;
    assert_eq!((&openai["object"], &openai["data"][0]["object"]), (&json!("list"), &json!("model")));
    assert!(openai["models"][0]["slug"].is_string(), "Codex reads this");
    let anthropic = list(vec![("anthropic-version", "2026-10-21")]).await;
    assert_eq!((&anthropic["data"][0]["type"], &anthropic["has_more"]), (&json!("model"), &json!(false)));
    let gemini = list(vec![("x-goog-api-client", "google-genai-sdk/3")]).await;
    assert!(gemini["models"][0]["name"].as_str().unwrap().starts_with("models/"), "{gemini}");
}

const THOUGHT: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there","reasoning_content":"SECRET"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16,"completion_tokens_details":{"reasoning_tokens":5}}}"#;
const THOUGHT_STREAM: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"reasoning_content\":\"SECRET\"},\"finish_reason\":null}]}\n\n";
const THOUGHT_END: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9,\"total_tokens\":16,\"completion_tokens_details\":{\"reasoning_tokens\":5}}}\n\ndata: [DONE]\n\n";

#[tokio::test]
async fn thinking_that_a_client_does_not_want_to_see_is_metered_and_not_shown() {
    let with = |mut asked: Asked, name: &str, value: Value| {
        asked.body[name] = value;
        asked
    };
    let thinks = |display: &str| json!({"type": "adaptive", "display": display});
    let shows = |shown: bool| json!({"thinkingConfig": {"includeThoughts": shown, "thinkingLevel": "low"}});
    for stream in [false, true] {
        for (asked, shown) in [
            (with(anthropic(stream), "thinking", thinks("omitted")), false),
            (with(anthropic(stream), "thinking", thinks("summarized")), true),
            (with(gemini(stream), "generationConfig", shows(false)), false),
            (gemini(stream), false),
            (with(gemini(stream), "generationConfig", shows(true)), true),
        ] {
            let streamed = vec![stream_head(), chunk(THOUGHT_STREAM), chunk(DELTA), chunk(THOUGHT_END), stream_end()];
            let alpha = Upstream::start(vec![if stream { streamed } else { whole(200, THOUGHT) }]).await;
            let gateway = Gateway::start(Some(&alpha), None, None).await;
            let got = ask(&gateway, &asked).await;
            assert!(got.text.contains("Hello there"), "{}: {}", asked.path, got.text);
            assert_eq!(got.text.contains("SECRET"), shown, "{}: {}: {}", asked.path, asked.body, got.text);
            let row = gateway.ledger(got.id()).await;
            let usage = json!({"input": 7, "output": 4, "reasoning": 5});
            assert_eq!(row["attempts"][0]["usage"], usage, "{}: {row}", asked.path);
            assert!(!got.header("x-stellwerk-dropped-params").contains("hink"), "honoured, not dropped");
        }
    }
}

#[tokio::test]
async fn what_signs_hidden_thinking_is_kept() {
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m-1","content":[{"type":"thinking","thinking":"SECRET","signature":"c2ln"},{"type":"text","text":"hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":2}}"#;
    let events = [
        r#"{"type":"message_start","message":{"id":"msg_1","model":"m-1","usage":{"input_tokens":9,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"SECRET"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"hi"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    for stream in [false, true] {
        let mut script = vec![stream_head()];
        script.extend(events.iter().map(|event| chunk(&format!("data: {event}\n\n"))));
        script.push(stream_end());
        let gamma = Upstream::start(vec![if stream { script } else { whole(200, answer) }]).await;
        let gateway = Gateway::start(None, None, Some(&gamma)).await;
        let body = json!({"model": "claude", "stream": stream, "reasoning": {"max_tokens": 1024, "exclude": true},
            "max_tokens": 4000, "messages": [{"role": "user", "content": "hello"}]});
        let got = gateway.chat(&body.to_string()).await;
        assert_eq!(got.status, 200, "{}", got.text);
        assert!(!got.text.contains("SECRET") && got.text.contains("hi"), "{}", got.text);
        assert!(got.text.contains("sw.anthropic.c2ln"), "{}", got.text);
    }
}

/// A stream of the Responses API whose answer and item have ids.
fn stored_stream() -> Vec<crate::upstream::Step> {
    let events = [
        r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_s","model":"m-1"}}"#,
        r#"{"type":"response.output_item.done","sequence_number":1,"output_index":0,"item":{"id":"msg_s","type":"message"}}"#,
        r#"{"type":"response.completed","sequence_number":2,"response":{"id":"resp_s","model":"m-1","usage":{"input_tokens":3,"output_tokens":1,"total_tokens":4}}}"#,
    ];
    let mut stream = vec![stream_head()];
    stream.extend(events.iter().map(|event| chunk(&format!("data: {event}\n\n"))));
    stream.push(stream_end());
    stream
}

#[tokio::test]
async fn what_a_provider_has_stored_for_one_tenant_no_other_can_name() {
    let answer = |id: &str| {
        format!(
            r#"{{"id":"{id}","object":"response","status":"completed","model":"m-1","output":[{{"id":"msg_{id}","type":"message","role":"assistant","status":"completed","content":[{{"type":"output_text","text":"hi","annotations":[]}}]}}],"usage":{{"input_tokens":3,"output_tokens":1,"total_tokens":4}}}}"#
        )
    };
    let scripts = [whole(200, &answer("resp_0")), whole(200, &answer("resp_1")), stored_stream()];
    let alpha =
        Upstream::start(scripts.into_iter().chain((0..4).map(|_| whole(200, &answer("resp_9")))).collect()).await;
    let dir = Gateway::files(Some(&alpha), None, None);
    let file = dir.path().join("providers/alpha.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"openai-chat\"", "\"openai-responses\"");
    std::fs::write(&file, text).unwrap();
    let gateway = Gateway::start_in(dir).await;
    let ask = async |key: &str, more: Value| {
        let mut body = json!({"model": "alpha/m-1", "input": "hello"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = gateway.client.post(format!("{}/responses", gateway.base)).bearer_auth(key);
        Answer::read(request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap())
            .await
    };
    // While there is one tenant, all that lies there is its own.
    let before = ask(&gateway.key, json!({"previous_response_id": "resp_elsewhere"})).await;
    assert_eq!(before.status, 200, "{}", before.text);

    let other = gateway.new_key("other", None);
    for _ in 0..250 {
        if gateway.client.get(format!("{}/models", gateway.base)).bearer_auth(&other).send().await.unwrap().status()
            == 200
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(ask(&gateway.key, json!({})).await.status, 200);
    assert_eq!(ask(&gateway.key, json!({"stream": true})).await.status, 200);
    let reference =
        |id: &str| json!({"input": [{"type": "item_reference", "id": id}, {"role": "user", "content": "and?"}]});
    let reached = alpha.seen().len();
    for (more, code, param) in [
        (json!({"previous_response_id": "resp_1"}), "previous_response_not_found", "previous_response_id"),
        (json!({"previous_response_id": "resp_s"}), "previous_response_not_found", "previous_response_id"),
        (json!({"conversation": {"id": "conv_1"}}), "conversation_not_found", "conversation"),
        (reference("msg_resp_1"), "item_not_found", "input[0].id"),
        (reference("msg_s"), "item_not_found", "input[0].id"),
    ] {
        let refused = ask(&other, more).await;
        let error = &refused.json()["error"];
        assert_eq!(
            (refused.status, &error["code"], &error["param"]),
            (400, &json!(code), &json!(param)),
            "{}",
            refused.text
        );
    }
    assert_eq!(alpha.seen().len(), reached, "nothing of it was sent");
    for more in [
        json!({"previous_response_id": "resp_1"}),
        json!({"previous_response_id": "resp_s"}),
        reference("msg_resp_1"),
        reference("msg_s"),
    ] {
        let own = ask(&gateway.key, more).await;
        assert_eq!(own.status, 200, "{}", own.text);
    }
    let unknown = ask(&gateway.key, json!({"previous_response_id": "resp_x"})).await;
    assert_eq!(unknown.json()["error"]["code"], "previous_response_not_found", "{}", unknown.text);
}
