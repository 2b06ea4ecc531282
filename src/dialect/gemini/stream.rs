//! Streams: events, or one JSON array that arrives over time. Which of the two it is shows in the first byte.

use bytes::{Bytes, BytesMut};

use super::reply::State;
use super::response::malformed;
use super::types::Answer;
use super::{MAX_EVENT, error};
use crate::dialect::{DecodeStream, Observed, Tap};
use crate::domain::chat::ChatEvent;
use crate::domain::error::{Error, Failure, FailureKind};
use crate::wire::array::ArrayDecoder;
use crate::wire::sse::{SseDecoder, SseEvent};

/// Cuts a stream of either form into its elements.
enum Frames {
    Unknown,
    Events(SseDecoder),
    Array(ArrayDecoder),
}

impl Frames {
    /// Calls `take` with the JSON of each element. Returns how many bytes of this chunk belong to whole elements.
    fn push(&mut self, chunk: &[u8], take: &mut dyn FnMut(&str)) -> Result<usize, Failure> {
        if matches!(self, Self::Unknown) {
            let Some(first) = chunk.trim_ascii_start().first() else { return Ok(0) };
            *self = if *first == b'[' {
                Self::Array(ArrayDecoder::new(MAX_EVENT))
            } else {
                Self::Events(SseDecoder::new(MAX_EVENT))
            };
        }
        let too_long = || Failure::new(FailureKind::Malformed, "an event of the stream exceeds the limit");
        match self {
            Self::Unknown => Ok(0),
            Self::Events(sse) => {
                let mut whole = 0;
                let pushed = sse.push(chunk, &mut |event: SseEvent<'_>| {
                    whole = event.end;
                    take(event.data);
                });
                pushed.map_err(|_| too_long())?;
                Ok(if sse.is_idle() { chunk.len() } else { whole })
            }
            Self::Array(array) => {
                array.push(chunk, take).map_err(|_| too_long())?;
                Ok(chunk.len())
            }
        }
    }

    fn finish(&mut self, take: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        if let Self::Events(sse) = self {
            let finished = sse.finish(&mut |event: SseEvent<'_>| take(event.data));
            finished.map_err(|e| Failure::new(FailureKind::Malformed, e.to_string()))?;
        }
        Ok(())
    }
}

/// Turns the provider's stream into canonical events.
pub(super) struct Decoder {
    frames: Frames,
    state: State,
    failure: Option<Failure>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { frames: Frames::Unknown, state: State::default(), failure: None }
    }
}

fn take(state: &mut State, data: &str, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
    if data.trim().is_empty() || data.trim() == "[DONE]" {
        return Ok(());
    }
    let answer: Answer<'_> = serde_json::from_str(data).map_err(|e| malformed(&e))?;
    state.answer(answer, out)
}

fn truncated() -> Failure {
    Failure::new(FailureKind::Truncated, "the stream broke off before its end")
}

impl DecodeStream for Decoder {
    fn chunk(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let (state, failure) = (&mut self.state, &mut self.failure);
        let framed = self.frames.push(chunk, &mut |data| {
            if failure.is_none() {
                *failure = take(state, data, out).err();
            }
        });
        if let Err(error) = framed {
            self.failure.get_or_insert(error);
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let (state, failure) = (&mut self.state, &mut self.failure);
        let framed = self.frames.finish(&mut |data| *failure = take(state, data, out).err());
        match failure.take() {
            // A half-sent event is no sign of a wrong dialect, but of a cut.
            Some(half) if half.kind == FailureKind::Malformed => return Err(truncated()),
            Some(failure) => return Err(failure),
            None => framed?,
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

/// What stands between two elements of an array, as the provider writes it.
const BETWEEN: &[u8] = b"\n,\r\n";

/// Watches a stream that passes through. Bytes of an unfinished event wait for its end. Where the client wants an
/// array, the events become its elements.
pub(super) struct Watch {
    frames: Frames,
    state: State,
    /// Pieces of the unfinished event.
    held: Vec<Bytes>,
    held_bytes: usize,
    array: bool,
    elements: usize,
    failure: Option<Failure>,
}

impl Watch {
    pub(super) fn new(array: bool) -> Self {
        Self {
            frames: Frames::Unknown,
            state: State::default(),
            held: Vec::new(),
            held_bytes: 0,
            array,
            elements: 0,
            failure: None,
        }
    }

    fn release(&mut self, out: &mut Vec<Bytes>) {
        out.append(&mut self.held);
        self.held_bytes = 0;
    }
}

impl Tap for Watch {
    fn chunk(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let (state, failure, array) = (&mut self.state, &mut self.failure, self.array);
        let elements = &mut self.elements;
        let mut written = BytesMut::new();
        let framed = self.frames.push(&chunk, &mut |data| {
            if failure.is_some() || data.trim().is_empty() {
                return;
            }
            // What cannot be read is left to the client to judge; an error is not.
            match take(state, data, &mut Vec::new()) {
                Err(found) if found.kind != FailureKind::Malformed => *failure = Some(found),
                _ if array => {
                    written.extend_from_slice(if *elements == 0 { b"[" } else { BETWEEN });
                    written.extend_from_slice(data.as_bytes());
                    *elements += 1;
                }
                _ => {}
            }
        });
        let whole = match framed {
            Ok(whole) if self.failure.is_none() => whole,
            Ok(_) => 0,
            Err(error) => {
                self.failure.get_or_insert(error);
                0
            }
        };
        if self.array {
            if !written.is_empty() {
                out.push(written.freeze());
            }
        } else {
            if whole > 0 {
                self.release(out);
                out.push(chunk.slice(..whole));
            }
            if whole < chunk.len() {
                self.held_bytes = self.held_bytes.saturating_add(chunk.len() - whole);
                self.held.push(chunk.slice(whole..));
            }
            if self.held_bytes > MAX_EVENT.saturating_mul(2) {
                let failure = Failure::new(FailureKind::Malformed, "an event of the stream exceeds the limit");
                self.failure.get_or_insert(failure);
            }
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn end(&mut self, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let (state, failure) = (&mut self.state, &mut self.failure);
        let mut last = None;
        let framed = self.frames.finish(&mut |data| {
            *failure = take(state, data, &mut Vec::new()).err().filter(|f| f.kind != FailureKind::Malformed);
            last = Some(data.to_owned());
        });
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        framed?;
        if !self.state.observed.finished {
            return Err(truncated());
        }
        if self.array {
            let before: &[u8] = if self.elements == 0 { b"[" } else { BETWEEN };
            let last = last.map(|data| [before, data.as_bytes()].concat()).unwrap_or_default();
            out.push(Bytes::from([&last, b"\n]".as_slice()].concat()));
        } else {
            self.release(out);
        }
        Ok(())
    }

    fn broken(&mut self, error: &Error) -> Bytes {
        let body = error::encode(error);
        if self.array {
            let before: &[u8] = if self.elements == 0 { b"[" } else { BETWEEN };
            return Bytes::from([before, &body, b"\n]"].concat());
        }
        Bytes::from([b"data: ".as_slice(), &body, b"\r\n\r\n"].concat())
    }

    fn observed(&self) -> &Observed {
        &self.state.observed
    }
}
