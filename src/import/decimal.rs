//! Decimal numbers as text: prices are moved from one unit to another without rounding.

/// Whether text is a decimal number, with or without an exponent.
pub(super) fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && parts(text).is_some()
}

/// Sign, digits, and the power of ten of the last digit.
fn parts(text: &str) -> Option<(bool, String, i32)> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (number, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let exponent: i32 = exponent.parse().ok().filter(|e: &i32| e.abs() <= 60)?;
    let number = number.replace('_', "");
    let (whole, part) = number.split_once('.').unwrap_or((&number, ""));
    let digits = format!("{whole}{part}");
    if digits.is_empty() || digits.len() > 60 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((negative, digits, exponent - i32::try_from(part.len()).ok()?))
}

/// The number times a power of ten, as plain decimal text; none for what is no number or less than zero.
pub(super) fn shifted(text: &str, power: i32) -> Option<String> {
    let (negative, digits, exponent) = parts(text)?;
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    if negative {
        return None;
    }
    let exponent = exponent + power;
    let point = i32::try_from(digits.len()).ok()? + exponent;
    let out = if exponent >= 0 {
        format!("{digits}{}", "0".repeat(usize::try_from(exponent).ok()?))
    } else if point > 0 {
        let (whole, part) = digits.split_at(usize::try_from(point).ok()?);
        format!("{whole}.{part}")
    } else {
        format!("0.{}{digits}", "0".repeat(usize::try_from(-point).ok()?))
    };
    let plain = if out.contains('.') { out.trim_end_matches('0').trim_end_matches('.').to_owned() } else { out };
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_moved_without_rounding() {
        let cases = [
            ("0.00000015", "0.15"),
            ("1.5e-07", "0.15"),
            ("3e-6", "3"),
            ("0.000060", "60"),
            ("0", "0"),
            ("0.0", "0"),
            ("1", "1000000"),
            ("+2.5E-6", "2.5"),
            ("0.00000000012345678901", "0.00012345678901"),
        ];
        for (given, expected) in cases {
            assert_eq!(shifted(given, 6).as_deref(), Some(expected), "{given}");
        }
        for bad in ["-1", "x", "", "1e999", "1.2.3", "e5", "."] {
            assert_eq!(shifted(bad, 6), None, "{bad}");
        }
        assert_eq!(shifted("-0.0", 6).as_deref(), Some("0"));
        assert!(is_number("1e-6") && is_number("1_000") && is_number(".5") && !is_number("e5") && !is_number("os.x"));
    }
}
