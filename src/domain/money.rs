//! Exact money: integers only.
//!
//! A [`Rate`] is nano-units of a currency per million tokens, which is femto-units (1e-15) per token, so that halves
//! and uplifts of the smallest real prices stay exact. A line is `tokens × rate` in i128, rounded once, half-even, to
//! pico-units (1e-12): [`Money`]. Sums are i128.

use std::fmt;

/// Nano-units per million tokens: `0.55` is 550 000 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(i64);

/// An amount in pico-units (1e-12) of some currency. Signed: savings may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i128);

/// A figure that does not fit or is not a decimal number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a decimal number.
    #[error("`{0}` is not a decimal amount such as 0.55")]
    NotDecimal(String),
    /// More decimals than can be kept exactly.
    #[error("`{0}` has more than {1} decimals and would be rounded")]
    TooFine(String, u32),
    /// Too large, or negative where it may not be.
    #[error("`{0}` is out of range")]
    OutOfRange(String),
}

impl Rate {
    /// Reads decimal text, units per million tokens: `"0.55"`. At most nine decimals, not negative.
    ///
    /// # Errors
    /// When the text is no decimal number, is negative, or would have to be rounded.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let nanos = decimal(text, 9)?;
        i64::try_from(nanos).ok().filter(|n| *n >= 0).map(Self).ok_or_else(|| MoneyError::OutOfRange(text.to_owned()))
    }

    /// Nano-units per million tokens.
    #[must_use]
    pub fn nanos_per_million(self) -> i64 {
        self.0
    }

    /// From nano-units per million tokens; negative is refused.
    #[must_use]
    pub fn from_nanos_per_million(nanos: i64) -> Option<Self> {
        (nanos >= 0).then_some(Self(nanos))
    }

    /// The cost of so many tokens, rounded half-even to pico-units. u64 × i64 always fits i128.
    #[must_use]
    pub fn cost(self, tokens: u64) -> Money {
        // Nearly all amounts are this small, and cost a fifth so.
        if let Some(exact) = u64::try_from(self.0).ok().and_then(|rate| tokens.checked_mul(rate)) {
            let (quotient, remainder) = (exact / 1_000, exact % 1_000);
            let up = remainder > 500 || remainder == 500 && quotient % 2 == 1;
            return Money(i128::from(quotient) + i128::from(up));
        }
        Money(div_half_even(i128::from(tokens) * i128::from(self.0), 1_000))
    }
}

impl Money {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// From pico-units.
    #[must_use]
    pub const fn from_pico(pico: i128) -> Self {
        Self(pico)
    }

    /// In pico-units.
    #[must_use]
    pub const fn pico(self) -> i128 {
        self.0
    }

    /// Reads decimal text in whole units: `"0.05"`. At most twelve decimals.
    ///
    /// # Errors
    /// When the text is no decimal number or would have to be rounded.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        decimal(text, 12).map(Self)
    }

    /// The sum, unless it overflows.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, unless it overflows.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The same amount in another currency at `nanos` nano-units per unit (a dated exchange rate), half-even.
    #[must_use]
    pub fn convert(self, nanos: i64) -> Option<Self> {
        self.0.checked_mul(i128::from(nanos)).map(|n| Self(div_half_even(n, 1_000_000_000)))
    }

    /// Decimal text with exactly `places` decimals (at most 12), rounded half-even.
    #[must_use]
    pub fn to_fixed(self, places: u32) -> String {
        let places = places.min(12);
        let unit = 10_i128.pow(12 - places);
        let scaled = div_half_even(self.0, unit);
        render(scaled, places)
    }
}

impl fmt::Display for Money {
    /// All digits that matter: `8.43700219`, at least two decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every answer tells its cost, and the general way to write numbers is slow.
        if let Ok(pico) = u64::try_from(self.0) {
            return written(pico, f);
        }
        let text = render(self.0, 12);
        let keep = text.find('.').map_or(text.len(), |dot| dot + 3);
        let (head, tail) = text.split_at(keep.min(text.len()));
        write!(f, "{head}{}", tail.trim_end_matches('0'))
    }
}

/// The same for most amounts: eight digits, the point, twelve digits less the zeros at their end.
fn written(pico: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const POINT: usize = 8;
    let mut text = [b'0'; POINT + 13];
    text[POINT] = b'.';
    let (mut whole, mut rest) = (pico / 1_000_000_000_000, pico % 1_000_000_000_000);
    let digit = |number: &mut u64| {
        let digit = u8::try_from(*number % 10).unwrap_or(0);
        *number /= 10;
        b'0' + digit
    };
    text[POINT + 1..].iter_mut().rev().for_each(|place| *place = digit(&mut rest));
    text[..POINT].iter_mut().rev().for_each(|place| *place = digit(&mut whole));
    let first = text[..POINT - 1].iter().position(|place| *place != b'0').unwrap_or(POINT - 1);
    let last = text[POINT + 3..].iter().rposition(|place| *place != b'0').map_or(POINT + 2, |last| POINT + 3 + last);
    f.write_str(std::str::from_utf8(&text[first..=last]).unwrap_or_default())
}

/// Integer division rounded half to even. `by` must be positive.
fn div_half_even(n: i128, by: i128) -> i128 {
    let (quotient, remainder) = (n.div_euclid(by), n.rem_euclid(by));
    match (remainder * 2).cmp(&by) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + (quotient & 1),
    }
}

fn render(scaled: i128, places: u32) -> String {
    let sign = if scaled < 0 { "-" } else { "" };
    let digits = scaled.unsigned_abs();
    let unit = 10_u128.pow(places);
    if places == 0 {
        return format!("{sign}{digits}");
    }
    let width = places as usize;
    // Almost every amount; dividing numbers of twice the size is slow.
    if let (Ok(digits), Ok(unit)) = (u64::try_from(digits), u64::try_from(unit)) {
        return format!("{sign}{}.{:0width$}", digits / unit, digits % unit);
    }
    format!("{sign}{}.{:0width$}", digits / unit, digits % unit)
}

/// Decimal text as an integer of `10^-places`; exact or refused.
fn decimal(text: &str, places: u32) -> Result<i128, MoneyError> {
    let bad = || MoneyError::NotDecimal(text.chars().take(40).collect());
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || digits.ends_with('.') {
        return Err(bad());
    }
    let fraction = fraction.trim_end_matches('0');
    let used = u32::try_from(fraction.len()).map_err(|_| bad())?;
    if used > places {
        return Err(MoneyError::TooFine(text.chars().take(40).collect(), places));
    }
    let range = || MoneyError::OutOfRange(text.chars().take(40).collect());
    let whole: i128 = whole.parse().map_err(|_| range())?;
    let fraction: i128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| range())? };
    let value = whole
        .checked_mul(10_i128.pow(places))
        .and_then(|w| w.checked_add(fraction * 10_i128.pow(places - used)))
        .ok_or_else(range)?;
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_exact_and_round_half_even_once() {
        let r1 = Rate::parse("2.19").unwrap();
        assert_eq!(r1.cost(3_500_001).to_string(), "7.66500219");
        assert_eq!(Rate::parse("0.003625").unwrap().nanos_per_million(), 3_625_000);
        // 0.000000500 nano per million = 0.5 femto... one token at 1.5 nano/M is 0.0015 pico: below half, so zero.
        assert_eq!(Rate::from_nanos_per_million(500).unwrap().cost(1), Money::from_pico(0));
        assert_eq!(Rate::from_nanos_per_million(500).unwrap().cost(3), Money::from_pico(2));
        assert_eq!(Rate::from_nanos_per_million(501).unwrap().cost(1), Money::from_pico(1));
    }

    proptest::proptest! {
        #[test]
        fn small_and_large_amounts_round_alike(tokens: u64, rate in 0..=i64::MAX, few in 0..5_000_u64, cheap in 0..5_000_i64) {
            for (tokens, rate) in [(tokens, rate), (tokens, cheap), (few, rate), (few, cheap)] {
                let wide = div_half_even(i128::from(tokens) * i128::from(rate), 1_000);
                proptest::prop_assert_eq!(Rate(rate).cost(tokens), Money(wide));
            }
        }

        /// Amounts below zero are written by the general way.
        #[test]
        fn amounts_are_written_alike_by_both_ways(pico in 1..=u64::MAX, zeros in 0..20_u32) {
            for pico in [pico, (pico / 10_u64.pow(zeros)).max(1), pico % 10_u64.pow(zeros) + 1, pico - pico % 10_u64.pow(zeros)] {
                let (text, below) = (Money(pico.into()).to_string(), Money(-i128::from(pico)).to_string());
                proptest::prop_assert_eq!(below.trim_start_matches('-'), &text);
                proptest::prop_assert_eq!(Money::parse(&text).unwrap(), Money(pico.into()));
            }
        }
    }

    #[test]
    fn text_is_read_exactly_or_refused() {
        assert_eq!(Money::parse("-1.5").unwrap().to_string(), "-1.50");
        assert_eq!(Money::parse("0.000000000001").unwrap(), Money::from_pico(1));
        for bad in ["", ".", "1.", ".5", "1e5", "+1", "1,5", "NaN", "--1", "0.0000000000001"] {
            assert!(Money::parse(bad).is_err(), "{bad}");
        }
        assert!(Rate::parse("-1").is_err());
        assert!(Rate::parse("99999999999999").is_err());
    }

    #[test]
    fn fixed_text_rounds_half_even() {
        assert_eq!(Money::parse("0.125").unwrap().to_fixed(2), "0.12");
        assert_eq!(Money::parse("0.135").unwrap().to_fixed(2), "0.14");
        assert_eq!(Money::parse("-0.125").unwrap().to_fixed(2), "-0.12");
        assert_eq!(Money::parse("72.26").unwrap().to_fixed(6), "72.260000");
    }

    #[test]
    fn conversion_uses_the_dated_rate() {
        assert_eq!(Money::parse("0.90").unwrap().convert(1_040_000_000).unwrap().to_string(), "0.936");
    }
}
