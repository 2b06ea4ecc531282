//! Requests.

use super::*;
use crate::domain::chat::{
    CacheMark, Json, Media, MediaSource, Message, ReasoningSettings, ResponseFormat, Role, Signature, Tool, ToolCall,
    ToolChoice, ToolKind,
};
use crate::domain::error::ErrorKind;
use crate::domain::id::DialectId;

const SONNET: &str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";
const HI: &str = r#""messages":[{"role":"user","content":[{"text":"hi"}]}]"#;

fn text(role: Role, text: &str) -> Message {
    Message::new(role, vec![Part::Text(text.to_owned())])
}

fn hello() -> ChatRequest {
    ChatRequest { messages: vec![text(Role::User, "hi")], ..ChatRequest::default() }
}

fn encode(request: &ChatRequest, model: &str) -> (String, Vec<String>, Vec<String>) {
    let (body, loss) = Bedrock.encode_request(request, &to(model)).unwrap();
    (String::from_utf8(body.to_vec()).unwrap(), loss.semantic, loss.advisory)
}

fn refused(request: &ChatRequest) -> Error {
    Bedrock.encode_request(request, &to(SONNET)).unwrap_err()
}

fn function(name: &str) -> Tool {
    Tool { name: name.to_owned(), ..Tool::default() }
}

fn result(id: &str, content: Vec<Part>) -> Message {
    Message { tool_call_id: Some(id.to_owned()), ..Message::new(Role::Tool, content) }
}

fn calls(calls: Vec<ToolCall>) -> Message {
    Message { tool_calls: calls, ..Message::new(Role::Assistant, Vec::new()) }
}

#[test]
fn a_plain_request_has_nothing_but_its_messages() {
    assert_eq!(encode(&hello(), SONNET), (format!("{{{HI}}}"), vec![], vec![]));
}

#[test]
fn turns_are_merged_system_turns_hoisted_and_marks_follow_what_they_mark() {
    let mark = || Part::CacheMark(CacheMark { ttl: Some("1h".to_owned()) });
    let messages = vec![
        Message::new(Role::System, vec![mark(), Part::Text("S".to_owned()), mark(), mark()]),
        text(Role::User, "a"),
        Message::new(Role::User, vec![Part::Text(" ".to_owned()), Part::Text("b".to_owned()), mark()]),
        text(Role::Assistant, "c"),
        text(Role::Developer, "late"),
        text(Role::Assistant, "d \n"),
    ];
    let request = ChatRequest { messages, ..ChatRequest::default() };
    let point = r#"{"cachePoint":{"type":"default","ttl":"1h"}}"#;
    let (body, semantic, advisory) = encode(&request, SONNET);
    assert_eq!(
        body,
        format!(
            r#"{{"system":[{{"text":"S"}},{point},{{"text":"late"}}],"messages":[{{"role":"user","content":[{{"text":"a"}},{{"text":"b"}},{point}]}},{{"role":"assistant","content":[{{"text":"c"}},{{"text":"d"}}]}}]}}"#
        )
    );
    assert_eq!((semantic, advisory), (vec![], vec!["messages[4].role".to_owned()]));
    let (body, _, advisory) = encode(&request, "meta.llama3-2-1b-instruct-v1:0");
    assert!(!body.contains("cachePoint") && !advisory.is_empty(), "a model without marks refuses them");
    let (body, ..) = encode(&request, "us.anthropic.claude-3-7-sonnet-20250219-v1:0");
    assert!(body.contains(r#"{"cachePoint":{"type":"default"}}"#) && !body.contains("ttl"), "{body}");
}

#[test]
fn calls_and_their_results() {
    let mut failed = result("call:1", vec![Part::Text("broken".to_owned())]);
    failed.tool_failed = true;
    let custom = ToolCall { custom: true, ..ToolCall::new("c2", "sh", "ls \"x\"") };
    let mark = Part::CacheMark(CacheMark::default());
    let messages = vec![
        text(Role::User, "hi"),
        calls(vec![ToolCall::new("call:1", "f", "{\"x\":1}"), custom, ToolCall::new("x".repeat(65), "f", "")]),
        failed,
        result("c2", vec![Part::Text("ok".to_owned()), mark]),
        text(Role::User, "and?"),
        result(&"x".repeat(65), vec![]),
    ];
    let request = ChatRequest { messages, tools: vec![function("f")], ..ChatRequest::default() };
    let (body, semantic, advisory) = encode(&request, SONNET);
    let long = crate::dialect::ids::short_tool_id(&"x".repeat(65)).into_owned();
    let turns = format!(
        r#""messages":[{{"role":"user","content":[{{"text":"hi"}}]}},{{"role":"assistant","content":[{{"toolUse":{{"toolUseId":"enc-call_3a1","name":"f","input":{{"x":1}}}}}},{{"toolUse":{{"toolUseId":"c2","name":"sh","input":{{"input":"ls \"x\""}}}}}},{{"toolUse":{{"toolUseId":"{long}","name":"f","input":{{}}}}}}]}},{{"role":"user","content":[{{"toolResult":{{"toolUseId":"enc-call_3a1","content":[{{"text":"broken"}}],"status":"error"}}}},{{"toolResult":{{"toolUseId":"c2","content":[{{"text":"ok"}}]}}}},{{"cachePoint":{{"type":"default"}}}},{{"toolResult":{{"toolUseId":"{long}","content":[]}}}},{{"text":"and?"}}]}}]"#
    );
    let tool = r#"{"toolSpec":{"name":"f","inputSchema":{"json":{"type":"object","properties":{}}}}}"#;
    assert_eq!(body, format!(r#"{{{turns},"toolConfig":{{"tools":[{tool}]}}}}"#));
    assert_eq!((semantic, advisory), (vec![], vec![]));
    // The provider demands tools as soon as there are calls.
    let without = ChatRequest { tools: vec![], ..request.clone() };
    assert!(encode(&without, SONNET).0.contains(r#""name":"sh","inputSchema""#));
    let none = ChatRequest { tool_choice: Some(ToolChoice::None), ..request };
    let (body, semantic, _) = encode(&none, SONNET);
    assert!(body.contains("toolConfig") && !body.contains("toolChoice"));
    assert_eq!(semantic, ["tool_choice"]);
}

#[test]
fn tools_and_choices() {
    let schema = r#"{"type":"object","properties":{"a":{"type":"string"}}}"#;
    let mut tool = Tool { description: Some("d".to_owned()), strict: Some(true), ..function("f") };
    tool.parameters = Some(Json::new(schema));
    tool.cache = Some(CacheMark::default());
    let own = ToolKind::Server { origin: DialectId::Bedrock, raw: Json::new(r#"{"systemTool":{"name":"n"}}"#) };
    let foreign = ToolKind::Server { origin: DialectId::Anthropic, raw: Json::new("{}") };
    let kinds = [own, foreign, ToolKind::Custom { format: None }];
    let tools = kinds.map(|kind| Tool { kind, ..function("sh") });
    let tools: Vec<Tool> = std::iter::once(tool).chain(tools).collect();
    let mut request = ChatRequest { tools, ..hello() };
    let spec = format!(r#"{{"toolSpec":{{"name":"f","description":"d","inputSchema":{{"json":{schema}}}}}}}"#);
    let custom = r#"{"toolSpec":{"name":"sh","inputSchema":{"json":{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}}}}"#;
    let list = format!(r#"{spec},{{"cachePoint":{{"type":"default"}}}},{{"systemTool":{{"name":"n"}}}},{custom}"#);
    let choices = [
        (None, ""),
        (Some(ToolChoice::Auto), r#","toolChoice":{"auto":{}}"#),
        (Some(ToolChoice::Required), r#","toolChoice":{"any":{}}"#),
        (Some(ToolChoice::Function("f".to_owned())), r#","toolChoice":{"tool":{"name":"f"}}"#),
    ];
    for (choice, wire) in choices {
        request.tool_choice = choice;
        let (body, semantic, advisory) = encode(&request, SONNET);
        assert_eq!(body, format!(r#"{{{HI},"toolConfig":{{"tools":[{list}]{wire}}}}}"#));
        assert_eq!((semantic, advisory), (vec![], vec!["tools[2]".to_owned(), "tools[0].strict".to_owned()]));
    }
    request.tool_choice = Some(ToolChoice::None);
    assert_eq!(encode(&request, SONNET).0, format!("{{{HI}}}"), "no tools, no calls");
    request.tools[0].parameters = Some(Json::new("{"));
    request.tool_choice = None;
    assert_eq!(refused(&request).param.as_deref(), Some("tools[0].parameters"));
}

fn thinks(effort: Option<&str>, budget_tokens: Option<u64>) -> ChatRequest {
    let reasoning = Some(ReasoningSettings { effort: effort.map(str::to_owned), budget_tokens });
    ChatRequest { reasoning, max_output_tokens: Some(10_000), ..hello() }
}

#[test]
fn each_family_is_told_in_its_own_form_how_much_to_think() {
    let cases = [
        (SONNET, thinks(Some("low"), None), r#"{"thinking":{"type":"enabled","budget_tokens":2048}}"#),
        (SONNET, thinks(None, Some(50_000)), r#"{"thinking":{"type":"enabled","budget_tokens":8000}}"#),
        (
            "us.anthropic.claude-sonnet-4-6",
            thinks(Some("minimal"), None),
            r#"{"thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"low"}}"#,
        ),
        (
            "anthropic.claude-opus-4-7",
            thinks(None, Some(20_000)),
            r#"{"thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"high"}}"#,
        ),
        (
            "us.amazon.nova-2-lite-v1:0",
            thinks(Some("medium"), None),
            r#"{"reasoningConfig":{"type":"enabled","maxReasoningEffort":"medium"}}"#,
        ),
        ("openai.gpt-oss-120b-1:0", thinks(Some("xhigh"), None), r#"{"reasoning_effort":"high"}"#),
    ];
    for (model, request, fields) in cases {
        let (body, semantic, advisory) = encode(&request, model);
        let wire =
            format!(r#"{{{HI},"inferenceConfig":{{"maxTokens":10000}},"additionalModelRequestFields":{fields}}}"#);
        assert_eq!((body, semantic, advisory), (wire, vec![], vec![]), "{model}");
    }
    for (model, request) in [
        ("amazon.nova-pro-v1:0", thinks(Some("low"), None)),
        (SONNET, thinks(Some("odd"), None)),
        (SONNET, thinks(None, Some(100))),
    ] {
        let (body, semantic, _) = encode(&request, model);
        assert!(!body.contains("additional"));
        assert_eq!(semantic, ["reasoning_effort"], "{model}");
    }
    let limited = |limit, request| ChatRequest { max_output_tokens: Some(limit), ..request };
    assert!(encode(&limited(1025, thinks(Some("low"), None)), SONNET).0.contains(r#""budget_tokens":1024"#));
    let (_, semantic, advisory) = encode(&limited(1024, thinks(Some("low"), None)), SONNET);
    assert_eq!((semantic, advisory), (vec![], vec!["reasoning_effort".to_owned()]));
    assert_eq!(encode(&limited(1024, thinks(None, Some(2000))), SONNET).1, ["reasoning_effort"]);
    assert_eq!(encode(&thinks(Some("none"), None), SONNET).1, [""; 0]);
    let unlimited = ChatRequest { max_output_tokens: None, ..thinks(Some("low"), None) };
    assert!(encode(&unlimited, SONNET).0.contains(r#""maxTokens":4096"#), "the budget was fitted into it");
}

#[test]
fn who_speaks_last_is_the_user_where_the_model_answers_users_only() {
    let begun =
        |last| ChatRequest { messages: vec![text(Role::User, "hi"), text(Role::Assistant, "a"), last], ..hello() };
    let (body, _, advisory) = encode(&begun(text(Role::System, "b")), SONNET);
    assert!(body.ends_with(r#"{"role":"user","content":[{"text":"b"}]}]}"#), "{body}");
    assert_eq!(advisory, ["messages[2].role"]);
    assert!(encode(&begun(text(Role::Assistant, "b")), SONNET).0.contains(r#"{"text":"b"}"#));
    let (body, _, advisory) = encode(&begun(text(Role::Assistant, "b")), "anthropic.claude-opus-4-7");
    assert!(body.ends_with(r#"{"text":"b"}]},{"role":"user","content":[{"text":"Continue."}]}]}"#), "{body}");
    assert_eq!(advisory, ["messages[2].role"]);
    let prefilled = ChatRequest { source: DialectId::Anthropic, ..begun(text(Role::Assistant, "b")) };
    let refused = Bedrock.encode_request(&prefilled, &to("anthropic.claude-opus-4-7")).unwrap_err();
    assert_eq!((refused.kind, refused.param.as_deref()), (ErrorKind::UnsupportedParameter, Some("messages[2].role")));
}

#[test]
fn a_conversation_that_begins_with_the_assistant_keeps_all_its_turns() {
    let request = ChatRequest {
        messages: vec![text(Role::System, "s"), text(Role::Assistant, "How can I help?"), text(Role::User, "so")],
        ..hello()
    };
    for model in [SONNET, "amazon.nova-pro-v1:0"] {
        let (body, semantic, advisory) = encode(&request, model);
        let turns = r#""messages":[{"role":"user","content":[{"text":"(The assistant speaks first.)"}]},{"role":"assistant","content":[{"text":"How can I help?"}]},{"role":"user","content":[{"text":"so"}]}]"#;
        assert!(body.contains(turns), "{body}");
        assert_eq!((semantic, advisory), (vec![], vec!["messages[1].role".to_owned()]));
    }
}

#[test]
fn a_client_may_say_it_in_the_makers_own_words() {
    let say = |raw: &str| ChatRequest { extra: vec![("thinking".to_owned(), Json::new(raw))], ..hello() };
    let adaptive = r#"{"type":"adaptive","display":"summarized"}"#;
    let (body, semantic, _) = encode(&say(adaptive), "us.anthropic.claude-sonnet-5");
    assert!(body.contains(&format!(r#""additionalModelRequestFields":{{"thinking":{adaptive}}}"#)), "{body}");
    assert_eq!(semantic, [""; 0]);
    assert_eq!(encode(&say(adaptive), SONNET).1, ["thinking"]);
    assert_eq!(encode(&say(r#"{"type":"disabled"}"#), SONNET), (format!("{{{HI}}}"), vec![], vec![]));
}

#[test]
fn with_a_budget_of_thinking_sampling_and_forced_calls_are_lost_and_said_so() {
    let mut request = thinks(None, Some(24_000));
    request.max_output_tokens = Some(40_000);
    request.sampling.temperature = Some(0.5);
    request.sampling.top_p = Some(0.5);
    request.sampling.top_k = Some(5);
    request.tools = vec![function("f")];
    request.tool_choice = Some(ToolChoice::Required);
    let (body, mut semantic, _) = encode(&request, SONNET);
    assert!(body.contains(r#""inferenceConfig":{"maxTokens":40000},"#) && body.contains(r#""toolChoice":{"auto":{}}"#));
    semantic.sort();
    assert_eq!(semantic, ["temperature", "tool_choice", "top_k", "top_p"]);
    request.reasoning = thinks(Some("high"), None).reasoning;
    let (body, semantic, advisory) = encode(&request, SONNET);
    assert!(body.contains(r#""toolChoice":{"any":{}}"#) && body.contains(r#""top_k":5"#), "{body}");
    assert!(!body.contains("thinking") && semantic.is_empty(), "an effort in a word gives way: {semantic:?} {body}");
    assert_eq!(advisory, ["reasoning_effort"]);
    let (body, semantic, advisory) = encode(&request, "us.anthropic.claude-opus-4-6-v1:0");
    assert!(body.contains(r#""toolChoice":{"any":{}}"#) && !body.contains("thinking"), "{body}");
    assert!(body.contains(r#""output_config":{"effort":"high"}"#), "and holds where there is a word for it: {body}");
    assert!(semantic.is_empty() && advisory.is_empty(), "{semantic:?} {advisory:?}");
    let (body, mut semantic, _) = encode(&request, "us.anthropic.claude-opus-5-v1:0");
    semantic.sort();
    assert_eq!(semantic, ["temperature", "top_k", "top_p"], "newest models take none: {body}");
    assert!(
        body.contains(r#""toolChoice":{"any":{}}"#) && body.contains(r#""output_config":{"effort":"high"}"#),
        "{body}"
    );
    let (body, mut semantic, _) = encode(&request, "amazon.nova-2-lite-v1:0");
    assert!(!body.contains(r#""maxTokens""#) && body.contains(r#""inferenceConfig":{"topK":5}"#), "{body}");
    semantic.sort();
    assert_eq!(semantic, ["max_completion_tokens", "temperature", "top_p"]);
}

#[test]
fn thinking_cannot_begin_amid_calls() {
    let mut request = thinks(Some("low"), None);
    request.messages.extend([calls(vec![ToolCall::new("a", "f", "{}")]), result("a", vec![])]);
    request.tools = vec![function("f")];
    let (body, semantic, advisory) = encode(&request, SONNET);
    assert!(!body.contains("thinking"));
    assert_eq!((semantic, advisory), (vec![], vec!["reasoning_effort".to_owned()]));
    let signature = Some(Signature::new(DialectId::Bedrock, "s"));
    request.messages[1].content = vec![Part::Reasoning { text: "t".to_owned(), signature }];
    let (body, ..) = encode(&request, SONNET);
    assert!(
        body.contains(r#"{"reasoningContent":{"reasoningText":{"text":"t","signature":"s"}}},{"toolUse""#),
        "{body}"
    );
    assert!(body.contains(r#""thinking":{"type":"enabled""#));
}

#[test]
fn thinking_goes_back_only_to_who_signed_it() {
    let part =
        |origin, data: &str| Part::Reasoning { text: "t".to_owned(), signature: Some(Signature::new(origin, data)) };
    let parts = vec![
        part(DialectId::Bedrock, "redacted:Zm9v"),
        part(DialectId::Anthropic, "s"),
        Part::Reasoning { text: "t".to_owned(), signature: None },
        Part::Text("x".to_owned()),
    ];
    let messages = vec![text(Role::User, "hi"), Message::new(Role::Assistant, parts), text(Role::User, "go")];
    let (body, _, advisory) = encode(&ChatRequest { messages, ..ChatRequest::default() }, SONNET);
    assert!(body.contains(r#""content":[{"reasoningContent":{"redactedContent":"Zm9v"}},{"text":"x"}]"#), "{body}");
    assert_eq!(advisory, ["messages[1].content[1]", "messages[1].content[2]"]);
}

fn media(source: MediaSource, name: Option<&str>) -> Media {
    Media { source, media_type: None, detail: None, name: name.map(str::to_owned) }
}

fn inline(media_type: &str) -> MediaSource {
    MediaSource::Base64 { media_type: media_type.to_owned(), data: "QUJD".to_owned() }
}

#[test]
fn media_by_their_formats() {
    let url = |url: &str| MediaSource::Url(url.to_owned());
    let parts = vec![
        Part::Image(media(inline("image/jpg"), None)),
        Part::Image(media(url("data:image/webp;base64,QUJD"), None)),
        Part::Image(media(url("s3://bucket/a.PNG"), None)),
        Part::Audio(media(inline("audio/mpeg"), None)),
        Part::File(media(inline("application/pdf"), Some("Ein_Bericht (1)..pdf"))),
        Part::File(media(inline("application/octet-stream"), Some("Ein Bericht (1).docx"))),
        Part::File(media(inline("text/plain"), None)),
        Part::File(media(inline("text/x-rust"), Some("ü.rs"))),
    ];
    let request = ChatRequest { messages: vec![Message::new(Role::User, parts)], ..ChatRequest::default() };
    let bytes = r#""source":{"bytes":"QUJD"}"#;
    let blocks = [
        format!(r#"{{"image":{{"format":"jpeg",{bytes}}}}}"#),
        format!(r#"{{"image":{{"format":"webp",{bytes}}}}}"#),
        r#"{"image":{"format":"png","source":{"s3Location":{"uri":"s3://bucket/a.PNG"}}}}"#.to_owned(),
        format!(r#"{{"audio":{{"format":"mp3",{bytes}}}}}"#),
        format!(r#"{{"document":{{"format":"pdf","name":"Ein Bericht (1)",{bytes}}}}}"#),
        format!(r#"{{"document":{{"format":"docx","name":"Ein Bericht (1) (2)",{bytes}}}}}"#),
        format!(r#"{{"document":{{"format":"txt","name":"document",{bytes}}}}}"#),
        format!(r#"{{"document":{{"format":"txt","name":"document (2)",{bytes}}}}}"#),
    ];
    let wire = format!(r#"{{"messages":[{{"role":"user","content":[{}]}}]}}"#, blocks.join(","));
    assert_eq!(encode(&request, SONNET), (wire, vec![], vec![]));
    let stored = MediaSource::Stored { origin: DialectId::Anthropic, id: "f".to_owned() };
    for part in [
        Part::Image(media(url("https://x.invalid/a.png"), None)),
        Part::Image(media(inline("image/tiff"), None)),
        Part::File(media(stored, None)),
        Part::File(media(inline("application/zip"), None)),
        Part::Opaque { dialect: "gemini", raw: Json::new("{}") },
    ] {
        let request = ChatRequest { messages: vec![Message::new(Role::User, vec![part])], ..ChatRequest::default() };
        let error = refused(&request);
        assert_eq!(
            (error.kind, error.param.as_deref()),
            (ErrorKind::UnsupportedParameter, Some("messages[0].content[0]"))
        );
    }
}

#[test]
fn sampling() {
    let mut request = hello();
    request.sampling.temperature = Some(1.0);
    request.sampling.top_p = Some(1.0);
    request.sampling.top_k = Some(7);
    request.sampling.stop = vec!["END".to_owned(), String::new()];
    request.sampling.seed = Some(1);
    let (body, semantic, _) = encode(&request, SONNET);
    let fields = r#""additionalModelRequestFields":{"top_k":7}"#;
    assert_eq!(body, format!(r#"{{{HI},"inferenceConfig":{{"stopSequences":["END"]}},{fields}}}"#));
    assert_eq!(semantic, ["seed", "stop"]);
    let (body, semantic, _) = encode(&request, "amazon.titan-text-lite-v1");
    assert!(body.contains(r#""temperature":1.0,"topP":1.0"#), "other models have other defaults: {body}");
    assert_eq!(semantic, ["seed", "top_k", "stop"]);
    let route = Destination { max_output: Some(9), ..to(SONNET) };
    let (body, _) = Bedrock.encode_request(&hello(), &route).unwrap();
    assert_eq!(body, format!(r#"{{{HI},"inferenceConfig":{{"maxTokens":9}}}}"#));
    request.sampling.temperature = Some(1.5);
    assert_eq!(refused(&request).param.as_deref(), Some("temperature"));
}

#[test]
fn schema_metadata_and_tier() {
    let schema = |schema: Option<&str>| ResponseFormat::JsonSchema {
        name: "n".to_owned(),
        description: None,
        schema: schema.map(Json::new),
        strict: Some(true),
    };
    let mut request = ChatRequest {
        response_format: Some(schema(Some(r#"{"type":"object"}"#))),
        metadata: Some(Json::new(r#"{"team":"a-b"}"#)),
        service_tier: Some("flex".to_owned()),
        ..hello()
    };
    let format = r#"{"type":"json_schema","structure":{"jsonSchema":{"schema":"{\"type\":\"object\"}","name":"n"}}}"#;
    let rest = r#""requestMetadata":{"team":"a-b"},"serviceTier":{"type":"flex"}"#;
    let wire = format!(r#"{{{HI},"outputConfig":{{"textFormat":{format}}},{rest}}}"#);
    assert_eq!(encode(&request, SONNET), (wire, vec![], vec![]));
    request.response_format = Some(schema(None));
    request.service_tier = Some("scale".to_owned());
    for metadata in [
        r#"{"a":1}"#.to_owned(),
        r#"{"a":"ü"}"#.to_owned(),
        format!(r#"{{"a":"{}"}}"#, "x".repeat(257)),
        "[]".to_owned(),
    ] {
        request.metadata = Some(Json::new(metadata));
        let (body, semantic, advisory) = encode(&request, SONNET);
        assert_eq!(body, format!("{{{HI}}}"));
        assert_eq!(
            (semantic, advisory),
            (vec!["response_format".to_owned()], vec!["metadata".to_owned(), "service_tier".to_owned()])
        );
    }
    let words = r#""system":[{"text":"Answer with one JSON object and nothing else."}]"#;
    let (body, semantic, _) =
        encode(&ChatRequest { response_format: Some(ResponseFormat::JsonObject), ..hello() }, SONNET);
    assert!(body.contains(words) && semantic.is_empty(), "{body} {semantic:?}");
}

#[test]
fn nothing_to_say_is_refused() {
    let request =
        ChatRequest { messages: vec![text(Role::System, ""), text(Role::User, " ")], ..ChatRequest::default() };
    assert_eq!(refused(&request).kind, ErrorKind::InvalidRequest);
    let request = ChatRequest { messages: vec![Message::new(Role::Tool, vec![])], ..ChatRequest::default() };
    assert_eq!(refused(&request).param.as_deref(), Some("messages[0].tool_call_id"));
}
