//! What all client dialects read alike: members of a body, and complaints about them in plain words.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Envelope;
use crate::domain::chat::Json;
use crate::domain::error::{Error, ErrorKind};
use crate::domain::target::{Capabilities, Capability};
use crate::wire::splice::{Malformed, Members as Spans};

/// Longest answer anybody may ask for: larger numbers are typing errors that would upset budgets.
pub(super) const MAX_OUTPUT: u64 = 1 << 31;

/// The top-level members of a body, as spans; null is absent.
pub(super) struct Body<'b> {
    bytes: &'b Bytes,
    /// Where the members are.
    pub spans: Spans,
}

impl<'b> Body<'b> {
    /// Scans a body.
    ///
    /// # Errors
    /// What is no JSON object, or an abuse of one.
    pub(super) fn scan(bytes: &'b Bytes) -> Result<Self, Error> {
        Ok(Self { bytes, spans: Spans::scan(bytes).map_err(refuse)? })
    }

    /// A member's JSON text.
    pub(super) fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.spans.value(self.bytes, name).filter(|value| *value != b"null")
    }

    /// `true` or `false`; absent = false.
    pub(super) fn boolean(&self, name: &'static str) -> Result<bool, Error> {
        match self.get(name) {
            None | Some(b"false") => Ok(false),
            Some(b"true") => Ok(true),
            Some(_) => Err(wrong(name, "a boolean")),
        }
    }

    /// A whole number from 1 on.
    pub(super) fn count(&self, name: &'static str, most: u64) -> Result<Option<u64>, Error> {
        self.get(name).map(|text| count(text, name, most)).transpose()
    }

    /// `model`.
    pub(super) fn model(&self) -> Result<String, Error> {
        let text = self.get("model").ok_or_else(|| missing("model"))?;
        let model: String = serde_json::from_slice(text).map_err(|_| wrong("model", "a string"))?;
        model_name(model)
    }

    /// Bytes of all these members together that stand for tokens of text.
    pub(super) fn prompt_bytes(&self, names: &[&str], needs: Capabilities) -> usize {
        let given = names.iter().filter_map(|name| self.get(name));
        // Looked for only where it is known to be: prompts of text are not read.
        let packed = [Capability::Image, Capability::Audio, Capability::File].iter().any(|media| needs.has(*media));
        if packed { given.map(text_bytes).sum() } else { given.map(<[u8]>::len).sum() }
    }

    /// Whether a list or object has something in it.
    pub(super) fn filled(&self, name: &str) -> bool {
        let inner = |list: &'b [u8]| list.get(1..list.len().saturating_sub(1)).unwrap_or_default();
        self.get(name).is_some_and(|list| !inner(list).trim_ascii().is_empty())
    }

    /// Checks the JSON types of members, by their first byte: a look, not a parse.
    ///
    /// # Errors
    /// A wrong type, with its name.
    pub(super) fn check(&self, types: &[(&'static str, Type)]) -> Result<(), Error> {
        for (name, wanted) in types {
            if let Some(first) = self.get(name).and_then(|value| value.first())
                && !wanted.begins(*first)
            {
                return Err(wrong(name, wanted.name()));
            }
        }
        Ok(())
    }

    /// Names of all members that are not null, in order.
    pub(super) fn names(&self) -> Vec<Box<str>> {
        let given = self.spans.all().iter().filter(|m| &self.bytes[m.value.clone()] != b"null");
        given.map(|m| m.name.clone()).collect()
    }
}

/// A JSON type that a member must have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    Number,
    Text,
    Flag,
    List,
    Object,
    TextOrList,
    TextOrObject,
}

impl Type {
    fn begins(self, first: u8) -> bool {
        match self {
            Self::Number => matches!(first, b'-' | b'0'..=b'9'),
            Self::Text => first == b'"',
            Self::Flag => matches!(first, b't' | b'f'),
            Self::List => first == b'[',
            Self::Object => first == b'{',
            Self::TextOrList => matches!(first, b'"' | b'['),
            Self::TextOrObject => matches!(first, b'"' | b'{'),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Text => "a string",
            Self::Flag => "a boolean",
            Self::List => "an array",
            Self::Object => "an object",
            Self::TextOrList => "a string or an array",
            Self::TextOrObject => "a string or an object",
        }
    }
}

/// A picture costs about a thousand tokens, whether it has a hundred kilobytes or ten million: as bytes of text.
const MEDIUM: usize = 4_000;

/// Bytes of JSON, in which every string of packed data counts as one medium.
fn text_bytes(json: &[u8]) -> usize {
    let (mut bytes, mut rest) = (json.len(), json);
    while let Some(begin) = memchr::memchr(b'"', rest) {
        let string = &rest[begin + 1..];
        let Some(end) = end_of_string(string) else { break };
        if end > MEDIUM && is_packed(&string[..end]) {
            bytes -= end - MEDIUM;
        }
        rest = &string[end + 1..];
    }
    bytes
}

fn end_of_string(string: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let hit = at + memchr::memchr2(b'"', b'\\', string.get(at..)?)?;
        if string[hit] == b'"' {
            return Some(hit);
        }
        at = hit + 2;
    }
}

/// Base64 from end to end, in any alphabet, alone or as the data of a URL.
fn is_packed(string: &[u8]) -> bool {
    const MARK: &[u8] = b"base64,";
    let head = &string[..string.len().min(128)];
    let data = match memchr::memmem::find(head, MARK) {
        Some(at) if string.starts_with(b"data:") => &string[at + MARK.len()..],
        _ => string,
    };
    data.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_' | b'\\'))
}

/// What routing needs to know of an operation that is no conversation.
pub(super) fn other(bytes: &Bytes) -> Result<Envelope, Error> {
    let body = Body::scan(bytes)?;
    let all: usize = body.spans.all().iter().map(|member| member.value.len()).sum();
    Ok(Envelope {
        model: body.model()?,
        choices: 1,
        prompt_bytes: all,
        members: body.names(),
        spans: body.spans,
        ..Envelope::default()
    })
}

/// A model's name, checked.
pub(super) fn model_name(model: String) -> Result<String, Error> {
    if model.is_empty() || model.len() > 256 || model.chars().any(char::is_control) {
        return Err(wrong("model", "a name of 1 to 256 printable characters"));
    }
    Ok(model)
}

/// A whole number from 1 on, as JSON text.
pub(super) fn count(text: &[u8], name: &'static str, most: u64) -> Result<u64, Error> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u64>().ok());
    number
        .filter(|n| (1..=most).contains(n))
        .ok_or_else(|| wrong(name, &format!("a whole number from 1 to {most}")).code("out_of_range"))
}

/// The member is needed and not there.
pub(super) fn missing(param: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("`{param}` is missing")).param(param)
}

/// The member has a wrong type or value.
pub(super) fn wrong(path: &str, expected: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("`{path}` must be {expected}")).param(path)
}

/// What a body that cannot be scanned is refused with.
pub(super) fn refuse(malformed: Malformed) -> Error {
    let error = |message: String| Error::new(ErrorKind::InvalidRequest, message);
    match malformed {
        Malformed::Empty => error("the body is empty".into()).code("empty_body"),
        Malformed::Syntax(at) => error(format!("the body is not valid JSON at byte {at}")).code("invalid_json"),
        Malformed::NotAnObject => error("the body must be a JSON object".into()).code("invalid_json"),
        Malformed::TooDeep => error("the body is nested too deeply".into()).code("too_deep"),
        Malformed::TooMany => error("the body has too many members".into()).code("too_many_members"),
        Malformed::Duplicate => error("a member of the body is given twice".into()).code("duplicate_key"),
    }
}

/// Members of an object, taken one by one; null is absent.
pub(super) struct Members<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Members<'a> {
    /// Of a whole body.
    ///
    /// # Errors
    /// No object.
    pub(super) fn of(body: &'a [u8]) -> Result<Self, Error> {
        serde_json::from_slice(body).map(Self).map_err(|_| wrong("body", "a JSON object"))
    }

    /// Of a member's value.
    ///
    /// # Errors
    /// No object.
    pub(super) fn within(raw: &'a RawValue, path: &str) -> Result<Self, Error> {
        read(raw, path, "an object").map(Self)
    }

    /// Takes a member's JSON.
    pub(super) fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.remove(name).filter(|raw| raw.get() != "null")
    }

    /// Takes a member's JSON to keep it.
    pub(super) fn json(&mut self, name: &str) -> Option<Json> {
        self.raw(name).map(|raw| Json::new(raw.get()))
    }

    /// Takes a member.
    ///
    /// # Errors
    /// A wrong type, with its path.
    pub(super) fn take<T: Deserialize<'a>>(&mut self, name: &'static str) -> Result<Option<T>, Error> {
        self.raw(name).map(|raw| serde_json::from_str(raw.get()).map_err(|e| typed(name, &e))).transpose()
    }

    /// Takes a member if it has the form that is expected; otherwise it stays.
    pub(super) fn take_if_readable<T: Deserialize<'a>>(&mut self, name: &str) -> Option<T> {
        let value = serde_json::from_str(self.0.get(name)?.get()).ok()?;
        self.0.remove(name);
        Some(value)
    }

    /// Reads a member and leaves it where it is.
    pub(super) fn peek<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    /// What is left.
    pub(super) fn rest(self) -> Vec<(String, Json)> {
        let given = self.0.into_iter().filter(|(_, raw)| raw.get() != "null");
        given.map(|(name, raw)| (name.into_owned(), Json::new(raw.get()))).collect()
    }
}

/// Reads a value, or says what it should have been.
pub(super) fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue, path: &str, expected: &str) -> Result<T, Error> {
    serde_json::from_str(raw.get()).map_err(|_| wrong(path, expected))
}

/// Reads an object; what is wrong inside it is named.
pub(super) fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue, path: &str) -> Result<T, Error> {
    serde_json::from_str(raw.get()).map_err(|e| typed(path, &e))
}

/// What a type of ours is to a client.
fn plain(expected: &str) -> &str {
    match expected {
        "f64" => "a number",
        "u32" | "u64" | "i64" => "a whole number",
        "a borrowed string" | "str" => "a string",
        other if other.starts_with("struct ") || other.contains("map") => "an object",
        other if other.contains("sequence") => "an array",
        other => other,
    }
}

/// The reader's words say which type was expected; they may quote the input, so only their first part is told.
pub(super) fn typed(path: &str, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let expected = text.split("expected ").nth(1).and_then(|t| t.split(" at line").next());
    let missing = text.strip_prefix("missing field `").and_then(|t| t.split('`').next());
    match (missing, expected) {
        (Some(member), _) => wrong(&format!("{path}.{member}"), "given"),
        (None, Some(expected)) => wrong(path, plain(expected)),
        (None, None) => {
            Error::new(ErrorKind::InvalidRequest, format!("`{path}` has a wrong type or value")).param(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(content: &str, needs: Capabilities) -> usize {
        let bytes = Bytes::from(format!(r#"{{"messages":[{{"content":{content}}}],"other":"x"}}"#));
        Body::scan(&bytes).unwrap().prompt_bytes(&["messages"], needs)
    }

    #[test]
    fn packed_media_count_by_the_piece_and_text_by_its_bytes() {
        let image = Capabilities::NONE.with(Capability::Image);
        let data = "iVBORw0KGgo+/".repeat(100_000);
        let url =
            format!(r#"[{{"image_url":{{"url":"data:image/png;base64,{data}=="}}}},{{"text":"what \"is\" it?"}}]"#);
        let whole = url.len() + r#"[{"content":}]"#.len();
        assert_eq!(weight(&url, Capabilities::NONE), whole, "where no medium is known to be, nothing is looked for");
        assert!((MEDIUM..MEDIUM + 200).contains(&weight(&url, image)), "{}", weight(&url, image));
        let bare = format!(r#"{{"source":{{"type":"base64","data":"{data}"}}}}"#);
        assert!((MEDIUM..MEDIUM + 200).contains(&weight(&bare, image)));
        let text = format!("\"{}\"", "a long text ".repeat(10_000));
        assert_eq!(weight(&text, image), text.len() + r#"[{"content":}]"#.len());
        let short = r#"{"data":"aGVsbG8="}"#;
        assert_eq!(weight(short, image), short.len() + r#"[{"content":}]"#.len());
    }
}
