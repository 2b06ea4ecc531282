//! Watches a stream that passes through: usage, the end, errors, and how much was delivered.
//!
//! Chunks are forwarded as they come. Only when the client did not ask for the usage report are frames cut out, so that
//! the one that holds nothing else can be left out, and the member where it stands beside an answer.

use bytes::{Bytes, BytesMut};

use super::types::{Chunk, Content};
use crate::dialect::{Observed, Quirks, Tap};
use crate::domain::error::{Error, Failure, FailureKind};
use crate::wire::cursor::Cursor;
use crate::wire::splice::Members;
use crate::wire::sse::{SseDecoder, SseEvent};

/// Longest line or frame: enough for an inline image, bounded against a line without end.
const MAX_FRAME: usize = 4 << 20;

pub(super) struct ChatTap {
    quirks: Quirks,
    decoder: SseDecoder,
    watch: Watch,
    /// Bytes of a frame that is not whole yet; only used when frames may have to be hidden.
    held: Option<BytesMut>,
    /// How much of it has been looked through for an end.
    searched: usize,
    hide_usage: bool,
}

#[derive(Default)]
struct Watch {
    observed: Observed,
    done: bool,
    failed: Option<Failure>,
    /// The last event was a usage report and nothing else.
    usage_only: bool,
    /// The last event held a usage report beside an answer, where some providers put it.
    usage_beside: bool,
}

impl ChatTap {
    pub(super) fn new(quirks: &Quirks, hide_usage: bool, whole_frames: bool) -> Self {
        Self {
            quirks: quirks.clone(),
            decoder: SseDecoder::new(MAX_FRAME),
            watch: Watch::default(),
            held: (hide_usage || whole_frames).then(BytesMut::new),
            searched: 0,
            hide_usage,
        }
    }

    fn watch(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let (quirks, watch) = (&self.quirks, &mut self.watch);
        let pushed = self.decoder.push(bytes, &mut |event: SseEvent<'_>| watch.event(event, quirks));
        pushed.map_err(|error| Failure::new(FailureKind::Malformed, error.to_string()))?;
        self.watch.failed.take().map_or(Ok(()), Err)
    }

    /// Forwards whole frames, except a usage report of our own asking.
    fn cut(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        let Some(mut held) = self.held.take() else { return Ok(()) };
        // Usual case: the chunk is whole frames, and slices of it go on without a copy.
        let mut whole = if held.is_empty() {
            chunk.clone()
        } else {
            held.extend_from_slice(chunk);
            if frame_end(&held, self.searched).is_none() && held.len() <= MAX_FRAME {
                // Nothing is whole yet: what is held stays where it is, and is not looked through again.
                self.searched = held.len().saturating_sub(3);
                self.held = Some(held);
                return Ok(());
            }
            held.split().freeze()
        };
        let mut result = Ok(());
        let mut forward = 0;
        let mut at = 0;
        while let Some(end) = frame_end(&whole[at..], 0) {
            let frame = whole.slice(at..at + end);
            (self.watch.usage_only, self.watch.usage_beside) = (false, false);
            result = self.watch(&frame);
            if result.is_err() {
                break;
            }
            if self.hide_usage && (self.watch.usage_only || self.watch.usage_beside) {
                push(out, whole.slice(forward..at));
                forward = at + end;
                if self.watch.usage_beside {
                    without_usage(&frame, out);
                }
            }
            at += end;
        }
        push(out, whole.slice(forward..at));
        let rest = whole.split_off(at);
        if rest.len() > MAX_FRAME {
            return Err(Failure::new(FailureKind::Malformed, "a frame of the stream exceeds the limit"));
        }
        self.searched = rest.len().saturating_sub(3);
        held.extend_from_slice(&rest);
        self.held = Some(held);
        result
    }
}

fn push(out: &mut Vec<Bytes>, bytes: Bytes) {
    if !bytes.is_empty() {
        out.push(bytes);
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
        b"finish_reason" | b"text" => cursor.null(),
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

/// The end of the first frame: after its blank line. LF and CRLF; a stream of lone CRs is held to its end, which the
/// limit bounds.
fn frame_end(bytes: &[u8], searched: usize) -> Option<usize> {
    let mut from = searched.min(bytes.len());
    while let Some(newline) = memchr::memchr(b'\n', &bytes[from..]) {
        let next = from + newline + 1;
        match bytes.get(next..) {
            Some([b'\n', ..]) => return Some(next + 1),
            Some([b'\r', b'\n', ..]) => return Some(next + 2),
            _ => from = next,
        }
    }
    None
}

impl Tap for ChatTap {
    fn chunk(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        if self.held.is_some() {
            return self.cut(&chunk, out);
        }
        // What stands before an error event is good, but it can't be told apart in a chunk: the whole chunk is held
        // back only if it holds an error, which the watch finds.
        let watched = self.watch(&chunk);
        if watched.is_ok() {
            out.push(chunk);
        }
        watched
    }

    fn end(&mut self, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        if let Some(rest) = self.held.take().filter(|rest| !rest.is_empty()) {
            let rest = rest.freeze();
            self.watch.usage_only = false;
            self.watch(&rest)?;
            self.last()?;
            if !(self.watch.usage_only && self.hide_usage) {
                out.push(rest);
            }
        } else {
            self.last()?;
        }
        if self.watch.observed.finished || self.watch.done {
            Ok(())
        } else {
            Err(Failure::new(FailureKind::Truncated, "the stream ended before the answer did"))
        }
    }

    fn broken(&mut self, error: &Error) -> Bytes {
        Bytes::from(super::error::event(error))
    }

    fn observed(&self) -> &Observed {
        &self.watch.observed
    }
}

impl ChatTap {
    /// An event whose blank line never came.
    fn last(&mut self) -> Result<(), Failure> {
        let (quirks, watch) = (&self.quirks, &mut self.watch);
        let finished = self.decoder.finish(&mut |event: SseEvent<'_>| watch.event(event, quirks));
        finished.map_err(|error| Failure::new(FailureKind::Malformed, error.to_string()))?;
        self.watch.failed.take().map_or(Ok(()), Err)
    }
}

impl Watch {
    fn event(&mut self, event: SseEvent<'_>, quirks: &Quirks) {
        self.usage_only = false;
        if event.data == "[DONE]" {
            self.done = true;
            self.observed.ended = true;
        } else if let Some(shown) = self.observed.model.as_ref().and_then(|_| only_shows(event.data)) {
            self.usage_beside = false;
            self.observed.output_bytes += shown;
            self.observed.began |= shown > 0;
        } else if let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(event.data) {
            self.parsed(chunk, quirks);
        } else if event.name == Some("error") {
            self.failed = Some(Failure::new(FailureKind::Upstream, "the provider sent an error event"));
        } else if !event.data.trim().is_empty() {
            // Not what the dialect says. It is forwarded as it is, but it does not count as an answer.
            self.observed.output_bytes += event.data.len() as u64;
        }
    }

    fn parsed(&mut self, chunk: Chunk<'_>, quirks: &Quirks) {
        // An error beside an answer that has had its end already says only why it ended.
        let over = self.observed.finished && chunk.choices.as_ref().is_some_and(|choices| !choices.is_empty());
        if let Some(error) = chunk.error.filter(|_| !over) {
            self.failed = Some(error.failure());
            return;
        }
        if self.observed.model.is_none() {
            self.observed.model = chunk.model.filter(|model| !model.is_empty()).map(|model| model.into_owned());
        }
        let choices = chunk.choices.unwrap_or_default();
        for choice in &choices {
            if choice.finish_reason.as_deref().is_some_and(|reason| !reason.is_empty()) {
                self.observed.finished = true;
                self.observed.began = true;
            }
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
        self.usage_beside = !choices.is_empty() && chunk.usage.is_some();
        let usage = chunk.usage.or(chunk.x_groq.and_then(|groq| groq.usage));
        self.usage_only = choices.is_empty() && usage.is_some();
        // The last report wins: some repeat it, cumulated, in every chunk.
        if let Some(usage) = usage.and_then(|usage| usage.buckets(quirks)) {
            self.observed.usage = Some(usage);
        }
    }
}
