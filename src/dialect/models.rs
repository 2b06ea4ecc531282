//! Lists of models, as the dialects' clients expect them.

use bytes::Bytes;
use serde::Serialize;

use crate::domain::error::{Error, ErrorKind};

/// A model that can be asked for.
#[derive(Clone, Copy, Debug)]
pub struct ModelInfo<'a> {
    /// The name to ask for.
    pub id: &'a str,
    /// Who offers it.
    pub owner: &'a str,
    /// Context window in tokens, where known.
    pub context: Option<u64>,
    /// Most output tokens, where known.
    pub max_output: Option<u64>,
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'a str,
}

/// The OpenAI list, and in the same object the catalogue that Codex reads.
#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
    models: Vec<Codex<'a>>,
}

#[derive(Serialize)]
struct Codex<'a> {
    slug: &'a str,
    display_name: &'a str,
}

fn model<'a>(info: &ModelInfo<'a>) -> Model<'a> {
    Model { id: info.id, object: "model", created: 0, owned_by: info.owner }
}

pub(super) fn openai_list(models: &[ModelInfo<'_>]) -> Result<Bytes, Error> {
    let codex = models.iter().map(|m| Codex { slug: m.id, display_name: m.id });
    json(&List { object: "list", data: models.iter().map(model).collect(), models: codex.collect() })
}

pub(super) fn openai_model(info: &ModelInfo<'_>) -> Result<Bytes, Error> {
    json(&model(info))
}

/// A list as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    let body = serde_json::to_vec(value)
        .map_err(|e| Error::new(ErrorKind::Internal, "a list could not be written").detail(e.to_string()))?;
    Ok(Bytes::from(body))
}
