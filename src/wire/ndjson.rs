//! JSON objects one a line: a pure push decoder, fed with chunks of any size.
//!
//! Lines end with LF or CRLF; empty ones are passed over, and a last line that lacks its end is handed on by
//! [`NdjsonDecoder::finish`], since the layer above knows from the content whether it was complete. Invalid UTF-8 is
//! replaced (U+FFFD), as for event streams. A line that lies whole in one chunk is handed on without a copy. Any cut of
//! the same bytes gives the same lines, and an error after the same line.

#[cfg(test)]
mod tests;

use super::sse::LineTooLong;

/// Cuts a byte stream into lines. Holds at most one line, within the limit.
#[derive(Debug)]
pub struct NdjsonDecoder {
    max: usize,
    /// The line whose end has not arrived.
    line: Vec<u8>,
    broken: bool,
}

impl NdjsonDecoder {
    /// A decoder that refuses lines longer than `max_line_bytes`.
    #[must_use]
    pub fn new(max_line_bytes: usize) -> Self {
        Self { max: max_line_bytes, line: Vec::new(), broken: false }
    }

    /// Takes a chunk of any size and hands on every line that it completes.
    ///
    /// # Errors
    /// A line over the limit; lines before it have been handed on. The decoder stays broken.
    pub fn push(&mut self, chunk: &[u8], on: &mut impl FnMut(&str)) -> Result<(), LineTooLong> {
        if self.broken {
            return Err(LineTooLong);
        }
        let result = self.advance(chunk, on);
        self.broken = result.is_err();
        result
    }

    /// The stream ended: hands on a last line that lacks its end.
    ///
    /// # Errors
    /// As [`NdjsonDecoder::push`].
    pub fn finish(&mut self, on: &mut impl FnMut(&str)) -> Result<(), LineTooLong> {
        if self.broken {
            return Err(LineTooLong);
        }
        hand_on(&std::mem::take(&mut self.line), on);
        Ok(())
    }

    fn advance(&mut self, chunk: &[u8], on: &mut impl FnMut(&str)) -> Result<(), LineTooLong> {
        let mut rest = chunk;
        if !self.line.is_empty() {
            let Some((head, tail)) = cut(rest) else { return self.keep(rest) };
            self.keep(head)?;
            hand_on(&self.line, on);
            self.line.clear();
            rest = tail;
        }
        while let Some((line, tail)) = cut(rest) {
            if line.len() > self.max {
                return Err(LineTooLong);
            }
            hand_on(line, on);
            rest = tail;
        }
        self.keep(rest)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), LineTooLong> {
        if self.line.len().saturating_add(bytes.len()) > self.max {
            return Err(LineTooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }
}

/// The first line of `bytes` and what follows its end.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'\n', bytes)?;
    let (line, end) = bytes.split_at(at);
    Some((line, end.get(1..).unwrap_or_default()))
}

fn hand_on(line: &[u8], on: &mut impl FnMut(&str)) {
    let line = line.trim_ascii();
    if !line.is_empty() {
        on(&String::from_utf8_lossy(line));
    }
}
