//! Reading the TOML files that people edit: every mistake of a file at once, each at its place.
//!
//! serde stops at the first mistake. So a document is first held against the JSON Schema of the type that it becomes (the
//! same that editors use, see `schemas/`): what does not fit is told and taken out, and what is left is read. Meaning
//! is the business of those who own the type.

mod schema;
mod walk;

use std::any::TypeId;
use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::{Arc, LazyLock};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::domain::problem::Problem;

pub use schema::schema;

/// A value of a document with its place.
pub(crate) type Node<'a> = toml::Spanned<DeValue<'a>>;

/// Something that does not fit, with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where, in bytes.
    pub span: Range<usize>,
    /// The key path.
    pub path: String,
    /// What.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Fault {
    /// The same for a person who knows the file.
    pub(crate) fn into_problem(self, file: &str, text: &str) -> Problem {
        let problem = Problem::at(file, text, self.span.start, self.message);
        Problem { path: self.path, hint: self.hint, ..problem }
    }
}

/// Reads a whole document. What does not fit is told, and the rest is read without it.
///
/// # Errors
/// The document is no TOML, or lacks something without which there is nothing to read.
pub(crate) fn read_document<T>(file: &str, text: &str, problems: &mut Vec<Problem>) -> Option<T>
where
    T: DeserializeOwned + JsonSchema + 'static,
{
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // A broken document would only repeat itself as missing members.
        problems.extend(errors.iter().map(|error| Problem::from_toml(file, text, error)));
        return None;
    }
    let span = document.span();
    let mut faults = Vec::new();
    let read = read(Node::new(span, DeValue::Table(document.into_inner())), "", &mut faults);
    problems.extend(faults.into_iter().map(|fault| fault.into_problem(file, text)));
    read
}

/// Reads one value of a document, whose path is given. What does not fit is told, and the rest is read without it.
pub(crate) fn read<T>(node: Node<'_>, path: &str, faults: &mut Vec<Fault>) -> Option<T>
where
    T: DeserializeOwned + JsonSchema + 'static,
{
    static SHAPES: LazyLock<papaya::HashMap<TypeId, Arc<Value>>> = LazyLock::new(papaya::HashMap::new);
    let shape = Arc::clone(SHAPES.pin().get_or_insert_with(TypeId::of::<T>(), || Arc::new(schema::schema::<T>(""))));
    let span = node.span();
    let kept = walk::fit(node, &shape, path, faults)?;
    let read = T::deserialize(toml::de::ValueDeserializer::from(kept));
    read.map_err(|error| {
        let message = error.message().trim().replace('\n', ", ");
        faults.push(Fault { span: error.span().unwrap_or(span), path: path.to_owned(), message, hint: None });
    })
    .ok()
}

/// The name that was most likely meant: the same in another case, or a few letters off.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    let near = |name: &&'a str| strsim::damerau_levenshtein(&lower, &name.to_lowercase());
    names.into_iter().filter(|name| near(name) <= allowed).min_by_key(near)
}

/// A value with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spanned<T>(toml::Spanned<T>);

impl<T> Spanned<T> {
    /// Where it stands, in bytes.
    pub(crate) fn span(&self) -> Range<usize> {
        self.0.span()
    }

    /// The value.
    pub(crate) fn get_ref(&self) -> &T {
        self.0.get_ref()
    }

    /// The value alone.
    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        toml::Spanned::deserialize(deserializer).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A day or a moment.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Datetime(toml::value::Datetime);

impl Deref for Datetime {
    type Target = toml::value::Datetime;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Display for Datetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Datetime {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Datetime".into()
    }

    /// Editors show TOML's own dates as strings. No `format`: theirs demands a time of day.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^\\d{4}-\\d{2}-\\d{2}", (schema::TOML_TYPE): "datetime" })
    }
}

#[cfg(test)]
mod tests;
