//! Vectors in Gemini's words, both sides: `embedContent` for one, `batchEmbedContents` for many. Vertex has neither the latter
//! nor one form for all its models: see `vertex`.
//!
//! Format: Gemini API reference, "Embeddings". Both spellings of members are read, since Google takes both.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::vertex::{self, Form, Instance, Predict, Prediction};
use super::{Gemini, encoded, reply};
use crate::dialect::Quirks;
use crate::dialect::common::malformed;
use crate::dialect::embed::{EmbedClient, EmbedProvider, no_vector, numbers, texts};
use crate::dialect::read::{Members, missing, object, wrong};
use crate::domain::embed::{EmbedAnswer, EmbedField, EmbedInput, EmbedRequest, EmbedTask};
use crate::domain::error::{Error, ErrorKind, Failure};
use crate::wire::splice;

/// Google's words for what vectors are for.
const TASKS: [(&str, EmbedTask); 8] = [
    ("RETRIEVAL_QUERY", EmbedTask::Query),
    ("RETRIEVAL_DOCUMENT", EmbedTask::Document),
    ("SEMANTIC_SIMILARITY", EmbedTask::Similarity),
    ("CLASSIFICATION", EmbedTask::Classification),
    ("CLUSTERING", EmbedTask::Clustering),
    ("QUESTION_ANSWERING", EmbedTask::QuestionAnswering),
    ("FACT_VERIFICATION", EmbedTask::FactVerification),
    ("CODE_RETRIEVAL_QUERY", EmbedTask::CodeQuery),
];

/// One text with its settings.
struct One {
    text: String,
    task: Option<EmbedTask>,
    title: Option<String>,
    dimensions: Option<u64>,
    extra: Vec<String>,
}

/// Both spellings of a member.
fn either<'a>(members: &mut Members<'a>, camel: &str, snake: &str) -> Option<&'a RawValue> {
    members.raw(camel).or_else(|| members.raw(snake))
}

fn one(mut members: Members<'_>, within: &str) -> Result<One, Error> {
    let at = |name: &str| if within.is_empty() { name.to_owned() } else { format!("{within}.{name}") };
    members.raw("model");
    let content = members.raw("content").ok_or_else(|| missing(&at("content")))?;
    let text = text(content, &at("content"))?;
    let word = |raw: Option<&RawValue>, name: &str| -> Result<Option<String>, Error> {
        raw.map(|raw| object(raw, &at(name))).transpose()
    };
    let named = word(either(&mut members, "taskType", "task_type"), "taskType")?;
    let task = match named.as_deref() {
        None | Some("TASK_TYPE_UNSPECIFIED") => None,
        Some(name) => {
            let known = TASKS.iter().find(|(known, _)| *known == name).map(|(_, task)| *task);
            Some(known.ok_or_else(|| wrong(&at("taskType"), "one of Google's task types"))?)
        }
    };
    let title = word(members.raw("title"), "title")?;
    let raw = either(&mut members, "outputDimensionality", "output_dimensionality");
    let dimensions: Option<u64> = raw.map(|raw| object(raw, &at("outputDimensionality"))).transpose()?;
    if dimensions == Some(0) {
        return Err(wrong(&at("outputDimensionality"), "a whole number from 1 on").code("out_of_range"));
    }
    let extra = members.rest().into_iter().map(|(name, _)| at(&name)).collect();
    Ok(One { text, task, title, dimensions, extra })
}

/// The text of a content; other parts have no equal elsewhere.
fn text(content: &RawValue, at: &str) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        parts: Vec<&'a RawValue>,
    }
    let content: Content<'_> = object(content, at)?;
    let mut whole = String::new();
    for (number, part) in content.parts.iter().enumerate() {
        let place = format!("{at}.parts[{number}]");
        let mut part = Members::within(part, &place)?;
        let Some(text) = part.take::<String>("text")? else {
            let message = "only text can become a vector at a target of another dialect";
            return Err(Error::new(ErrorKind::UnsupportedParameter, message).param(place));
        };
        whole.push_str(&text);
    }
    if whole.is_empty() { Err(wrong(at, "a content with text")) } else { Ok(whole) }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<Values<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embeddings: Option<Vec<Values<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_metadata: Option<Used>,
}

#[derive(Deserialize, Serialize)]
struct Values<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Used {
    prompt_token_count: u64,
}

impl EmbedClient for Gemini {
    fn decode(&self, body: &[u8], path: &str) -> Result<EmbedRequest, Error> {
        let mut members = Members::of(body)?;
        if path == "embedContent" {
            let One { text, task, title, dimensions, extra } = one(members, "")?;
            let inputs = vec![EmbedInput::Text(text)];
            return Ok(EmbedRequest {
                inputs,
                single: true,
                task,
                title,
                dimensions,
                extra,
                ..EmbedRequest::default()
            });
        }
        let list: Vec<&RawValue> = members.take("requests")?.ok_or_else(|| missing("requests"))?;
        let mut request = EmbedRequest::default();
        for (number, raw) in list.iter().enumerate() {
            let at = format!("requests[{number}]");
            let part = one(Members::within(raw, &at)?, &at)?;
            if number == 0 {
                (request.task, request.title, request.dimensions) = (part.task, part.title, part.dimensions);
            } else if (request.task, &request.title, request.dimensions) != (part.task, &part.title, part.dimensions) {
                let message = "a target of another dialect makes all vectors of a request alike";
                return Err(Error::new(ErrorKind::UnsupportedParameter, message).param(at));
            }
            request.inputs.push(EmbedInput::Text(part.text));
            request.extra.extend(part.extra);
        }
        request.extra.extend(members.rest().into_iter().map(|(name, _)| name));
        if request.inputs.is_empty() { Err(wrong("requests", "a list with something in it")) } else { Ok(request) }
    }

    fn encode(&self, answer: &EmbedAnswer, request: &EmbedRequest, _: &str, _: u64) -> Bytes {
        let mut vectors: Vec<Values<'_>> = answer.vectors.iter().filter_map(|v| values(v.as_str())).collect();
        let usage_metadata = answer.usage.map(|usage| Used { prompt_token_count: usage.input_tokens() });
        let answered = if request.single {
            Answered { embedding: vectors.pop(), embeddings: None, usage_metadata }
        } else {
            Answered { embedding: None, embeddings: Some(vectors), usage_metadata }
        };
        Bytes::from(serde_json::to_vec(&answered).unwrap_or_default())
    }

    fn name(&self, field: EmbedField) -> &'static str {
        match field {
            EmbedField::Tokens => "content",
            EmbedField::Dimensions => "outputDimensionality",
            EmbedField::Task => "taskType",
            EmbedField::Title => "title",
            EmbedField::User => "labels",
        }
    }
}

fn values(text: &str) -> Option<Values<'_>> {
    serde_json::from_str(text).ok().map(|values| Values { values })
}

#[derive(Serialize)]
struct Batch<'a> {
    requests: Vec<Request<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u64>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [Part<'a>; 1],
}

#[derive(Serialize)]
struct Part<'a> {
    text: &'a str,
}

/// One vector, several, or predictions.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    embedding: Option<Values<'a>>,
    #[serde(borrow)]
    embeddings: Option<Vec<Values<'a>>>,
    #[serde(borrow)]
    predictions: Option<Vec<Prediction<'a>>>,
}

impl EmbedProvider for Gemini {
    fn lacks(&self, _: &EmbedRequest, field: EmbedField) -> bool {
        matches!(field, EmbedField::Tokens | EmbedField::User)
    }

    fn encode(
        &self,
        request: &EmbedRequest,
        model: &str,
        quirks: &Quirks,
    ) -> Result<(Cow<'static, str>, Bytes), Error> {
        let form = Form::of(model, quirks);
        let task_type = TASKS.iter().find(|(_, task)| Some(*task) == request.task).map(|(name, _)| *name);
        let title = request.title.as_deref();
        let texts = texts(request, "input")?;
        if texts.len() > 1 && form.takes_one() {
            let message = "this model makes the vector of one text at a time";
            return Err(Error::new(ErrorKind::UnsupportedParameter, message).param("input"));
        }
        let name = full_name(model);
        let one = |text, model| {
            let content = Content { parts: [Part { text }] };
            Request { model, content, task_type, title, output_dimensionality: request.dimensions }
        };
        let (method, body) = match (form, texts.as_slice()) {
            (Form::Content, [text]) => ("embedContent", crate::dialect::models::json(&one(text, None))?),
            (Form::Predict | Form::PredictOne, texts) => {
                let instances = texts.iter().map(|content| Instance { content, task_type, title }).collect();
                ("predict", crate::dialect::models::json(&Predict::new(instances, request.dimensions))?)
            }
            (Form::Batch | Form::Content, texts) => {
                let requests = texts.iter().map(|text| one(text, Some(name.as_str()))).collect();
                ("batchEmbedContents", crate::dialect::models::json(&Batch { requests })?)
            }
        };
        Ok((Cow::Owned(format!("/models/{}:{method}", encoded(model))), body))
    }

    fn differs(&self, model: &str, quirks: &Quirks) -> bool {
        Form::of(model, quirks) != Form::Batch
    }

    fn decode(&self, body: &[u8]) -> Result<EmbedAnswer, Failure> {
        let answer: Answer<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
        if let Some(predictions) = answer.predictions {
            return vertex::answer(&predictions);
        }
        let several = answer.embeddings.or(answer.embedding.map(|one| vec![one])).ok_or_else(no_vector)?;
        let vectors = several.iter().map(|v| numbers(v.values.get()).ok_or_else(no_vector));
        let vectors = vectors.collect::<Result<_, _>>()?;
        Ok(EmbedAnswer { vectors, model: None, usage: reply::usage_of_other(body) })
    }
}

/// A model as bodies name it.
fn full_name(model: &str) -> String {
    if model.starts_with("models/") { model.to_owned() } else { format!("models/{model}") }
}

/// A body that passes to a model of another name: it may name the model a second time, in itself or in each of its
/// requests, and Google refuses one that disagrees with the path.
pub(super) fn renamed(body: &Bytes, model: &str) -> Bytes {
    let name = splice::quote(&full_name(model));
    let named = |text: &Bytes| -> Option<Bytes> {
        let members = splice::Members::scan(text).ok()?;
        members.get("model")?;
        let mut splice = members.splice();
        splice.set("model", name.clone());
        Some(Bytes::from(splice.apply(text).concat()))
    };
    let body = named(body).unwrap_or_else(|| body.clone());
    let Ok(members) = splice::Members::scan(&body) else { return body };
    let mut splice = members.splice();
    let list = members.value(&body, "requests").and_then(|text| serde_json::from_slice::<Vec<&RawValue>>(text).ok());
    if let Some(list) = list {
        let parts: Vec<String> = list
            .iter()
            .map(|raw| Bytes::copy_from_slice(raw.get().as_bytes()))
            .map(|part| String::from_utf8_lossy(&named(&part).unwrap_or(part)).into_owned())
            .collect();
        splice.set("requests", format!("[{}]", parts.join(",")));
    }
    let whole = members.value(&body, "generateContentRequest").map(Bytes::copy_from_slice);
    if let Some(whole) = whole.as_ref().and_then(named) {
        splice.set("generateContentRequest", whole);
    }
    Bytes::from(splice.apply(&body).concat())
}
