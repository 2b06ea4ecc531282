//! Batches: many requests in one, done within a day at a lower price.
//!
//! They pass to a provider of the client's dialect as they come; only the models' names in them are exchanged. All requests
//! of a batch ask for one model: a batch goes to one place. What each of them used stands in the results.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::paths::{Does, Lies};
use super::{Located, Stored, egress, ingress};
use crate::dialect::{Observed, Quirks};
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind};
use crate::domain::id::DialectId;
use crate::domain::plan::Operation;
use crate::domain::target::{Capabilities, Capability};

/// Most requests of one batch. Source: Anthropic's Message Batches; OpenAI takes half as many.
const MOST: usize = 100_000;

/// How a dialect writes batches.
pub trait Batches: Send + Sync {
    /// Where the requests of an upload stand, in order. `within`: the file in a form, else the whole body.
    ///
    /// # Errors
    /// What is no such upload.
    fn requests(&self, body: &Bytes, within: Range<usize>) -> Result<Vec<Item>, Error>;

    /// Whether requests come in an uploaded file, else with the batch itself.
    fn by_file(&self) -> bool;

    /// Where something lies, as a path below the provider's base URL, with what is to be done there.
    fn place(&self, kind: Lies, id: &str, does: Does) -> String;

    /// What the provider says of a batch; none = that is no batch.
    fn state(&self, body: &[u8]) -> Option<State>;

    /// The same as clients are to see it, where it names addresses of the provider.
    fn shown(&self, body: &Bytes) -> Bytes {
        body.clone()
    }

    /// One line of the results; none = that is none.
    fn result<'l>(&self, line: &'l [u8]) -> Option<Line<'l>>;

    /// A list of what there is, newest first.
    fn list(&self, objects: &[(String, String)], more: bool) -> Bytes;
}

/// One request of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it stands.
    pub range: Range<usize>,
    /// What it asks for, in which dialect.
    pub asks: Asks,
    /// What messages call it.
    pub name: String,
}

/// What the requests of a batch ask for, in which dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asks {
    /// What.
    pub operation: Operation,
    /// In whose words, and the answers.
    pub dialect: DialectId,
}

/// What a provider says of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its id.
    pub id: String,
    /// Whether nothing more comes.
    pub ended: bool,
    /// Where results lie, as paths below the provider's base URL.
    pub results: Vec<String>,
    /// Ids of files that it made.
    pub files: Vec<String>,
}

/// One line of the results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'l> {
    /// Which request, in the client's words.
    pub custom_id: Cow<'l, str>,
    /// The answer; none = there is none, and nothing to pay.
    pub answer: Option<&'l [u8]>,
}

/// A batch as far as routing needs to know it.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The model that all its requests ask for.
    pub model: String,
    /// What they ask for.
    pub asks: Asks,
    /// Answers of all of them.
    pub choices: u32,
    /// Bytes of all prompts.
    pub prompt_bytes: usize,
    /// The largest output limit; none = one of them has none.
    pub max_output: Option<u64>,
    /// What the target must be able to do.
    pub needs: Capabilities,
    /// What they name of that which a provider has stored.
    pub stored: Vec<Stored>,
    /// Where the model's name stands, each time, in order.
    pub models: Vec<Range<usize>>,
}

impl Batch {
    /// Reads an upload of that dialect. `within`: the file in a form, else the whole body.
    ///
    /// # Errors
    /// What is wrong with it, by the request in it.
    pub fn read(batches: &dyn Batches, body: &Bytes, within: Range<usize>) -> Result<Self, Error> {
        let items = batches.requests(body, within)?;
        let empty = || Error::new(ErrorKind::InvalidRequest, "the batch has no requests");
        let first = items.first().ok_or_else(empty)?;
        if items.len() > MOST {
            let message = format!("the batch has {} requests, more than {MOST}", items.len());
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        }
        let mut batch = Self {
            model: String::new(),
            asks: first.asks,
            choices: 0,
            prompt_bytes: 0,
            max_output: Some(0),
            needs: Capabilities::NONE.with(first.asks.operation.capability()).with(Capability::Batch),
            stored: Vec::new(),
            models: Vec::with_capacity(items.len()),
        };
        for item in &items {
            batch.take(item, body).map_err(|error| at(&item.name, error))?;
        }
        Ok(batch)
    }

    fn take(&mut self, item: &Item, body: &Bytes) -> Result<(), Error> {
        let ingress = ingress(item.asks.dialect);
        let ingress = ingress.ok_or_else(|| Error::new(ErrorKind::Internal, "no such client dialect"))?;
        if item.asks != self.asks {
            return Err(Error::new(ErrorKind::InvalidRequest, "all requests of a batch ask for the same"));
        }
        let text = body.slice(item.range.clone());
        let envelope = match item.asks.operation {
            Operation::Chat | Operation::Completions => ingress.envelope(&text, &Located::default())?,
            _ => ingress.envelope_of_other(&text)?,
        };
        if envelope.stream {
            let error = Error::new(ErrorKind::InvalidRequest, "a batch has no streams").code("batch_stream");
            return Err(error.param("stream"));
        }
        if self.models.is_empty() {
            self.model.clone_from(&envelope.model);
        } else if self.model != envelope.model {
            let message = format!("all requests of a batch ask for one model, here `{}`", self.model);
            return Err(Error::new(ErrorKind::InvalidRequest, message).code("batch_of_several_models").param("model"));
        }
        let missing = || Error::new(ErrorKind::InvalidRequest, "`model` is missing").param("model");
        let model = envelope.spans.get("model").ok_or_else(missing)?.value.clone();
        self.models.push(item.range.start + model.start..item.range.start + model.end);
        self.choices = self.choices.saturating_add(envelope.choices.max(1));
        self.prompt_bytes = self.prompt_bytes.saturating_add(envelope.prompt_bytes);
        self.max_output = self.max_output.zip(envelope.max_output).map(|(most, own)| most.max(own));
        let needed = Capability::ALL.into_iter().filter(|c| envelope.needs.has(*c));
        self.needs = needed.fold(self.needs, Capabilities::with);
        self.stored.extend(ingress.names_stored(&text, &envelope));
        Ok(())
    }

    /// The upload with another name of the model.
    #[must_use]
    pub fn renamed(&self, body: &Bytes, model: &str) -> Vec<Bytes> {
        if model == self.model {
            return vec![body.clone()];
        }
        let name = Bytes::from(crate::wire::splice::quote(model));
        let mut pieces = Vec::with_capacity(self.models.len() * 2 + 1);
        let mut from = 0;
        for range in &self.models {
            pieces.extend([body.slice(from..range.start), name.clone()]);
            from = range.end;
        }
        pieces.push(body.slice(from..));
        pieces
    }
}

/// What metering needs of an answer in the results.
///
/// # Errors
/// What is no answer of that kind.
pub fn observe(asks: Asks, answer: &[u8], quirks: &Quirks) -> Result<Observed, Failure> {
    let none = || Failure::new(FailureKind::Malformed, "an answer of a dialect that has none");
    let egress = egress(asks.dialect).ok_or_else(none)?;
    match asks.operation {
        Operation::Chat | Operation::Completions => {
            egress.passthrough().ok_or_else(none)?.observe_response(answer, quirks)
        }
        other => Ok(egress.observe_other(other, answer)),
    }
}

/// An error with the place of the request in the batch.
fn at(name: &str, error: Error) -> Error {
    let param = error.param.as_ref().map_or_else(|| name.to_owned(), |param| format!("{name}.{param}"));
    let message = format!("{name}: {}", error.message);
    Error { message: message.into(), ..error }.param(param)
}
