//! One reader for whole answers and for the events of a stream: both have the same shape.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::DIALECT;
use super::ends::finish;
use super::error::{self, WireError};
use super::pieces::Growing;
use super::types::{
    Answer, Blob, Candidate, FunctionCall, Grounding, LogprobsResult, Modality, Repeated, Repeats, Segment,
    TokenCandidate, WirePart, WireUsage, Word,
};
use crate::dialect::{Observed, spans};
use crate::domain::chat::{ChatEvent, Citation, FinishReason, Json, Media, MediaSource, Part, Signature, TokenLogprob};
use crate::domain::error::{Failure, FailureKind};
use crate::domain::id::DialectId;
use crate::domain::price::ServiceTier;
use crate::domain::usage::{Bucket, Usage};

/// What is known of an answer that is arriving.
#[derive(Default)]
pub(super) struct State {
    pub(super) observed: Observed,
    started: bool,
    done: bool,
    id: String,
    usage: WireUsage,
    searches: u64,
    choices: BTreeMap<u32, OpenChoice>,
    blocked: bool,
}

#[derive(Default)]
struct OpenChoice {
    finish: Option<FinishReason>,
    calls: u32,
    /// A call whose arguments come piece by piece.
    growing: Option<Growing>,
    /// The provider says that the model called badly, or the like: its code.
    misfired: Option<&'static str>,
    said: bool,
    cited: Vec<Citation>,
    /// Text so far, and where in it each text of the last answer or event began, by its number among the parts: sources
    /// name stretches of it.
    text: String,
    begins: Vec<(usize, usize)>,
}

impl State {
    /// Reads one answer or event.
    pub(super) fn answer(&mut self, answer: Answer<'_>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if let Some(raw) = answer.error {
            let error: WireError = serde_json::from_str(raw.get()).unwrap_or_default();
            return Err(error::in_band(error));
        }
        if let Some(id) = answer.response_id.filter(|_| self.id.is_empty()) {
            self.id = id.into_owned();
        }
        if let Some(model) = answer.model_version.filter(|m| self.observed.model.is_none() && !m.is_empty()) {
            self.observed.model = Some(model.into_owned());
        }
        let reported = answer.usage_metadata.is_some();
        let usage = answer.usage_metadata.and_then(|raw| serde_json::from_str::<WireUsage>(raw.get()).ok());
        if let Some(usage) = usage {
            let service = match &usage.service_tier {
                Some(Word::Text(word)) => ServiceTier::read(word),
                // Zero is what says nothing.
                Some(Word::Number(0)) | None => None,
                Some(Word::Number(_)) => Some(ServiceTier::Other),
            };
            self.observed.service = service.or(self.observed.service);
            // Cumulative, and not every event repeats every member.
            self.usage.update(usage);
        }
        let candidates = answer.candidates.unwrap_or_default();
        if candidates.is_empty() && answer.prompt_feedback.is_some_and(|f| f.block_reason.is_some()) {
            self.blocked = true;
            self.observed.began = true;
        }
        for candidate in candidates {
            self.candidate(candidate, out)?;
        }
        let whole = !self.choices.is_empty() && self.choices.values().all(|open| open.finish.is_some());
        self.observed.finished = whole || self.blocked;
        // A prompt that was blocked has a report without numbers: nothing was used.
        let nothing = reported && self.blocked;
        self.observed.usage = self.usage.buckets(self.searches).or(nothing.then_some(Usage::ZERO));
        Ok(())
    }

    fn candidate(&mut self, candidate: Candidate<'_>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let choice = candidate.index.unwrap_or(0);
        self.choices.entry(choice).or_default().begins.clear();
        for (at, part) in
            candidate.content.and_then(|content| content.parts).unwrap_or_default().into_iter().enumerate()
        {
            let open = self.choices.entry(choice).or_default();
            open.begins.push((at, open.text.len()));
            self.part(choice, part, out);
        }
        if let Some(raw) = candidate.logprobs_result {
            let result: LogprobsResult = serde_json::from_str(raw.get()).unwrap_or_default();
            self.logprobs(choice, result, out);
        }
        if let Some(raw) = candidate.grounding_metadata {
            let grounding: Grounding = serde_json::from_str(raw.get()).unwrap_or_default();
            self.grounding(choice, &grounding, out);
        }
        if let Some(raw) = candidate.citation_metadata {
            let repeats: Repeats = serde_json::from_str(raw.get()).unwrap_or_default();
            self.repeats(choice, repeats, out);
        }
        if let Some(reason) = candidate.finish_reason {
            self.observed.began = true;
            let open = self.choices.entry(choice).or_default();
            let (finish, misfired) = finish(&reason);
            open.finish = Some(finish);
            open.misfired = misfired.or(open.misfired);
            if let Some(code) = open.misfired.filter(|_| !open.said && open.calls == 0) {
                // Nothing useful came: another try, or another target, may do better.
                let failure = Failure::new(FailureKind::Upstream, "the model's output was malformed");
                return Err(Failure { code: Some(code.to_owned()), ..failure });
            }
        }
        Ok(())
    }

    fn part(&mut self, choice: u32, part: WirePart<'_>, out: &mut Vec<ChatEvent>) {
        let signature = part.thought_signature.filter(|s| !s.is_empty());
        let signature = signature.map(|s| Signature::new(DialectId::Gemini, s));
        if let Some(call) = part.function_call {
            self.call(choice, call, signature, out);
            return;
        }
        let ran = [("executableCode", part.executable_code), ("codeExecutionResult", part.code_execution_result)];
        for (name, raw) in ran.into_iter().filter_map(|(name, raw)| Some((name, raw?.get()))) {
            self.begin(choice, raw.len(), out);
            let part = Part::Opaque { dialect: DIALECT, raw: Json::new(format!("{{\"{name}\":{raw}}}")) };
            out.push(ChatEvent::Media { choice, part });
        }
        if let Some(text) = part.text.filter(|text| !text.is_empty()) {
            self.begin(choice, text.len(), out);
            out.push(if part.thought == Some(true) {
                ChatEvent::Reasoning { choice, text }
            } else {
                self.choices.entry(choice).or_default().text.push_str(&text);
                ChatEvent::Text { choice, text }
            });
        }
        if let Some(blob) = part.inline_data {
            self.begin(choice, blob.data.len(), out);
            // A draft of an image is thinking, which has no images elsewhere.
            if part.thought != Some(true) {
                out.push(ChatEvent::Media { choice, part: media(blob) });
            }
        }
        // Also on an empty text at the end of a stream.
        if let Some(signature) = signature {
            self.begin(choice, 0, out);
            out.push(ChatEvent::ReasoningSignature { choice, signature });
        }
    }

    fn call(&mut self, choice: u32, call: FunctionCall<'_>, signature: Option<Signature>, out: &mut Vec<ChatEvent>) {
        let pieces = call.partial_args.unwrap_or_default();
        let continues = call.will_continue == Some(true);
        let open = self.choices.entry(choice).or_default();
        if let Some(growing) = &mut open.growing {
            pieces.into_iter().for_each(|piece| growing.take(piece));
            if !continues {
                self.grown(choice, out);
            }
            return;
        }
        let index = open.calls;
        open.calls += 1;
        let id = call.id.unwrap_or_default();
        if continues || !pieces.is_empty() {
            let mut growing = Growing::new(index);
            pieces.into_iter().for_each(|piece| growing.take(piece));
            open.growing = Some(growing);
        }
        let growing = open.growing.is_some();
        self.begin(choice, 0, out);
        let name = call.name.unwrap_or_default();
        out.push(ChatEvent::ToolStart { choice, index, id, name, custom: false, signature });
        if !growing {
            let fragment = call.args.map_or("{}", |args| args.get()).to_owned();
            self.begin(choice, fragment.len(), out);
            out.push(ChatEvent::ToolArguments { choice, index, fragment });
        } else if !continues {
            self.grown(choice, out);
        }
    }

    /// A call that came piece by piece is whole.
    fn grown(&mut self, choice: u32, out: &mut Vec<ChatEvent>) {
        let growing = self.choices.entry(choice).or_default().growing.take();
        if let Some(growing) = growing {
            let (index, fragment) = (growing.index, growing.json());
            self.begin(choice, fragment.len(), out);
            out.push(ChatEvent::ToolArguments { choice, index, fragment });
        }
    }

    fn logprobs(&mut self, choice: u32, result: LogprobsResult, out: &mut Vec<ChatEvent>) {
        let mut tops = result.top_candidates.into_iter();
        let token = |chosen: TokenCandidate| {
            let top = tops.next().map(|top| top.candidates).unwrap_or_default();
            let top = top.into_iter().map(|t| (t.token, t.log_probability)).collect();
            TokenLogprob { token: chosen.token, logprob: chosen.log_probability, bytes: None, top }
        };
        let tokens: Vec<TokenLogprob> = result.chosen_candidates.into_iter().map(token).collect();
        if !tokens.is_empty() {
            self.begin(choice, 0, out);
            out.push(ChatEvent::Logprobs { choice, tokens });
        }
    }

    /// Sources with the words they support, then those that support none in particular.
    fn grounding(&mut self, choice: u32, grounding: &Grounding, out: &mut Vec<ChatEvent>) {
        self.searches = self.searches.max(grounding.web_search_queries.len() as u64);
        let web = |index: usize| grounding.grounding_chunks.get(index).and_then(|chunk| chunk.web.clone());
        let mut supporting = Vec::new();
        let mut citations = Vec::new();
        let open = self.choices.entry(choice).or_default();
        for support in &grounding.grounding_supports {
            for index in &support.grounding_chunk_indices {
                supporting.push(*index);
                if let Some(web) = web(*index) {
                    let (quoted, span) = (support.segment.text.clone(), open.span(&support.segment));
                    citations.push(Citation { url: web.uri, title: web.title, quoted, span });
                }
            }
        }
        for (index, chunk) in grounding.grounding_chunks.iter().enumerate() {
            if let Some(web) = chunk.web.clone().filter(|_| !supporting.contains(&index)) {
                citations.push(Citation { url: web.uri, title: web.title, ..Citation::default() });
            }
        }
        self.cite(choice, citations, out);
    }

    /// What the answer repeats word for word from elsewhere.
    fn repeats(&mut self, choice: u32, repeats: Repeats, out: &mut Vec<ChatEvent>) {
        let open = self.choices.entry(choice).or_default();
        let text = &open.text;
        let citation = |from: Repeated| {
            let span = spans::in_chars(text, (from.start_index, from.end_index));
            (from.uri.is_some() || from.title.is_some()).then_some(Citation {
                url: from.uri,
                title: from.title,
                quoted: None,
                span,
            })
        };
        let citations = repeats.sources.into_iter().filter_map(citation).collect();
        self.cite(choice, citations, out);
    }

    /// Each once: some events repeat all of them.
    fn cite(&mut self, choice: u32, citations: Vec<Citation>, out: &mut Vec<ChatEvent>) {
        for citation in citations {
            let open = self.choices.entry(choice).or_default();
            if !open.cited.contains(&citation) {
                open.cited.push(citation.clone());
                self.begin(choice, 0, out);
                out.push(ChatEvent::Citation { choice, citation });
            }
        }
    }

    fn begin(&mut self, choice: u32, bytes: usize, out: &mut Vec<ChatEvent>) {
        self.open(out);
        self.choices.entry(choice).or_default().said |= bytes > 0;
        self.observed.began = true;
        self.observed.output_bytes = self.observed.output_bytes.saturating_add(bytes as u64);
    }

    fn open(&mut self, out: &mut Vec<ChatEvent>) {
        if !self.started {
            self.started = true;
            let model = self.observed.model.clone().unwrap_or_default();
            out.push(ChatEvent::Start { id: self.id.clone(), model, created: None });
        }
    }

    /// Ends the answer, once: reasons and usage may come in any event, so they are held back until here.
    pub(super) fn finish(&mut self, out: &mut Vec<ChatEvent>) {
        if self.done {
            return;
        }
        self.done = true;
        self.open(out);
        let numbers: Vec<u32> = self.choices.keys().copied().collect();
        for choice in numbers {
            // The closing event of a call that came piece by piece may be missing: what came is all there is.
            self.grown(choice, out);
            let open = self.choices.entry(choice).or_default();
            let reason = match open.finish {
                // `STOP` is said of calls as well.
                Some(FinishReason::Stop) | None if open.calls > 0 => FinishReason::ToolCalls,
                // The text before a call that failed is not the whole answer: it must not look like one.
                Some(FinishReason::Stop) if open.misfired.is_some() => FinishReason::ContentFilter,
                Some(reason) => reason,
                None => FinishReason::Stop,
            };
            out.push(ChatEvent::Finish { choice, reason, stop_sequence: None });
        }
        if self.choices.is_empty() {
            let reason = if self.blocked { FinishReason::ContentFilter } else { FinishReason::Stop };
            out.push(ChatEvent::Finish { choice: 0, reason, stop_sequence: None });
        }
        out.extend(self.observed.usage.map(ChatEvent::Usage));
        out.push(ChatEvent::End);
    }
}

impl OpenChoice {
    /// A stretch in characters. Google counts bytes, of a part or, in a stream, of all text so far; the words themselves
    /// say which.
    fn span(&self, segment: &Segment) -> Option<(u32, u32)> {
        let part = self.begins.iter().find(|(at, _)| *at == segment.part_index).map_or(0, |(_, begin)| *begin);
        let stretch = |begin: usize| {
            let (start, end) = (begin.checked_add(segment.start_index)?, begin.checked_add(segment.end_index)?);
            let words = self.text.get(start..end).filter(|words| !words.is_empty())?;
            segment.text.as_ref().is_none_or(|text| text == words).then_some((start, end))
        };
        let whole = || stretch(0);
        let known =
            if segment.part_index == 0 { whole().or_else(|| stretch(part)) } else { stretch(part).or_else(whole) };
        let found = || {
            let words = segment.text.as_deref().filter(|words| !words.is_empty())?;
            self.text.find(words).map(|start| (start, start + words.len()))
        };
        spans::in_chars(&self.text, known.or_else(found)?)
    }
}

fn media(blob: Blob) -> Part {
    let audio = blob.mime_type.starts_with("audio/");
    let source = MediaSource::Base64 { media_type: blob.mime_type, data: blob.data };
    let media = Media { source, media_type: None, detail: None, name: None };
    if audio { Part::Audio(media) } else { Part::Image(media) }
}

impl WireUsage {
    /// The last report of each member wins.
    fn update(&mut self, report: Self) {
        let Self {
            prompt_token_count,
            candidates_token_count,
            thoughts_token_count,
            cached_content_token_count,
            tool_use_prompt_token_count,
            prompt_tokens_details,
            cache_tokens_details,
            candidates_tokens_details,
            service_tier,
        } = report;
        set(&mut self.prompt_token_count, prompt_token_count);
        set(&mut self.candidates_token_count, candidates_token_count);
        set(&mut self.thoughts_token_count, thoughts_token_count);
        set(&mut self.cached_content_token_count, cached_content_token_count);
        set(&mut self.tool_use_prompt_token_count, tool_use_prompt_token_count);
        set(&mut self.prompt_tokens_details, prompt_tokens_details);
        set(&mut self.cache_tokens_details, cache_tokens_details);
        set(&mut self.candidates_tokens_details, candidates_tokens_details);
        set(&mut self.service_tier, service_tier);
    }

    /// Disjoint buckets: the prompt includes what was cached, the answer excludes thinking; the results of tools that
    /// the provider ran are input beside the prompt.
    pub(super) fn buckets(&self, searches: u64) -> Option<Usage> {
        let prompt = self.prompt_token_count.or_else(|| self.candidates_token_count.map(|_| 0))?;
        let cached = self.cached_content_token_count.unwrap_or(0).min(prompt);
        let modal = |list: &Option<Vec<Modality>>, word: &str, number: i64| {
            let of = |m: &&Modality| match &m.modality {
                Some(Word::Text(text)) => text == word,
                Some(Word::Number(n)) => *n == number,
                None => false,
            };
            list.iter().flatten().filter(of).filter_map(|m| m.token_count).fold(0, u64::saturating_add)
        };
        // What was cached of a kind is in the cached part, not in the kind's own.
        let fresh = |word: &str, number: i64| {
            modal(&self.prompt_tokens_details, word, number).saturating_sub(modal(
                &self.cache_tokens_details,
                word,
                number,
            ))
        };
        let rest = prompt - cached;
        let audio = fresh("AUDIO", 4).min(rest);
        let image = fresh("IMAGE", 2).min(rest - audio);
        let answer = self.candidates_token_count.unwrap_or(0);
        let image_out = modal(&self.candidates_tokens_details, "IMAGE", 2).min(answer);
        let audio_out = modal(&self.candidates_tokens_details, "AUDIO", 4).min(answer - image_out);
        let tools = self.tool_use_prompt_token_count.unwrap_or(0);
        Usage::ZERO
            .with(Bucket::Input, (rest - audio - image).saturating_add(tools))
            .with(Bucket::CacheRead, cached)
            .with(Bucket::InputAudio, audio)
            .with(Bucket::InputImage, image)
            .with(Bucket::Output, answer - image_out - audio_out)
            .with(Bucket::Reasoning, self.thoughts_token_count.unwrap_or(0))
            .with(Bucket::OutputImage, image_out)
            .with(Bucket::OutputAudio, audio_out)
            .with(Bucket::Search, searches)
            .plausible()
    }
}

fn set<T>(slot: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *slot = value;
    }
}

/// Usage of embeddings, where the provider reports it.
pub(super) fn usage_of_other(body: &[u8]) -> Option<Usage> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Other {
        usage_metadata: Option<WireUsage>,
    }
    serde_json::from_slice::<Other>(body).ok()?.usage_metadata?.buckets(0)
}
