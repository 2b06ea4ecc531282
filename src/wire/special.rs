//! Where in a text a JSON string may end: quotes, backslashes and control characters, 64 bytes at a look.
//!
//! Prompts are full of escaped line ends and quotes, so that a search that begins anew behind each of them costs more
//! than the bytes between. Here each block of the body is looked at once, and what was found in it is kept.

use wide::u8x16;

/// Bytes of a block.
const BLOCK: usize = 64;

/// Walks over the special bytes of a body. Positions only grow.
#[derive(Debug)]
pub(super) struct Specials<'a> {
    body: &'a [u8],
    /// The block that `mask` is about; none yet = past every body.
    block: usize,
    /// One bit for each special byte of the block.
    mask: u64,
}

impl<'a> Specials<'a> {
    /// Of a body, from its start.
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body, block: usize::MAX, mask: 0 }
    }

    /// The first special byte at or after a position; none up to the end of the body.
    #[inline]
    pub(super) fn next(&mut self, from: usize) -> Option<usize> {
        let block = from & !(BLOCK - 1);
        if block != self.block {
            self.load(block);
        }
        let ahead = self.mask >> (from % BLOCK);
        if ahead != 0 {
            return Some(from + ahead.trailing_zeros() as usize);
        }
        self.after(block + BLOCK)
    }

    /// The first one in the blocks from this one on.
    fn after(&mut self, mut block: usize) -> Option<usize> {
        while block < self.body.len() {
            self.load(block);
            if self.mask != 0 {
                return Some(block + self.mask.trailing_zeros() as usize);
            }
            block += BLOCK;
        }
        None
    }

    #[inline]
    fn load(&mut self, block: usize) {
        let rest = self.body.get(block..).unwrap_or_default();
        self.mask = match rest.first_chunk::<BLOCK>() {
            Some(whole) => mask(whole),
            None => {
                // What is no byte of the body is not special.
                let mut padded = [b' '; BLOCK];
                padded[..rest.len()].copy_from_slice(rest);
                mask(&padded)
            }
        };
        self.block = block;
    }
}

/// One bit for each quote, backslash and control character; the first byte is the lowest bit.
#[inline]
fn mask(block: &[u8; BLOCK]) -> u64 {
    let (pieces, _) = block.as_chunks::<16>();
    pieces.iter().rev().fold(0, |mask, piece| mask << 16 | u64::from(mask_of_16(*piece)))
}

#[inline]
fn mask_of_16(piece: [u8; 16]) -> u32 {
    let bytes = u8x16::new(piece);
    let quotes = bytes.simd_eq(u8x16::splat(b'"'));
    let slashes = bytes.simd_eq(u8x16::splat(b'\\'));
    let controls = bytes.min(u8x16::splat(0x1F)).simd_eq(bytes);
    (quotes | slashes | controls).to_bitmask()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn special(byte: u8) -> bool {
        matches!(byte, b'"' | b'\\' | 0..=0x1F)
    }

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=255_u8 {
            for at in 0..BLOCK {
                let mut block = [b'a'; BLOCK];
                block[at] = byte;
                let wanted = u64::from(special(byte)) << at;
                assert_eq!(mask(&block), wanted, "{byte:#x} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn as_a_plain_search_would_find(body in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'a')], 0..300)) {
            let mut specials = Specials::new(&body);
            for from in 0..=body.len() {
                let wanted = body[from..].iter().position(|byte| special(*byte)).map(|found| from + found);
                prop_assert_eq!(specials.next(from), wanted, "from {}", from);
            }
        }
    }
}
