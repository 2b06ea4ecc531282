//! The request: parameters; the conversation is in `turns`, tools are in `tools`, what only some models take is in
//! `additional`.
//!
//! With thinking on, some models take neither a temperature nor `top_k`, and no forced call. Whichever of the two the
//! client must do without changes the answer, so the sampling side is reported as lost and thinking stays.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::additional::{self, Thinks};
use super::family::{Thinking, drops, samples};
use super::params::carries;
use super::types::{
    Additional, Block, InferenceConfig, JsonSchema, OutputConfig, Request, Structure, TextFormat, Typed,
};
use super::{tools, turns};
use crate::dialect::params::{self, Slot};
use crate::dialect::{Destination, claude, common, effort};
use crate::domain::chat::{ChatRequest, Loss, ResponseFormat};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;

/// Encodes a canonical request.
pub(super) fn encode(request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
    let mut loss = Loss::default();
    // `thinking` is read where the budget is decided.
    params::report(request, &carries, &|name| name == "thinking", &mut loss);
    params::lose_server_tools(request, Some(DialectId::Bedrock), &mut loss);
    let mut talk = turns::encode(request, to, &mut loss)?;
    if claude::asks_to_go_on(request, to, talk.turns.last().map(|turn| turn.role), &mut loss)? {
        talk.turns.push(turns::asked(claude::GO_ON));
    }
    if request.response_format == Some(ResponseFormat::JsonObject) {
        talk.system.push(Block::Text(common::ANY_JSON));
    }
    let limit = request.max_output_tokens.or(to.max_output).unwrap_or(to.default_max_output);
    let resumes = turns::resumes_without_thinking(&talk.turns);
    let mut fields = Additional::default();
    let thinks = additional::think(request, to, limit, resumes, &mut fields, &mut loss);
    let free = !thinks.is_some_and(|t| t.form.excludes_sampling());
    additional::top_k(request, to, free && samples(to), &mut fields, &mut loss);
    let mut inference_config = sampling(request, thinks, to, &mut loss)?;
    if fields.thinking.is_some() && inference_config.max_tokens.is_none() {
        // The budget was fitted into this limit; a model's own may be smaller.
        inference_config.max_tokens = Some(limit);
    }
    let wire = Request {
        system: talk.system,
        messages: talk.turns,
        inference_config,
        tool_config: tools::config(request, &talk.called, free, to, &mut loss)?,
        additional_model_request_fields: fields,
        output_config: output_config(request, &mut loss)?.filter(|_| !drops(to, "outputConfig")),
        request_metadata: metadata(request, &mut loss).filter(|_| !drops(to, "requestMetadata")),
        service_tier: service_tier(request, &mut loss).filter(|_| !drops(to, "serviceTier")),
    };
    let body = serde_json::to_vec(&wire)
        .map_err(|e| Error::new(ErrorKind::Internal, "the request could not be encoded").detail(e.to_string()))?;
    Ok((Bytes::from(body), loss))
}

fn sampling<'a>(
    request: &'a ChatRequest,
    thinks: Option<Thinks>,
    to: &Destination<'_>,
    loss: &mut Loss,
) -> Result<InferenceConfig<'a>, Error> {
    let s = &request.sampling;
    if s.temperature.is_some_and(|t| !(0.0..=1.0).contains(&t)) {
        let message = "this provider takes temperatures from 0 to 1";
        let name = params::name_of(request.source, Slot::Temperature);
        return Err(Error::new(ErrorKind::UnsupportedParameter, message).param(name));
    }
    let stop_sequences: Vec<&str> = s.stop.iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
    if stop_sequences.len() < s.stop.len() {
        params::lose(request, Slot::Stop, loss);
    }
    // Models that refuse the two together have 1 as their default for both, so there it stays home.
    let said = |member: &str, value: f64| value != 1.0 || !drops(to, member);
    let wanted = InferenceConfig {
        max_tokens: request.max_output_tokens.or(to.max_output),
        temperature: s.temperature.filter(|t| said("inferenceConfig.temperature=1", *t)),
        top_p: s.top_p.filter(|p| said("inferenceConfig.topP=1", *p)),
        stop_sequences,
    };
    let samples = samples(to);
    if thinks.is_none() && samples {
        return Ok(wanted);
    }
    let mut taken = InferenceConfig { stop_sequences: wanted.stop_sequences, ..wanted };
    match thinks.map(|thinks| (thinks.form, thinks.word)) {
        _ if !samples => (taken.temperature, taken.top_p) = (None, None),
        Some((Thinking::Budget | Thinking::Adaptive, _)) => {
            taken.temperature = None;
            taken.top_p = taken.top_p.filter(|p| *p >= effort::LEAST_TOP_P);
        }
        // At this effort the model sets all of its own.
        Some((Thinking::MaxEffort, Some("high"))) => {
            (taken.max_tokens, taken.temperature, taken.top_p) = (None, None, None)
        }
        _ => {}
    }
    let default_is_1 = !samples || thinks.is_some_and(|thinks| thinks.form.excludes_sampling());
    let lost = [
        (
            Slot::Temperature,
            taken.temperature.is_none() && wanted.temperature.is_some_and(|t| t != 1.0 || !default_is_1),
        ),
        (Slot::TopP, taken.top_p.is_none() && wanted.top_p.is_some_and(|p| p != 1.0 || !default_is_1)),
        (Slot::MaxOutput, taken.max_tokens.is_none() && wanted.max_tokens.is_some()),
    ];
    lost.iter().filter(|(_, lost)| *lost).for_each(|(slot, _)| params::lose(request, *slot, loss));
    Ok(taken)
}

fn output_config<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Option<OutputConfig<'a>>, Error> {
    let Some(ResponseFormat::JsonSchema { name, description, schema, .. }) = &request.response_format else {
        // Any object is asked for in words.
        return Ok(None);
    };
    let Some(schema) = schema else {
        params::lose(request, Slot::ResponseFormat, loss);
        return Ok(None);
    };
    let schema = turns::verbatim(schema, || "response_format.json_schema.schema".to_owned())?.get();
    let name = Some(name.as_str()).filter(|n| !n.is_empty());
    let json_schema = JsonSchema { schema, name, description: description.as_deref() };
    Ok(Some(OutputConfig { text_format: TextFormat { kind: "json_schema", structure: Structure { json_schema } } }))
}

/// Labels of the provider's own invocation log. All are carried or none: half of a client's labels would mislead.
fn metadata(request: &ChatRequest, loss: &mut Loss) -> Option<BTreeMap<String, String>> {
    let labels = request.metadata.as_ref().filter(|m| params::squeezed(m.as_str()) != "{}")?;
    let labels = serde_json::from_str::<BTreeMap<String, String>>(labels.as_str()).ok();
    let plain = |c: char| c.is_ascii_alphanumeric() || c.is_whitespace() || ":_@$#=/+,-.".contains(c);
    let fits = |text: &str| text.chars().all(plain) && text.chars().count() <= 256;
    let fit = labels.filter(|l| l.len() <= 16 && l.iter().all(|(k, v)| !k.is_empty() && fits(k) && fits(v)));
    if fit.is_none() {
        params::lose(request, Slot::Metadata, loss);
    }
    fit
}

/// Tiers change price and speed, not the answer.
fn service_tier(request: &ChatRequest, loss: &mut Loss) -> Option<Typed<'static>> {
    let kind = match request.service_tier.as_deref()? {
        "auto" => return None,
        "default" | "standard_only" => "default",
        "flex" => "flex",
        "priority" => "priority",
        "reserved" => "reserved",
        _ => {
            params::lose(request, Slot::ServiceTier, loss);
            return None;
        }
    };
    Some(Typed { kind: kind.into() })
}
