//! The binary event stream of AWS (`application/vnd.amazon.eventstream`): a pure push decoder, fed with chunks of any
//! size.
//!
//! A frame is a prelude (total length, length of the headers, CRC-32 of these eight bytes), headers, a payload and the
//! CRC-32 of all before it; numbers are big-endian. Both sums are checked, the prelude's before its lengths are
//! believed. Any cut of the same bytes gives the same frames, and an error at the same frame. A frame that lies whole
//! in one chunk is handed on without a copy.
//!
//! Source: Smithy, "Amazon Event Stream Specification" (`application/vnd.amazon.eventstream`).

#[cfg(test)]
pub(crate) mod tests;

/// Bytes of the prelude with its sum.
const PRELUDE: usize = 12;

/// Bytes of the sum at the end.
const SUM: usize = 4;

/// One frame, borrowed for the length of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    headers: &'a [u8],
    /// What the frame carries.
    pub payload: &'a [u8],
}

/// The value of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderValue<'a> {
    /// Types 0 and 1.
    Bool(bool),
    /// Type 2.
    Byte(i8),
    /// Type 3.
    Short(i16),
    /// Type 4.
    Int(i32),
    /// Type 5.
    Long(i64),
    /// Type 6.
    Bytes(&'a [u8]),
    /// Type 7.
    Text(&'a str),
    /// Type 8: milliseconds since 1970.
    Timestamp(i64),
    /// Type 9.
    Uuid([u8; 16]),
}

impl<'a> Frame<'a> {
    /// All headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, HeaderValue<'a>)> {
        let mut rest = self.headers;
        std::iter::from_fn(move || {
            let (header, after) = next_header(rest)?;
            rest = after;
            Some(header)
        })
    }

    /// The text of the first header of that name.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.headers().find(|(found, _)| *found == name).and_then(|(_, value)| match value {
            HeaderValue::Text(text) => Some(text),
            _ => None,
        })
    }
}

/// Why bytes are no event stream. The decoder stays broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// A frame announces more bytes than the limit.
    #[error("a frame of the stream exceeds the limit")]
    TooLong,
    /// The bytes are not what their sum says.
    #[error("a frame of the stream is damaged")]
    Sum,
    /// Lengths that contradict each other, or headers that cannot be read.
    #[error("a frame of the stream cannot be read")]
    Shape,
}

/// Cuts a byte stream into frames. Holds at most one frame, within the limit.
#[derive(Debug)]
pub struct EventStreamDecoder {
    max: usize,
    /// The frame whose end has not arrived.
    held: Vec<u8>,
    broken: Option<BadFrame>,
}

impl EventStreamDecoder {
    /// A decoder that refuses frames longer than `max_frame_bytes`.
    #[must_use]
    pub fn new(max_frame_bytes: usize) -> Self {
        Self { max: max_frame_bytes, held: Vec::new(), broken: None }
    }

    /// Takes a chunk of any size and hands on every frame that it completes.
    ///
    /// # Errors
    /// What is no frame, or one over the limit; frames before it have been handed on.
    pub fn push(&mut self, chunk: &[u8], on: &mut impl FnMut(Frame<'_>)) -> Result<(), BadFrame> {
        if let Some(bad) = self.broken {
            return Err(bad);
        }
        let result = self.advance(chunk, on);
        self.broken = result.err();
        result
    }

    /// Whether nothing is held back: the stream stands between two frames.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.held.is_empty()
    }

    fn advance(&mut self, chunk: &[u8], on: &mut impl FnMut(Frame<'_>)) -> Result<(), BadFrame> {
        let mut rest = chunk;
        if !self.held.is_empty() {
            // First the prelude, which says how much belongs to the frame, then that.
            rest = self.fill(rest, PRELUDE);
            let Some(total) = self.total(&self.held)? else { return Ok(()) };
            rest = self.fill(rest, total);
            if self.held.len() < total {
                return Ok(());
            }
            on(read(&self.held)?);
            self.held.clear();
        }
        while let Some(total) = self.total(rest)?
            && let Some((frame, after)) = rest.split_at_checked(total)
        {
            on(read(frame)?);
            rest = after;
        }
        self.held.extend_from_slice(rest);
        Ok(())
    }

    /// Moves bytes from the front of `rest` until `wanted` are held.
    fn fill<'c>(&mut self, rest: &'c [u8], wanted: usize) -> &'c [u8] {
        let missing = wanted.saturating_sub(self.held.len()).min(rest.len());
        let (taken, after) = rest.split_at(missing);
        self.held.extend_from_slice(taken);
        after
    }

    /// The whole length of the frame that begins here, once its prelude is there.
    fn total(&self, bytes: &[u8]) -> Result<Option<usize>, BadFrame> {
        let Some((prelude, sum)) = bytes.get(..PRELUDE).and_then(|p| p.split_at_checked(8)) else { return Ok(None) };
        if crc32fast::hash(prelude) != number(sum) {
            return Err(BadFrame::Sum);
        }
        let (total, headers) = (number(prelude) as usize, number(&prelude[4..]) as usize);
        if total > self.max {
            return Err(BadFrame::TooLong);
        }
        let room = total.checked_sub(PRELUDE + SUM);
        if room.is_none_or(|room| headers > room) { Err(BadFrame::Shape) } else { Ok(Some(total)) }
    }
}

/// Reads a frame whose prelude has been checked and whose bytes are all there.
fn read(frame: &[u8]) -> Result<Frame<'_>, BadFrame> {
    let (body, sum) = frame.split_last_chunk::<SUM>().ok_or(BadFrame::Shape)?;
    if crc32fast::hash(body) != u32::from_be_bytes(*sum) {
        return Err(BadFrame::Sum);
    }
    let length = body.get(4..8).map(number).ok_or(BadFrame::Shape)? as usize;
    let rest = body.get(PRELUDE..).ok_or(BadFrame::Shape)?;
    let (headers, payload) = rest.split_at_checked(length).ok_or(BadFrame::Shape)?;
    let mut left = headers;
    while !left.is_empty() {
        left = next_header(left).ok_or(BadFrame::Shape)?.1;
    }
    Ok(Frame { headers, payload })
}

/// The first four bytes as a number; 0 where there are fewer.
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |b| u32::from_be_bytes(*b))
}

/// The first header and what follows it; none at the end and where the bytes are no header.
fn next_header(bytes: &[u8]) -> Option<((&str, HeaderValue<'_>), &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = rest.split_first()?;
    let (value, rest) = match kind {
        0 | 1 => (HeaderValue::Bool(*kind == 0), rest),
        2 => take(rest, |b| HeaderValue::Byte(i8::from_be_bytes(b)))?,
        3 => take(rest, |b| HeaderValue::Short(i16::from_be_bytes(b)))?,
        4 => take(rest, |b| HeaderValue::Int(i32::from_be_bytes(b)))?,
        5 => take(rest, |b| HeaderValue::Long(i64::from_be_bytes(b)))?,
        6 | 7 => {
            let (length, rest) = rest.split_first_chunk()?;
            let (bytes, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            let value = if *kind == 6 {
                HeaderValue::Bytes(bytes)
            } else {
                HeaderValue::Text(std::str::from_utf8(bytes).ok()?)
            };
            (value, rest)
        }
        8 => take(rest, |b| HeaderValue::Timestamp(i64::from_be_bytes(b)))?,
        9 => take(rest, HeaderValue::Uuid)?,
        _ => return None,
    };
    Some(((std::str::from_utf8(name).ok()?, value), rest))
}

fn take<'b, const N: usize>(
    bytes: &'b [u8],
    read: impl Fn([u8; N]) -> HeaderValue<'static>,
) -> Option<(HeaderValue<'b>, &'b [u8])> {
    let (value, rest) = bytes.split_first_chunk()?;
    Some((read(*value), rest))
}
