//! Conversations that moved: what another provider thought and signed stands in them, in the form in which their client was
//! shown it. Nobody else can read that, so it is taken out of bytes that otherwise pass, and listed.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::wire::splice::Members;

/// A body that lost something.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved {
    /// What is left.
    pub body: Bytes,
    /// The places of what is gone.
    pub gone: Vec<String>,
}

/// Whose signatures go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signed {
    /// Those of providers of other dialects, as their marks tell.
    #[default]
    Elsewhere,
    /// All: the provider has refused them. They were made by another one of its dialect, or for another account.
    Anywhere,
}

/// What becomes of an object in a list.
pub(super) enum Item {
    Stays,
    Becomes(Bytes),
    Goes,
}

impl From<Option<Bytes>> for Item {
    fn from(changed: Option<Bytes>) -> Self {
        changed.map_or(Self::Stays, Self::Becomes)
    }
}

/// Looks at each item of a list; none = nothing changed.
pub(super) fn each(list: &Bytes, mut look: impl FnMut(usize, &Bytes) -> Item) -> Option<Bytes> {
    let items: Vec<&RawValue> = serde_json::from_slice(list).ok()?;
    let (mut out, mut changed) = (Vec::with_capacity(list.len()), false);
    for (at, item) in items.into_iter().enumerate() {
        let item = list.slice_ref(item.get().as_bytes());
        let kept = match look(at, &item) {
            Item::Stays => item,
            Item::Becomes(other) => {
                changed = true;
                other
            }
            Item::Goes => {
                changed = true;
                continue;
            }
        };
        out.push(if out.is_empty() { b'[' } else { b',' });
        out.extend_from_slice(&kept);
    }
    if out.is_empty() {
        out.push(b'[');
    }
    out.push(b']');
    changed.then(|| out.into())
}

/// Looks at one member of an object; none = it is not there, or nothing changed.
pub(super) fn within(object: &Bytes, name: &str, look: impl FnOnce(&Bytes) -> Option<Bytes>) -> Option<Bytes> {
    let members = Members::scan(object).ok()?;
    let changed = look(&object.slice(members.get(name)?.value.clone()))?;
    let mut splice = members.splice();
    splice.set(name, changed);
    Some(splice.apply(object).concat().into())
}

/// Sets a member of an object.
pub(super) fn with(object: &Bytes, name: &str, json: String) -> Option<Bytes> {
    let members = Members::scan(object).ok()?;
    let mut splice = members.splice();
    splice.set(name, json);
    Some(splice.apply(object).concat().into())
}

/// Takes a member out of an object; none = it is not there.
pub(super) fn without(object: &Bytes, name: &str) -> Option<Bytes> {
    let members = Members::scan(object).ok()?;
    members.get(name)?;
    let mut splice = members.splice();
    splice.remove(name);
    Some(splice.apply(object).concat().into())
}
