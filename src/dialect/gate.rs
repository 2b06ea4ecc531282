//! What of a stream of events goes on to the client of the same dialect: whole frames, as they came.
//!
//! Bytes of an unfinished frame wait for its end: no client could use them, and what the gateway may have to add after a
//! break then stands on a line of its own. Any cut of the same bytes lets the same bytes through.

use bytes::{Bytes, BytesMut};

use crate::domain::error::{Failure, FailureKind};
use crate::wire::sse::{SseDecoder, SseEvent};

/// What becomes of a frame.
pub(super) enum Verdict {
    /// It goes on.
    Pass,
    /// It goes on, and nothing after it: it is the stream's last word.
    Last,
    /// It is not for the client.
    Drop,
    /// Something else goes on in its place.
    Replace(fn(&Bytes, &mut Vec<Bytes>)),
    /// This goes on in its place.
    Instead(Bytes),
    /// This goes on in its place, and nothing after it.
    LastAs(Bytes),
}

impl Verdict {
    /// Pushes what goes on in the place of a frame; says whether anything does.
    fn put(self, frame: &Bytes, out: &mut Vec<Bytes>) -> bool {
        match self {
            Self::Replace(replace) => replace(frame, out),
            Self::Instead(other) | Self::LastAs(other) => out.push(other),
            Self::Pass | Self::Last | Self::Drop => return false,
        }
        true
    }
}

/// Lets whole frames through that have been looked at.
pub(super) struct Gate {
    sse: SseDecoder,
    most: usize,
    /// Pieces of the unfinished frame.
    held: Vec<Bytes>,
    held_bytes: usize,
    /// The last word has gone through.
    closed: bool,
    /// A frame was left out whose last line end is half: its other half is not for the client either.
    half_dropped: bool,
    failure: Option<Failure>,
}

impl Gate {
    /// A gate for frames of at most so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            sse: SseDecoder::new(most),
            most,
            held: Vec::new(),
            held_bytes: 0,
            closed: false,
            half_dropped: false,
            failure: None,
        }
    }

    /// Takes a chunk of any size, asks about every frame that it completes, and pushes what goes on.
    ///
    /// # Errors
    /// What `judge` finds, and a frame over the limit; again at every later call. What stands before it has gone on.
    pub(super) fn chunk(
        &mut self,
        chunk: Bytes,
        out: &mut Vec<Bytes>,
        judge: &mut dyn FnMut(&SseEvent<'_>) -> Result<Verdict, Failure>,
    ) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.closed || chunk.is_empty() {
            return Ok(());
        }
        // Up to `gone` it has gone on or never will; up to `whole` it is whole frames.
        let half = std::mem::take(&mut self.half_dropped) && chunk.first() == Some(&b'\n');
        let (mut gone, mut whole) = (usize::from(half), usize::from(half));
        let (held, closed, failure) = (&mut self.held, &mut self.closed, &mut self.failure);
        let half_dropped = &mut self.half_dropped;
        let framed = self.sse.push(&chunk, &mut |event: SseEvent<'_>| {
            if failure.is_some() || *closed {
                return;
            }
            match judge(&event) {
                Ok(Verdict::Pass) => whole = event.end,
                Ok(Verdict::Last) => {
                    whole = event.end;
                    *closed = true;
                }
                Ok(other) => {
                    if whole > gone {
                        out.append(held);
                        out.push(chunk.slice(gone..whole));
                    }
                    let mut frame = joined(held, chunk.slice(whole..event.end));
                    held.clear();
                    let before = frame.split_to(settled(&frame));
                    if !before.is_empty() {
                        out.push(before);
                    }
                    *closed = matches!(other, Verdict::LastAs(_));
                    let left_out = !other.put(&frame, out);
                    *half_dropped = left_out && event.end == chunk.len() && chunk.ends_with(b"\r");
                    (gone, whole) = (event.end, event.end);
                }
                Err(found) => *failure = Some(found),
            }
        });
        if framed.is_err() {
            self.failure.get_or_insert_with(too_long);
        }
        if self.failure.is_none() && !self.closed && self.sse.is_idle() {
            whole = chunk.len();
        }
        let size = chunk.len();
        let rest = if whole < size && !self.closed { chunk.slice(whole..) } else { Bytes::new() };
        if whole > gone {
            out.append(&mut self.held);
            // Usual case: the chunk is whole frames.
            let ends_half = self.closed && chunk.get(whole - 1) == Some(&b'\r');
            out.push(if gone == 0 && whole == size { chunk } else { chunk.slice(gone..whole) });
            if ends_half {
                // The cut went through the line end; its other half would come behind the closed gate.
                out.push(Bytes::from_static(b"\n"));
            }
        }
        if self.held.is_empty() {
            self.held_bytes = 0;
        }
        if !rest.is_empty() {
            self.held_bytes = self.held_bytes.saturating_add(rest.len());
            self.held.push(rest);
        }
        // Names without end grow no line and no data.
        if self.held_bytes > self.most.saturating_mul(2) {
            self.failure.get_or_insert_with(too_long);
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// The body ended: asks about a last frame whose blank line never came. It goes on with [`Self::release`].
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub(super) fn end(
        &mut self,
        judge: &mut dyn FnMut(&SseEvent<'_>) -> Result<Verdict, Failure>,
    ) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.closed {
            return Ok(());
        }
        let (held, failure) = (&mut self.held, &mut self.failure);
        let framed = self.sse.finish(&mut |event: SseEvent<'_>| match judge(&event) {
            Ok(Verdict::Pass | Verdict::Last) => {}
            Ok(other) => {
                let mut frame = joined(held, Bytes::new());
                held.clear();
                held.push(frame.split_to(settled(&frame)));
                other.put(&frame, held);
            }
            Err(found) => *failure = Some(found),
        });
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        framed.map_err(|_| too_long())
    }

    /// Lets the last frame through.
    pub(super) fn release(&mut self, out: &mut Vec<Bytes>) {
        out.append(&mut self.held);
    }
}

/// Where the last block of a frame begins. Signs of life and blocks without data are no events: they go on whatever becomes
/// of the event behind them, as they would have, had a chunk ended there.
fn settled(frame: &[u8]) -> usize {
    let (mut at, mut settled, mut in_event) = (0, 0, false);
    while let Some(length) = memchr::memchr2(b'\r', b'\n', &frame[at..]) {
        let end = at + length;
        match frame[at..end].first() {
            None => in_event = false,
            Some(b':') => {}
            Some(_) => in_event = true,
        }
        at = end + if frame[end..].starts_with(b"\r\n") { 2 } else { 1 };
        if !in_event && at < frame.len() {
            settled = at;
        }
    }
    settled
}

/// A frame in one piece.
fn joined(held: &[Bytes], last: Bytes) -> Bytes {
    if held.is_empty() {
        return last;
    }
    let mut frame = BytesMut::new();
    held.iter().chain([&last]).for_each(|piece| frame.extend_from_slice(piece));
    frame.freeze()
}

fn too_long() -> Failure {
    Failure::new(FailureKind::Malformed, "an event of the stream exceeds the limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\r\n\r\ndata: 1\n\ndata: drop\n\nevent: x\ndata: 2\n\n: still here\ndata: change\n\ndata: drop\n\ndata: end\n\ndata: [DONE]\n\n";

    #[test]
    fn a_line_end_that_is_cut_in_two_after_the_last_word_is_whole() {
        for cut in 1..=17 {
            assert_eq!(through("data: end\r\n\r\n: more\r\n", cut).0, "data: end\r\n\r\n", "{cut}");
        }
    }

    fn judge(event: &SseEvent<'_>) -> Result<Verdict, Failure> {
        Ok(match event.data {
            "drop" => Verdict::Drop,
            "change" => Verdict::Replace(|frame, out| {
                assert_eq!(frame, "data: change\n\n");
                out.push(Bytes::from_static(b"data: changed\n\n"));
            }),
            "end" => Verdict::Last,
            "bad" => return Err(Failure::new(FailureKind::Upstream, "bad")),
            _ => Verdict::Pass,
        })
    }

    fn through(stream: &str, cut: usize) -> (String, Result<(), Failure>) {
        let (mut gate, mut out) = (Gate::new(1024), Vec::new());
        let mut result = Ok(());
        for chunk in stream.as_bytes().chunks(cut) {
            result = result.and(gate.chunk(Bytes::copy_from_slice(chunk), &mut out, &mut judge));
        }
        if result.is_ok() {
            result = gate.end(&mut judge);
            if result.is_ok() {
                gate.release(&mut out);
            }
        }
        (String::from_utf8(out.concat()).unwrap(), result)
    }

    #[test]
    fn any_cut_lets_the_same_through_and_nothing_after_the_last_word() {
        for cut in 1..=STREAM.len() {
            let (text, result) = through(STREAM, cut);
            let want = ": hello\r\n\r\ndata: 1\n\nevent: x\ndata: 2\n\n: still here\ndata: changed\n\ndata: end\n\n";
            assert_eq!(text, want, "{cut}");
            assert!(result.is_ok());
        }
    }

    #[test]
    fn what_is_no_event_goes_on_before_one_that_is_left_out() {
        for end in ["\n", "\r\n", "\r"] {
            let stream =
                "data: 1\n\nodd: x\n: life\n\n: life\nid: 7\ndata: drop\n: in it\n\ndata: 2\n\n".replace('\n', end);
            let want = "data: 1\n\nodd: x\n: life\n\n: life\ndata: 2\n\n".replace('\n', end);
            for cut in 1..=stream.len() {
                assert_eq!(through(&stream, cut), (want.clone(), Ok(())), "{cut} {end:?}");
            }
        }
    }

    #[test]
    fn what_stands_before_a_bad_frame_goes_on_and_no_piece_of_it() {
        let stream = "data: 1\n\nid: 7\ndata: bad\n\ndata: 2\n\n";
        for cut in 1..=stream.len() {
            let (text, result) = through(stream, cut);
            assert_eq!((text.as_str(), result.is_err()), ("data: 1\n\n", true), "{cut}");
        }
    }

    #[test]
    fn a_last_frame_without_its_blank_line_is_judged() {
        for (stream, text) in [
            ("data: 1\n\ndata: 2", "data: 1\n\ndata: 2"),
            ("data: 1\n\ndata: drop", "data: 1\n\n"),
            ("data: 1\n\ndata: change\n\n", "data: 1\n\ndata: changed\n\n"),
            ("data: drop\r\n\r\ndata: 1\r\n\r\n", "data: 1\r\n\r\n"),
        ] {
            for cut in 1..=stream.len() {
                assert_eq!(through(stream, cut), (text.to_owned(), Ok(())), "{cut}");
            }
        }
        assert!(through("data: bad", 4).1.is_err());
        assert!(through(&format!("data: {}", "x".repeat(2000)), 100).1.is_err());
    }
}
