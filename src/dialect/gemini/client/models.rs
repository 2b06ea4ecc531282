//! Lists of models for clients of this dialect.

use bytes::Bytes;
use serde::Serialize;

use crate::dialect::models::{ModelInfo, json};
use crate::domain::error::Error;

/// Source: Gemini API reference, "models.list".
#[derive(Serialize)]
struct List<'a> {
    models: Vec<Model<'a>>,
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

pub(super) fn list(models: &[ModelInfo<'_>]) -> Result<Bytes, Error> {
    json(&List { models: models.iter().map(model).collect() })
}

pub(super) fn one(info: &ModelInfo<'_>) -> Result<Bytes, Error> {
    json(&model(info))
}
