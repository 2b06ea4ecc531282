//! Which part of an answer a cited stretch lies in, and where. Canonical spans are counted in characters of all text of
//! the answer; dialects count from the beginning of a part, and Google counts bytes.

/// A piece of a stretch that lies within one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The number of the text.
    pub(super) text: usize,
    /// Where it begins and ends in it, in characters.
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The pieces of a stretch in texts that begin at these characters. The last one may still grow. A stretch without
/// length lies where it begins; what lies nowhere is hung on the last text.
pub(super) fn pieces(begins: &[u32], span: Option<(u32, u32)>) -> Vec<Piece> {
    let Some(last) = begins.len().checked_sub(1) else { return Vec::new() };
    let Some((start, end)) = span else { return vec![Piece { text: last, start: 0, end: 0 }] };
    let of = |text: usize| {
        let (begin, limit) = (begins[text], begins.get(text + 1).copied().unwrap_or(u32::MAX));
        let (start, end) = (start.max(begin), end.min(limit));
        (start < end).then(|| Piece { text, start: start - begin, end: end - begin })
    };
    let pieces: Vec<Piece> = (0..begins.len()).filter_map(of).collect();
    if pieces.is_empty() {
        let text = begins.iter().rposition(|begin| *begin <= start).unwrap_or(0);
        let at = start.saturating_sub(begins[text]);
        return vec![Piece { text, start: at, end: at }];
    }
    pieces
}

/// Where texts begin that follow each other.
pub(super) fn begins<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<u32> {
    let next = |chars: &mut u32, text: &str| {
        let begin = *chars;
        *chars = begin.saturating_add(count(text));
        Some(begin)
    };
    texts.scan(0, next).collect()
}

/// Characters of a text.
pub(super) fn count(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// A stretch of bytes in characters; none where it is none of this text.
pub(super) fn in_chars(text: &str, bytes: (usize, usize)) -> Option<(u32, u32)> {
    let before = text.get(..bytes.0)?;
    let within = text.get(bytes.0..bytes.1)?;
    let start = count(before);
    Some((start, start.saturating_add(count(within))))
}

/// A stretch of characters in bytes, cut where the text ends.
pub(super) fn in_bytes(text: &str, chars: (u32, u32)) -> (usize, usize) {
    let at = |chars: u32| text.char_indices().nth(chars as usize).map_or(text.len(), |(byte, _)| byte);
    (at(chars.0), at(chars.1.max(chars.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_over_several_texts_has_a_piece_in_each() {
        let piece = |text, start, end| Piece { text, start, end };
        let begins = begins(["äb", "", "cd", "ef"].into_iter());
        assert_eq!(begins, [0, 2, 2, 4]);
        assert_eq!(pieces(&begins, Some((1, 5))), [piece(0, 1, 2), piece(2, 0, 2), piece(3, 0, 1)]);
        assert_eq!(pieces(&begins, Some((2, 3))), [piece(2, 0, 1)], "and none where it only ends or begins");
        assert_eq!(pieces(&begins, Some((5, 90))), [piece(3, 1, 86)], "the last text may still grow");
        assert_eq!(pieces(&begins, Some((2, 2))), [piece(2, 0, 0)]);
        assert_eq!(pieces(&begins, None), [piece(3, 0, 0)]);
        assert_eq!(pieces(&[], Some((0, 1))), []);
        assert_eq!(pieces(&[3], Some((0, 1))), [piece(0, 0, 0)]);
    }

    #[test]
    fn bytes_and_characters() {
        let text = "aä€b";
        assert_eq!(in_chars(text, (1, 6)), Some((1, 3)));
        assert_eq!(in_chars(text, (2, 6)), None, "within a character");
        assert_eq!(in_chars(text, (1, 99)), None);
        assert_eq!(in_bytes(text, (1, 3)), (1, 6));
        assert_eq!(in_bytes(text, (3, 99)), (6, 7));
        assert_eq!(in_bytes(text, (9, 1)), (7, 7));
    }
}
