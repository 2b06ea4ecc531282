//! Batches from uploaded files. Format: OpenAI API reference, "Batch" and "Files".

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::batch::{Asks, Batches, Item, Line, State};
use crate::dialect::paths::{Does, Lies};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;
use crate::domain::plan::Operation;
use crate::wire::splice::quote;

/// Batches of what an uploaded file holds, a request a line.
pub(super) struct FileBatches;

#[derive(Deserialize)]
struct Request<'r> {
    #[serde(borrow)]
    url: Cow<'r, str>,
    #[serde(borrow)]
    body: &'r RawValue,
}

#[derive(Deserialize)]
struct Object {
    id: String,
    object: String,
    status: String,
    output_file_id: Option<String>,
    error_file_id: Option<String>,
}

#[derive(Deserialize)]
struct ResultLine<'l> {
    #[serde(borrow)]
    custom_id: Cow<'l, str>,
    #[serde(borrow)]
    response: Option<Response<'l>>,
}

#[derive(Deserialize)]
struct Response<'l> {
    status_code: Option<u16>,
    #[serde(borrow)]
    body: Option<&'l RawValue>,
}

/// What a request of that path asks for, and in which dialect it is answered.
fn asks(url: &str) -> Option<Asks> {
    let (operation, dialect) = match url {
        "/v1/chat/completions" => (Operation::Chat, DialectId::OpenAiChat),
        "/v1/responses" => (Operation::Chat, DialectId::OpenAiResponses),
        "/v1/completions" => (Operation::Completions, DialectId::OpenAiCompletions),
        "/v1/embeddings" => (Operation::Embeddings, DialectId::OpenAiChat),
        _ => return None,
    };
    Some(Asks { operation, dialect })
}

impl Batches for FileBatches {
    fn requests(&self, body: &Bytes, within: Range<usize>) -> Result<Vec<Item>, Error> {
        let file = body.get(within).unwrap_or_default();
        let lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
        let items = lines.filter(|(_, line)| !line.is_empty()).map(|(number, line)| {
            let name = format!("file[{}]", number + 1);
            let wrong = |message: String| {
                Err(Error::new(ErrorKind::InvalidRequest, format!("{name}: {message}")).param(name.clone()))
            };
            let Ok(request) = serde_json::from_slice::<Request<'_>>(line) else {
                return wrong("a line of a batch is an object with `custom_id`, `method`, `url` and `body`".to_owned());
            };
            let Some(asks) = asks(&request.url) else {
                return wrong(format!("a batch for `{}` is not offered by the gateway", request.url));
            };
            let text = request.body.get();
            let start = text.as_ptr() as usize - body.as_ptr() as usize;
            Ok(Item { range: start..start + text.len(), asks, name: format!("{name}.body") })
        });
        items.collect()
    }

    fn by_file(&self) -> bool {
        true
    }

    fn place(&self, kind: Lies, id: &str, does: Does) -> String {
        match (kind, does) {
            (_, Does::Begin) => "/batches".to_owned(),
            (Lies::Batch, Does::Cancel) => format!("/batches/{id}/cancel"),
            (Lies::Batch, _) => format!("/batches/{id}"),
            (Lies::File, Does::Results) => format!("/files/{id}/content"),
            _ => format!("/files/{id}"),
        }
    }

    fn state(&self, body: &[u8]) -> Option<State> {
        let object: Object = serde_json::from_slice(body).ok().filter(|o: &Object| o.object == "batch")?;
        let ended = matches!(&*object.status, "failed" | "completed" | "expired" | "cancelled");
        let results = object.output_file_id.iter().map(|id| format!("/files/{id}/content")).collect();
        let files = object.output_file_id.into_iter().chain(object.error_file_id).collect();
        Some(State { id: object.id, ended, results, files })
    }

    fn result<'l>(&self, line: &'l [u8]) -> Option<Line<'l>> {
        let read: ResultLine<'l> = serde_json::from_slice(line).ok()?;
        let good = read.response.filter(|r| r.status_code.is_none_or(|status| (200..300).contains(&status)));
        let answer = good.and_then(|response| response.body).map(|text| text.get().as_bytes());
        Some(Line { custom_id: read.custom_id, answer })
    }

    fn list(&self, objects: &[(String, String)], more: bool) -> Bytes {
        let id = |object: Option<&(String, String)>| object.map_or("null".to_owned(), |(id, _)| quote(id));
        let all: Vec<&str> = objects.iter().map(|(_, text)| text.as_str()).collect();
        Bytes::from(format!(
            r#"{{"object":"list","data":[{}],"first_id":{},"last_id":{},"has_more":{more}}}"#,
            all.join(","),
            id(objects.first()),
            id(objects.last())
        ))
    }
}
