//! Small readers of what people write in policies: durations, money, and the nearest name to a mistyped one.

use std::time::Duration;

use crate::domain::money::Money;

/// Reads `250ms`, `5s`, `10m`, `2h` or `1d`: one whole number and one unit, nothing else.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a duration such as 250ms, 5s, 10m, 2h or 1d");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(bad()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(bad)
}

/// Reads `0.05 USD`: a decimal amount that is not negative, a space, the currency. Exact or refused.
pub(super) fn money(text: &str) -> Result<Money, String> {
    let (amount, currency) =
        text.trim().split_once(' ').ok_or_else(|| format!("`{text}` is not an amount such as \"0.05 USD\""))?;
    let currency = currency.trim();
    if currency != "USD" {
        return Err(format!("policies count in USD, `{currency}` is not understood"));
    }
    let amount = Money::parse(amount).map_err(|e| e.to_string())?;
    if amount < Money::ZERO { Err(format!("`{text}` is negative")) } else { Ok(amount) }
}

/// The name that was most likely meant: the same in another case, or a few letters off.
pub(super) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    let mut best: Option<(usize, &'a str)> = None;
    for name in names {
        let distance = strsim::damerau_levenshtein(&lower, &name.to_lowercase());
        if distance <= allowed && best.is_none_or(|(d, _)| distance < d) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// `did you mean ...?`, where something is near.
pub(super) fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, names).map(|name| format!("did you mean `{name}`?"))
}

/// A moment as people write it in messages: the UTC date.
pub(super) fn date(at: crate::domain::target::UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| "?".to_owned(), |t| t.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "10", "m", "1.5s", "-1s", "10 m", "10min", "99999999999999999999s", "18446744073709551615d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn money_needs_its_currency() {
        assert_eq!(money("0.05 USD").unwrap(), Money::parse("0.05").unwrap());
        for bad in ["0.05", "0.05USD", "0.05 EUR", "-1 USD", "five USD", "0.0000000000001 USD"] {
            assert!(money(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("eu", ["US", "EU", "EEA"]), Some("EU"));
        assert_eq!(nearest("openia", ["openai", "groq"]), Some("openai"));
        assert_eq!(nearest("mistral", ["openai", "groq"]), None);
    }

    #[test]
    fn dates_are_utc() {
        assert_eq!(date(crate::domain::target::UnixMillis(1_738_281_600_000)), "2025-01-31");
    }
}
