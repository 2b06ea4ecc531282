//! Members inside of others that a decoder does not read: found by a walk over the body that knows what it does read.
//!
//! The decoders take what they know and pass over the rest, so that a new member never fails a request. What they pass
//! over must not vanish, though. Each client dialect says in a [`Shape`] what its decoder understands, where; everything
//! else that says something is told by its name, with dots and without numbers: `messages.content.foo`.
//!
//! Only translated requests are walked. What passes as bytes is never looked at.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::domain::chat::ChatRequest;

/// Most names that are told of one request; the rest is counted.
const MOST: usize = 32;

/// Objects inside of each other that are looked at.
const DEEPEST: usize = 16;

/// What a decoder understands of an object. Where it stands in an array, of each.
#[derive(Debug)]
pub(super) struct Shape {
    /// Members that are understood.
    pub known: &'static [Known],
    /// Which objects are read member by member.
    pub read: Read,
}

/// Which objects are read member by member; the others travel whole or are reported whole.
#[derive(Debug)]
pub(super) enum Read {
    /// All of them.
    All,
    /// Those whose `type` is one of these, or has none.
    Kinds(&'static [&'static str]),
    /// Those that have one of these members.
    With(&'static [&'static str]),
    /// All, but what is not known here is reported by the decoder itself.
    Elsewhere,
}

/// A member that is understood.
#[derive(Debug)]
pub(super) struct Known {
    name: &'static str,
    within: Within,
    /// The kinds of objects that have it; empty = all.
    kinds: &'static [&'static str],
}

#[derive(Debug)]
enum Within {
    /// Whatever it holds.
    All,
    /// Nothing else than `false`, which is what happens anyway.
    No,
    /// As this says.
    Shape(&'static Shape),
}

/// A member that is understood whatever it holds.
pub(super) const fn all(name: &'static str) -> Known {
    Known { name, within: Within::All, kinds: &[] }
}

/// One whose `false` is what happens anyway.
pub(super) const fn no(name: &'static str) -> Known {
    Known { name, within: Within::No, kinds: &[] }
}

/// One that holds objects of this shape, or what is no object.
pub(super) const fn within(name: &'static str, shape: &'static Shape) -> Known {
    Known { name, within: Within::Shape(shape), kinds: &[] }
}

impl Known {
    /// Only objects of these kinds have it.
    pub(super) const fn of(self, kinds: &'static [&'static str]) -> Self {
        Self { kinds, ..self }
    }
}

/// The request with the names of what its decoder did not read. `own` makes a member's name what the shape calls it.
pub(super) fn noted(mut request: ChatRequest, body: &[u8], shape: &'static Shape, own: Own) -> ChatRequest {
    let mut found = Found { names: Vec::new(), more: 0, own };
    let mut json = serde_json::Deserializer::from_slice(body);
    let root = Walk { shape, path: &Path { parent: None, name: "" }, depth: 0, found: &mut found };
    // The decoder has read the body before: it is well-formed.
    let _ = root.deserialize(&mut json);
    if found.more > 0 {
        found.names.push(format!("{}_more", found.more));
    }
    request.unread = found.names;
    request
}

/// What a shape calls a member of this name.
pub(super) type Own = fn(&str) -> Cow<'_, str>;

/// Names are written one way.
pub(super) fn plain(given: &str) -> Cow<'_, str> {
    Cow::Borrowed(given)
}

struct Found {
    names: Vec<String>,
    /// Names beyond those that are told.
    more: usize,
    own: Own,
}

impl Found {
    fn add(&mut self, name: String) {
        if self.names.contains(&name) {
            return;
        }
        if self.names.len() < MOST {
            self.names.push(name);
        } else {
            self.more += 1;
        }
    }
}

/// Where an object stands.
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    name: &'p str,
}

impl Path<'_> {
    fn of(&self, member: &str) -> String {
        let mut names = vec![member];
        let mut at = Some(self);
        while let Some(path) = at {
            names.push(path.name);
            at = path.parent;
        }
        names.retain(|name| !name.is_empty());
        names.reverse();
        names.join(".")
    }
}

struct Walk<'w> {
    shape: &'static Shape,
    path: &'w Path<'w>,
    depth: usize,
    found: &'w mut Found,
}

/// Whether there was anything.
impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_any(self)
    }
}

/// A member's name, borrowed where it can be.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        if self.depth >= DEEPEST {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(true);
        }
        let mark = (self.found.names.len(), self.found.more);
        let mut object = Object::default();
        while let Some(Name(given)) = map.next_key()? {
            let name = (self.found.own)(&given);
            let known = self.shape.known.iter().find(|known| known.name == name);
            object.has_one |= matches!(self.shape.read, Read::With(names) if names.contains(&&*name));
            let tied = known.filter(|known| !known.kinds.is_empty());
            match known.map(|known| &known.within) {
                Some(Within::Shape(shape)) => {
                    let path = Path { parent: Some(self.path), name: &given };
                    let walk = Walk { shape, path: &path, depth: self.depth + 1, found: &mut *self.found };
                    if map.next_value_seed(walk)? {
                        object.tied.extend(tied.map(|known| (known, given)));
                    }
                }
                Some(Within::All) if name == "type" => object.kind = map.next_value::<Kind>()?.0,
                Some(Within::All) if tied.is_some() => {
                    if map.next_value::<Says>()? != Says::Nothing {
                        object.tied.extend(tied.map(|known| (known, given)));
                    }
                }
                Some(Within::All) => drop(map.next_value::<IgnoredAny>()?),
                Some(Within::No) => {
                    if map.next_value::<Says>()? == Says::Something {
                        object.unknown.push(given);
                    }
                }
                None if matches!(self.shape.read, Read::Elsewhere) => drop(map.next_value::<IgnoredAny>()?),
                None => {
                    if map.next_value::<Says>()? != Says::Nothing {
                        object.unknown.push(given);
                    }
                }
            }
        }
        let whole = match self.shape.read {
            Read::Kinds(kinds) => object.kind.as_deref().is_some_and(|kind| !kinds.contains(&kind)),
            Read::With(_) => !object.has_one,
            Read::All | Read::Elsewhere => false,
        };
        if whole {
            self.found.names.truncate(mark.0);
            self.found.more = mark.1;
            return Ok(true);
        }
        let kind = object.kind.as_deref();
        let foreign =
            object.tied.into_iter().filter(|(known, _)| kind.is_some_and(|kind| !known.kinds.contains(&kind)));
        let foreign = foreign.map(|(_, name)| name);
        object.unknown.into_iter().chain(foreign).for_each(|name| self.found.add(self.path.of(&name)));
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let Walk { shape, path, depth, found } = self;
        while seq.next_element_seed(Walk { shape, path, depth, found: &mut *found })?.is_some() {}
        Ok(true)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
}

/// What is seen of an object on the way through it.
#[derive(Default)]
struct Object<'de> {
    kind: Option<String>,
    /// Whether it has one of the members that make it one to read.
    has_one: bool,
    unknown: Vec<Cow<'de, str>>,
    /// Members that only some kinds have.
    tied: Vec<(&'static Known, Cow<'de, str>)>,
}

/// The kind of an object, where it is a text.
struct Kind(Option<String>);

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        super::common::lenient(from).map(Self)
    }
}

/// Whether a value says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Says {
    /// Null, an empty text, an array or object of such.
    Nothing,
    /// `false`.
    No,
    Something,
}

impl<'de> Deserialize<'de> for Says {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SaysVisitor)
    }
}

struct SaysVisitor;

impl<'de> Visitor<'de> for SaysVisitor {
    type Value = Says;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Says, A::Error> {
        let mut says = Says::Nothing;
        while let Some((_, value)) = map.next_entry::<IgnoredAny, Self::Value>()? {
            says = says.max(value);
        }
        Ok(says)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Says, A::Error> {
        let mut says = Says::Nothing;
        while let Some(value) = seq.next_element::<Self::Value>()? {
            says = says.max(value);
        }
        Ok(says)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Says, E> {
        Ok(if value { Says::Something } else { Says::No })
    }

    fn visit_i64<E>(self, _: i64) -> Result<Says, E> {
        Ok(Says::Something)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Says, E> {
        Ok(Says::Something)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Says, E> {
        Ok(Says::Something)
    }

    fn visit_str<E>(self, text: &str) -> Result<Says, E> {
        Ok(if text.is_empty() { Says::Nothing } else { Says::Something })
    }

    fn visit_unit<E>(self) -> Result<Says, E> {
        Ok(Says::Nothing)
    }
}

#[cfg(test)]
mod tests;
