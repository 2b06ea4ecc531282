//! Embeddings of the OpenAI family, both sides.
//!
//! Format: OpenAI API reference, "Create embeddings". `input_type` is no member of OpenAI's; imitators with models that
//! want it (Cohere, NVIDIA, Voyage) take it there.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{OpenAiChat, other};
use crate::dialect::Quirks;
use crate::dialect::common::malformed;
use crate::dialect::embed::{EmbedClient, EmbedProvider, no_vector, numbers, packed, unpacked};
use crate::dialect::read::{Members, missing, read, wrong};
use crate::domain::embed::{EmbedAnswer, EmbedField, EmbedInput, EmbedRequest, EmbedTask};
use crate::domain::error::{Error, Failure};
use crate::domain::usage::Bucket;

/// Most inputs of one request, as at OpenAI.
const MOST: usize = 2048;

/// `input`: a text, texts, the tokens of one text, or those of several.
fn inputs(raw: &RawValue) -> Result<Vec<EmbedInput>, Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Text(String),
        Texts(Vec<String>),
        Tokens(Vec<u64>),
        Lists(Vec<Vec<u64>>),
    }
    let wanted = "a string, an array of strings, an array of token numbers or an array of such arrays";
    let inputs: Vec<EmbedInput> = match read(raw, "input", wanted)? {
        Given::Text(text) => vec![EmbedInput::Text(text)],
        Given::Texts(texts) => texts.into_iter().map(EmbedInput::Text).collect(),
        Given::Tokens(tokens) => vec![EmbedInput::Tokens(tokens)],
        Given::Lists(lists) => lists.into_iter().map(EmbedInput::Tokens).collect(),
    };
    let empty = |input: &EmbedInput| match input {
        EmbedInput::Text(text) => text.is_empty(),
        EmbedInput::Tokens(tokens) => tokens.is_empty(),
    };
    if inputs.is_empty() || inputs.len() > MOST || inputs.iter().any(empty) {
        return Err(wrong("input", &format!("1 to {MOST} inputs, none of them empty")));
    }
    Ok(inputs)
}

fn task(name: &str) -> Option<EmbedTask> {
    Some(match name {
        "query" | "search_query" => EmbedTask::Query,
        "document" | "passage" | "search_document" => EmbedTask::Document,
        "classification" => EmbedTask::Classification,
        "clustering" => EmbedTask::Clustering,
        _ => return None,
    })
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Item<'a>>,
    model: &'a str,
    usage: Used,
}

#[derive(Serialize)]
struct Item<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector<'a> {
    Packed(String),
    Numbers(&'a RawValue),
}

#[derive(Serialize)]
struct Used {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl EmbedClient for OpenAiChat {
    fn decode(&self, body: &[u8], _: &str) -> Result<EmbedRequest, Error> {
        let mut members = Members::of(body)?;
        members.raw("model");
        let raw = members.raw("input").ok_or_else(|| missing("input"))?;
        let format: Option<Cow<'_, str>> = members.take("encoding_format")?;
        let base64 = match format.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => return Err(wrong("encoding_format", "`float` or `base64`")),
        };
        let dimensions: Option<u64> = members.take("dimensions")?;
        if dimensions == Some(0) {
            return Err(wrong("dimensions", "a whole number from 1 on").code("out_of_range"));
        }
        let input_type: Option<Cow<'_, str>> = members.take("input_type")?;
        let read = input_type.as_deref().map(|name| task(name).ok_or_else(|| wrong("input_type", "a known task")));
        Ok(EmbedRequest {
            inputs: inputs(raw)?,
            single: false,
            base64,
            dimensions,
            task: read.transpose()?,
            title: None,
            user: members.take("user")?,
            extra: members.rest().into_iter().map(|(name, _)| name).collect(),
        })
    }

    fn encode(&self, answer: &EmbedAnswer, request: &EmbedRequest, model: &str, tokens: u64) -> Bytes {
        let vector = |vector| {
            if request.base64 {
                return Some(Vector::Packed(packed(vector)));
            }
            serde_json::from_str::<&RawValue>(vector.as_str()).ok().map(Vector::Numbers)
        };
        let vectors = answer.vectors.iter().filter_map(vector).enumerate();
        let data = vectors.map(|(index, embedding)| Item { object: "embedding", index, embedding }).collect();
        let tokens = answer.usage.map_or(tokens, |usage| usage.input_tokens());
        let usage = Used { prompt_tokens: tokens, total_tokens: tokens };
        Bytes::from(serde_json::to_vec(&List { object: "list", data, model, usage }).unwrap_or_default())
    }

    fn name(&self, field: EmbedField) -> &'static str {
        match field {
            EmbedField::Tokens => "input",
            EmbedField::Dimensions => "dimensions",
            EmbedField::Task | EmbedField::Title => "input_type",
            EmbedField::User => "user",
        }
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: Vec<Input<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Input<'a> {
    Text(&'a str),
    Tokens(&'a [u64]),
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Vec<Given<'a>>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct Given<'a> {
    #[serde(default)]
    index: Option<usize>,
    #[serde(borrow)]
    embedding: &'a RawValue,
}

impl EmbedProvider for OpenAiChat {
    fn lacks(&self, _: &EmbedRequest, field: EmbedField) -> bool {
        matches!(field, EmbedField::Task | EmbedField::Title)
    }

    fn encode(&self, request: &EmbedRequest, model: &str, _: &Quirks) -> Result<(Cow<'static, str>, Bytes), Error> {
        let input = request.inputs.iter().map(|input| match input {
            EmbedInput::Text(text) => Input::Text(text),
            EmbedInput::Tokens(tokens) => Input::Tokens(tokens),
        });
        let (dimensions, user) = (request.dimensions, request.user.as_deref());
        let body = Request { model, input: input.collect(), dimensions, user };
        Ok((Cow::Borrowed("/embeddings"), super::super::models::json(&body)?))
    }

    fn decode(&self, body: &[u8]) -> Result<EmbedAnswer, Failure> {
        let answer: Answer<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
        let mut data = answer.data;
        // Their order is said by their numbers.
        data.sort_by_key(|given| given.index);
        let vector = |given: &Given<'_>| {
            let text = given.embedding.get();
            let packed = || unpacked(&serde_json::from_str::<String>(text).ok()?);
            numbers(text).or_else(packed).ok_or_else(no_vector)
        };
        let vectors = data.iter().map(vector).collect::<Result<_, _>>()?;
        let usage = other::observe(body, Bucket::Output).usage;
        Ok(EmbedAnswer { vectors, model: answer.model, usage })
    }
}
