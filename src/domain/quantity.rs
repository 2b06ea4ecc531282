//! Durations and sizes as people write them in configuration.

use std::time::Duration;

/// Reads `250ms`, `5s`, `10m`, `2h`, `1d`: a whole number and a unit.
///
/// # Errors
/// A message that shows the form.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        split(text).ok_or_else(|| format!("`{text}` is not a duration such as `500ms`, `30s` or `10m`"))?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("`{text}` has no unit that is known: ms, s, m, h, d")),
    };
    let total = number.checked_mul(millis).filter(|n| *n > 0 && *n <= 366 * 86_400_000);
    total.map(Duration::from_millis).ok_or_else(|| format!("`{text}` must be more than nothing and at most a year"))
}

/// Reads `65536`, `64 KiB`, `32 MiB`, `1 GiB`.
///
/// # Errors
/// A message that shows the form.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text).ok_or_else(|| format!("`{text}` is not a size such as `64 KiB` or `32 MiB`"))?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("`{text}` has no unit that is known: B, KiB, MiB, GiB")),
    };
    let bytes = number.checked_mul(factor).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    bytes.ok_or_else(|| format!("`{text}` is out of range"))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_refusals() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_bytes("32 MiB"), Ok(32 << 20));
        assert_eq!(parse_bytes("17"), Ok(17));
        for bad in ["", "s", "5", "5 weeks", "-5s", "0s", "400d", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "MiB", "1 MB", "0", "99999999999 GiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
