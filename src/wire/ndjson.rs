//! One JSON value a line. Any cut of the same bytes gives the same lines.

/// A line is longer than the limit, or no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLine;

/// Cuts a stream into lines.
#[derive(Debug)]
pub struct LineDecoder {
    limit: usize,
    held: Vec<u8>,
}

impl LineDecoder {
    /// Lines of at most so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, held: Vec::new() }
    }

    /// Takes a chunk of any size and calls `take` with each line that it completes; blank ones are passed over.
    ///
    /// # Errors
    /// A line over the limit, or one that is no UTF-8.
    pub fn push(&mut self, chunk: &[u8], take: &mut dyn FnMut(&str)) -> Result<(), BadLine> {
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.held.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            self.line(take)?;
        }
        self.held.extend_from_slice(rest);
        if self.held.len() > self.limit { Err(BadLine) } else { Ok(()) }
    }

    /// The stream ended: a last line may have no end.
    ///
    /// # Errors
    /// As for `push`.
    pub fn finish(&mut self, take: &mut dyn FnMut(&str)) -> Result<(), BadLine> {
        self.line(take)
    }

    fn line(&mut self, take: &mut dyn FnMut(&str)) -> Result<(), BadLine> {
        if self.held.len() > self.limit {
            return Err(BadLine);
        }
        let line = std::str::from_utf8(&self.held).map_err(|_| BadLine)?.trim();
        if !line.is_empty() {
            take(line);
        }
        self.held.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINES: &str = "{\"a\":1}\r\n\n{\"é\":2}\n{\"c\":3}";

    fn lines(cuts: &[usize]) -> Vec<String> {
        let (mut decoder, mut out, mut from) = (LineDecoder::new(100), Vec::new(), 0);
        for cut in cuts.iter().copied().chain([LINES.len()]) {
            decoder.push(&LINES.as_bytes()[from..cut.max(from)], &mut |l| out.push(l.to_owned())).unwrap();
            from = cut.max(from);
        }
        decoder.finish(&mut |l| out.push(l.to_owned())).unwrap();
        out
    }

    #[test]
    fn lines_are_found_and_bounded() {
        assert_eq!(lines(&[]), ["{\"a\":1}", "{\"é\":2}", "{\"c\":3}"]);
        assert_eq!(LineDecoder::new(3).push(b"abcd", &mut |_| {}), Err(BadLine));
        assert_eq!(LineDecoder::new(9).push(b"\xff\n", &mut |_| {}), Err(BadLine));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(mut cuts in prop::collection::vec(0..LINES.len(), 0..8)) {
            cuts.sort_unstable();
            prop_assert_eq!(lines(&cuts), lines(&[]));
        }
    }
}
