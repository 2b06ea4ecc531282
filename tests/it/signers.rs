//! Thinking that was signed by another provider of the same dialect, or for another account: who cannot read it says so, and is
//! asked once more without it.

use serde_json::{Value, json};

use crate::dialects::{Asked, anthropic, ask, gemini, responses};
use crate::harness::Gateway;
use crate::upstream::{Step, Upstream, completion, json as whole};

const UNREAD: &str = r#"{"error":{"message":"The encrypted content gAAA could not be verified.","type":"invalid_request_error","param":null,"code":"invalid_encrypted_content"}}"#;
const STORED: &str = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m-1","output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"hi","annotations":[]}]}],"usage":{"input_tokens":5,"output_tokens":2,"total_tokens":7}}"#;
const FORGED: &str = r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"}}"#;
const SAID: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m-1","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":2}}"#;

/// A gateway whose `alpha` speaks that dialect.
async fn speaking(dialect: &str, scripts: Vec<Vec<Step>>) -> (Gateway, Upstream) {
    let alpha = Upstream::start(scripts).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let file = gateway.path("providers/alpha.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"openai-chat\"", &format!("\"{dialect}\""));
    std::fs::write(&file, text).unwrap();
    assert_eq!(gateway.reload().await.0, 200);
    (gateway, alpha)
}

fn thought_in_responses() -> Asked {
    let mut asked = responses(false);
    asked.body["input"] = json!([{"role": "user", "content": "hello"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
        {"role": "user", "content": "and?"}]);
    asked
}

fn thought_in_messages() -> Asked {
    let mut asked = anthropic(false);
    asked.body["messages"] = json!([{"role": "user", "content": "hello"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "RXFy"},
            {"type": "text", "text": "hi"}]},
        {"role": "user", "content": "and?"}]);
    asked
}

fn thought_in_contents() -> Asked {
    let mut asked = gemini(false);
    asked.body["contents"] = json!([{"role": "user", "parts": [{"text": "hello"}]},
        {"role": "model", "parts": [{"text": "hi", "thoughtSignature": "Z2Vt"}]},
        {"role": "user", "parts": [{"text": "and?"}]}]);
    asked
}

#[tokio::test]
async fn who_cannot_read_thinking_is_asked_once_more_without_it() {
    let google = r#"{"error":{"code":400,"message":"Unable to submit request because Thought signature is not valid..","status":"INVALID_ARGUMENT"}}"#;
    let spoken = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2}}"#;
    let cases = [
        ("openai-responses", thought_in_responses(), UNREAD, STORED, "input[1]"),
        ("anthropic", thought_in_messages(), FORGED, SAID, "messages[1].content[0]"),
        ("gemini", thought_in_contents(), google, spoken, "contents[1].parts[0].thoughtSignature"),
    ];
    for (dialect, asked, refusal, answer, place) in cases {
        let (gateway, alpha) = speaking(dialect, vec![whole(400, refusal), whole(200, answer)]).await;
        let got = ask(&gateway, &asked).await;
        assert_eq!((got.status, got.text.as_str()), (200, answer), "{dialect}");
        assert_eq!(got.header("x-stellwerk-dropped-params"), place, "{dialect}");
        let [first, second] = alpha.seen().try_into().unwrap_or_else(|_| panic!("{dialect}: not two requests"));
        let signed = |body: &Value| ["gAAA", "RXFy", "Z2Vt"].iter().any(|word| body.to_string().contains(word));
        assert!(signed(&first.json()), "the bytes pass first: {}", first.json());
        assert!(!signed(&second.json()), "{}", second.json());
        assert!(second.json().to_string().contains("and?"), "all else stays: {}", second.json());
        let row = gateway.ledger(got.id()).await;
        assert_eq!(row["attempts"][0]["failure"], "rejected", "{row}");
        assert_eq!(row["attempts"][1]["outcome"], "completed", "{row}");
    }
}

#[tokio::test]
async fn a_router_that_says_so_under_a_good_status_is_asked_once_more() {
    let refusal = r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"messages.1.content.0: Invalid `signature` in `thinking` block\"}}"}}}"#;
    let answer = completion("hi", 1, 1);
    let (gateway, alpha) = speaking("openai-chat", vec![whole(200, refusal), whole(200, &answer)]).await;
    let details = json!([{"type": "reasoning.text", "text": "hm", "signature": "RXFy"}]);
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi", "reasoning_details": details}, {"role": "user", "content": "and?"}]});
    let got = gateway.chat(&body.to_string()).await;
    assert_eq!((got.status, got.text.as_str()), (200, answer.as_str()));
    assert_eq!(got.header("x-stellwerk-dropped-params"), "messages[1].reasoning_details");
    assert_eq!(alpha.seen().len(), 2);
}

#[tokio::test]
async fn calls_that_nobody_signed_are_marked_where_the_model_demands_a_signature() {
    let refusal = r#"{"error":{"code":400,"message":"Unable to submit request because function call `default_api:f` in the 2. content block is missing a `thought_signature`.","status":"INVALID_ARGUMENT"}}"#;
    let answer = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2}}"#;
    let (gateway, alpha) = speaking("gemini", vec![whole(400, refusal), whole(200, answer)]).await;
    let mut asked = gemini(false);
    asked.body["contents"] = json!([{"role": "user", "parts": [{"text": "hello"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]);
    let got = ask(&gateway, &asked).await;
    assert_eq!((got.status, got.text.as_str()), (200, answer));
    assert_eq!(got.header("x-stellwerk-dropped-params"), "", "nothing is lost");
    let part = &alpha.seen()[1].json()["contents"][1]["parts"][0];
    assert_eq!(part["thoughtSignature"], "skip_thought_signature_validator");
}

#[tokio::test]
async fn a_translated_conversation_goes_on_without_the_signature_as_well() {
    let (gateway, alpha) = speaking("openai-responses", vec![whole(400, UNREAD), whole(200, STORED)]).await;
    let mut asked = anthropic(false);
    asked.body = json!({"model": "auto", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sw.openai-responses.gAAA"}, {"type": "text", "text": "hi"}]},
        {"role": "user", "content": "and?"}]});
    let got = ask(&gateway, &asked).await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert_eq!(got.header("x-stellwerk-dropped-params"), "messages[1].content[0]");
    let seen = alpha.seen();
    assert!(seen[0].json().to_string().contains("gAAA") && !seen[1].json().to_string().contains("reasoning"));
}

#[tokio::test]
async fn it_is_asked_no_more_than_once_and_for_no_other_reason() {
    let (gateway, alpha) = speaking("openai-responses", vec![whole(400, UNREAD)]).await;
    let got = ask(&gateway, &thought_in_responses()).await;
    assert_eq!((got.status, got.json()["error"]["code"].as_str()), (400, Some("invalid_encrypted_content")));
    assert_eq!(alpha.seen().len(), 2);
    let other = UNREAD.replace("invalid_encrypted_content", "invalid_value");
    let (gateway, alpha) =
        speaking("openai-responses", vec![whole(400, &other), whole(200, &completion("hi", 1, 1))]).await;
    assert_eq!(ask(&gateway, &thought_in_responses()).await.status, 400);
    assert_eq!(alpha.seen().len(), 1);
}
