//! Lists of models for clients of this dialect.

use bytes::Bytes;
use serde::Serialize;

use crate::dialect::models::{ModelInfo, Part, json};
use crate::dialect::paths::queried;
use crate::domain::error::Error;

/// Source: Gemini API reference, "models.list".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    models: Vec<Model<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Model<'a> {
    name: String,
    display_name: &'a str,
    supported_generation_methods: [&'static str; 3],
    #[serde(skip_serializing_if = "Option::is_none")]
    input_token_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_token_limit: Option<u64>,
}

fn model<'a>(info: &ModelInfo<'a>) -> Model<'a> {
    Model {
        name: format!("models/{}", info.id),
        display_name: info.id,
        supported_generation_methods: ["generateContent", "streamGenerateContent", "countTokens"],
        input_token_limit: info.context,
        output_token_limit: info.max_output,
    }
}

/// The token of the next page is the last model's name.
pub(super) fn list(models: &[ModelInfo<'_>], query: Option<&str>) -> Result<Bytes, Error> {
    let asked = |name| queried(query, name).filter(|value| !value.is_empty()).map(|value| (name, value));
    let part = Part { limit: asked("pageSize"), after: asked("pageToken"), before: None };
    let (models, more) = part.of(models)?;
    let next = models.last().filter(|_| more).map(|last| last.id);
    json(&List { models: models.iter().map(model).collect(), next_page_token: next })
}

pub(super) fn one(info: &ModelInfo<'_>) -> Result<Bytes, Error> {
    json(&model(info))
}
