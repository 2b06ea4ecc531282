//! Server-sent events: a pure push decoder, fed with chunks of any size.
//!
//! Follows the WHATWG rules for framing (LF, CRLF and CR; one leading byte order mark; one optional space after the
//! colon; `data` lines joined by LF; no event without a `data` line) and departs from them once: a last event that
//! lacks its blank line is still dispatched by [`SseDecoder::finish`], since real providers end streams that way and
//! the layer above knows from the content whether the answer was complete.
//!
//! Invalid UTF-8 is replaced (U+FFFD), as browsers do: the JSON above it decides what that means. An event that lies
//! whole in one chunk is handed on without a copy. Any cut of the same bytes gives the same events, and an error at
//! the same event.

use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// One event, borrowed for the length of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// The `event` field; absent where the stream gave none or an empty one.
    pub name: Option<&'a str>,
    /// The `data` lines, joined by LF.
    pub data: &'a str,
    /// Where in the chunk the event's blank line ends: what comes before may be passed on as whole frames.
    /// 0 for an event that [`SseDecoder::finish`] dispatched.
    pub end: usize,
}

/// A line, or the `data` of one event, is longer than the limit. The decoder stays broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line or an event of the stream exceeds the limit")]
pub struct LineTooLong;

/// Cuts a byte stream into events. Holds at most one line and one event, each within the limit.
#[derive(Debug)]
pub struct SseDecoder {
    max: usize,
    /// The line whose end has not arrived.
    line: Vec<u8>,
    /// Fields of the event whose blank line has not arrived, as far as they were not in the current chunk.
    held: Held,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// The first line has been read: a byte order mark is no longer expected.
    begun: bool,
    broken: bool,
    /// A field has come, of whatever name, and not yet its event's blank line.
    in_event: bool,
    comments: u64,
}

/// Fields of an event that outlived their chunk.
#[derive(Debug, Default)]
struct Held {
    name: Option<Vec<u8>>,
    data: Vec<u8>,
    has_data: bool,
}

/// Fields of an event that lie in the current chunk.
#[derive(Default)]
struct Near<'c> {
    name: Option<&'c [u8]>,
    data: Option<&'c [u8]>,
}

impl SseDecoder {
    /// A decoder that refuses lines, and events, longer than `max_line_bytes`.
    #[must_use]
    pub fn new(max_line_bytes: usize) -> Self {
        Self {
            max: max_line_bytes,
            line: Vec::new(),
            held: Held::default(),
            after_cr: false,
            begun: false,
            broken: false,
            in_event: false,
            comments: 0,
        }
    }

    /// Takes a chunk of any size and hands on every event that it completes.
    ///
    /// # Errors
    /// A line or event over the limit; events before it have been handed on.
    pub fn push(&mut self, chunk: &[u8], on: &mut impl FnMut(SseEvent<'_>)) -> Result<(), LineTooLong> {
        if self.broken {
            return Err(LineTooLong);
        }
        let result = self.advance(chunk, on);
        self.broken = result.is_err();
        result
    }

    /// The stream ended: dispatches a last event that lacks its blank line, an unfinished last line included.
    ///
    /// # Errors
    /// As [`SseDecoder::push`].
    pub fn finish(&mut self, on: &mut impl FnMut(SseEvent<'_>)) -> Result<(), LineTooLong> {
        if self.broken {
            return Err(LineTooLong);
        }
        let line = std::mem::take(&mut self.line);
        let mut near = Near::default();
        self.take_line(&line, 0, &mut near, on)?;
        self.dispatch(near, 0, on);
        Ok(())
    }

    /// Comment lines so far: signs of life that are no events.
    #[must_use]
    pub fn comments(&self) -> u64 {
        self.comments
    }

    /// Whether nothing is held back: the stream stands between two events.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.line.is_empty() && !self.in_event
    }

    fn advance(&mut self, chunk: &[u8], on: &mut impl FnMut(SseEvent<'_>)) -> Result<(), LineTooLong> {
        let mut rest = chunk;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        if !self.line.is_empty() {
            let Some((head, tail)) = self.cut(rest) else { return self.keep(rest) };
            self.keep(head)?;
            let mut line = std::mem::take(&mut self.line);
            let mut near = Near::default();
            self.take_line(&line, chunk.len() - tail.len(), &mut near, on)?;
            self.hold(near);
            line.clear();
            self.line = line;
            rest = tail;
        }
        let mut near = Near::default();
        while let Some((line, tail)) = self.cut(rest) {
            self.take_line(line, chunk.len() - tail.len(), &mut near, on)?;
            rest = tail;
        }
        self.hold(near);
        self.keep(rest)
    }

    /// The first line of `bytes` and what follows its end.
    fn cut<'c>(&mut self, bytes: &'c [u8]) -> Option<(&'c [u8], &'c [u8])> {
        let at = memchr::memchr2(b'\n', b'\r', bytes)?;
        let (line, end) = bytes.split_at(at);
        let rest = match end {
            [b'\r', b'\n', rest @ ..] => rest,
            [b'\r'] => {
                self.after_cr = true;
                &[]
            }
            [_, rest @ ..] => rest,
            [] => &[],
        };
        Some((line, rest))
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), LineTooLong> {
        if self.line.len().saturating_add(bytes.len()) > self.max {
            return Err(LineTooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take_line<'c>(
        &mut self,
        line: &'c [u8],
        end: usize,
        near: &mut Near<'c>,
        on: &mut impl FnMut(SseEvent<'_>),
    ) -> Result<(), LineTooLong> {
        if line.len() > self.max {
            return Err(LineTooLong);
        }
        let line = if self.begun { line } else { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) };
        self.begun = true;
        if line.is_empty() {
            self.dispatch(std::mem::take(near), end, on);
            return Ok(());
        }
        let (field, value) = match memchr::memchr(b':', line) {
            None => (line, &line[line.len()..]),
            Some(0) => {
                self.comments = self.comments.saturating_add(1);
                return Ok(());
            }
            Some(colon) => {
                let (field, value) = line.split_at(colon);
                (field, value.strip_prefix(b": ").unwrap_or_else(|| value.get(1..).unwrap_or_default()))
            }
        };
        self.in_event = true;
        match field {
            b"data" if near.data.is_none() && !self.held.has_data => near.data = Some(value),
            b"data" => {
                if let Some(first) = near.data.take() {
                    self.held.append(first);
                }
                if self.held.data.len().saturating_add(value.len()).saturating_add(1) > self.max {
                    return Err(LineTooLong);
                }
                self.held.append(value);
            }
            b"event" => near.name = Some(value),
            // `id` and `retry` are for clients that reconnect; nobody resumes an answer.
            _ => {}
        }
        Ok(())
    }

    /// Copies what the next chunk will still need.
    fn hold(&mut self, near: Near<'_>) {
        if let Some(data) = near.data {
            self.held.append(data);
        }
        if let Some(name) = near.name {
            let held = self.held.name.get_or_insert_default();
            held.clear();
            held.extend_from_slice(name);
        }
    }

    fn dispatch(&mut self, near: Near<'_>, end: usize, on: &mut impl FnMut(SseEvent<'_>)) {
        // Either the data came in one line of this chunk, or it has been gathered in `held`: never both.
        let data = near.data.or_else(|| self.held.has_data.then_some(&self.held.data[..]));
        if let Some(data) = data {
            let name = near.name.or(self.held.name.as_deref()).filter(|n| !n.is_empty()).map(text);
            on(SseEvent { name: name.as_deref(), data: &text(data), end });
        }
        self.held.name = None;
        self.held.data.clear();
        self.held.has_data = false;
        self.in_event = false;
    }
}

impl Held {
    fn append(&mut self, value: &[u8]) {
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
        self.has_data = true;
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    simdutf8::basic::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}
