//! One request as the steps see it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tokio::time::Instant;

use super::tenants::Owned;
use crate::admission::Principal;
use crate::catalogue::Target;
use crate::dialect::{self, Envelope, Ingress, Slot};
use crate::domain::embed::{EmbedField, EmbedRequest};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::{DialectId, RequestId};
use crate::domain::plan::{Operation, WHOLE_OPERATION};
use crate::domain::price::ServiceTier;
use crate::domain::usage::{Bucket, Usage};
use crate::wire::splice::{Members, quote};

/// A request that has been authenticated and whose envelope is known. The prompt is not decoded.
pub(super) struct Call {
    pub request: RequestId,
    pub dialect: DialectId,
    pub operation: Operation,
    /// Below the version: which form the request has.
    pub path: &'static str,
    /// Headers of the client's dialect, for a provider of the same.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub ingress: &'static dyn Ingress,
    pub principal: Arc<Principal>,
    /// There is no other tenant.
    pub alone: bool,
    pub body: Bytes,
    pub envelope: Arc<Envelope>,
    /// `x-stellwerk-require`, as given.
    pub require: Option<String>,
    /// The client's own word for its conversation, as given.
    pub session: Option<String>,
    /// How long the client will wait.
    pub patience: Option<Duration>,
    /// Whether the cost is wanted in the usage report of a stream.
    pub show_cost: bool,
    /// The model the client named, shared with the receipt.
    pub model_asked: Arc<str>,
    /// Keys that the tenant brought.
    pub own: Option<Arc<Owned>>,
    /// A request for vectors, decoded at most once.
    pub vectors: OnceLock<Result<EmbedRequest, Error>>,
}

impl Call {
    /// Until when the client waits, by its own word, or the deadline where that is sooner.
    pub(super) fn awaited(&self, accepted: Instant, deadline: Instant) -> Instant {
        let until = self.patience.and_then(|patience| accepted.checked_add(patience));
        until.map_or(deadline, |until| until.min(deadline))
    }

    /// Whether a stream ends with a usage report that the client sees.
    pub(super) fn shows_usage(&self) -> bool {
        self.envelope.include_usage || self.show_cost
    }

    /// What makes the answer another one and does not stand in the body of every dialect: for the cache's key.
    pub(super) fn beside(&self) -> String {
        let Envelope { model, stream, array, .. } = &*self.envelope;
        format!("{model:?} {stream} {array} {:?}", self.headers)
    }

    /// The model's name on the wire. A wildcard model (`*`) passes what the client asked for, without the provider.
    pub(super) fn upstream_model<'a>(&'a self, target: &'a Target) -> &'a str {
        if &*target.upstream_model == "*" { model_at(&self.envelope.model, target) } else { &target.upstream_model }
    }

    /// What keeps an operation that is not translated from a dialect: nothing where it has the same one, whose body then
    /// is the same as well, under whatever path.
    pub(super) fn passing_missing(&self, to: DialectId) -> Vec<String> {
        let path = |to| dialect::egress(to)?.path_of_other(self.operation, self.path, &self.envelope.model);
        if path(to).is_some() { Vec::new() } else { vec![WHOLE_OPERATION.to_owned()] }
    }

    /// The tier of service that the request asks for, by whatever name its dialect has for it.
    pub(super) fn service(&self) -> ServiceTier {
        if self.operation == Operation::Batch {
            return ServiceTier::Batch;
        }
        let names = self.ingress.parameters().iter().filter(|parameter| parameter.asks_for_service());
        let values = names.filter_map(|name| self.envelope.spans.value(&self.body, name.name));
        let words = values.filter_map(|value| serde_json::from_slice::<String>(value).ok());
        let mut tiers = words.filter_map(|word| ServiceTier::read(&word));
        tiers.find(|tier| *tier != ServiceTier::Standard).unwrap_or_default()
    }

    /// Tokens of the prompt, estimated: four bytes each, the common mean of English text and JSON.
    pub(super) fn input_estimate(&self) -> u64 {
        (self.envelope.prompt_bytes as u64).div_ceil(4)
    }

    /// The same as usage.
    pub(super) fn prompt_estimate(&self) -> Usage {
        Usage::ZERO.with(Bucket::Input, self.input_estimate())
    }

    /// The request for vectors, where it is one that can be read.
    ///
    /// # Errors
    /// What is wrong with it, or that the client's dialect has no such requests.
    pub(super) fn vectors(&self) -> Result<&EmbedRequest, Error> {
        let read = || match self.ingress.embeddings() {
            Some(client) => client.decode(&self.body, self.path),
            None => Err(Error::new(ErrorKind::UnknownPath, "this dialect has no embeddings").code("api_not_offered")),
        };
        self.vectors.get_or_init(read).as_ref().map_err(Clone::clone)
    }

    /// Parts of a request for vectors that a dialect can't say: those that change the vectors, and hints. A request that
    /// can't be read lacks nothing: what is wrong with it is told when it is to be translated.
    pub(super) fn vectors_missing(&self, to: DialectId) -> (Vec<String>, Vec<String>) {
        match (self.ingress.embeddings(), self.vectors()) {
            (Some(client), Ok(request)) => dialect::embed::missing(request, client, dialect::embeddings(to)),
            _ => (Vec::new(), Vec::new()),
        }
    }

    /// What is wrong with a request for vectors, with its texts as this client names them.
    pub(super) fn vectors_in_its_words(&self, error: Error) -> Error {
        match (error.param.as_deref(), self.ingress.embeddings()) {
            (Some("input"), Some(client)) => error.param(client.name(EmbedField::Tokens)),
            _ => error,
        }
    }

    /// The planner's refusal with the parameter as this client names it. Where it names no parameter of the client, its
    /// words are those of Chat Completions.
    pub(super) fn in_its_words(&self, error: Error) -> Error {
        let own = |name: &str| self.envelope.members.iter().any(|member| **member == *name);
        let named = match error.param.as_deref() {
            None => return error,
            Some("max_output") => "max_tokens",
            Some(name) if own(name) => return error,
            Some(name) => name,
        };
        if named != "max_tokens" {
            let param = dialect::param_of(DialectId::OpenAiChat, self.dialect, named).or(error.param);
            return Error { param, ..error };
        }
        let names = self.ingress.parameters().iter().filter(|p| p.slot == Slot::MaxOutput).map(|p| p.name);
        let given = |name: &&str| self.envelope.members.iter().any(|member| **member == **name);
        let name = names.clone().find(given).or_else(|| names.clone().next());
        error.param(name.unwrap_or("max_tokens"))
    }
}

/// The body with the model's name, if it has none. What is no JSON object is somebody else's to refuse.
pub(super) fn named(body: Bytes, model: &str) -> Bytes {
    match Members::scan(&body) {
        Ok(members) if members.value(&body, "model").is_none_or(|value| value == b"null") => {
            let mut splice = members.splice();
            splice.set("model", quote(model));
            splice.apply(&body).concat().into()
        }
        _ => body,
    }
}

/// The name on the wire of the model that was asked for at a target that takes any: without provider and endpoint.
pub(super) fn model_at<'a>(asked: &'a str, target: &Target) -> &'a str {
    let asked = asked.strip_prefix(&*target.provider).and_then(|rest| rest.strip_prefix('/')).unwrap_or(asked);
    asked.strip_suffix(&*target.endpoint).and_then(|rest| rest.strip_suffix('@')).unwrap_or(asked)
}
