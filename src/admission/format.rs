//! The format of virtual keys, final from the start: `sk-stw-`, 43 characters of base62 (256 random bits), 6 characters
//! of base62 (the CRC-32 of what stands before). The prefix lets secret scanners find leaked keys, the checksum lets
//! them and us refuse typing errors without a look-up.

use std::fmt::Write;

const PREFIX: &str = "sk-stw-";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 > 2^256.
const RANDOM: usize = 43;
/// 62^6 > 2^32.
const CHECK: usize = 6;

/// A key from 256 random bits.
pub(super) fn render(random: [u8; 32]) -> String {
    let mut key = String::with_capacity(PREFIX.len() + RANDOM + CHECK);
    key.push_str(PREFIX);
    let mut number = random;
    let digits: Vec<u8> = (0..RANDOM).map(|_| DIGITS[usize::from(divide(&mut number))]).collect();
    key.extend(digits.iter().rev().map(|digit| char::from(*digit)));
    let check = checksum(&key);
    // Writing to a string can't fail.
    let _ = write!(key, "{check}");
    key
}

/// Whether the text has the form of a key. Says nothing of whether there is such a key.
pub(super) fn well_formed(key: &str) -> bool {
    let Some(rest) = key.strip_prefix(PREFIX) else { return false };
    if rest.len() != RANDOM + CHECK || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let (body, check) = key.split_at(PREFIX.len() + RANDOM);
    checksum(body) == check
}

fn checksum(text: &str) -> String {
    let mut left = crc32fast::hash(text.as_bytes());
    let mut digits = [b'0'; CHECK];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(left % 62) as usize];
        left /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// Divides a big-endian number by 62 in place; the remainder.
fn divide(number: &mut [u8; 32]) -> u8 {
    let mut remainder = 0_u16;
    for byte in number.iter_mut() {
        let value = remainder << 8 | u16::from(*byte);
        *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
        remainder = value % 62;
    }
    u8::try_from(remainder).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_well_formed_distinct_and_any_typing_error_is_found(
            a in any::<[u8; 32]>(), b in any::<[u8; 32]>(), at in 7_usize..56, with in 0_usize..62
        ) {
            let key = render(a);
            prop_assert!(well_formed(&key), "{}", key);
            prop_assert_eq!(key.len(), 56);
            prop_assert_eq!(a == b, key == render(b));
            let mut typo = key.clone().into_bytes();
            typo[at] = DIGITS[with];
            let typo = String::from_utf8(typo).unwrap();
            prop_assert_eq!(well_formed(&typo), typo == key);
        }
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in ["", "sk-1234", "sk-stw-", "sk-stw-\u{e9}", &"a".repeat(56), &format!("sk-stw-{}", "é".repeat(24))]
        {
            assert!(!well_formed(text), "{text}");
        }
    }
}
