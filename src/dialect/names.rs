//! Names of tools, made fit for a provider that allows few characters in them, and back.
//!
//! Names of tools come from anywhere: servers that a client has connected call them `files/read` or `db.query`, and put their
//! own name in front. A provider takes letters, digits and little else, and 64 of them. What does not fit is rewritten for
//! this one request, in tools, choice and conversation alike, and whatever the model calls is called by the client's
//! name again. The rewritten name depends on the name alone: the prompt stays the same from turn to turn, so caches do too.
//! Bytes that pass keep their names: the provider's own clients know its rule.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::domain::chat::{ChatEvent, ChatRequest, ChatResponse, Role, Tool, ToolChoice, ToolKind};

/// What a provider takes as a name of a tool.
#[derive(Debug)]
pub struct NameRule {
    /// Most characters; 0 = any name is taken.
    most: usize,
    /// What may stand in it beside letters, digits and `_`.
    marks: &'static [u8],
    /// Whether a digit or a mark may begin it.
    any_first: bool,
}

impl NameRule {
    /// `^[a-zA-Z0-9_-]{1,64}$`: OpenAI and most imitators, Claude (some of its models take twice as many), Bedrock.
    pub(super) const COMMON: Self = Self { most: 64, marks: b"-", any_first: true };
    /// Google: begins with a letter or `_`; dots too. Colons only newer models take.
    pub(super) const GOOGLE: Self = Self { most: 64, marks: b"-.", any_first: false };
    /// `^[a-zA-Z_][a-zA-Z0-9_]*$`. Source: Cohere API reference, "tools.name".
    pub(super) const WORD: Self = Self { most: 64, marks: b"", any_first: false };
    /// Whatever the model's template makes of it.
    pub(super) const ANY: Self = Self { most: 0, marks: b"", any_first: true };

    fn takes(&self, name: &str) -> bool {
        let first = name.as_bytes().first();
        let begins = self.any_first || first.is_none_or(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
        // A tool without a name is the client's mistake, and told as one.
        self.most == 0 || begins && name.len() <= self.most && name.bytes().all(|byte| self.allows(byte))
    }

    fn allows(&self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || byte == b'_' || self.marks.contains(&byte)
    }

    /// The name as far as it is allowed, and a hash of all of it, so that no two become one.
    fn written(&self, name: &str) -> String {
        const HASH: usize = 8;
        let mut fit = String::with_capacity(self.most);
        if !self.any_first && name.bytes().next().is_some_and(|byte| !byte.is_ascii_alphabetic()) {
            fit.push('_');
        }
        let room = self.most.saturating_sub(HASH + 1);
        for letter in name.chars().take(room.saturating_sub(fit.len())) {
            let allowed = u8::try_from(letter).is_ok_and(|byte| self.allows(byte));
            fit.push(if allowed { letter } else { '_' });
        }
        fit.push('_');
        for byte in Sha256::digest(name.as_bytes()).iter().take(HASH / 2) {
            // Writing to a string cannot fail.
            let _ = write!(fit, "{byte:02x}");
        }
        fit
    }
}

/// Which names were rewritten for a provider: as it knows them, and as the client does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renamed(Vec<(String, String)>);

impl Renamed {
    /// The names in a request that a provider does not take.
    #[must_use]
    pub fn of(request: &ChatRequest, rule: &NameRule) -> Self {
        let mut renamed = Self::default();
        let called = request.messages.iter().flat_map(|message| &message.tool_calls);
        let tools = request.tools.iter().filter(|tool| named(tool)).map(Tool::flat_name);
        for name in tools.chain(called.map(|call| Cow::Borrowed(call.name.as_str()))) {
            if !rule.takes(&name) && renamed.written(&name).is_none() {
                renamed.0.push((rule.written(&name), name.into_owned()));
            }
        }
        renamed
    }

    /// Whether all names are taken as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn written(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(_, own)| own == name).map(|(written, _)| written.as_str())
    }

    /// The request as the provider is told it.
    pub(super) fn told<'r>(&self, request: &'r ChatRequest) -> Cow<'r, ChatRequest> {
        if self.is_empty() {
            return Cow::Borrowed(request);
        }
        let mut request = request.clone();
        let write = |name: &mut String| {
            if let Some(written) = self.written(name) {
                written.clone_into(name);
            }
        };
        for tool in request.tools.iter_mut().filter(|tool| named(tool)) {
            if let Some(written) = self.written(&tool.flat_name()) {
                (tool.name, tool.namespace) = (written.to_owned(), None);
            }
        }
        if let Some(ToolChoice::Function(name)) = &mut request.tool_choice {
            write(name);
        }
        for message in &mut request.messages {
            message.tool_calls.iter_mut().for_each(|call| write(&mut call.name));
            if message.role == Role::Tool {
                message.name.iter_mut().for_each(write);
            }
        }
        Cow::Owned(request)
    }

    /// The name of a called tool as the client knows it.
    pub fn restore(&self, name: &mut String) {
        if let Some((_, own)) = self.0.iter().find(|(written, _)| written == name) {
            name.clone_from(own);
        }
    }

    /// The calls of a whole answer.
    pub fn restore_all(&self, response: &mut ChatResponse) {
        let calls = response.choices.iter_mut().flat_map(|choice| &mut choice.tool_calls);
        calls.for_each(|call| self.restore(&mut call.name));
    }

    /// A call of a stream.
    pub fn restore_event(&self, event: &mut ChatEvent) {
        if let ChatEvent::ToolStart { name, .. } = event {
            self.restore(name);
        }
    }
}

/// What a provider runs itself has the name that the provider gave it.
fn named(tool: &Tool) -> bool {
    !matches!(tool.kind, ToolKind::Server { .. })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::dialect::{Destination, Quirks, egress};
    use crate::domain::chat::{Choice, Json, Message, Part, ToolCall};
    use crate::domain::id::DialectId;

    const RULES: [&NameRule; 3] = [&NameRule::COMMON, &NameRule::GOOGLE, &NameRule::WORD];

    #[test]
    fn rewritten_names_are_taken_distinct_and_the_same_every_time() {
        let long = "x".repeat(64);
        let names = [
            "files/read",
            "files.read",
            "files_read",
            "1st",
            "-a",
            "ä",
            "a b",
            "mcp:db",
            &format!("{long}a"),
            &format!("{long}b"),
            &"ö".repeat(40),
        ];
        for rule in RULES {
            let told = |name: &str| if rule.takes(name) { name.to_owned() } else { rule.written(name) };
            let all: BTreeSet<String> = names.iter().map(|name| told(name)).collect();
            assert_eq!(all.len(), names.len(), "{rule:?} {all:?}");
            assert!(all.iter().all(|name| rule.takes(name)), "{rule:?} {all:?}");
            assert!(names.iter().all(|name| told(name) == told(name)));
            assert!(rule.takes("get_weather") && rule.takes(""), "{rule:?}");
        }
        assert!(NameRule::GOOGLE.takes("db.query") && !NameRule::COMMON.takes("db.query"));
        assert!(NameRule::COMMON.takes("1st") && !NameRule::GOOGLE.takes("1st"));
        assert!(NameRule::ANY.takes(&"ö/".repeat(99)));
        assert_eq!(NameRule::COMMON.written("files/read").split_at(11).0, "files_read_");
    }

    fn request() -> ChatRequest {
        let tool = |name: &str| Tool { name: name.to_owned(), ..Tool::default() };
        let grouped = Tool { namespace: Some("mcp.db".to_owned()), ..tool("query") };
        let mut asked = Message::new(Role::Assistant, Vec::new());
        asked.tool_calls.push(ToolCall::new("call_1", "files/read", "{}"));
        asked.tool_calls.push(ToolCall::new("call_2", "gone/by", "{}"));
        let result = |id: &str| Message {
            tool_call_id: Some(id.to_owned()),
            ..Message::new(Role::Tool, vec![Part::Text("ok".to_owned())])
        };
        ChatRequest {
            model: "m".to_owned(),
            messages: vec![
                Message::new(Role::User, vec![Part::Text("go".to_owned())]),
                asked,
                result("call_1"),
                result("call_2"),
            ],
            tools: vec![Tool { parameters: Some(Json::new("{}")), ..tool("files/read") }, grouped, tool("plain")],
            tool_choice: Some(ToolChoice::Function("files/read".to_owned())),
            max_output_tokens: Some(99),
            ..ChatRequest::default()
        }
    }

    /// All texts in a body at which a name of a tool stands.
    fn names(body: &Value, found: &mut Vec<String>) {
        match body {
            Value::Object(members) => {
                for (key, value) in members {
                    let named = matches!(key.as_str(), "name" | "allowedFunctionNames");
                    match value {
                        Value::String(name) if named => found.push(name.clone()),
                        Value::Array(all) if named => {
                            found.extend(all.iter().map(|name| name.as_str().unwrap().into()))
                        }
                        _ => names(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_provider_is_told_names_that_it_takes_everywhere_and_calls_come_back_by_the_clients() {
        let (request, quirks) = (request(), Quirks::default());
        let to = Destination { model: "m", default_max_output: 99, max_output: None, quirks: &quirks };
        let mut dialects = 0;
        for dialect in DialectId::ALL {
            let Some(egress) = egress(dialect).filter(|_| dialect != DialectId::OpenAiCompletions) else { continue };
            let transcode = egress.transcode();
            let (body, _) = transcode.encode_request(&request, &to).unwrap();
            let mut told = Vec::new();
            names(&serde_json::from_slice(&body).unwrap(), &mut told);
            let rule = transcode.names();
            assert!(told.iter().all(|name| rule.takes(name)), "{dialect:?} {told:?}");
            assert!(told.len() >= if dialect == DialectId::Cohere { 3 } else { 5 }, "{dialect:?} {told:?}");
            // Cohere forces a call by telling of one tool only.
            assert!(told.contains(&"plain".to_owned()) || dialect == DialectId::Cohere, "{dialect:?} {told:?}");
            let renamed = Renamed::of(&request, rule);
            let own: Vec<&str> = renamed.0.iter().map(|(_, own)| own.as_str()).collect();
            let all: &[&str] = match dialect {
                DialectId::Ollama => &[],
                DialectId::Gemini => &["files/read", "gone/by"],
                _ => &["files/read", "mcp.db__query", "gone/by"],
            };
            assert_eq!(own, all, "{dialect:?}");
            for (written, own) in &renamed.0 {
                let mut choice = Choice::new(0);
                choice.tool_calls.push(ToolCall::new("c", written.clone(), "{}"));
                let mut response = ChatResponse { choices: vec![choice], ..ChatResponse::default() };
                renamed.restore_all(&mut response);
                assert_eq!(&response.choices[0].tool_calls[0].name, own);
            }
            dialects += 1;
        }
        assert!(dialects >= 6, "{dialects}");
    }
}
