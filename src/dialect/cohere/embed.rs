//! Cohere's vectors, version 2.
//!
//! Source: Cohere API reference, "Embed API (v2)". The models want to know what vectors are for; a client that does not
//! say gets those of documents. A text that is too long is refused and not cut.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Cohere, reply};
use crate::dialect::Quirks;
use crate::dialect::common::malformed;
use crate::dialect::embed::{EmbedProvider, no_vector, numbers, texts};
use crate::domain::embed::{EmbedAnswer, EmbedField, EmbedRequest, EmbedTask};
use crate::domain::error::{Error, Failure};

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input_type: &'static str,
    embedding_types: [&'static str; 1],
    texts: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimension: Option<u64>,
    truncate: &'static str,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    embeddings: Kinds<'a>,
}

#[derive(Deserialize)]
struct Kinds<'a> {
    #[serde(borrow)]
    float: Vec<&'a RawValue>,
}

fn input_type(task: EmbedTask) -> Option<&'static str> {
    match task {
        EmbedTask::Query => Some("search_query"),
        EmbedTask::Document => Some("search_document"),
        EmbedTask::Classification => Some("classification"),
        EmbedTask::Clustering => Some("clustering"),
        EmbedTask::Similarity | EmbedTask::QuestionAnswering => None,
        EmbedTask::FactVerification | EmbedTask::CodeQuery => None,
    }
}

impl EmbedProvider for Cohere {
    fn lacks(&self, request: &EmbedRequest, field: EmbedField) -> bool {
        match field {
            EmbedField::Tokens | EmbedField::Title | EmbedField::User => true,
            EmbedField::Task => request.task.and_then(input_type).is_none(),
            EmbedField::Dimensions => false,
        }
    }

    fn encode(&self, request: &EmbedRequest, model: &str, _: &Quirks) -> Result<(Cow<'static, str>, Bytes), Error> {
        let body = Request {
            model,
            input_type: request.task.and_then(input_type).unwrap_or("search_document"),
            embedding_types: ["float"],
            texts: texts(request, "input")?,
            output_dimension: request.dimensions,
            truncate: "NONE",
        };
        Ok((Cow::Borrowed("/v2/embed"), crate::dialect::models::json(&body)?))
    }

    fn decode(&self, body: &[u8]) -> Result<EmbedAnswer, Failure> {
        let answer: Answer<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
        let vectors = answer.embeddings.float.iter().map(|v| numbers(v.get()).ok_or_else(no_vector));
        let vectors = vectors.collect::<Result<_, _>>()?;
        Ok(EmbedAnswer { vectors, model: None, usage: reply::usage_of_embedding(body) })
    }
}
