//! Watches a stream that passes through: usage, the end, errors, and how much was delivered.
//!
//! Frames go on as they come. Where the client did not ask for the usage report, the frame that holds nothing else is
//! left out, and the member where it stands beside an answer. What a provider says otherwise than clients count on is
//! mended where its file says so (`mend`).

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::mend::{Mended, Mender};
use super::types::{Chunk, Content};
use crate::dialect::gate::{Gate, Verdict};
use crate::dialect::{Observed, Quirks, Tap};
use crate::domain::error::{Error, Failure, FailureKind};
use crate::domain::price::ServiceTier;
use crate::wire::cursor::Cursor;
use crate::wire::splice::Members;
use crate::wire::sse::SseEvent;

/// The last choice that is told apart, as many as clients may ask for: an answer does not decide how much is remembered of it.
const MOST_CHOICES: u32 = 127;

/// Longest line or frame: an inline image comes in one. As long as where answers are translated.
const MAX_FRAME: usize = 16 << 20;

/// A stream's last word.
const DONE: &[u8] = b"data: [DONE]\n\n";

pub(super) struct ChatTap {
    quirks: Quirks,
    gate: Gate,
    watch: Watch,
    mender: Option<Mender>,
    hide_usage: bool,
}

#[derive(Default)]
struct Watch {
    observed: Observed,
    /// The last event was a usage report and nothing else.
    usage_only: bool,
    /// The last event held a usage report beside an answer, where some providers put it.
    usage_beside: bool,
    /// The choices that have begun, and whether each has ended.
    choices: BTreeMap<u32, bool>,
}

impl ChatTap {
    pub(super) fn new(quirks: &Quirks, hide_usage: bool) -> Self {
        let mender = Mender::new(&quirks.mends, !hide_usage);
        Self { quirks: quirks.clone(), gate: Gate::new(MAX_FRAME), watch: Watch::default(), mender, hide_usage }
    }
}

/// How many bytes of text a frame shows, if that is all there is to learn from it: nearly every frame of a stream, for which
/// a parse would cost more than everything else that is done with it. Whatever it does not know it leaves to the parse.
fn only_shows(data: &str) -> Option<u64> {
    let mut shown = 0;
    let mut delta = |cursor: &mut Cursor<'_>, name: &[u8]| match name {
        b"content" if cursor.null().is_some() => Some(()),
        b"content" => {
            shown += cursor.string()?.len() as u64;
            Some(())
        }
        b"reasoning_content" | b"reasoning" | b"refusal" | b"tool_calls" => cursor.null(),
        _ => skip(cursor, name),
    };
    let mut choice = |cursor: &mut Cursor<'_>, name: &[u8]| match name {
        b"delta" => cursor.members(&mut delta),
        // Of others the parse must know that they have begun.
        b"index" => cursor.zero(),
        b"finish_reason" | b"text" | b"error" => cursor.null(),
        _ => skip(cursor, name),
    };
    let mut cursor = Cursor::new(data);
    cursor.members(&mut |cursor, name| match name {
        b"choices" => cursor.elements(&mut |cursor| cursor.members(&mut choice)),
        b"usage" | b"x_groq" | b"error" => cursor.null(),
        _ => skip(cursor, name),
    })?;
    cursor.is_at_end().then_some(shown)
}

/// A member of no interest. One that hides its name may be of interest.
fn skip(cursor: &mut Cursor<'_>, name: &[u8]) -> Option<()> {
    if name.contains(&b'\\') { None } else { cursor.skip() }
}

/// A frame less its usage report. One of another form than providers send goes on as it is.
fn without_usage(frame: &Bytes, out: &mut Vec<Bytes>) {
    let start = if frame.starts_with(b"data: ") { 6 } else { 5 };
    let end = memchr::memchr2(b'\r', b'\n', frame).unwrap_or(frame.len());
    let json = if frame.starts_with(b"data:") && start < end { frame.slice(start..end) } else { Bytes::new() };
    let Ok(members) = Members::scan(&json) else { return out.push(frame.clone()) };
    let mut splice = members.splice();
    splice.remove("usage");
    out.push(frame.slice(..start));
    out.extend(splice.apply(&json));
    out.push(frame.slice(end..));
}

/// What becomes of a frame where there is something to mend.
fn mended(verdict: Verdict, event: &SseEvent<'_>, mender: &mut Option<Mender>) -> Verdict {
    let Some(mender) = mender else { return verdict };
    match verdict {
        Verdict::Last => match mender.last() {
            none if none.is_empty() => Verdict::Last,
            last => {
                let mut last = framed(last);
                last.extend_from_slice(DONE);
                Verdict::LastAs(last.freeze())
            }
        },
        // Line ends between the tokens of a chunk: nobody sends them, and as one line they would be others.
        Verdict::Pass | Verdict::Replace(_) if !event.data.contains('\n') => match mender.chunk(event.data) {
            Mended::Nothing => verdict,
            Mended::Later => Verdict::Drop,
            Mended::Chunks(chunks) => Verdict::Instead(framed(chunks).freeze()),
        },
        other => other,
    }
}

fn framed(chunks: Vec<Bytes>) -> BytesMut {
    let mut frames = BytesMut::new();
    for chunk in chunks {
        frames.extend_from_slice(b"data: ");
        frames.extend_from_slice(&chunk);
        frames.extend_from_slice(b"\n\n");
    }
    frames
}

impl Tap for ChatTap {
    fn chunk(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        let Self { quirks, gate, watch, mender, hide_usage } = self;
        gate.chunk(chunk, out, &mut |event| Ok(mended(watch.judge(event, quirks, *hide_usage)?, event, mender)))
    }

    fn end(&mut self, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        let Self { quirks, gate, watch, mender, hide_usage } = self;
        gate.end(&mut |event| Ok(mended(watch.judge(event, quirks, *hide_usage)?, event, mender)))?;
        if !self.watch.observed.finished {
            return Err(Failure::new(FailureKind::Truncated, "the stream ended before the answer did"));
        }
        self.gate.release(out);
        if let Some(mender) = self.mender.as_mut().filter(|_| !self.watch.observed.ended) {
            let mut last = framed(mender.last());
            if mender.says_done() {
                last.extend_from_slice(DONE);
            }
            if out.last().is_some_and(|piece| !piece.ends_with(b"\n\n") && !piece.ends_with(b"\n\r\n")) {
                out.push(Bytes::from_static(b"\n\n"));
            }
            out.push(last.freeze());
        }
        Ok(())
    }

    fn broken(&mut self, error: &Error) -> Bytes {
        Bytes::from(super::error::event(error))
    }

    fn observed(&self) -> &Observed {
        &self.watch.observed
    }
}

impl Watch {
    fn judge(&mut self, event: &SseEvent<'_>, quirks: &Quirks, hide_usage: bool) -> Result<Verdict, Failure> {
        (self.usage_only, self.usage_beside) = (false, false);
        if event.data == "[DONE]" {
            // Some end without a reason: the mark itself is the end, but of an answer, not of nothing.
            self.observed.finished |= self.observed.began;
            self.observed.ended = true;
            return Ok(Verdict::Last);
        }
        if event.name == Some("error") {
            return Err(super::error::inside(event.data));
        }
        if let Some(shown) = self.observed.model.as_ref().and_then(|_| only_shows(event.data)) {
            self.observed.output_bytes += shown;
            self.observed.began |= shown > 0;
        } else if let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(event.data) {
            self.parsed(chunk, quirks)?;
        } else if !event.data.trim().is_empty() {
            // Not what the dialect says. It is forwarded as it is, but it does not count as an answer.
            self.observed.output_bytes += event.data.len() as u64;
        }
        Ok(match (hide_usage, self.usage_only, self.usage_beside) {
            (true, true, _) => Verdict::Drop,
            (true, _, true) => Verdict::Replace(without_usage),
            _ => Verdict::Pass,
        })
    }

    fn parsed(&mut self, chunk: Chunk<'_>, quirks: &Quirks) -> Result<(), Failure> {
        // An error beside an answer that has had its end already says only why it ended.
        let over = self.observed.finished && chunk.choices.as_ref().is_some_and(|choices| !choices.is_empty());
        if let Some(error) = chunk.error.filter(|_| !over) {
            return Err(error.failure());
        }
        if self.observed.model.is_none() {
            self.observed.model = chunk.model.filter(|model| !model.is_empty()).map(|model| model.into_owned());
        }
        // The last word counts: the first chunk may repeat what was asked.
        self.observed.service = chunk.service_tier.as_deref().and_then(ServiceTier::read).or(self.observed.service);
        let mut choices = chunk.choices.unwrap_or_default();
        if let Some(error) = choices.iter_mut().find_map(|choice| choice.error.take()).filter(|_| !over) {
            return Err(error.failure());
        }
        for choice in &choices {
            let ended = choice.finish_reason.as_deref().is_some_and(|reason| !reason.is_empty());
            // Where there is another there is the first, whose words are not parsed.
            self.choices.entry(0).or_default();
            *self.choices.entry(choice.index.unwrap_or(0).min(MOST_CHOICES)).or_default() |= ended;
            self.observed.began |= ended;
            if let Some(bytes) = choice.text.as_ref().map(Content::bytes) {
                self.observed.output_bytes += bytes as u64;
                self.observed.began |= bytes > 0;
            }
            if let Some(delta) = &choice.delta {
                let (bytes, shows) = delta.shown();
                self.observed.output_bytes += bytes;
                self.observed.began |= shows;
            }
        }
        let whole = !self.choices.is_empty() && self.choices.values().all(|ended| *ended);
        self.observed.finished = whole || (self.observed.ended && self.observed.began);
        self.usage_beside = !choices.is_empty() && chunk.usage.is_some();
        let usage = chunk.usage.or(chunk.x_groq.and_then(|groq| groq.usage));
        self.usage_only = choices.is_empty() && usage.is_some();
        // The last report wins: some repeat it, cumulated, in every chunk.
        if let Some(usage) = usage.and_then(|usage| usage.buckets(quirks)) {
            self.observed.usage = Some(usage);
        }
        Ok(())
    }
}
