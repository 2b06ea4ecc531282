//! Message Batches. Format: Anthropic API reference, "Message Batches".

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::batch::{Asks, Batches, Item, Line, State};
use crate::dialect::paths::{Does, Lies};
use crate::dialect::read::{Body, missing, wrong};
use crate::domain::error::Error;
use crate::domain::id::DialectId;
use crate::domain::plan::Operation;
use crate::wire::splice::{Members, quote};

/// Batches of messages, inline.
pub(super) struct MessageBatches;

#[derive(Deserialize)]
struct Request<'r> {
    #[serde(borrow)]
    params: Option<&'r RawValue>,
}

#[derive(Deserialize)]
struct Object {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    processing_status: String,
    results_url: Option<String>,
}

#[derive(Deserialize)]
struct ResultLine<'l> {
    #[serde(borrow)]
    custom_id: Cow<'l, str>,
    #[serde(borrow)]
    result: Outcome<'l>,
}

#[derive(Deserialize)]
struct Outcome<'l> {
    #[serde(borrow)]
    message: Option<&'l RawValue>,
}

fn results(id: &str) -> String {
    format!("/v1/messages/batches/{id}/results")
}

impl Batches for MessageBatches {
    fn requests(&self, body: &Bytes, _: Range<usize>) -> Result<Vec<Item>, Error> {
        let read = Body::scan(body)?;
        let list = read.get("requests").ok_or_else(|| missing("requests"))?;
        let requests: Vec<Request<'_>> =
            serde_json::from_slice(list).map_err(|_| wrong("requests", "a list of requests"))?;
        let asks = Asks { operation: Operation::Chat, dialect: DialectId::Anthropic };
        let items = requests.iter().enumerate().map(|(number, request)| {
            let name = format!("requests[{number}].params");
            let text = request.params.ok_or_else(|| missing(&name))?.get();
            let start = text.as_ptr() as usize - body.as_ptr() as usize;
            Ok(Item { range: start..start + text.len(), asks, name })
        });
        items.collect()
    }

    fn by_file(&self) -> bool {
        false
    }

    fn place(&self, _: Lies, id: &str, does: Does) -> String {
        match does {
            Does::Results => results(id),
            Does::Cancel => format!("/v1/messages/batches/{id}/cancel"),
            Does::Show | Does::Remove | Does::Begin | Does::List => format!("/v1/messages/batches/{id}"),
        }
    }

    fn state(&self, body: &[u8]) -> Option<State> {
        let object: Object = serde_json::from_slice(body).ok().filter(|o: &Object| o.kind == "message_batch")?;
        let ended = object.processing_status == "ended";
        // Never the address that it names: the host is the endpoint's own.
        let path = object.results_url.filter(|_| ended).map(|_| results(&object.id));
        Some(State { ended, results: path.into_iter().collect(), files: Vec::new(), id: object.id })
    }

    /// Clients fetch the results from the address that the batch names: below their own base URL.
    fn shown(&self, body: &Bytes) -> Bytes {
        let named = Members::scan(body).ok().filter(|m| m.value(body, "results_url").is_some_and(|v| v != b"null"));
        match (named, self.state(body)) {
            (Some(members), Some(state)) => {
                let mut splice = members.splice();
                splice.set("results_url", quote(&results(&state.id)));
                splice.apply(body).concat().into()
            }
            _ => body.clone(),
        }
    }

    fn result<'l>(&self, line: &'l [u8]) -> Option<Line<'l>> {
        let read: ResultLine<'l> = serde_json::from_slice(line).ok()?;
        Some(Line { custom_id: read.custom_id, answer: read.result.message.map(|text| text.get().as_bytes()) })
    }

    fn list(&self, objects: &[(String, String)], more: bool) -> Bytes {
        let id = |object: Option<&(String, String)>| object.map_or("null".to_owned(), |(id, _)| quote(id));
        let all: Vec<&str> = objects.iter().map(|(_, text)| text.as_str()).collect();
        Bytes::from(format!(
            r#"{{"data":[{}],"has_more":{more},"first_id":{},"last_id":{}}}"#,
            all.join(","),
            id(objects.first()),
            id(objects.last())
        ))
    }
}
