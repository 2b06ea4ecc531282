//! Answers and requests as they might be.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use stellwerk::domain::chat::{
    ChatEvent, ChatRequest, ChatResponse, Choice, FinishReason, Json, Message, Part, Role, Sampling, Tool, ToolCall,
};
use stellwerk::domain::id::DialectId;
use stellwerk::domain::usage::{Bucket, Usage};

/// Text with what breaks careless writers.
fn text() -> impl Strategy<Value = String> {
    "[a-z0-9\"\\\\{}\\[\\]:,\n\r\t <>é世🦀\u{2028}]{1,30}".prop_filter("something to read", |t| !t.trim().is_empty())
}

fn arguments() -> impl Strategy<Value = String> {
    vec(("[a-z]{1,5}", text()), 0..3).prop_map(|members| {
        let members: serde_json::Map<String, serde_json::Value> =
            members.into_iter().map(|(name, value)| (name, value.into())).collect();
        serde_json::Value::Object(members).to_string()
    })
}

fn calls() -> impl Strategy<Value = Vec<ToolCall>> {
    vec(("[a-z_]{1,8}", arguments()), 0..3).prop_map(|calls| {
        let call =
            |(at, (name, arguments)): (usize, (String, String))| ToolCall::new(format!("call_{at}"), name, arguments);
        calls.into_iter().enumerate().map(call).collect()
    })
}

/// An answer, and a stream that says the same.
pub(super) fn answer() -> impl Strategy<Value = (ChatResponse, Vec<ChatEvent>)> {
    let usage = (0..100_000_u64, 0..100_000_u64, 0..100_000_u64, 0..100_000_u64);
    (option::of(text()), vec(text(), 0..4), calls(), any::<bool>(), usage).prop_map(
        |(thinking, mut texts, calls, cut, (input, cached, output, thought))| {
            if texts.is_empty() && calls.is_empty() {
                texts.push("x".to_owned());
            }
            let mut choice = Choice::new(0);
            choice.finish = match (calls.is_empty(), cut) {
                (false, _) => FinishReason::ToolCalls,
                (true, true) => FinishReason::Length,
                (true, false) => FinishReason::Stop,
            };
            let usage = Usage::ZERO
                .with(Bucket::Input, input)
                .with(Bucket::CacheRead, cached)
                .with(Bucket::Output, output)
                .with(Bucket::Reasoning, thought);
            let mut events = vec![ChatEvent::Start { id: "a-1".into(), model: "m".into(), created: Some(1) }];
            if let Some(text) = thinking {
                choice.content.push(Part::Reasoning { text: text.clone(), signature: None });
                events.push(ChatEvent::Reasoning { choice: 0, text });
            }
            if !texts.is_empty() {
                choice.content.push(Part::Text(texts.concat()));
                events.extend(texts.into_iter().map(|text| ChatEvent::Text { choice: 0, text }));
            }
            for (index, call) in calls.iter().enumerate() {
                let index = u32::try_from(index).unwrap();
                let (id, name) = (call.id.clone(), call.name.clone());
                events.push(ChatEvent::ToolStart { choice: 0, index, id, name, custom: false, signature: None });
                // In two pieces, between characters.
                let half =
                    call.arguments.char_indices().nth(call.arguments.chars().count() / 2).map_or(0, |(at, _)| at);
                for fragment in [&call.arguments[..half], &call.arguments[half..]] {
                    if !fragment.is_empty() {
                        events.push(ChatEvent::ToolArguments { choice: 0, index, fragment: fragment.to_owned() });
                    }
                }
            }
            choice.tool_calls = calls;
            events.push(ChatEvent::Finish { choice: 0, reason: choice.finish, stop_sequence: None });
            events.push(ChatEvent::Usage(usage));
            events.push(ChatEvent::End);
            let response = ChatResponse {
                id: "a-1".into(),
                model: "m".into(),
                created: Some(1),
                choices: vec![choice],
                usage: Some(usage),
                service_tier: None,
                served: None,
            };
            (response, events)
        },
    )
}

/// A conversation with tools that all dialects can carry.
pub(super) fn request() -> impl Strategy<Value = ChatRequest> {
    let turn = (text(), option::of(text()), calls());
    (option::of(text()), vec(turn, 0..4), text(), option::of(1..5000_u64), option::of(0..=10_u8)).prop_map(
        |(system, turns, last, max_output_tokens, temperature)| {
            let mut messages = Vec::new();
            let mut names = Vec::new();
            messages.extend(system.map(|text| Message::new(Role::System, vec![Part::Text(text)])));
            for (number, (asked, said, mut calls)) in turns.into_iter().enumerate() {
                messages.push(Message::new(Role::User, vec![Part::Text(asked)]));
                calls.iter_mut().for_each(|call| call.id = format!("{}_{number}", call.id));
                let content = match (said, calls.is_empty()) {
                    (Some(text), _) => vec![Part::Text(text)],
                    (None, true) => vec![Part::Text("yes".into())],
                    (None, false) => Vec::new(),
                };
                let mut turn = Message::new(Role::Assistant, content);
                turn.tool_calls.clone_from(&calls);
                messages.push(turn);
                for call in calls {
                    let mut result = Message::new(Role::Tool, vec![Part::Text(format!("result of {}", call.id))]);
                    result.tool_call_id = Some(call.id);
                    messages.push(result);
                    names.push(call.name);
                }
            }
            messages.push(Message::new(Role::User, vec![Part::Text(last)]));
            names.sort();
            names.dedup();
            let schema = || Some(Json::new(r#"{"type":"object","properties":{}}"#));
            let tool = |name| Tool { name, parameters: schema(), ..Tool::default() };
            ChatRequest {
                source: DialectId::OpenAiChat,
                model: "m".into(),
                messages,
                tools: names.into_iter().map(tool).collect(),
                max_output_tokens,
                sampling: Sampling { temperature: temperature.map(|t| f64::from(t) / 10.0), ..Sampling::default() },
                ..ChatRequest::default()
            }
        },
    )
}
