//! Opaque details of thinking (`reasoning_details`), put together again from the pieces of a stream.
//!
//! A provider checks what it signed against the whole text: pieces that are sent back as they came are refused. Pieces of one
//! detail have its number and type; what has no number is whole.
//!
//! What Google's compatible path keeps beside a message or a call (`extra_content`) travels with them, marked, and goes back to
//! its place.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dialect::common::lenient;
use crate::domain::chat::Signature;
use crate::domain::id::DialectId;
use crate::wire::splice::{Members, quote};

/// The type of a detail that holds the `extra_content` of something.
const EXTRA: &str = "stellwerk.extra_content";

/// Such a detail.
#[derive(Deserialize, Serialize)]
struct Extra<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    /// The call's id; none = the message's own.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    call: Option<Cow<'a, str>>,
    #[serde(borrow)]
    extra_content: &'a RawValue,
}

/// What goes back to a provider, each to its place.
#[derive(Default)]
pub(super) struct Returned<'a> {
    /// Those of the thinking.
    pub(super) details: Vec<&'a RawValue>,
    /// The message's own `extra_content`.
    pub(super) message: Option<&'a RawValue>,
    /// Those of calls, by their ids.
    pub(super) calls: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Returned<'a> {
    /// Takes a signature that this dialect's provider made.
    pub(super) fn take(&mut self, data: &'a str) {
        let mut rest = data;
        // One after the other, with commas between.
        while let Some(Ok(raw)) = serde_json::Deserializer::from_str(rest).into_iter::<&'a RawValue>().next() {
            match serde_json::from_str::<Extra<'a>>(raw.get()).ok().filter(|extra| extra.r#type == EXTRA) {
                None => self.details.push(raw),
                Some(Extra { call: Some(id), extra_content, .. }) => self.calls.push((id, extra_content)),
                Some(Extra { call: None, extra_content, .. }) => self.message = Some(extra_content),
            }
            rest = rest.trim_start().get(raw.get().len()..).unwrap_or_default().trim_start().trim_start_matches(',');
        }
    }

    /// Whether nothing goes back.
    pub(super) fn is_empty(&self) -> bool {
        self.details.is_empty() && self.message.is_none() && self.calls.is_empty()
    }

    /// What another stretch of thinking brings.
    pub(super) fn add(&mut self, more: Self) {
        self.details.extend(more.details);
        self.message = more.message.or(self.message);
        self.calls.extend(more.calls);
    }

    /// That of a call.
    pub(super) fn of(&self, call: &str) -> Option<&'a RawValue> {
        self.calls.iter().find(|(id, _)| id == call).map(|(_, raw)| *raw)
    }
}

/// Members that come in pieces.
const PIECES: [&str; 2] = ["text", "summary"];

/// The details of one answer, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Details(Vec<Detail>);

#[derive(Debug)]
enum Detail {
    /// As it came.
    Whole(String),
    Growing(Growing),
}

#[derive(Debug)]
struct Growing {
    index: u64,
    kind: String,
    members: Vec<(String, Member)>,
}

#[derive(Debug)]
enum Member {
    Json(String),
    /// Text that comes in pieces, without its escapes.
    Words(String),
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    #[serde(deserialize_with = "lenient")]
    index: Option<u64>,
}

impl Details {
    /// Takes the details of one message, or of a delta (`streamed`).
    pub(super) fn take(&mut self, given: &[&RawValue], streamed: bool) {
        for raw in given {
            match read(raw).filter(|_| streamed) {
                Some(piece) => self.piece(piece),
                None => self.0.push(Detail::Whole(raw.get().to_owned())),
            }
        }
    }

    /// Takes the `extra_content` of a call, or of the message; only what is signed must go back.
    pub(super) fn keep(&mut self, call: Option<&str>, raw: &RawValue) {
        if memchr::memmem::find(raw.get().as_bytes(), b"thought_signature").is_none() {
            return;
        }
        let extra = Extra { r#type: Cow::Borrowed(EXTRA), call: call.map(Cow::Borrowed), extra_content: raw };
        self.0.extend(serde_json::to_string(&extra).ok().map(Detail::Whole));
    }

    fn piece(&mut self, piece: Growing) {
        let open = self.0.iter_mut().rev().find_map(|detail| match detail {
            Detail::Growing(open) if (open.index, &open.kind) == (piece.index, &piece.kind) => Some(open),
            _ => None,
        });
        match open {
            Some(open) if open.goes_on(&piece) => open.add(piece),
            _ => self.0.push(Detail::Growing(piece)),
        }
    }

    /// All of them as what goes back.
    pub(super) fn signature(&self) -> Option<Signature> {
        let all: Vec<String> = self.0.iter().map(Detail::json).collect();
        (!all.is_empty()).then(|| Signature::new(DialectId::OpenAiChat, all.join(",")))
    }
}

/// A detail with a number; none = it is to stay as it is.
fn read(raw: &RawValue) -> Option<Growing> {
    let Head { kind, index } = serde_json::from_str(raw.get()).ok()?;
    let scanned = Members::scan(raw.get().as_bytes()).ok()?;
    let mut members = Vec::new();
    for member in scanned.all() {
        let json = raw.get().get(member.value.clone())?;
        let words = PIECES.contains(&&*member.name).then(|| serde_json::from_str(json).ok()).flatten();
        members.push((member.name.to_string(), words.map_or_else(|| Member::Json(json.to_owned()), Member::Words)));
    }
    Some(Growing { index: index?, kind, members })
}

impl Growing {
    fn get(&self, name: &str) -> Option<&str> {
        self.members.iter().find_map(|(known, member)| match member {
            Member::Json(json) if known == name && json != "null" => Some(json.as_str()),
            _ => None,
        })
    }

    /// Whether a piece belongs to this detail: what can't be told in pieces (an id, encrypted data) is told once.
    fn goes_on(&self, piece: &Self) -> bool {
        let same = |name: &str| self.get(name).zip(piece.get(name)).is_none_or(|(known, new)| known == new);
        same("id") && same("data")
    }

    fn add(&mut self, piece: Self) {
        for (name, member) in piece.members {
            let known = self.members.iter_mut().find(|(known, _)| *known == name).map(|(_, known)| known);
            match (known, member) {
                (None, member) => self.members.push((name, member)),
                (Some(Member::Words(known)), Member::Words(more)) => known.push_str(&more),
                (Some(_), Member::Json(json)) if json == "null" => {}
                (Some(known), member) => *known = member,
            }
        }
    }
}

impl Detail {
    fn json(&self) -> String {
        let Growing { members, .. } = match self {
            Self::Whole(json) => return json.clone(),
            Self::Growing(growing) => growing,
        };
        let written = members.iter().map(|(name, member)| match member {
            Member::Json(json) => format!("{}:{json}", quote(name)),
            Member::Words(words) => format!("{}:{}", quote(name), quote(words)),
        });
        format!("{{{}}}", written.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn gathered(deltas: &[Value], streamed: bool) -> Value {
        let mut details = Details::default();
        for delta in deltas {
            let raw: Vec<Box<RawValue>> = serde_json::from_str(&delta.to_string()).unwrap();
            details.take(&raw.iter().map(|raw| &**raw).collect::<Vec<_>>(), streamed);
        }
        let data = details.signature().map(|signature| signature.data).unwrap_or_default();
        serde_json::from_str(&format!("[{data}]")).unwrap()
    }

    #[test]
    fn pieces_of_a_stream_are_one_signed_text_again() {
        let piece = |more: Value| {
            let mut piece = json!({"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0});
            piece.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!([piece])
        };
        let deltas = [
            piece(json!({"text": "Let", "signature": null})),
            piece(json!({"text": " me \"think\"."})),
            piece(json!({"signature": "Et8B"})),
            json!([{"type": "reasoning.text", "text": "Again", "index": 1}]),
            json!([{"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "index": 0}]),
            json!([{"type": "reasoning.encrypted", "data": "gBBB", "id": "rs_2", "index": 0}]),
        ];
        assert_eq!(
            gathered(&deltas, true),
            json!([{"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, "text": "Let me \"think\".",
                    "signature": "Et8B"},
                {"type": "reasoning.text", "text": "Again", "index": 1},
                {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "index": 0},
                {"type": "reasoning.encrypted", "data": "gBBB", "id": "rs_2", "index": 0}])
        );
    }

    #[test]
    fn what_stands_beside_messages_and_calls_goes_back_to_its_place() {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let (signed, plain) =
            (raw(r#"{"google":{"thought_signature":"a, {b"}}"#), raw(r#"{"google":{"thought":true}}"#));
        let mut details = Details::default();
        details.take(&[&raw(r#"{"type":"reasoning.text","text":"hm"}"#)], true);
        details.keep(Some("call_1"), &signed);
        details.keep(Some("call_2"), &plain);
        details.keep(None, &signed);
        let data = details.signature().unwrap().data;
        let mut returned = Returned::default();
        returned.take(&data);
        let texts: Vec<&str> = returned.details.iter().map(|raw| raw.get()).collect();
        assert_eq!(texts, [r#"{"type":"reasoning.text","text":"hm"}"#]);
        assert_eq!(returned.message.map(RawValue::get), Some(signed.get()));
        assert_eq!(returned.of("call_1").map(RawValue::get), Some(signed.get()));
        assert!(returned.of("call_2").is_none(), "nothing is signed there");
    }

    #[test]
    fn what_has_no_number_stays_as_it_is() {
        let whole =
            json!([{"type": "reasoning.text", "text": "a"}, {"type": "reasoning.text", "text": "b"}, {"data": 1}, 7]);
        assert_eq!(gathered(std::slice::from_ref(&whole), true), whole);
        let numbered = json!([{"type": "a", "index": 0, "text": "b"}, {"type": "a", "index": 0, "text": "c"}]);
        assert_eq!(gathered(std::slice::from_ref(&numbered), false), numbered, "a whole answer has whole details");
        assert_eq!(gathered(&[json!([])], true), json!([]));
    }
}
