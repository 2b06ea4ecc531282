//! What Claude is told in the same words wherever it runs: by its maker and by Bedrock.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Destination, Ingress, common, ingress, places};
use crate::domain::chat::{ChatRequest, Loss, Role};
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

/// What the user says behind a conversation that ends in a turn of the assistant.
pub(super) const GO_ON: &str = "Continue.";

/// Whether [`GO_ON`] must stand behind a conversation that ends in a turn of the assistant, since the model answers users
/// only (`quirks.refuses`, `prefill`). In most dialects the next answer is a turn of its own, and that is what is asked for;
/// where the client's model would go on with the last turn's very words, nothing can stand for that. `last`: whose the last
/// turn is.
///
/// # Errors
/// The client means that the model goes on with the last turn, and this one refuses.
pub(super) fn asks_to_go_on(
    request: &ChatRequest,
    to: &Destination<'_>,
    last: Option<&str>,
    loss: &mut Loss,
) -> Result<bool, Error> {
    if last != Some("assistant") || !common::named(&to.quirks.refuses, to.model, "prefill") {
        return Ok(false);
    }
    let at = request.messages.iter().rposition(|message| message.role == Role::Assistant).unwrap_or_default();
    let place = places::turn(at, "role");
    if ingress(request.source).is_some_and(Ingress::prefills) {
        let why = "does not go on with a turn of the assistant: the conversation must end with the user's";
        let message = format!("`{}` {why}", to.model);
        return Err(Error::new(ErrorKind::UnsupportedParameter, message).param(place));
    }
    loss.advisory.push(place);
    Ok(true)
}
