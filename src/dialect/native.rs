//! What the embedded runtime takes of a canonical request. It has no wire format; its words are the canonical ones.

use std::borrow::Cow;

use super::params::{self, Carriage, Slot};
use super::{places, words};
use crate::domain::chat::{ChatRequest, Loss, Part, Role, ToolChoice, ToolKind};
use crate::domain::error::{Error, ErrorKind};

/// Words for how much to think that the runtime knows; it thinks or it does not.
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// Whether the runtime can honour a meaning.
pub(super) fn carries(slot: Slot) -> Carriage {
    match slot {
        Slot::Core
        | Slot::Tools
        | Slot::Temperature
        | Slot::TopP
        | Slot::TopK
        | Slot::MinP
        | Slot::FrequencyPenalty
        | Slot::PresencePenalty
        | Slot::Seed
        | Slot::Stop
        | Slot::MaxOutput
        | Slot::StreamOptions => Carriage::Full,
        Slot::Reasoning => Carriage::Partly("it thinks or it does not: `none`, or any other word"),
        Slot::ToolChoice => Carriage::Partly("`auto` and `none`"),
        Slot::ParallelToolCalls => Carriage::Partly(params::FIRST_CALL),
        Slot::ResponseFormat
        | Slot::JsonMode
        | Slot::LogitBias
        | Slot::Logprobs
        | Slot::TopLogprobs
        | Slot::Choices
        | Slot::Verbosity
        | Slot::User
        | Slot::ServiceTier
        | Slot::Metadata
        | Slot::PromptCacheKey
        | Slot::CacheMarks
        | Slot::Own(_) => Carriage::No,
    }
}

/// The request as the runtime is told it, and what it cannot honour of it.
///
/// # Errors
/// Content that it cannot read at all, and values outside their range.
pub fn told(request: &ChatRequest) -> Result<(Cow<'_, ChatRequest>, Loss), Error> {
    let (told, untold) = words::told(request, None);
    let loss = lost(&told).map(|mut loss| {
        loss.advisory.extend(untold);
        ((), loss)
    });
    let ((), loss) = places::told(&told, loss)?;
    Ok((told, loss))
}

fn lost(request: &ChatRequest) -> Result<Loss, Error> {
    let mut loss = Loss::default();
    params::report(request, &carries, &|_| false, &mut loss);
    params::lose_server_tools(request, None, &mut loss);
    if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_))) {
        params::lose(request, Slot::ToolChoice, &mut loss);
    }
    let effort = request.reasoning.as_ref().and_then(|r| r.effort.as_deref());
    if effort.is_some_and(|word| !EFFORTS.contains(&word)) {
        params::lose(request, Slot::Reasoning, &mut loss);
    }
    for (at, tool) in request.tools.iter().enumerate() {
        if tool.strict == Some(true) {
            loss.advisory.push(places::tool_member(at, "strict"));
        }
        if matches!(&tool.kind, ToolKind::Custom { format: Some(_) }) {
            loss.advisory.push(places::tool_member(at, "format"));
        }
    }
    for (at, message) in request.messages.iter().enumerate() {
        if message.name.as_deref().is_some_and(|name| !name.is_empty()) {
            loss.advisory.push(places::turn(at, "name"));
        }
        let unreadable = |part: &Part| matches!(part, Part::Image(_) | Part::Audio(_) | Part::File(_));
        if let Some(part) = message.content.iter().position(unreadable) {
            let error = Error::new(ErrorKind::UnsupportedParameter, "the embedded runtime reads text only");
            return Err(error.param(places::part(at, part)));
        }
        if let Some(part) = message.content.iter().position(|part| matches!(part, Part::Opaque { .. })) {
            let path = places::part(at, part);
            if message.role != Role::Assistant {
                let error = Error::new(ErrorKind::UnsupportedParameter, "the embedded runtime reads text only");
                return Err(error.param(path));
            }
            // What another provider ran for itself: its words were told in the text.
            loss.advisory.push(path);
        }
    }
    ranges(request)?;
    Ok(loss)
}

fn ranges(request: &ChatRequest) -> Result<(), Error> {
    let s = &request.sampling;
    let checked = [(Slot::Temperature, s.temperature, 2.0), (Slot::TopP, s.top_p, 1.0), (Slot::MinP, s.min_p, 1.0)];
    for (slot, value, most) in checked {
        if value.is_some_and(|value| !(0.0..=most).contains(&value)) {
            let name = params::name_of(request.source, slot);
            let error = Error::new(ErrorKind::InvalidRequest, format!("`{name}` must be from 0 to {most}"));
            return Err(error.param(name).code("out_of_range"));
        }
    }
    Ok(())
}
