//! Reading a client's JSON member by member, and telling what is wrong with its path.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::chat::Json;
use crate::domain::error::{Error, ErrorKind};

/// Members of an object, taken one by one; null is absent; what is left is unknown.
pub(super) struct Members<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Members<'a> {
    /// # Errors
    /// What is no object.
    pub(super) fn new(json: &'a str, path: &str) -> Result<Self, Error> {
        serde_json::from_str(json).map(Self).map_err(|_| wrong(path, "an object"))
    }

    pub(super) fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.remove(name).filter(|raw| raw.get() != "null")
    }

    /// A member of a type.
    ///
    /// # Errors
    /// Another type, told under this path.
    pub(super) fn take<T: Deserialize<'a>>(&mut self, name: &str, path: &str) -> Result<Option<T>, Error> {
        self.raw(name).map(|raw| serde_json::from_str(raw.get()).map_err(|e| typed(path, &e))).transpose()
    }

    /// What nobody took, with a prefix before each name.
    pub(super) fn rest(self, prefix: &'static str) -> impl Iterator<Item = (String, Json)> {
        let given = self.0.into_iter().filter(|(_, raw)| raw.get() != "null");
        given.map(move |(name, raw)| (format!("{prefix}{name}"), Json::new(raw.get())))
    }
}

/// A value of a type.
pub(super) fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue, path: &str, expected: &str) -> Result<T, Error> {
    serde_json::from_str(raw.get()).map_err(|_| wrong(path, expected))
}

/// An object of a type; what is wrong inside it is named.
pub(super) fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue, path: &str) -> Result<T, Error> {
    serde_json::from_str(raw.get()).map_err(|e| typed(path, &e))
}

pub(super) fn missing(path: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("`{path}` is missing")).param(path)
}

pub(super) fn wrong(path: &str, expected: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("`{path}` must be {expected}")).param(path)
}

/// The reader's words say which type was expected; they may quote the input, so only their first part is told.
fn typed(path: &str, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let expected = text.split("expected ").nth(1).and_then(|t| t.split(" at line").next());
    let absent = text.strip_prefix("missing field `").and_then(|t| t.split('`').next());
    match (absent, expected) {
        (Some(member), _) => missing(&format!("{path}.{member}")),
        (None, Some(expected)) => wrong(path, expected),
        (None, None) => {
            Error::new(ErrorKind::InvalidRequest, format!("`{path}` has a wrong type or value")).param(path)
        }
    }
}
