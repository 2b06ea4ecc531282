//! Opaque details of thinking (`reasoning_details`), put together again from the pieces of a stream.
//!
//! A provider checks what it signed against the whole text: pieces that are sent back as they came are refused. Pieces of one
//! detail have its number and type; what has no number is whole.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::common::lenient;
use crate::domain::chat::Signature;
use crate::domain::id::DialectId;
use crate::wire::splice::{Members, quote};

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
    fn what_has_no_number_stays_as_it_is() {
        let whole =
            json!([{"type": "reasoning.text", "text": "a"}, {"type": "reasoning.text", "text": "b"}, {"data": 1}, 7]);
        assert_eq!(gathered(std::slice::from_ref(&whole), true), whole);
        let numbered = json!([{"type": "a", "index": 0, "text": "b"}, {"type": "a", "index": 0, "text": "c"}]);
        assert_eq!(gathered(std::slice::from_ref(&numbered), false), numbered, "a whole answer has whole details");
        assert_eq!(gathered(&[json!([])], true), json!([]));
    }
}
