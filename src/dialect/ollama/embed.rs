//! Ollama's vectors.
//!
//! Source: Ollama API documentation, "Generate Embeddings" (`/api/embed`). A text that is too long is refused and not cut.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Ollama;
use crate::dialect::Quirks;
use crate::dialect::common::malformed;
use crate::dialect::embed::{EmbedProvider, no_vector, numbers, texts};
use crate::domain::embed::{EmbedAnswer, EmbedField, EmbedRequest};
use crate::domain::error::{Error, Failure};
use crate::domain::usage::{Bucket, Usage};

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: Vec<&'a str>,
    truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    embeddings: Vec<&'a RawValue>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    prompt_eval_count: Option<u64>,
}

impl EmbedProvider for Ollama {
    fn lacks(&self, _: &EmbedRequest, field: EmbedField) -> bool {
        field != EmbedField::Dimensions
    }

    fn encode(&self, request: &EmbedRequest, model: &str, _: &Quirks) -> Result<(Cow<'static, str>, Bytes), Error> {
        let input = texts(request, "input")?;
        let body = Request { model, input, truncate: false, dimensions: request.dimensions };
        Ok((Cow::Borrowed("/api/embed"), crate::dialect::models::json(&body)?))
    }

    fn decode(&self, body: &[u8]) -> Result<EmbedAnswer, Failure> {
        let answer: Answer<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
        let vectors = answer.embeddings.iter().map(|v| numbers(v.get()).ok_or_else(no_vector));
        let vectors = vectors.collect::<Result<_, _>>()?;
        let usage = answer.prompt_eval_count.and_then(|count| Usage::ZERO.with(Bucket::Input, count).plausible());
        Ok(EmbedAnswer { vectors, model: answer.model, usage })
    }
}
