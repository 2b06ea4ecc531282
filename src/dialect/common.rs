//! What several dialects of providers share: tools as functions with a schema, the way Chat Completions made them
//! common; data that the client sent as base64 or as a `data:` address; reading that forgives.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{params, places};
use crate::domain::chat::{
    CUSTOM_ARGUMENT, ChatRequest, Json, Loss, Media, MediaSource, Message, Part, Role, ToolCall, ToolKind,
};
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind};
use crate::wire::splice::quote;

/// A tool that the model may call.
#[derive(Serialize)]
pub(super) struct WireTool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: &'a RawValue,
}

/// The schema of the function that stands for a custom tool: its text as the one argument.
const CUSTOM_SCHEMA: &str =
    r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;

/// The schema of a function without arguments.
const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{}}"#;

/// Part of a model's id and member of an entry of `quirks.takes` or `quirks.drop`; without a slash it is every model's.
pub(super) fn part_and_member(entry: &str) -> (&str, &str) {
    entry.rsplit_once('/').unwrap_or(("", entry))
}

/// Whether some entry names a member for a model.
pub(super) fn named(entries: &[String], model: &str, member: &str) -> bool {
    entries.iter().map(|e| part_and_member(e)).any(|(part, name)| name == member && model.contains(part))
}

/// What a model is told whose provider has no format for any JSON object, or wants to find the word in the prompt.
pub(super) const ANY_JSON: &str = "Answer with one JSON object and nothing else.";

/// What a model is told whose provider promises some JSON and knows no schema.
pub(super) fn schema_in_words(schema: Option<&Json>) -> String {
    let schema = schema.map_or("{}", Json::as_str);
    format!("Answer with one JSON object that follows this JSON schema, and nothing else:\n{schema}")
}

/// Whether the conversation speaks of JSON anywhere. Providers of OpenAI's dialects refuse `json_object` otherwise.
pub(super) fn speaks_of_json(request: &ChatRequest) -> bool {
    let parts = request.messages.iter().flat_map(|message| &message.content);
    let mut texts = parts.filter_map(|part| if let Part::Text(text) = part { Some(text.as_bytes()) } else { None });
    texts.any(|text| text.windows(4).any(|word| word.eq_ignore_ascii_case(b"json")))
}

/// The client's tools; with `only`, the one of that name alone. What providers run themselves is reported elsewhere.
pub(super) fn tools<'a>(
    request: &'a ChatRequest,
    only: Option<&str>,
    loss: &mut Loss,
) -> Result<Vec<WireTool<'a>>, Error> {
    debug_assert!(CUSTOM_SCHEMA.contains(CUSTOM_ARGUMENT));
    let mut tools = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        if only.is_some_and(|name| tool.flat_name() != name) {
            continue;
        }
        let given = tool.parameters.as_ref().filter(|p| params::squeezed(p.as_str()) != "{}");
        let parameters = match (&tool.kind, given) {
            (ToolKind::Function, Some(schema)) => verbatim(schema, || places::tool_member(at, "parameters"))?,
            (ToolKind::Function, None) => fixed(NO_ARGUMENTS)?,
            (ToolKind::Custom { format }, _) => {
                if format.is_some() {
                    // The grammar is told in the description by those who write such tools; it is not enforced here.
                    loss.advisory.push(places::tool_member(at, "format"));
                }
                fixed(CUSTOM_SCHEMA)?
            }
            (ToolKind::Server { .. }, _) => continue,
        };
        let function = Function { name: tool.flat_name(), description: tool.description.as_deref(), parameters };
        tools.push(WireTool { r#type: "function", function });
    }
    Ok(tools)
}

/// The arguments of a call as JSON text: a custom tool's text becomes the one argument of its function.
pub(super) fn arguments(call: &ToolCall) -> Cow<'_, str> {
    if call.custom {
        Cow::Owned(format!("{{\"{CUSTOM_ARGUMENT}\":{}}}", quote(&call.arguments)))
    } else if call.arguments.trim().is_empty() {
        Cow::Borrowed("{}")
    } else {
        Cow::Borrowed(&call.arguments)
    }
}

/// The member under which arguments that are no object are given whole, where a dialect has objects only. No tool has one
/// of this name.
const CUT: &str = "_incomplete_arguments";

/// The arguments of a call as an object, and whether they were one. An answer that was cut has half of one, and a client
/// may send anything back: the text is then given whole under a name of ours, rather than lost or mended.
pub(super) fn object(arguments: &str) -> (Cow<'_, RawValue>, bool) {
    let text = match arguments.trim() {
        "" | "null" => "{}",
        text => text,
    };
    if let Some(object) = serde_json::from_str::<&RawValue>(text).ok().filter(|raw| raw.get().starts_with('{')) {
        return (Cow::Borrowed(object), true);
    }
    let whole = RawValue::from_string(format!("{{\"{CUT}\":{}}}", quote(arguments)));
    (whole.map_or(Cow::Borrowed(RawValue::NULL), Cow::Owned), false)
}

/// The same of a call in a conversation; a custom tool's text becomes the one argument of its function. What had to be
/// given whole is listed by `path`.
pub(super) fn object_of<'a>(call: &'a ToolCall, path: impl FnOnce() -> String, loss: &mut Loss) -> Cow<'a, RawValue> {
    if call.custom {
        let text = RawValue::from_string(arguments(call).into_owned());
        return text.map_or(Cow::Borrowed(RawValue::NULL), Cow::Owned);
    }
    let (object, whole) = object(&call.arguments);
    if !whole {
        loss.advisory.push(path());
    }
    object
}

/// The way back: arguments as a client of a dialect with objects returns them.
pub(super) fn given(object: &str) -> Cow<'_, str> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Cut {
        _incomplete_arguments: String,
    }
    if !object.contains(CUT) {
        return Cow::Borrowed(object);
    }
    serde_json::from_str::<Cut>(object).map_or(Cow::Borrowed(object), |cut| Cow::Owned(cut._incomplete_arguments))
}

/// Media type and base64 data, where the client sent the data themselves.
pub(super) fn inline(media: &Media) -> Option<(&str, &str)> {
    match &media.source {
        MediaSource::Base64 { media_type, data } => Some((media_type, data)),
        MediaSource::Url(url) => {
            let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
            let media_type = head.strip_suffix(";base64")?;
            Some((media_type.split(';').next().unwrap_or_default(), data))
        }
        MediaSource::Stored { .. } => None,
    }
}

/// The data of a document that a client sends as a `data:` address, or as plain base64, whose type only the name can say.
pub(super) fn document(data: String, name: Option<&str>) -> Option<MediaSource> {
    if let Some(inline) = data.strip_prefix("data:") {
        let (head, data) = inline.split_once(',')?;
        let media_type = head.strip_suffix(";base64")?.to_owned();
        return Some(MediaSource::Base64 { media_type, data: data.to_owned() });
    }
    if data.contains(':') {
        return Some(MediaSource::Url(data));
    }
    let ending = name.and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending.to_ascii_lowercase());
    let media_type = match ending.as_deref() {
        Some("txt") => "text/plain",
        Some("md") => "text/markdown",
        Some("csv") => "text/csv",
        Some("html") => "text/html",
        Some("json") => "application/json",
        _ => "application/pdf",
    };
    Some(MediaSource::Base64 { media_type: media_type.to_owned(), data })
}

/// JSON text for the wire, checked: one bad stretch would spoil the whole body.
pub(super) fn verbatim(json: &Json, param: impl FnOnce() -> String) -> Result<&RawValue, Error> {
    serde_json::from_str(json.as_str())
        .map_err(|_| Error::new(ErrorKind::InvalidRequest, "this is not well-formed JSON").param(param()))
}

/// What providers say of thinking in a conversation that they have not signed themselves: Claude, Gemini and xAI. Routers
/// hand it on. OpenAI has a code for it.
const FOREIGN_THINKING: [&str; 7] = [
    "Invalid `signature` in `thinking` block",
    "Invalid `data` in `redacted_thinking` block",
    "Thought signature is not valid",
    "Corrupted thought signature",
    "Could not decrypt the provided encrypted_content",
    "Could not decode the compaction blob",
    "ncrypted content could not be decrypted or parsed",
];

/// Whether an error is about thinking in the conversation that the provider cannot read.
pub(super) fn about_foreign_thinking(code: Option<&str>, message: &str) -> bool {
    code == Some("invalid_encrypted_content") || FOREIGN_THINKING.iter().any(|words| message.contains(words))
}

/// Reads what has the form that is expected and ignores the rest: decoration must not break an answer.
pub(super) fn lenient<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Read<T> {
        Good(T),
        Other(IgnoredAny),
    }
    Ok(match Read::deserialize(from)? {
        Read::Good(value) => Some(value),
        Read::Other(_) => None,
    })
}

/// The same for what is large enough that copying it first would cost something.
pub(super) fn readable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    let raw = Option::<&'de RawValue>::deserialize(from)?;
    Ok(raw.and_then(|raw| serde_json::from_str(raw.get()).ok()))
}

/// Writes an event's data: JSON on one line, and the event's end. What is repeated verbatim (arguments, schemas, labels) may
/// have come with line ends between its tokens, which would end the line of the event.
pub(super) fn write_data(out: &mut BytesMut, json: &impl Serialize) {
    let begin = out.len();
    // Writing to memory can't fail; the types have no maps with odd keys.
    let _ = serde_json::to_writer((&mut *out).writer(), json);
    // Within strings they are escaped.
    let mut at = begin;
    while let Some(found) = memchr::memchr2(b'\n', b'\r', &out[at..]) {
        out[at + found] = b' ';
        at += found + 1;
    }
    out.put_slice(b"\n\n");
}

/// The beginning of an error body that is not of the dialect, or words for an empty one.
pub(super) fn excerpt(status: u16, body: &[u8]) -> String {
    /// How much is kept, in characters.
    const MOST: usize = 300;
    let text: String = String::from_utf8_lossy(body).trim().chars().take(MOST).collect();
    if text.is_empty() { format!("the provider answered {status} without a body") } else { text }
}

/// What is no answer of the dialect. Where, not what: the text around the place is the client's or the model's.
pub(super) fn malformed(error: &serde_json::Error) -> Failure {
    let place = format!("not an answer of this dialect (line {}, column {})", error.line(), error.column());
    Failure::new(FailureKind::Malformed, place)
}

fn fixed(schema: &'static str) -> Result<&'static RawValue, Error> {
    serde_json::from_str(schema)
        .map_err(|e| Error::new(ErrorKind::Internal, "a fixed schema is broken").detail(e.to_string()))
}

/// The turn of the system that must be said by the user where a dialect keeps the system apart from the conversation: the
/// last one, where nobody speaks after the assistant, or at all. Else the model would go on with its own last turn, or had
/// none to answer.
pub(super) fn said_by_user(request: &ChatRequest) -> Option<usize> {
    let system = |message: &Message| matches!(message.role, Role::System | Role::Developer);
    let last = request.messages.iter().rposition(|message| !system(message) && says(message));
    let begin = match last.map(|at| (at, request.messages[at].role)) {
        None => 0,
        Some((at, Role::Assistant)) => at + 1,
        Some(_) => return None,
    };
    let after = request.messages.get(begin..)?.iter().rposition(|message| system(message) && says(message))?;
    Some(begin + after)
}

/// Whether there is anything in a turn.
fn says(message: &Message) -> bool {
    let blank = |part: &Part| matches!(part, Part::Text(text) if text.trim().is_empty());
    !message.tool_calls.is_empty() || message.role == Role::Tool || !message.content.iter().all(blank)
}

/// Content that a dialect cannot carry, by its place in the client's conversation.
pub(super) fn no_equal(at: usize, part_at: usize, message: &'static str) -> Error {
    Error::new(ErrorKind::UnsupportedParameter, message).param(places::part(at, part_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_media_are_found_in_both_places() {
        let media = |source| Media { source, media_type: None, detail: None, name: None };
        let url = |url: &str| media(MediaSource::Url(url.to_owned()));
        let own = media(MediaSource::Base64 { media_type: "image/png".into(), data: "QQ==".into() });
        assert_eq!(inline(&own), Some(("image/png", "QQ==")));
        assert_eq!(inline(&url("data:image/png;name=a;base64,QQ==")), Some(("image/png", "QQ==")));
        for other in ["https://example.org/a.png", "data:text/plain,hello", "data:"] {
            assert_eq!(inline(&url(other)), None, "{other}");
        }
    }

    #[test]
    fn documents_are_found_in_all_their_forms() {
        let inline = |media_type: &str| {
            let source = MediaSource::Base64 { media_type: media_type.to_owned(), data: "QQ==".to_owned() };
            Some(source)
        };
        assert_eq!(document("data:text/csv;base64,QQ==".to_owned(), None), inline("text/csv"));
        assert_eq!(document("QQ==".to_owned(), Some("a.CSV")), inline("text/csv"));
        assert_eq!(document("QQ==".to_owned(), None), inline("application/pdf"));
        assert_eq!(document("https://e.org/a".to_owned(), None), Some(MediaSource::Url("https://e.org/a".to_owned())));
        for other in ["data:", "data:text/plain,hi"] {
            assert_eq!(document(other.to_owned(), None), None, "{other}");
        }
    }

    #[test]
    fn arguments_that_are_no_object_are_given_whole_and_come_back() {
        for object in ["{}", "{ \"a\": 1 }"] {
            assert_eq!((super::object(object).0.get(), super::object(object).1), (object, true));
        }
        assert_eq!((super::object(" ").0.get(), super::object("null").0.get()), ("{}", "{}"));
        for other in ["{\"a\": \"b", "[1]", "\"text\"", "plain"] {
            let (object, whole) = super::object(other);
            assert!(!whole && object.get().starts_with("{\"_incomplete_arguments\":"), "{other}");
            assert_eq!(given(object.get()), other);
        }
        let more = r#"{"_incomplete_arguments":"x","a":1}"#;
        assert_eq!(given(more), more, "a tool's own");
    }

    #[test]
    fn arguments_are_always_json() {
        let call = |arguments: &str, custom| ToolCall { custom, ..ToolCall::new("1", "f", arguments) };
        assert_eq!(arguments(&call(" ", false)), "{}");
        assert_eq!(arguments(&call("{\"a\": 1}", false)), "{\"a\": 1}");
        assert_eq!(arguments(&call("say \"hi\"", true)), "{\"input\":\"say \\\"hi\\\"\"}");
    }
}
