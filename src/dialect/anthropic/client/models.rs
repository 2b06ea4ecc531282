//! Lists of models for clients of this dialect.

use bytes::Bytes;
use serde::Serialize;

use crate::dialect::models::{ModelInfo, Part, json};
use crate::dialect::paths::queried;
use crate::domain::error::Error;

/// Source: Anthropic API reference, "List Models".
#[derive(Serialize)]
struct List<'a> {
    data: Vec<Model<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Model<'a> {
    r#type: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: &'static str,
}

fn model<'a>(info: &ModelInfo<'a>) -> Model<'a> {
    // The dialect demands a time; this is the one it gives itself where a date is not known.
    Model { r#type: "model", id: info.id, display_name: info.id, created_at: "1970-01-01T00:00:00Z" }
}

pub(super) fn list(models: &[ModelInfo<'_>], query: Option<&str>) -> Result<Bytes, Error> {
    let asked = |name| queried(query, name).map(|value| (name, value));
    let part = Part { limit: asked("limit"), after: asked("after_id"), before: asked("before_id") };
    let (models, more) = part.of(models)?;
    let (first, last) = (models.first().map(|m| m.id), models.last().map(|m| m.id));
    json(&List { data: models.iter().map(model).collect(), has_more: more, first_id: first, last_id: last })
}

pub(super) fn one(info: &ModelInfo<'_>) -> Result<Bytes, Error> {
    json(&model(info))
}
