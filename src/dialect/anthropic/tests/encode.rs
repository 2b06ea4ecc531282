//! Goldens of requests: the wire text and the losses, side by side.

use super::*;
use crate::domain::chat::Signature;
use crate::domain::chat::{
    Json, Media, MediaSource, Message, ReasoningSettings, ResponseFormat, Role, Sampling, Tool, ToolChoice,
};
use crate::domain::error::ErrorKind;
use crate::domain::id::DialectId;

fn turn(role: Role, content: Vec<Part>) -> Message {
    Message::new(role, content)
}

fn text(role: Role, text: &str) -> Message {
    turn(role, vec![Part::Text(text.to_owned())])
}

fn calls(content: Vec<Part>, calls: &[(&str, &str, &str)]) -> Message {
    let tool_calls = calls.iter().map(|(id, name, arguments)| ToolCall::new(*id, *name, *arguments)).collect();
    Message { tool_calls, ..turn(Role::Assistant, content) }
}

fn result(id: &str, answer: &str) -> Message {
    Message { tool_call_id: Some(id.to_owned()), ..text(Role::Tool, answer) }
}

fn tool(name: &str, parameters: Option<&str>) -> Tool {
    Tool { name: name.to_owned(), parameters: parameters.map(Json::new), ..Tool::default() }
}

fn ask(messages: Vec<Message>) -> ChatRequest {
    ChatRequest { model: "alias".to_owned(), messages, ..ChatRequest::default() }
}

fn hello() -> ChatRequest {
    ask(vec![text(Role::User, "hi")])
}

fn encode(request: &ChatRequest) -> Result<(String, Loss), Error> {
    let to = Destination { model: "claude-x", default_max_output: 4096, max_output: None, quirks: quirks() };
    let (body, loss) = Anthropic.encode_request(request, &to)?;
    Ok((String::from_utf8(body.to_vec()).unwrap(), loss))
}

/// Encodes, expects exactly these losses, and gives what lies between the braces after the model.
fn wire(request: &ChatRequest, semantic: &[&str], advisory: &[&str]) -> String {
    let (body, loss) = encode(request).unwrap();
    assert_eq!(loss.semantic, semantic, "semantic");
    assert_eq!(loss.advisory, advisory, "advisory");
    body.strip_prefix(r#"{"model":"claude-x","#).unwrap().strip_suffix('}').unwrap().to_owned()
}

/// Encodes a request with one turn; gives what stands beside the usual members.
fn beside(request: &ChatRequest, semantic: &[&str], advisory: &[&str]) -> String {
    let body = wire(request, semantic, advisory);
    let (head, tail) = body.split_once(HI).unwrap();
    format!("{head}{tail}")
}

const HI: &str = r#""messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]"#;

fn refused(request: &ChatRequest, kind: ErrorKind, param: &str) {
    let error = encode(request).unwrap_err();
    assert_eq!((error.kind, error.param.as_deref()), (kind, Some(param)), "{error}");
}

#[test]
fn the_least_request() {
    assert_eq!(wire(&hello(), &[], &[]), format!(r#""max_tokens":4096,{HI}"#));
    let request = ChatRequest { max_output_tokens: Some(7), stream: true, ..hello() };
    assert_eq!(wire(&request, &[], &[]), format!(r#""max_tokens":7,{HI},"stream":true"#));
}

#[test]
fn system_turns_are_hoisted_and_one_side_is_one_turn() {
    let request = ask(vec![
        text(Role::System, "a"),
        text(Role::User, "b"),
        text(Role::User, "  "),
        text(Role::Developer, "c"),
        text(Role::User, "d"),
        text(Role::Assistant, "e \n"),
    ]);
    assert_eq!(
        wire(&request, &[], &["messages[3].role"]),
        r#""max_tokens":4096,"system":[{"type":"text","text":"a"},{"type":"text","text":"c"}],"messages":[{"role":"user","content":[{"type":"text","text":"b"},{"type":"text","text":"d"}]},{"role":"assistant","content":[{"type":"text","text":"e"}]}]"#
    );
    let one = ask(vec![text(Role::Developer, "a"), text(Role::User, "hi")]);
    assert_eq!(wire(&one, &[], &[]), format!(r#""max_tokens":4096,"system":"a",{HI}"#));
    refused(&ask(vec![text(Role::System, " "), text(Role::User, "")]), ErrorKind::InvalidRequest, "messages");
}

#[test]
fn a_tool_loop_with_parallel_results() {
    let mut request = ask(vec![
        text(Role::User, "weather?"),
        calls(vec![], &[("call.1", "w", "{\"city\": \"Bern\"}"), ("call_2", "now", "")]),
        result("call.1", "sun"),
        result("call_2", ""),
        text(Role::User, "and?"),
    ]);
    request.tools = vec![tool("w", Some("{\"type\":\"object\"}")), tool("now", None), tool("z", Some("{ }"))];
    request.tools[0].description = Some("d".to_owned());
    request.tools[0].strict = Some(true);
    request.parallel_tool_calls = Some(false);
    assert_eq!(
        wire(&request, &[], &[]),
        concat!(
            r#""max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"weather?"}]},"#,
            r#"{"role":"assistant","content":[{"type":"tool_use","id":"enc-call_2e1","name":"w","input":{"city": "Bern"}},"#,
            r#"{"type":"tool_use","id":"call_2","name":"now","input":{}}]},"#,
            r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"enc-call_2e1","content":"sun"},"#,
            r#"{"type":"tool_result","tool_use_id":"call_2"},{"type":"text","text":"and?"}]}],"#,
            r#""tools":[{"name":"w","description":"d","input_schema":{"type":"object","additionalProperties":false},"strict":true},"#,
            r#"{"name":"now","input_schema":{"type":"object","properties":{}}},"#,
            r#"{"name":"z","input_schema":{"type":"object","properties":{}}}],"#,
            r#""tool_choice":{"type":"auto","disable_parallel_tool_use":true}"#,
        )
    );
}

#[test]
fn results_come_before_words() {
    let request = ask(vec![
        text(Role::User, "go"),
        calls(vec![], &[("a", "f", "{}"), ("b", "f", "{}")]),
        result("a", "1"),
        text(Role::User, "also"),
        result("b", "2"),
    ]);
    let body = wire(&request, &[], &[]);
    let at = |part: &str| body.find(part).unwrap();
    assert!(at(r#""tool_use_id":"a""#) < at(r#""tool_use_id":"b""#));
    assert!(at(r#""tool_use_id":"b""#) < at("also"));
}

#[test]
fn broken_tool_turns_are_refused_by_name() {
    let args = "messages[1].tool_calls[0].arguments";
    for bad in ["{\"a\":", "[1]", "\"x\"", "nonsense", "{} {}"] {
        let request = ask(vec![text(Role::User, "go"), calls(vec![], &[("a", "f", bad)])]);
        let (body, loss) = encode(&request).unwrap();
        assert!(body.contains("{\"_incomplete_arguments\":"), "given whole: {body}");
        assert_eq!(loss.advisory, [args]);
    }
    let request = ask(vec![text(Role::User, "go"), text(Role::Tool, "x")]);
    refused(&request, ErrorKind::InvalidRequest, "messages[1].tool_call_id");
    let mut request = hello();
    request.tools = vec![tool("f", Some("{"))];
    refused(&request, ErrorKind::InvalidRequest, "tools[0].parameters");
}

#[test]
fn tool_choices() {
    let choose = |choice| {
        let request = ChatRequest { tool_choice: Some(choice), tools: vec![tool("f", None)], ..hello() };
        let body = beside(&request, &[], &[]);
        body.split_once(r#""tool_choice":"#).unwrap().1.to_owned()
    };
    assert_eq!(choose(ToolChoice::Auto), r#"{"type":"auto"}"#);
    assert_eq!(choose(ToolChoice::None), r#"{"type":"none"}"#);
    assert_eq!(choose(ToolChoice::Required), r#"{"type":"any"}"#);
    assert_eq!(choose(ToolChoice::Function("f".to_owned())), r#"{"type":"tool","name":"f"}"#);
    let without_tools = ChatRequest { tool_choice: Some(ToolChoice::None), ..hello() };
    assert!(!beside(&without_tools, &[], &[]).contains("tool_choice"));
}

fn inline(media_type: &str) -> MediaSource {
    MediaSource::Base64 { media_type: media_type.to_owned(), data: "QUJD".to_owned() }
}

fn media(source: MediaSource) -> Media {
    Media { source, media_type: None, detail: None, name: None }
}

#[test]
fn documents_of_text_are_told_as_text() {
    let inline = |media_type: &str, data: &str| {
        let source = MediaSource::Base64 { media_type: media_type.to_owned(), data: data.to_owned() };
        ask(vec![turn(Role::User, vec![Part::File(media(source))])])
    };
    let body = wire(&inline("text/csv", "YSxi"), &[], &[]);
    assert!(body.contains(r#""source":{"type":"text","media_type":"text/plain","data":"a,b"}"#), "{body}");
    let place = "messages[0].content[0]";
    refused(&inline("text/csv", "/w=="), ErrorKind::UnsupportedParameter, place);
    refused(&inline("application/zip", "YSxi"), ErrorKind::UnsupportedParameter, place);
}

#[test]
fn images_and_documents() {
    let url = |u: &str| MediaSource::Url(u.to_owned());
    let request = ask(vec![turn(
        Role::User,
        vec![
            Part::Image(media(url("https://x/y.png"))),
            Part::Image(Media { detail: Some("low".to_owned()), ..media(url("data:image/png;base64,QUJD")) }),
            Part::Image(media(inline("image/webp"))),
            Part::File(Media { name: Some("a.pdf".to_owned()), ..media(inline("application/pdf")) }),
        ],
    )]);
    assert_eq!(
        wire(&request, &[], &["messages[0].content[1].detail"]),
        concat!(
            r#""max_tokens":4096,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://x/y.png"}},"#,
            r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJD"}},"#,
            r#"{"type":"image","source":{"type":"base64","media_type":"image/webp","data":"QUJD"}},"#,
            r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"QUJD"},"title":"a.pdf"}]}]"#,
        )
    );
    let refusals = [
        Part::Image(media(inline("image/bmp"))),
        Part::Image(media(url("data:image/png,raw"))),
        Part::File(media(inline("application/zip"))),
        Part::Audio(media(inline("audio/wav"))),
        Part::Opaque { dialect: "openai-chat", raw: Json::new("{}") },
    ];
    for part in refusals {
        let request = ask(vec![text(Role::User, "a"), turn(Role::User, vec![part])]);
        refused(&request, ErrorKind::UnsupportedParameter, "messages[1].content[0]");
    }
}

fn think(effort: Option<&str>, budget_tokens: Option<u64>) -> ChatRequest {
    let reasoning = Some(ReasoningSettings { effort: effort.map(str::to_owned), budget_tokens });
    ChatRequest { reasoning, max_output_tokens: Some(10_000), ..hello() }
}

#[test]
fn thinking_budgets() {
    let budget = |request: &ChatRequest| {
        let body = beside(request, &[], &[]);
        let (_, tail) = body.split_once(r#""thinking":{"type":"enabled","budget_tokens":"#)?;
        tail.split('}').next().unwrap().parse::<u64>().ok()
    };
    assert_eq!(budget(&think(Some("low"), None)), Some(2048));
    assert_eq!(budget(&think(Some("high"), None)), Some(8000), "a fifth is left for the answer");
    assert_eq!(budget(&think(Some("low"), Some(1500))), Some(1500));
    assert_eq!(budget(&think(Some("none"), None)), None);
    assert_eq!(budget(&think(None, Some(0))), None);
    beside(&think(None, Some(500)), &["reasoning_effort"], &[]);
    beside(&think(Some("enormous"), None), &["reasoning_effort"], &[]);
    let own_words = |json: &str| {
        let extra = vec![("thinking".to_owned(), Json::new(json))];
        ChatRequest { extra, ..think(None, None) }
    };
    assert_eq!(budget(&own_words(r#"{"type":"enabled","budget_tokens":2000}"#)), Some(2000));
    assert_eq!(budget(&own_words(r#"{"type":"disabled"}"#)), None);
    beside(&own_words(r#"{"type":"adaptive"}"#), &["thinking"], &[]);
    beside(&own_words("true"), &["thinking"], &[]);
    let limited = |limit, request| ChatRequest { max_output_tokens: Some(limit), ..request };
    assert_eq!(budget(&limited(1025, think(Some("low"), None))), Some(1024), "the least budget, where it fits");
    beside(&limited(1024, think(Some("low"), None)), &[], &["reasoning_effort"]);
    beside(&limited(1024, think(None, Some(2000))), &["reasoning_effort"], &[]);
    beside(&limited(1024, own_words(r#"{"type":"enabled","budget_tokens":1024}"#)), &["thinking"], &[]);
}

#[test]
fn a_budget_of_thinking_costs_sampling_and_forced_calls() {
    let mut request = think(None, Some(8000));
    request.sampling = Sampling { temperature: Some(0.5), top_k: Some(3), top_p: Some(0.5), ..Sampling::default() };
    request.tools = vec![tool("f", None)];
    request.tool_choice = Some(ToolChoice::Required);
    let body = beside(&request, &["tool_choice", "temperature", "top_k", "top_p"], &[]);
    assert!(
        body.contains(r#""tool_choice":{"type":"auto"},"thinking":{"type":"enabled","budget_tokens":8000}"#),
        "{body}"
    );
    assert!(!body.contains("temperature") && !body.contains("top_"), "{body}");
    request = think(Some("medium"), None);
    request.sampling = Sampling { temperature: Some(1.0), top_p: Some(0.97), ..Sampling::default() };
    let body = beside(&request, &[], &[]);
    assert!(body.ends_with(r#""top_p":0.97"#) && body.contains("budget_tokens"), "{body}");
}

#[test]
fn an_effort_in_a_word_gives_way_to_what_is_demanded_exactly_and_is_listed() {
    let demands: [fn(&mut ChatRequest); 5] = [
        |request| request.tool_choice = Some(ToolChoice::Required),
        |request| request.tool_choice = Some(ToolChoice::Function("f".to_owned())),
        |request| request.sampling.temperature = Some(0.0),
        |request| request.sampling.top_k = Some(3),
        |request| request.sampling.top_p = Some(0.5),
    ];
    for demand in demands {
        let mut request = think(Some("high"), None);
        request.tools = vec![tool("f", None)];
        demand(&mut request);
        let body = beside(&request, &[], &["reasoning_effort"]);
        assert!(!body.contains("thinking") && !body.contains(r#"{"type":"auto"}"#), "{body}");
        let told = [
            r#""tool_choice":{"type":"any"}"#,
            r#""name":"f"}"#,
            r#""temperature":0.0"#,
            r#""top_k":3"#,
            r#""top_p":0.5"#,
        ];
        assert!(told.iter().any(|said| body.contains(said)), "{body}");
    }
    let mut request = think(Some("high"), None);
    request.tool_choice = Some(ToolChoice::Required);
    assert!(beside(&request, &[], &[]).contains("budget_tokens"), "without tools nothing is forced");
}

#[test]
fn a_conversation_that_ends_in_the_assistants_turn_is_gone_on_with_or_answered() {
    let begun = ask(vec![text(Role::User, "hi"), text(Role::Assistant, "The answer ")]);
    let refuses = vec!["claude-opus-5/prefill".to_owned()];
    let quirks = Quirks { refuses, ..Quirks::default() };
    let to = |model| Destination { model, default_max_output: 4096, max_output: None, quirks: &quirks };
    let (body, loss) = Anthropic.encode_request(&begun, &to("claude-sonnet-4-5")).unwrap();
    assert!(
        loss.is_empty() && body.ends_with(br#"{"role":"assistant","content":[{"type":"text","text":"The answer"}]}]}"#)
    );
    // The next answer is a turn of its own in most dialects: it is asked for.
    let (body, loss) = Anthropic.encode_request(&begun, &to("claude-opus-5-5")).unwrap();
    let asked =
        r#"{"type":"text","text":"The answer"}]},{"role":"user","content":[{"type":"text","text":"Continue."}]}]}"#;
    assert!(body.ends_with(asked.as_bytes()), "{body:?}");
    assert_eq!((loss.advisory.as_slice(), loss.semantic.len()), (&["messages[1].role".to_owned()][..], 0));
    // Clients of this dialect mean that the words are gone on with.
    let prefilled = ChatRequest { source: DialectId::Anthropic, ..begun };
    let refused = Anthropic.encode_request(&prefilled, &to("claude-opus-5-5")).unwrap_err();
    assert_eq!((refused.kind, refused.param.as_deref()), (ErrorKind::UnsupportedParameter, Some("messages[1].role")));
    assert!(refused.message.starts_with("`claude-opus-5-5` "), "{}", refused.message);
    let asked = ask(vec![text(Role::Assistant, "hi"), text(Role::User, "hi")]);
    assert!(Anthropic.encode_request(&asked, &to("claude-opus-5-5")).is_ok());
}

#[test]
fn who_began_without_thinking_goes_on_without_it_where_thinking_has_a_budget() {
    let effort = |messages| ChatRequest {
        reasoning: Some(ReasoningSettings { effort: Some("low".to_owned()), budget_tokens: None }),
        max_output_tokens: Some(9000),
        ..ask(messages)
    };
    let quirks = Quirks { takes: vec!["opus-5/thinking.adaptive".to_owned()], ..Quirks::default() };
    let to = |model| Destination { model, default_max_output: 4096, max_output: None, quirks: &quirks };
    let mut called = Message::new(Role::Assistant, Vec::new());
    called.tool_calls.push(ToolCall::new("call_1", "f", "{}"));
    let result = Message { tool_call_id: Some("call_1".to_owned()), ..text(Role::Tool, "ok") };
    let amid = vec![text(Role::User, "hi"), called, result];
    let begun = vec![text(Role::User, "hi"), text(Role::Assistant, "The answer")];
    for messages in [amid, begun] {
        let request = effort(messages.clone());
        let (body, loss) = Anthropic.encode_request(&request, &to("claude-sonnet-4-5")).unwrap();
        assert!(!std::str::from_utf8(&body).unwrap().contains("thinking"), "{body:?}");
        assert_eq!((loss.advisory, loss.semantic.len()), (vec!["reasoning_effort".to_owned()], 0));
        // A model that decides by itself may go on, and is told how much.
        let (body, loss) = Anthropic.encode_request(&request, &to("claude-opus-5-5")).unwrap();
        let body = std::str::from_utf8(&body).unwrap();
        assert!(body.contains(r#""type":"adaptive""#) && body.contains(r#""effort":"low""#), "{body}");
        assert!(loss.is_empty());
        // A new turn may think.
        let asked = effort([messages, vec![text(Role::User, "and?")]].concat());
        let (body, loss) = Anthropic.encode_request(&asked, &to("claude-sonnet-4-5")).unwrap();
        let after_text = asked.messages.len() == 3;
        assert_eq!(
            (std::str::from_utf8(&body).unwrap().contains("budget_tokens"), loss.is_empty()),
            (after_text, after_text)
        );
    }
}

#[test]
fn what_the_system_says_last_is_said_by_the_user_where_nobody_else_asks() {
    let hi = r#"{"role":"user","content":[{"type":"text","text":"hi"}]}"#;
    let (system, user, assistant) = (|t| text(Role::System, t), |t| text(Role::User, t), |t| text(Role::Assistant, t));
    for (turns, want, listed) in [
        (vec![system("hi")], format!(r#""messages":[{hi}]}}"#), "messages[0].role"),
        (
            vec![system("a"), system("hi"), user(" ")],
            format!(r#""system":"a","messages":[{hi}]}}"#),
            "messages[1].role",
        ),
        (
            vec![user("hi"), assistant("b"), system("hi")],
            format!(r#""messages":[{hi},{{"role":"assistant","content":[{{"type":"text","text":"b"}}]}},{hi}]}}"#),
            "messages[2].role",
        ),
        (vec![user("hi"), system("a")], format!(r#""system":"a","messages":[{hi}]}}"#), "messages[1].role"),
    ] {
        let (body, loss) = encode(&ask(turns)).unwrap();
        assert!(body.ends_with(&want), "{body}");
        assert_eq!(loss.advisory, [listed]);
    }
}

/// What newer models take, as the catalogue says it.
fn newer(request: &ChatRequest) -> (String, Loss) {
    let takes = ["claude-opus-5/thinking.adaptive", "claude-opus-5/effort.xhigh", "claude-4-6/thinking.adaptive"];
    let (takes, refuses) = (takes.map(str::to_owned).to_vec(), vec!["claude-opus-5/sampling".to_owned()]);
    let quirks = Quirks { takes, refuses, ..Quirks::default() };
    let model = request.model.as_str();
    let to = Destination { model, default_max_output: 4096, max_output: None, quirks: &quirks };
    let (body, loss) = Anthropic.encode_request(request, &to).unwrap();
    (String::from_utf8(body.to_vec()).unwrap(), loss)
}

#[test]
fn newer_models_are_told_a_word_and_no_budget() {
    let adaptive = r#""thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"#;
    for (model, effort, budget, word) in [
        ("claude-opus-5-5", Some("xhigh"), None, "xhigh"),
        ("claude-opus-5-5", Some("minimal"), None, "low"),
        ("claude-opus-5-5", None, Some(2000), "low"),
        ("claude-opus-5-5", None, Some(30_000), "high"),
        ("claude-4-6", Some("xhigh"), None, "high"),
        ("claude-4-6", Some("max"), None, "max"),
    ] {
        let (body, loss) = newer(&ChatRequest { model: model.to_owned(), ..think(effort, budget) });
        assert!(body.contains(&format!("{adaptive}\"{word}\"}}")), "{body}");
        assert!(loss.is_empty() && !body.contains("budget"), "{loss:?} {body}");
    }
    let mut request = ChatRequest { model: "claude-opus-5-5".to_owned(), ..think(Some("high"), None) };
    request.hide_thinking = true;
    assert!(newer(&request).0.contains(r#""display":"omitted""#));
    request.reasoning.as_mut().unwrap().effort = Some("odd".to_owned());
    assert_eq!(newer(&request).1.semantic, ["reasoning_effort"]);
}

#[test]
fn with_newer_models_an_effort_holds_beside_a_forced_call_and_sampling_is_no_place_to_go() {
    let mut request = ChatRequest { model: "claude-4-6".to_owned(), ..think(Some("high"), None) };
    request.tools = vec![tool("f", None)];
    request.tool_choice = Some(ToolChoice::Required);
    request.sampling.temperature = Some(0.2);
    let (body, loss) = newer(&request);
    assert!(loss.is_empty() && !body.contains("thinking"), "{loss:?} {body}");
    for said in [r#""tool_choice":{"type":"any"}"#, r#""output_config":{"effort":"high"}"#, r#""temperature":0.2"#] {
        assert!(body.contains(said), "{body}");
    }
    // A number of tokens is as exact as a forced call.
    request.reasoning = think(None, Some(4000)).reasoning;
    assert_eq!(newer(&request).1.semantic, ["tool_choice", "temperature"]);
    request = ChatRequest { model: "claude-opus-5".to_owned(), ..hello() };
    request.sampling = Sampling { temperature: Some(0.2), top_k: Some(3), top_p: Some(0.99), ..Sampling::default() };
    let (body, loss) = newer(&request);
    assert_eq!(loss.semantic, ["temperature", "top_k", "top_p"]);
    assert!(!body.contains("temperature") && !body.contains("top_"), "{body}");
    request.sampling = Sampling { temperature: Some(1.0), top_k: Some(0), top_p: Some(1.0), ..Sampling::default() };
    assert!(newer(&request).1.is_empty(), "defaults say nothing");
}

#[test]
fn thinking_comes_back_signed_or_not_at_all() {
    let part = |text: &str, signature: Option<&str>| Part::Reasoning {
        text: text.to_owned(),
        signature: signature.map(|s| Signature::new(DialectId::Anthropic, s)),
    };
    let thoughts = vec![part("hm", Some("c2ln")), part("", Some("redacted:ZGF0YQ==")), part("other", None)];
    let mut request = think(Some("low"), None);
    request.messages.push(calls(thoughts, &[("a", "f", "{}")]));
    request.messages.push(result("a", "1"));
    let body = wire(&request, &[], &["messages[1].content[2]"]);
    assert!(body.contains(concat!(
        r#"{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"c2ln"},"#,
        r#"{"type":"redacted_thinking","data":"ZGF0YQ=="},{"type":"tool_use""#
    )));
    assert!(body.contains("budget_tokens"));
    // A loop whose thinking is gone cannot go on with thinking.
    request.messages[1].content.clear();
    let body = wire(&request, &[], &["reasoning_effort"]);
    assert!(!body.contains("thinking"), "{body}");
}

#[test]
fn structured_output() {
    let schema = |schema: Option<&str>| ResponseFormat::JsonSchema {
        name: "n".to_owned(),
        description: None,
        schema: schema.map(Json::new),
        strict: Some(true),
    };
    let format = |format| ChatRequest { response_format: Some(format), ..hello() };
    assert_eq!(
        beside(&format(schema(Some("{\"type\":\"object\",\"n\":12345678901234567890}"))), &[], &[]),
        r#""max_tokens":4096,,"output_config":{"format":{"type":"json_schema","schema":{"type":"object","n":12345678901234567890,"additionalProperties":false}}}"#
    );
    assert!(!beside(&format(ResponseFormat::Text), &[], &[]).contains("output"));
    let words = r#""system":"Answer with one JSON object and nothing else.""#;
    assert!(beside(&format(ResponseFormat::JsonObject), &[], &[]).contains(words), "a provider without such a format");
    beside(&format(schema(None)), &["response_format"], &[]);
}

#[test]
fn bounds_of_a_strict_tool_are_told_in_words() {
    let parameters =
        r#"{"type":"object","properties":{"n":{"type":"integer","minimum":1}},"additionalProperties":false}"#;
    let mut request = hello();
    request.tools = vec![Tool { strict: Some(true), ..tool("f", Some(parameters)) }, tool("g", Some(parameters))];
    let body = wire(&request, &[], &["tools[0].parameters"]);
    assert!(body.contains(r#"{"n":{"type":"integer","description":"{minimum: 1}"}}"#), "{body}");
    assert!(body.contains(parameters), "one that is not strict stays: {body}");
}

#[test]
fn sampling_and_the_rest() {
    let mut request = hello();
    request.sampling = Sampling {
        temperature: Some(0.5),
        top_p: Some(0.9),
        top_k: Some(5),
        stop: vec!["END".to_owned()],
        ..Sampling::default()
    };
    request.user = Some("u1".to_owned());
    request.service_tier = Some("default".to_owned());
    assert_eq!(
        beside(&request, &[], &[]),
        r#""max_tokens":4096,,"temperature":0.5,"top_p":0.9,"top_k":5,"stop_sequences":["END"],"metadata":{"user_id":"u1"},"service_tier":"standard_only""#
    );
    request.sampling.temperature = Some(1.5);
    refused(&request, ErrorKind::UnsupportedParameter, "temperature");
}

#[test]
fn neutral_values_are_no_loss() {
    let mut request = hello();
    request.sampling = Sampling {
        temperature: Some(1.0),
        top_p: Some(1.0),
        min_p: Some(0.0),
        frequency_penalty: Some(0.0),
        presence_penalty: Some(-0.0),
        logprobs: Some(false),
        top_logprobs: Some(0),
        logit_bias: Some(Json::new("{ }")),
        n: Some(1),
        ..Sampling::default()
    };
    request.parallel_tool_calls = Some(true);
    request.extra = [("verbosity", "\"medium\""), ("modalities", "[ \"text\" ]"), ("audio", "null"), ("odd", "null")]
        .map(|(name, value)| (name.to_owned(), Json::new(value)))
        .to_vec();
    assert_eq!(wire(&request, &[], &[]), format!(r#""max_tokens":4096,{HI}"#));
}

#[test]
fn losses_are_named() {
    let mut request = hello();
    request.sampling = Sampling {
        min_p: Some(0.1),
        frequency_penalty: Some(0.1),
        presence_penalty: Some(0.1),
        seed: Some(7),
        logprobs: Some(true),
        top_logprobs: Some(2),
        logit_bias: Some(Json::new("{\"1\":2}")),
        n: Some(2),
        stop: vec!["\n".to_owned(), "x".to_owned()],
        ..Sampling::default()
    };
    request.user = Some("u".repeat(300));
    request.service_tier = Some("flex".to_owned());
    request.messages[0].name = Some("bob".to_owned());
    request.extra = [("metadata", "{}"), ("store", "true"), ("verbosity", "\"low\""), ("odd", "1")]
        .map(|(name, value)| (name.to_owned(), Json::new(value)))
        .to_vec();
    let semantic = [
        "min_p",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "n",
        "odd",
        "stop",
    ];
    let advisory = ["metadata", "store", "verbosity", "messages[0].name", "user", "service_tier"];
    assert_eq!(beside(&request, &semantic, &advisory), r#""max_tokens":4096,,"stop_sequences":["x"]"#);
}

#[test]
fn a_relay_may_refuse_members() {
    let quirks = Quirks { drop: vec!["metadata".to_owned(), "messages".to_owned()], ..Quirks::default() };
    let to = Destination { model: "m", default_max_output: 9, max_output: None, quirks: &quirks };
    let request = ChatRequest { user: Some("u".to_owned()), ..hello() };
    let (body, _) = Anthropic.encode_request(&request, &to).unwrap();
    assert_eq!(body, format!(r#"{{"model":"m","max_tokens":9,{HI}}}"#));
}
