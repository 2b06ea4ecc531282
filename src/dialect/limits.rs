//! What a provider tells of its limits in the headers of an answer: how much is left, and when it is all there again.
//!
//! Which headers these are is data: of the dialect, or of a provider's own file where it has others. The forms of a
//! reset are all read, whoever sends them, since none can be taken for another.

use std::borrow::Cow;
use std::time::Duration;

use crate::domain::target::UnixMillis;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Requests.
    Requests,
    /// Tokens of prompt and answer.
    Tokens,
    /// Tokens of prompt.
    Input,
    /// Tokens of answer.
    Output,
}

impl Counted {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Requests, Self::Tokens, Self::Input, Self::Output];

    /// The name in provider files and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Input => "input_tokens",
            Self::Output => "output_tokens",
        }
    }
}

/// How what was used comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refill {
    /// Evenly: the reset is the moment when all of it is there again.
    Steady,
    /// All at once, at the reset.
    Whole,
}

/// The headers of one limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LimitHeader {
    /// What it counts.
    pub counts: Counted,
    /// The header of the limit itself.
    pub limit: Option<Cow<'static, str>>,
    /// The header of what is left.
    pub remaining: Cow<'static, str>,
    /// The header of the reset.
    pub reset: Option<Cow<'static, str>>,
    /// In which time a limit is there again, where no header tells.
    pub period: Duration,
    /// How.
    pub refill: Refill,
}

impl LimitHeader {
    /// A limit of a dialect: it comes back evenly.
    #[must_use]
    pub const fn steady(counts: Counted, names: [&'static str; 3]) -> Self {
        let [limit, remaining, reset] = names;
        Self {
            counts,
            limit: Some(Cow::Borrowed(limit)),
            remaining: Cow::Borrowed(remaining),
            reset: Some(Cow::Borrowed(reset)),
            period: MINUTE,
            refill: Refill::Steady,
        }
    }
}

/// The limits of the OpenAI family. Imitators that have any have these.
pub(super) static OPENAI: [LimitHeader; 2] = [
    LimitHeader::steady(
        Counted::Requests,
        ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
    ),
    LimitHeader::steady(
        Counted::Tokens,
        ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
    ),
];

/// The period of nearly all limits.
pub const MINUTE: Duration = Duration::from_secs(60);

/// What one answer says of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it counts.
    pub counts: Counted,
    /// The limit, where it was told.
    pub limit: Option<u64>,
    /// What is left.
    pub remaining: u64,
    /// In which time all of it is there again; none = it was not told.
    pub reset: Option<Duration>,
    /// In which time a whole limit comes back, where `reset` does not say.
    pub period: Duration,
    /// How it comes back.
    pub refill: Refill,
}

/// What the headers of an answer say. A limit whose rest can't be read says nothing.
pub fn told<'a>(
    headers: &'a [LimitHeader],
    find: &'a dyn Fn(&str) -> Option<&'a str>,
    now: UnixMillis,
) -> impl Iterator<Item = Told> + 'a {
    headers.iter().filter_map(move |header| {
        let number = |name: &str| find(name).and_then(whole);
        Some(Told {
            counts: header.counts,
            remaining: number(&header.remaining)?,
            limit: header.limit.as_deref().and_then(number).filter(|limit| *limit > 0),
            reset: header.reset.as_deref().and_then(find).and_then(|text| reset(text, now)),
            period: header.period,
            refill: header.refill,
        })
    })
}

/// What was told, in the headers of another dialect. Nothing is said that was not told.
pub fn shown<'a>(
    told: impl Iterator<Item = Told> + 'a,
    headers: &'a [LimitHeader],
    write: &'a dyn Fn(Duration) -> String,
) -> impl Iterator<Item = (&'a str, String)> + 'a {
    told.flat_map(move |told| {
        let header = headers.iter().find(|header| header.counts == told.counts);
        header.into_iter().flat_map(move |header| {
            let limit = header.limit.as_deref().zip(told.limit.map(|limit| limit.to_string()));
            let left = (&*header.remaining, told.remaining.to_string());
            let reset = header.reset.as_deref().zip(told.reset.map(write));
            limit.into_iter().chain([left]).chain(reset)
        })
    })
}

/// A reset as the OpenAI family writes it: `6m0s`, `1.5s`, `52ms`. Source: Go, `time.Duration.String`, in milliseconds.
#[must_use]
pub fn written(reset: Duration) -> String {
    let (seconds, millis) = (reset.as_secs(), reset.subsec_millis());
    let fraction = if millis == 0 { String::new() } else { format!(".{millis:03}").trim_end_matches('0').to_owned() };
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) if millis > 0 => format!("{millis}ms"),
        (0, 0, s) => format!("{s}{fraction}s"),
        (0, m, s) => format!("{m}m{s}{fraction}s"),
        (h, m, s) => format!("{h}h{m}m{s}{fraction}s"),
    }
}

/// A count. Below nothing is nothing: some providers overdraw.
fn whole(text: &str) -> Option<u64> {
    let text = text.trim();
    // `2400000.0` has been seen.
    let text = text.split_once('.').map_or(text, |(whole, _)| whole);
    match text.parse::<i64>() {
        Ok(number) => Some(u64::try_from(number).unwrap_or(0)),
        Err(_) => None,
    }
}

/// Longest reset that is believed.
const LONGEST: Duration = Duration::from_secs(31 * 86_400);

/// A reset in any of its forms: `6m0s`, `52ms` (as Go writes a duration), seconds (`7`, `0.5`), a moment in RFC 3339, or
/// the seconds or milliseconds since 1970. The past is now.
#[must_use]
pub fn reset(text: &str, now: UnixMillis) -> Option<Duration> {
    let text = text.trim();
    let since = |moment: i64| Duration::from_millis(u64::try_from(moment.saturating_sub(now.0)).unwrap_or(0));
    let found = match text.parse::<i64>() {
        // A second of 1970-04 is no moment of a reset, and no reset takes three years.
        Ok(number) if number >= 100_000_000_000 => since(number),
        Ok(number) if number >= 100_000_000 => since(number.checked_mul(1_000)?),
        Ok(number) => Duration::from_secs(u64::try_from(number).unwrap_or(0)),
        Err(_) => match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
            Err(_) if text.contains('T') => since(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()),
            Err(_) => go_duration(text)?,
        },
    };
    Some(found.min(LONGEST))
}

/// `1h2m3.5s`, `120ms`, `15µs`. Source: Go, `time.Duration.String`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "µs" | "us" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        sum = sum.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = &rest[unit..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::DialectId;

    const NOW: UnixMillis = UnixMillis(1_754_667_600_000);

    #[test]
    fn resets_in_all_their_forms() {
        let ms = |text| reset(text, NOW).map(|d| d.as_micros() / 1_000);
        assert_eq!(ms("6m0s"), Some(360_000));
        assert_eq!(ms("12.967s"), Some(12_967));
        assert_eq!(ms("1h2m3.5s"), Some(3_723_500));
        assert_eq!(ms("132ms"), Some(132));
        assert_eq!(ms("0s"), Some(0));
        assert_eq!(ms("800µs"), Some(0));
        assert_eq!(ms("7"), Some(7_000));
        assert_eq!(ms("0.5"), Some(500));
        assert_eq!(ms("1754667660000"), Some(60_000), "milliseconds since 1970");
        assert_eq!(ms("1754667660"), Some(60_000), "seconds since 1970");
        assert_eq!(ms("2025-08-08T15:41:00Z"), Some(60_000));
        assert_eq!(ms("2025-08-08T17:41:00.250+02:00"), Some(60_250));
        assert_eq!(ms("2024-08-08T15:41:00Z"), Some(0), "the past is now");
        assert_eq!(ms("-3"), Some(0));
        assert_eq!(ms("9999h"), Some(LONGEST.as_millis()));
        for junk in ["", "soon", "6x", "m", "1m2", "Tuesday", "NaN", "inf", "-1.5", "1e400", "h1"] {
            assert_eq!(reset(junk, NOW), None, "{junk}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for (millis, text) in
            [(0, "0s"), (52, "52ms"), (1_500, "1.5s"), (7_000, "7s"), (360_000, "6m0s"), (3_723_050, "1h2m3.05s")]
        {
            let reset_in = Duration::from_millis(millis);
            assert_eq!(written(reset_in), text);
            let read = reset(text, NOW).map(|read| read.as_micros().div_ceil(1_000));
            assert_eq!(read, Some(u128::from(millis)), "{text}");
        }
    }

    #[test]
    fn what_was_told_is_shown_in_another_dialect_and_nothing_else() {
        let told =
            |counts, limit, reset| Told { counts, limit, remaining: 3, reset, period: MINUTE, refill: Refill::Steady };
        let all = [
            told(Counted::Requests, Some(9), Some(Duration::from_secs(6))),
            told(Counted::Tokens, None, None),
            told(Counted::Input, Some(1), None),
        ];
        let shown: Vec<_> = shown(all.into_iter(), &OPENAI, &written).collect();
        let want = [
            ("x-ratelimit-limit-requests", "9"),
            ("x-ratelimit-remaining-requests", "3"),
            ("x-ratelimit-reset-requests", "6s"),
            ("x-ratelimit-remaining-tokens", "3"),
        ];
        assert_eq!(shown, want.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn what_headers_say() {
        let names = ["x-limit", "x-left", "x-reset"];
        let headers = [
            LimitHeader::steady(Counted::Requests, names),
            LimitHeader::steady(Counted::Tokens, ["t-limit", "t-left", "t-reset"]),
            LimitHeader { limit: None, reset: None, ..LimitHeader::steady(Counted::Output, ["", "o-left", ""]) },
        ];
        let given =
            [("x-limit", "100"), ("x-left", "-3"), ("x-reset", "6s"), ("t-limit", "5"), ("o-left", "2400000.0")];
        let find = |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let told: Vec<Told> = told(&headers, &find, NOW).collect();
        let one = |counts, limit, remaining, reset| Told {
            counts,
            limit,
            remaining,
            reset,
            period: MINUTE,
            refill: Refill::Steady,
        };
        assert_eq!(
            told,
            [
                one(Counted::Requests, Some(100), 0, Some(Duration::from_secs(6))),
                one(Counted::Output, None, 2_400_000, None),
            ],
            "without what is left nothing is said"
        );
    }

    #[test]
    fn limits_of_recorded_answers_are_read() {
        let Ok(listing) = std::fs::read_dir(crate::dialect::corpus::dir()) else {
            println!("skipped: no recorded exchanges");
            return;
        };
        let files =
            listing.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "jsonl"));
        let text: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let mut count = 0;
        for line in text.lines() {
            let exchange: serde_json::Value = serde_json::from_str(line).unwrap();
            let found = &exchange["response"]["headers"];
            let find = |name: &str| found.get(name).and_then(|value| value.as_str());
            for dialect in [DialectId::OpenAiChat, DialectId::Anthropic] {
                let headers = crate::dialect::egress(dialect).unwrap().limits();
                for header in headers.iter().filter(|header| find(&header.remaining).is_some()) {
                    let all: Vec<Told> = told(headers, &find, NOW).collect();
                    assert!(all.iter().any(|told| told.counts == header.counts), "{found}");
                    if let Some(text) = header.reset.as_deref().and_then(find) {
                        assert!(reset(text, NOW).is_some(), "{text}");
                    }
                    count += 1;
                }
            }
        }
        assert!(count > 300, "{count}");
    }
}
