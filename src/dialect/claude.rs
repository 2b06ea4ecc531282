//! What Claude is told in the same words wherever it runs: by its maker and by Bedrock.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Destination, common, places};
use crate::domain::chat::{ChatRequest, Role};
use crate::domain::error::{Error, ErrorKind};

/// How it is told to think.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Thinking<'a> {
    /// So many tokens.
    Enabled {
        #[serde(rename = "type")]
        kind: &'static str,
        budget_tokens: u64,
    },
    /// It decides by itself; the words of it are shown only if that is said.
    Adaptive {
        #[serde(rename = "type")]
        kind: &'static str,
        display: &'static str,
    },
    /// As the client wrote it.
    Raw(&'a RawValue),
}

impl Thinking<'_> {
    /// A budget.
    pub(super) fn budget(budget_tokens: u64) -> Self {
        Self::Enabled { kind: "enabled", budget_tokens }
    }

    /// As it likes, shown to the client or not.
    pub(super) fn adaptive(request: &ChatRequest) -> Self {
        let display = if request.hide_thinking { "omitted" } else { "summarized" };
        Self::Adaptive { kind: "adaptive", display }
    }
}

/// Refuses a conversation that ends in a turn of the assistant, for the model to go on with, where the model answers
/// users only (`quirks.refuses`). `last`: whose the last turn is.
///
/// # Errors
/// It ends so, and the model refuses it.
pub(super) fn answers_users(request: &ChatRequest, to: &Destination<'_>, last: Option<&str>) -> Result<(), Error> {
    if last != Some("assistant") || !common::named(&to.quirks.refuses, to.model, "prefill") {
        return Ok(());
    }
    let at = request.messages.iter().rposition(|message| message.role == Role::Assistant).unwrap_or_default();
    let message = "this model does not go on with a turn of the assistant: the conversation must end with the user's";
    Err(Error::new(ErrorKind::UnsupportedParameter, message).param(places::turn(at, "role")))
}
