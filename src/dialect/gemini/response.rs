//! Whole answers.

use super::reply::State;
use super::types::Answer;
use crate::dialect::Observed;
use crate::domain::chat::ChatResponse;
use crate::domain::collect::Collector;
use crate::domain::error::{Failure, FailureKind};

/// Decodes a whole answer.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Failure> {
    let (mut state, mut events) = (State::default(), Vec::new());
    state.answer(read(body)?, &mut events)?;
    state.finish(&mut events);
    let served = state.observed.service;
    let mut collector = Collector::default();
    for event in events {
        collector.take(event)?;
    }
    Ok(ChatResponse { served, ..collector.finish()? })
}

/// Reads what metering needs from an answer that passes unchanged.
pub(super) fn observe(body: &[u8]) -> Result<Observed, Failure> {
    let mut state = State::default();
    state.answer(read(body)?, &mut Vec::new())?;
    Ok(Observed { finished: true, began: true, ..state.observed })
}

fn read(body: &[u8]) -> Result<Answer<'_>, Failure> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    // Thinking may have used up everything: then there is a candidate without content.
    let silent = answer.candidates.as_ref().is_none_or(Vec::is_empty);
    if silent && answer.prompt_feedback.is_none() && answer.error.is_none() {
        return Err(Failure::new(FailureKind::Malformed, "the answer has no candidates"));
    }
    Ok(answer)
}

pub(super) fn malformed(error: &serde_json::Error) -> Failure {
    // Where, not what: the text around the place is the client's or the model's.
    let place = format!("not an answer of this dialect (line {}, column {})", error.line(), error.column());
    Failure::new(FailureKind::Malformed, place)
}
