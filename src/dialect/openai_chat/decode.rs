//! Answers of providers of this dialect as canonical ones, for clients of other dialects.
//!
//! Imitators differ in a dozen ways. A message and a delta have the same members, so one reader serves both.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::details::Details;
use super::finish;
use super::said::{Answer, Audio, ImageUrl, Lenient, Said, SearchResult, WireCall, WireChoice, WireLogprob};
use crate::dialect::common::lenient;
use crate::dialect::{DecodeStream, Observed, Quirks};
use crate::domain::chat::{ChatEvent, ChatResponse, Choice, Citation, Media, MediaSource, Part, TokenLogprob};
use crate::domain::collect::Collector;
use crate::domain::error::{Failure, FailureKind};
use crate::domain::price::ServiceTier;
use crate::domain::usage::Usage;
use crate::wire::sse::{SseDecoder, SseEvent};
use crate::wire::think::{Piece, ThinkSplitter};

/// Longest line of a stream, in bytes: an inline image comes in one.
const MAX_EVENT: usize = 16 << 20;

/// Decodes a whole answer: the events of a stream of one frame, gathered.
pub(super) fn response(body: &[u8], quirks: &Quirks) -> Result<ChatResponse, Failure> {
    let answer: Answer<'_> = serde_json::from_slice(body)
        .map_err(|_| Failure::new(FailureKind::Malformed, "the provider's answer is not a chat completion"))?;
    if answer.choices.as_ref().is_none_or(Vec::is_empty) && answer.error.is_none() {
        return Err(Failure::new(FailureKind::Malformed, "the provider's answer has no choices"));
    }
    let service_tier = answer.service_tier.clone();
    let mut state = State { streamed: false, ..State::new(quirks) };
    let mut events = Vec::new();
    state.answer(answer, quirks, &mut events)?;
    let asks = |open: &OpenChoice| {
        open.calls.is_empty() && matches!(open.finish.as_deref(), Some("tool_calls" | "function_call"))
    };
    let asking: Vec<u32> = state.choices.iter().filter(|(_, open)| asks(open)).map(|(number, _)| *number).collect();
    state.observed.finished = true;
    state.finish(&mut events);
    let mut collector = Collector::default();
    for event in events {
        collector.take(event)?;
    }
    let mut response = collector.finish()?;
    // Calls are what it ended for, and there are none, nor an answer instead.
    let silent = |choice: &Choice| choice.content.iter().all(|part| matches!(part, Part::Reasoning { .. }));
    if response.choices.iter().any(|choice| asking.contains(&choice.index) && silent(choice)) {
        return Err(no_message());
    }
    response.served = service_tier.as_deref().and_then(ServiceTier::read);
    response.service_tier = service_tier;
    Ok(response)
}

/// Turns a provider's stream into canonical events.
pub(super) struct Decoder {
    quirks: Quirks,
    sse: SseDecoder,
    state: State,
    failure: Option<Failure>,
}

/// What is known of an answer that is arriving.
struct State {
    observed: Observed,
    started: bool,
    done: bool,
    id: String,
    created: Option<i64>,
    choices: BTreeMap<u32, OpenChoice>,
    usage: Option<Usage>,
    cited: Vec<Citation>,
    think_tags: bool,
    /// Whether the answer comes in deltas.
    streamed: bool,
}

#[derive(Default)]
struct OpenChoice {
    finish: Option<String>,
    calls: Vec<OpenCall>,
    splitter: Option<ThinkSplitter>,
    /// Opaque details of the thinking.
    details: Details,
}

struct OpenCall {
    /// The provider's number of it, where it gave one.
    index: Option<u32>,
    id: String,
    /// Whether the provider gave the id.
    named: bool,
    /// Its arguments so far, but no more than [`OpenCall::MOST`] of them.
    arguments: String,
}

impl OpenCall {
    /// Bytes of arguments that are looked at. With more, a piece belongs to the call whose number it has.
    const MOST: usize = 1 << 20;

    fn goes_on(&mut self, fragment: &str) {
        // Text that is cut is no whole JSON, so such a call is never taken as over.
        if self.arguments.len() <= Self::MOST {
            self.arguments.push_str(fragment);
        }
    }

    /// Whether a piece with another id and a name begins another call, although it has this one's number, as some give all
    /// calls the same one. Others change the id with every piece: those have not said all.
    fn is_over(&self, id: Option<&String>, named: bool) -> bool {
        let whole = || serde_json::from_str::<serde::de::IgnoredAny>(&self.arguments).is_ok();
        named && self.named && id.is_some_and(|id| *id != self.id) && whole()
    }
}

impl Decoder {
    pub(super) fn new(quirks: &Quirks) -> Self {
        Self { quirks: quirks.clone(), sse: SseDecoder::new(MAX_EVENT), state: State::new(quirks), failure: None }
    }
}

impl DecodeStream for Decoder {
    fn chunk(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let (state, quirks, failure) = (&mut self.state, &self.quirks, &mut self.failure);
        let framed = self.sse.push(chunk, &mut |event: SseEvent<'_>| {
            if failure.is_none() {
                *failure = state.event(&event, quirks, out).err();
            }
        });
        if framed.is_err() && self.failure.is_none() {
            self.failure = Some(Failure::new(FailureKind::Malformed, "an event of the stream exceeds the limit"));
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let (state, quirks, failure) = (&mut self.state, &self.quirks, &mut self.failure);
        let framed = self.sse.finish(&mut |event| *failure = state.event(&event, quirks, out).err());
        let truncated = || Failure::new(FailureKind::Truncated, "the stream ended before the answer did");
        match failure.take() {
            // A half-sent event is no sign of a wrong dialect, but of a cut.
            Some(half) if half.kind == FailureKind::Malformed => return Err(truncated()),
            Some(failure) => return Err(failure),
            None => framed.map_err(|e| Failure::new(FailureKind::Malformed, e.to_string()))?,
        }
        if !state.observed.finished {
            return Err(truncated());
        }
        state.finish(out);
        Ok(())
    }

    fn observed(&self) -> &Observed {
        &self.state.observed
    }
}

impl State {
    fn new(quirks: &Quirks) -> Self {
        Self {
            observed: Observed::default(),
            started: false,
            done: false,
            id: String::new(),
            created: None,
            choices: BTreeMap::new(),
            usage: None,
            cited: Vec::new(),
            think_tags: quirks.think_tags,
            streamed: true,
        }
    }

    fn event(&mut self, event: &SseEvent<'_>, quirks: &Quirks, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let data = event.data.trim();
        if data.is_empty() {
            return Ok(());
        }
        if data == "[DONE]" {
            // Some end without a reason: the mark itself is the end, but of an answer, not of nothing.
            self.observed.finished |= self.observed.began;
            self.observed.ended = true;
            return Ok(());
        }
        if event.name == Some("error") {
            return Err(super::error::inside(data));
        }
        let answer: Result<Answer<'_>, _> = serde_json::from_str(data);
        match answer {
            Ok(answer) => self.answer(answer, quirks, out),
            Err(_) => Err(Failure::new(FailureKind::Malformed, "an event of the stream is not a chat completion")),
        }
    }

    fn answer(&mut self, answer: Answer<'_>, quirks: &Quirks, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        // An error beside an answer that has had its end already says only why it ended.
        let over = self.observed.finished && answer.choices.as_ref().is_some_and(|choices| !choices.is_empty());
        if let Some(error) = answer.error.filter(|_| !over) {
            return Err(error.failure());
        }
        // The first frame may come with empty names.
        if let Some(id) = answer.id.filter(|id| self.id.is_empty() && !id.is_empty()) {
            self.id = id.into_owned();
        }
        self.observed.service = answer.service_tier.as_deref().and_then(ServiceTier::read).or(self.observed.service);
        if let Some(model) = answer.model.filter(|model| self.observed.model.is_none() && !model.is_empty()) {
            self.observed.model = Some(model.into_owned());
        }
        #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970, by some with a fraction")]
        let seconds = |seconds: f64| seconds as i64;
        self.created = self.created.or(answer.created.filter(|c| *c > 0.0).map(seconds));
        for choice in answer.choices.unwrap_or_default() {
            self.choice(choice, out)?;
        }
        self.sources(answer.citations.and_then(Lenient::good), answer.search_results.and_then(Lenient::good), out);
        // The last report wins: some repeat it, cumulated, in every chunk.
        let usage = answer.usage.or(answer.x_groq.and_then(|groq| groq.usage));
        if let Some(usage) = usage.and_then(|usage| usage.buckets(quirks)) {
            self.usage = Some(usage);
            self.observed.usage = Some(usage);
        }
        Ok(())
    }

    fn choice(&mut self, choice: WireChoice<'_>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let number = choice.index.unwrap_or(0);
        self.choices.entry(number).or_default();
        // Some repeat the whole message beside each delta, or an empty delta beside the message.
        let said = if self.streamed { choice.delta.or(choice.message) } else { choice.message.or(choice.delta) };
        match said {
            Some(said) if self.streamed || said.has_place() => self.said(number, said, out)?,
            None if self.streamed => {}
            Some(_) | None if finish::filtered(choice.finish_reason.as_deref()) || choice.error.is_some() => {}
            Some(_) | None => return Err(no_message()),
        }
        if let Some(tokens) = choice.logprobs.and_then(|l| l.content).filter(|tokens| !tokens.is_empty()) {
            self.begin(0, out);
            out.push(ChatEvent::Logprobs { choice: number, tokens: tokens.into_iter().map(logprob).collect() });
        }
        let ended = |open: &OpenChoice| open.finish.is_some();
        let over = self.choices.get(&number).is_some_and(ended);
        if let Some(error) = choice.error.filter(|_| !over) {
            return Err(error.failure());
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            if let Some(failure) = finish::broken(&reason, self.observed.output_bytes == 0).filter(|_| !over) {
                return Err(failure);
            }
            self.observed.began = true;
            let open = self.choices.entry(number).or_default();
            open.finish.get_or_insert_with(|| reason.into_owned());
        }
        self.observed.finished = self.observed.ended || self.choices.values().all(|open| open.finish.is_some());
        Ok(())
    }

    fn said(&mut self, choice: u32, said: Said<'_>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        // Some fill in both, one with nothing.
        let thoughts = [said.reasoning_content, said.reasoning].into_iter().flatten().filter_map(text);
        if let Some(text) = thoughts.into_iter().find(|text| !text.is_empty()) {
            self.begin(text.len(), out);
            out.push(ChatEvent::Reasoning { choice, text });
        }
        if let Some(details) = said.reasoning_details {
            let streamed = self.streamed;
            self.choices.entry(choice).or_default().details.take(&details, streamed);
        }
        if let Some(raw) = said.extra_content {
            self.choices.entry(choice).or_default().details.keep(None, raw);
        }
        if let Some(content) = said.content.filter(|content| content.get() != "null") {
            self.content(choice, content, out)?;
        }
        if let Some(text) = said.refusal.filter(|text| !text.is_empty()) {
            self.begin(text.len(), out);
            out.push(ChatEvent::Refusal { choice, text });
        }
        for image in said.images.and_then(Lenient::good).unwrap_or_default() {
            self.image(choice, Some(image.image_url), out);
        }
        match said.audio {
            Some(Lenient::Good(audio)) => self.audio(choice, audio, out),
            Some(Lenient::Other(_)) => return Err(unreadable()),
            None => {}
        }
        for annotation in said.annotations.and_then(Lenient::good).unwrap_or_default() {
            if let Some(cited) = annotation.url_citation {
                let span = cited.start_index.zip(cited.end_index);
                let url = cited.url.filter(|url| !url.is_empty());
                let citation = Citation { url, title: cited.title, quoted: cited.content, span };
                self.cite(choice, citation, out);
            }
        }
        for call in said.tool_calls.unwrap_or_default() {
            self.call(choice, call, out);
        }
        // The older form of one call; empty with some that fill in every member.
        if let Some(function) = said.function_call.filter(|f| f.name.as_deref() != Some("")) {
            let function = Some(function);
            let call = WireCall { index: Some(0), id: None, function, custom: None, extra_content: None };
            self.call(choice, call, out);
        }
        Ok(())
    }

    fn image(&mut self, choice: u32, image: Option<ImageUrl>, out: &mut Vec<ChatEvent>) {
        if let Some(ImageUrl { url }) = image.filter(|image| !image.url.is_empty()) {
            self.begin(url.len(), out);
            out.push(ChatEvent::Media { choice, part: Part::Image(media(url)) });
        }
    }

    fn audio(&mut self, choice: u32, audio: Audio, out: &mut Vec<ChatEvent>) {
        if let Some(text) = audio.transcript.filter(|text| !text.is_empty()) {
            self.begin(text.len(), out);
            out.push(ChatEvent::Text { choice, text });
        }
        if let Some(data) = audio.data.filter(|data| !data.is_empty()) {
            self.begin(data.len(), out);
            let source = MediaSource::Base64 { media_type: "audio/wav".to_owned(), data };
            let part = Part::Audio(Media { source, media_type: None, detail: None, name: None });
            out.push(ChatEvent::Media { choice, part });
        }
    }

    /// Text, or Mistral's parts, which may turn into text in the middle of an answer.
    fn content(&mut self, choice: u32, raw: &RawValue, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Typed<'a> {
            #[serde(borrow, default)]
            r#type: Cow<'a, str>,
            #[serde(default)]
            text: Option<String>,
            #[serde(borrow, default)]
            thinking: Option<&'a RawValue>,
            #[serde(default, deserialize_with = "lenient")]
            image_url: Option<ImageUrl>,
        }
        if raw.get().starts_with('[') {
            let parts: Vec<Typed<'_>> = serde_json::from_str(raw.get()).map_err(|_| unreadable())?;
            for part in parts {
                match (&*part.r#type, part.thinking, part.text) {
                    ("thinking", Some(thinking), _) => {
                        let text = text_of_parts(thinking);
                        if !text.is_empty() {
                            self.begin(text.len(), out);
                            out.push(ChatEvent::Reasoning { choice, text });
                        }
                    }
                    (_, _, Some(text)) => self.text(choice, text, out),
                    ("image_url", ..) => self.image(choice, part.image_url, out),
                    ("text", _, None) => return Err(unreadable()),
                    _ => {}
                }
            }
        } else {
            self.text(choice, text(raw).ok_or_else(unreadable)?, out);
        }
        Ok(())
    }

    fn text(&mut self, choice: u32, text: String, out: &mut Vec<ChatEvent>) {
        if text.is_empty() {
            return;
        }
        self.begin(text.len(), out);
        if !self.think_tags {
            out.push(ChatEvent::Text { choice, text });
            return;
        }
        let open = self.choices.entry(choice).or_default();
        let splitter = open.splitter.get_or_insert_with(ThinkSplitter::default);
        splitter.push(&text, &mut |piece| out.push(piece_event(choice, piece)));
    }

    fn call(&mut self, choice: u32, call: WireCall<'_>, out: &mut Vec<ChatEvent>) {
        // Some fill in every member, with nothing.
        let given = call.custom.filter(|custom| custom.says_something());
        let custom = given.is_some();
        let (name, arguments) = match (given, call.function) {
            (Some(custom), _) => (custom.name, custom.input),
            (None, function) => function.map_or((None, None), |f| (f.name, f.arguments)),
        };
        let id = call.id.filter(|id| !id.is_empty());
        let unnamed = name.as_deref() == Some("") && id.is_none();
        let name = name.filter(|name| !name.is_empty());
        let open = self.choices.entry(choice).or_default();
        // By number, else by id, else a delta without either belongs to the last call unless it names a function.
        let known = match (call.index, &id) {
            (Some(index), _) => {
                let last = open.calls.iter().rposition(|c| c.index == Some(index));
                last.filter(|at| !open.calls[*at].is_over(id.as_ref(), name.is_some()))
            }
            (None, Some(id)) => open.calls.iter().position(|c| c.id == *id),
            (None, None) if name.is_none() => open.calls.len().checked_sub(1),
            (None, None) => None,
        };
        if unnamed && known.is_none() {
            // Every member is filled in, with nothing; of a call that is known it is the next piece.
            return;
        }
        let at = known.unwrap_or(open.calls.len());
        let index = u32::try_from(at).unwrap_or(u32::MAX);
        if known.is_none() {
            let named = id.is_some();
            let id = id.unwrap_or_default();
            let known = OpenCall { index: call.index, id: id.clone(), named, arguments: String::new() };
            self.choices.entry(choice).or_default().calls.push(known);
            self.begin(0, out);
            let name = name.unwrap_or_default();
            out.push(ChatEvent::ToolStart { choice, index, id, name, custom, signature: None });
        }
        if let Some(raw) = call.extra_content {
            let open = self.choices.entry(choice).or_default();
            let id = open.calls.get(at).map(|known| known.id.clone());
            open.details.keep(id.as_deref(), raw);
        }
        let fragment = arguments.map(|raw| text(raw).unwrap_or_else(|| raw.get().to_owned()));
        if let Some(fragment) = fragment.filter(|f| !f.is_empty() && f != "null") {
            self.begin(fragment.len(), out);
            if let Some(open) = self.choices.entry(choice).or_default().calls.get_mut(at) {
                open.goes_on(&fragment);
            }
            out.push(ChatEvent::ToolArguments { choice, index, fragment });
        }
    }

    fn sources(&mut self, urls: Option<Vec<String>>, results: Option<Vec<SearchResult>>, out: &mut Vec<ChatEvent>) {
        let results: Vec<SearchResult> = results.unwrap_or_default();
        let titled = results.into_iter().map(|r| Citation { url: r.url, title: r.title, ..Citation::default() });
        let plain = urls.unwrap_or_default().into_iter();
        let plain = plain.map(|url| Citation { url: Some(url), ..Citation::default() });
        for citation in titled.chain(plain) {
            self.cite(0, citation, out);
        }
    }

    /// Once each: some repeat all of them in every chunk.
    fn cite(&mut self, choice: u32, citation: Citation, out: &mut Vec<ChatEvent>) {
        let known = |c: &Citation| {
            (&c.url, c.span) == (&citation.url, citation.span) && (c.url.is_some() || c.title == citation.title)
        };
        let nothing = Citation { quoted: None, ..citation.clone() } == Citation::default();
        if self.cited.iter().any(known) || nothing {
            return;
        }
        self.cited.push(citation.clone());
        self.begin(0, out);
        out.push(ChatEvent::Citation { choice, citation });
    }

    /// Content is about to be pushed: the opening event must be there before it.
    fn begin(&mut self, bytes: usize, out: &mut Vec<ChatEvent>) {
        self.open(out);
        self.observed.began = true;
        self.observed.output_bytes = self.observed.output_bytes.saturating_add(bytes as u64);
    }

    fn open(&mut self, out: &mut Vec<ChatEvent>) {
        if !self.started {
            self.started = true;
            let model = self.observed.model.clone().unwrap_or_default();
            out.push(ChatEvent::Start { id: self.id.clone(), model, created: self.created });
        }
    }

    /// Ends the answer, once: reasons may come twice and usage after them, so they are held back until here.
    fn finish(&mut self, out: &mut Vec<ChatEvent>) {
        if self.done {
            return;
        }
        self.done = true;
        self.open(out);
        for (number, choice) in std::mem::take(&mut self.choices) {
            if let Some(mut splitter) = choice.splitter {
                splitter.finish(&mut |piece| out.push(piece_event(number, piece)));
            }
            if let Some(signature) = choice.details.signature() {
                out.push(ChatEvent::ReasoningSignature { choice: number, signature });
            }
            let reason = finish::reason(choice.finish.as_deref(), !choice.calls.is_empty());
            out.push(ChatEvent::Finish { choice: number, reason, stop_sequence: None });
        }
        out.extend(self.usage.map(ChatEvent::Usage));
        out.push(ChatEvent::End);
    }
}

/// A choice that has nothing in which an answer could stand is no empty answer.
pub(super) fn no_message() -> Failure {
    Failure::new(FailureKind::Malformed, "a choice of the provider's answer has no message")
}

fn unreadable() -> Failure {
    Failure::new(FailureKind::Malformed, "the content of the provider's answer is neither text nor parts")
}

fn piece_event(choice: u32, piece: Piece<'_>) -> ChatEvent {
    match piece {
        Piece::Thought(text) => ChatEvent::Reasoning { choice, text: text.to_owned() },
        Piece::Text(text) => ChatEvent::Text { choice, text: text.to_owned() },
    }
}

fn logprob(wire: WireLogprob) -> TokenLogprob {
    let top = wire.top_logprobs.unwrap_or_default().into_iter().map(|t| (t.token, t.logprob)).collect();
    TokenLogprob { token: wire.token, logprob: wire.logprob, bytes: wire.bytes, top }
}

fn media(url: String) -> Media {
    let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    let source = match inline {
        Some((media_type, data)) => MediaSource::Base64 { media_type: media_type.to_owned(), data: data.to_owned() },
        None => MediaSource::Url(url),
    };
    Media { source, media_type: None, detail: None, name: None }
}

fn text(raw: &RawValue) -> Option<String> {
    raw.get().starts_with('"').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

/// Mistral's thinking: parts of text, or text.
fn text_of_parts(raw: &RawValue) -> String {
    #[derive(Deserialize)]
    struct TextPart {
        #[serde(default)]
        text: String,
    }
    if let Some(text) = text(raw) {
        return text;
    }
    let parts: Vec<TextPart> = serde_json::from_str(raw.get()).unwrap_or_default();
    parts.into_iter().map(|part| part.text).collect()
}
