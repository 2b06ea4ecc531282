//! Who asks, and which conversation a request belongs to: what the planner sticks to.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::call::Call;
use crate::admission;
use crate::domain::error::{Error, ErrorKind};
use crate::policy::{Market, Principal, Requirement};

/// Names that say which conversation a request is of, or whose cached prompt it shares, as clients send them.
const SESSIONS: [&str; 3] = ["prompt_cache_key", "session_id", "conversation"];
/// Names of the client's user.
const USERS: [&str; 2] = ["user", "safety_identifier"];
/// What a conversation begins with, in the words of the dialects.
const BEGINNINGS: [&str; 5] = ["instructions", "system", "system_instruction", "systemInstruction", "tools"];
/// The turns of a conversation.
const TURNS: [&str; 3] = ["messages", "input", "contents"];
/// So much of each is looked at. What is longer is told apart by its beginning.
const LOOK: usize = 32 * 1024;

/// A key as policies see it; `require` is what tenant, team and key require together.
#[must_use]
pub fn asker<'a>(principal: &'a admission::Principal, require: &'a Requirement) -> Principal<'a> {
    Principal {
        key: &principal.key_id,
        team: &principal.team,
        tenant: &principal.tenant,
        tags: &principal.tags,
        require,
    }
}

/// The policy that decides for a key.
pub(super) fn policy_of(principal: &admission::Principal) -> Arc<str> {
    principal.policy.clone().unwrap_or_else(|| "default".into())
}

/// What tenant, team and key require together.
///
/// # Errors
/// A part that can't be read is not one that holds: the key is refused.
pub(super) fn requirement(principal: &admission::Principal, market: &dyn Market) -> Result<Requirement, Error> {
    principal.requirements.iter().try_fold(Requirement::ANY, |all, text| {
        let part = Requirement::parse(text, market).map_err(|error| {
            let refused = Error::new(ErrorKind::Forbidden, "what this key requires can't be read");
            refused.code("requirement_invalid").detail(error.to_string())
        })?;
        Ok(all.narrow(&part))
    })
}

/// What a request's own header requires.
///
/// # Errors
/// What can't be read.
pub(super) fn required(header: Option<&str>, market: &dyn Market) -> Result<Requirement, Error> {
    header
        .map_or(Ok(Requirement::ANY), |text| Requirement::parse(text, market))
        .map_err(|error| Error::new(ErrorKind::InvalidRequest, error.to_string()).param("x-stellwerk-require"))
}

/// The client's user, where the request names one.
pub(super) fn user(call: &Call) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow)]
        user_id: Option<Cow<'a, str>>,
    }
    let value = |name: &str| call.envelope.spans.value(&call.body, name).filter(|value| value.len() <= LOOK);
    let text = |name: &&str| serde_json::from_slice::<Text<'_>>(value(name)?).ok();
    let named = USERS.iter().find_map(text).map(|text| text.0);
    named.or_else(|| serde_json::from_slice::<Metadata<'_>>(value("metadata")?).ok()?.user_id)
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The conversation: by the client's own word for it, else by how it begins, up to the first turn of its user. The hash
/// holds the tenant: another tenant's same words are another conversation.
pub(super) fn session(call: &Call) -> Option<u64> {
    let mut hash = DefaultHasher::new();
    call.principal.tenant.hash(&mut hash);
    if let Some(session) = &call.session {
        session.hash(&mut hash);
        return Some(hash.finish());
    }
    let value = |name: &&'static str| call.envelope.spans.value(&call.body, name);
    if let Some(named) = SESSIONS.iter().find_map(value).filter(|named| named.starts_with(b"\"") && named.len() < LOOK)
    {
        named.hash(&mut hash);
        return Some(hash.finish());
    }
    call.model_asked.hash(&mut hash);
    for part in BEGINNINGS.iter().filter_map(value) {
        (part.len(), cut(part)).hash(&mut hash);
    }
    let turns = TURNS.iter().find_map(value)?;
    let mut opening = Opening { hash: &mut hash, ended: false };
    let mut json = serde_json::Deserializer::from_slice(cut(turns));
    // Stopping early is no error of the request: its JSON has been checked as a whole.
    let _ = (&mut opening).deserialize(&mut json);
    if !opening.ended {
        cut(turns).hash(&mut hash);
    }
    Some(hash.finish())
}

fn cut(bytes: &[u8]) -> &[u8] {
    bytes.get(..LOOK).unwrap_or(bytes)
}

/// Hashes turns up to the first of the user.
struct Opening<'h> {
    hash: &'h mut DefaultHasher,
    ended: bool,
}

impl<'de> DeserializeSeed<'de> for &mut Opening<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Opening<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("turns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut turns: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct Turn<'a> {
            #[serde(borrow)]
            role: Option<Cow<'a, str>>,
        }
        while let Some(turn) = turns.next_element::<&RawValue>()? {
            turn.get().hash(self.hash);
            let role = serde_json::from_str::<Turn<'_>>(turn.get()).ok().and_then(|turn| turn.role);
            // Gemini's turns may have no role: the user's then.
            if role.is_none_or(|role| role == "user") {
                self.ended = true;
                break;
            }
        }
        Ok(())
    }
}
