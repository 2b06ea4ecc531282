//! Elements of one JSON array of objects that arrives over time. Any cut of the same bytes gives the same elements.

/// An element is longer than the limit, or what arrives is no array of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadArray;

/// Cuts an array into its elements, without reading them.
#[derive(Debug)]
pub struct ArrayDecoder {
    limit: usize,
    /// The element so far.
    held: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    opened: bool,
}

impl ArrayDecoder {
    /// Elements of at most so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, held: Vec::new(), depth: 0, in_string: false, escaped: false, opened: false }
    }

    /// Takes a chunk of any size and calls `take` with each element that it completes.
    ///
    /// # Errors
    /// An element over the limit, or bytes that belong to no array of objects.
    pub fn push(&mut self, chunk: &[u8], take: &mut dyn FnMut(&str)) -> Result<(), BadArray> {
        for &byte in chunk {
            if self.depth == 0 {
                match byte {
                    b'[' if !self.opened => self.opened = true,
                    b'{' if self.opened => {
                        self.depth = 1;
                        self.held.push(byte);
                    }
                    b',' | b']' | b' ' | b'\t' | b'\r' | b'\n' => {}
                    _ => return Err(BadArray),
                }
                continue;
            }
            self.held.push(byte);
            if self.held.len() > self.limit {
                return Err(BadArray);
            }
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth += 1,
                b'}' | b']' if !self.in_string => self.depth -= 1,
                _ => {}
            }
            if self.depth == 0 {
                take(std::str::from_utf8(&self.held).map_err(|_| BadArray)?);
                self.held.clear();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ARRAY: &str = "[{\"a\": \"}]\\\"{é\"}\n,\r\n{\"b\":[{},[1]]},{}\n]";

    fn elements(cuts: &[usize]) -> Vec<String> {
        let (mut decoder, mut out, mut from) = (ArrayDecoder::new(1000), Vec::new(), 0);
        for cut in cuts.iter().copied().chain([ARRAY.len()]) {
            decoder.push(&ARRAY.as_bytes()[from..cut.max(from)], &mut |e| out.push(e.to_owned())).unwrap();
            from = cut.max(from);
        }
        out
    }

    #[test]
    fn elements_are_found_and_bounded() {
        assert_eq!(elements(&[]), ["{\"a\": \"}]\\\"{é\"}", "{\"b\":[{},[1]]}", "{}"]);
        assert_eq!(ArrayDecoder::new(4).push(b"[{\"aaaa\":1}", &mut |_| {}), Err(BadArray));
        assert_eq!(ArrayDecoder::new(4).push(b"{}", &mut |_| {}), Err(BadArray));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(mut cuts in prop::collection::vec(0..ARRAY.len(), 0..8)) {
            cuts.sort_unstable();
            prop_assert_eq!(elements(&cuts), elements(&[]));
        }
    }
}
