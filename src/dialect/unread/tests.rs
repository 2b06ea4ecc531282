//! What is not read is told, whatever it is and wherever it stands.

use super::*;
use crate::domain::id::DialectId;

static INNER: Shape = Shape {
    known: &[all("type"), all("text").of(&["text"]), all("url").of(&["image"]), within("inner", &INNER)],
    read: Read::Kinds(&["text", "image"]),
};
static PART: Shape = Shape { known: &[all("aKnown"), no("flag")], read: Read::With(&["aKnown"]) };
static ROOT: Shape =
    Shape { known: &[within("messages", &INNER), within("parts", &PART), all("model")], read: Read::Elsewhere };

fn camel(given: &str) -> Cow<'_, str> {
    Cow::Owned(given.replace("a_known", "aKnown"))
}

fn unread(body: &str, own: Own) -> Vec<String> {
    noted(ChatRequest::default(), body.as_bytes(), &ROOT, own).unread
}

#[test]
fn what_is_not_known_is_told_once_by_its_name() {
    let body = r#"{"model":"m","other":1,"messages":[{"type":"text","text":"a","foo":1,"bar":{"x":2}},
        {"type":"text","foo":"again","url":"of another kind","inner":null,"none":null,"empty":[],"blank":"","bare":{"n":[null]},"off":false},
        {"inner":{"type":"image","text":"t","inner":[{"type":"image","deep":1}]}}]}"#;
    let want = [
        "messages.foo",
        "messages.bar",
        "messages.off",
        "messages.url",
        "messages.inner.inner.deep",
        "messages.inner.text",
    ];
    assert_eq!(unread(body, plain), want);
}

#[test]
fn kinds_that_travel_whole_are_not_looked_into() {
    let body = r#"{"messages":[{"foo":1,"inner":{"type":"text","bar":1},"type":"later"},{"type":7,"foo":1}],
        "parts":[{"other":1,"flag":true},{"aKnown":1,"flag":false,"more":1}]}"#;
    assert_eq!(unread(body, plain), ["messages.foo", "parts.more"]);
    let both = r#"{"parts":[{"a_known":1,"flag":true,"some_more":1}]}"#;
    assert_eq!(unread(both, camel), ["parts.flag", "parts.some_more"]);
    assert_eq!(unread(both, plain), [""; 0], "a name is a name");
}

fn read(from: DialectId, body: &str) -> ChatRequest {
    let (ingress, envelope) = (crate::dialect::ingress(from).unwrap(), crate::dialect::Envelope::default());
    ingress.decode_request(body.as_bytes(), &envelope).unwrap()
}

#[test]
fn chat_clients_are_told_what_was_not_read() {
    let body = r#"{"model":"m","stream_options":{"include_usage":true,"include_obfuscation":false,"x":1},
        "messages":[{"role":"user","content":[{"type":"text","text":"a","foo":1,"image_url":null}],"bar":"b"},
            {"role":"assistant","content":null,"id":"m1","annotations":[],"audio":null,"function_call":null,
             "tool_calls":[{"id":"1","index":0,"type":"function","function":{"name":"f","arguments":"{}","x":1}}]},
            {"role":"assistant","content":"half","prefix":true}],
        "tools":[{"type":"function","function":{"name":"f","parameters":{"x":1},"bar":1},"baz":1},
            {"type":"web_search_preview","search_context_size":"low"}],
        "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{},"foo":1}},
        "reasoning":{"effort":"low","exclude":false,"foo":1}}"#;
    let want = [
        "stream_options.x",
        "messages.content.foo",
        "messages.bar",
        "messages.tool_calls.function.x",
        "messages.prefix",
        "tools.function.bar",
        "tools.baz",
        "response_format.json_schema.foo",
        "reasoning.foo",
    ];
    let request = read(DialectId::OpenAiChat, body);
    assert_eq!(request.unread, want);
    let mut loss = crate::domain::chat::Loss::default();
    let carries = |_| crate::dialect::Carriage::Full;
    crate::dialect::params::report(&request, &carries, &|_| false, &mut loss);
    assert_eq!(loss.semantic, ["messages.prefix"], "the table says that its loss changes the answer");
    assert_eq!(loss.advisory.len(), want.len() - 1);
}

#[test]
fn clients_of_responses_are_told_what_was_not_read() {
    let body = r#"{"model":"m","text":{"format":{"type":"text","x":1}},"reasoning":{"effort":"low","foo":1},
        "input":[{"role":"user","content":[{"type":"input_text","text":"a","foo":1}]},
            {"type":"message","role":"assistant","id":"msg_1","status":"completed","phase":"final",
             "content":[{"type":"output_text","text":"b","annotations":[],"logprobs":[]}]},
            {"type":"function_call","id":"fc_1","call_id":"1","name":"f","arguments":"{}","status":"completed"},
            {"type":"function_call_output","call_id":"1","output":"o","bar":1},
            {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":null,"content":null},
            {"type":"web_search_call","id":"ws_1","action":{"type":"search"}}],
        "tools":[{"type":"function","name":"f","parameters":{},"defer_loading":true},
            {"type":"namespace","name":"n","description":"d","tools":[{"type":"function","name":"g","x":1}]},
            {"type":"web_search","filters":{"a":1}}]}"#;
    let want = [
        "text.format.x",
        "input.content.foo",
        "input.phase",
        "input.bar",
        "tools.defer_loading",
        "tools.tools.x",
        "tools.description",
    ];
    let request = read(DialectId::OpenAiResponses, body);
    let mut got = request.unread;
    got.sort_unstable();
    let mut want = want.to_vec();
    want.sort_unstable();
    assert_eq!(got, want);
    assert!(request.extra.iter().any(|(name, _)| name == "reasoning.foo"), "told by the decoder itself");
}

#[test]
fn clients_of_messages_are_told_what_was_not_read() {
    let body = r#"{"model":"m","max_tokens":9,"metadata":{"user_id":"u","team":"t"},
        "system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","scope":"x"}}],
        "messages":[{"role":"user","content":[{"type":"text","text":"a","citations":null,"foo":1}]},
            {"role":"assistant","id":"msg_1","content":[{"type":"thinking","thinking":"t","signature":"s"},
             {"type":"tool_use","id":"1","name":"f","input":{"x":1},"caller":{"type":"direct"}},
             {"type":"server_tool_use","id":"2","name":"web_search","input":{}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"r","y":1}]}]}],
        "tools":[{"name":"f","input_schema":{},"defer_loading":true,"eager_input_streaming":false,"input_examples":[{"x":1}]},
            {"type":"web_search_20250305","name":"web_search","max_uses":3}],
        "output_config":{"effort":"low","task_budget":{"total":1}},"thinking":{"type":"adaptive","x":1}}"#;
    let want = [
        "metadata.team",
        "system.cache_control.scope",
        "messages.content.foo",
        "messages.content.content.y",
        "tools.defer_loading",
        "tools.input_examples",
        "output_config.task_budget",
        "thinking.x",
    ];
    assert_eq!(read(DialectId::Anthropic, body).unread, want);
}

#[test]
fn clients_of_gemini_are_told_what_was_not_read_in_their_own_spelling() {
    let body = r#"{"generationConfig":{"thinkingConfig":{"thinkingBudget":0,"foo":1}},
        "contents":[{"role":"user","parts":[{"text":"a","media_resolution":{"level":"LOW"}},
            {"inlineData":{"mimeType":"image/png","data":"QQ==","displayName":"d"}},{"executableCode":{"code":"x"}}]},
            {"role":"model","parts":[{"functionCall":{"name":"f","args":{}},"thoughtSignature":"QQ=="}]},
            {"role":"user","parts":[{"functionResponse":{"name":"f","response":{},"willContinue":false,"parts":[{"text":"t"}]}}]}],
        "tools":[{"function_declarations":[{"name":"f","behavior":"BLOCKING","response":{"type":"OBJECT"}}],"googleSearch":{}}],
        "toolConfig":{"functionCallingConfig":{"mode":"AUTO"},"retrievalConfig":{"languageCode":"de"}}}"#;
    let want = [
        "generationConfig.thinkingConfig.foo",
        "contents.parts.media_resolution",
        "contents.parts.inlineData.displayName",
        "contents.parts.functionResponse.parts.text",
        "tools.function_declarations.behavior",
        "tools.function_declarations.response",
        "toolConfig.retrievalConfig",
    ];
    assert_eq!(read(DialectId::Gemini, body).unread, want);
}

#[test]
fn names_are_bounded_in_number() {
    let many: Vec<String> = (0..100).map(|n| format!("\"m{n}\":{n}")).collect();
    let names = unread(&format!("{{\"messages\":{{{}}}}}", many.join(",")), plain);
    assert_eq!((names.len(), names[MOST].as_str()), (MOST + 1, "68_more"));
    assert_eq!(unread("{\"messages\":[{\"a\":1}", plain), ["messages.a"], "broken bodies are the decoder's");
}
