//! Single values of provider files: countries, dates, rates, windows.

use toml::value::Offset;

use crate::domain::money::Rate;
use crate::domain::price::Rates;
use crate::domain::problem::Problem;
use crate::domain::target::{Country, UnixMillis};
use crate::domain::usage::Bucket;
use crate::shape::{self, Datetime, Spanned};

/// A file being read, with its problems so far.
pub(super) struct Reader<'a> {
    pub file: &'a str,
    pub text: &'a str,
    pub problems: Vec<Problem>,
    /// Something of the file could not be read: what refers to it is not at fault.
    pub partial: bool,
}

impl Reader<'_> {
    pub(super) fn problem<T>(&mut self, at: &Spanned<T>, message: impl Into<String>) {
        self.problems.push(Problem::at(self.file, self.text, at.span().start, message));
    }

    /// A problem with the nearest of the names that would have been right.
    pub(super) fn unknown_name(&mut self, at: &Spanned<String>, what: &str, known: &[&str]) {
        let given = at.get_ref();
        let near = shape::nearest(given, known.iter().copied());
        let message = format!("`{given}` is no {what} ({})", known.join(", "));
        let hint = near.map(|name| format!("did you mean `{name}`?"));
        self.problems.push(Problem::at(self.file, self.text, at.span().start, message).hint(hint));
    }

    pub(super) fn country(&mut self, at: &Spanned<String>) -> Option<Country> {
        let country = Country::named(at.get_ref());
        if country.is_none() {
            self.problem(at, no_country(at.get_ref()));
        }
        country
    }

    /// Countries; none = one of them is none.
    pub(super) fn countries(&mut self, at: &Spanned<Vec<String>>) -> Option<Vec<Country>> {
        let wrong: Vec<&String> = at.get_ref().iter().filter(|name| Country::named(name).is_none()).collect();
        for name in &wrong {
            self.problem(at, no_country(name));
        }
        wrong.is_empty().then(|| at.get_ref().iter().filter_map(|name| Country::named(name)).collect())
    }

    /// A beginning and an end, in this order.
    pub(super) fn span(
        &mut self,
        from: Option<&Spanned<Datetime>>,
        to: Option<&Spanned<Datetime>>,
    ) -> (Option<UnixMillis>, Option<UnixMillis>) {
        let begins = from.and_then(|at| self.moment(at));
        let ends = to.and_then(|at| self.moment(at));
        if let (Some(begins), Some(ends), Some(at)) = (begins, ends, to)
            && ends <= begins
        {
            self.problem(at, "ends before it begins");
        }
        (begins, ends)
    }

    /// An address as it is written: TLS, but where the file says that a private endpoint may do without.
    pub(super) fn address(&mut self, at: &Spanned<String>, allow_http: bool) {
        let url = at.get_ref();
        let plain = allow_http && url.starts_with("http://");
        if !plain && !url.starts_with("https://") && !url.starts_with("${") {
            self.problem(at, format!("`{url}` must be https (or set allow_http for a private endpoint)"));
        }
    }

    /// A day (its midnight, UTC) or a moment with an offset.
    pub(super) fn moment(&mut self, at: &Spanned<Datetime>) -> Option<UnixMillis> {
        let moment = millis(at.get_ref());
        if moment.is_none() {
            self.problem(at, format!("`{}` must be a day or a moment with `Z`", at.get_ref()));
        }
        moment
    }

    pub(super) fn rates(&mut self, given: &[(Bucket, &Option<Spanned<String>>)]) -> Rates {
        let mut rates: Rates = [None; Bucket::COUNT];
        for (bucket, text) in given {
            let Some(text) = text else { continue };
            match Rate::parse(text.get_ref()) {
                Ok(rate) => rates[*bucket as usize] = Some(rate),
                Err(error) => self.problem(text, error.to_string()),
            }
        }
        rates
    }

    /// `HH:MM-HH:MM` ranges as minutes of the day.
    pub(super) fn ranges(&mut self, at: &Spanned<Vec<String>>) -> Vec<(u16, u16)> {
        let read = |text: &String| {
            let (from, to) = text.split_once('-')?;
            Some((minute(from)?, minute(to)?)).filter(|(from, to)| from != to)
        };
        let ranges: Option<Vec<_>> = at.get_ref().iter().map(read).collect();
        ranges.unwrap_or_else(|| {
            self.problem(at, "times of day are written as \"16:30-00:30\"");
            Vec::new()
        })
    }

    /// Days of the week, Monday first; absent = all.
    pub(super) fn days(&mut self, at: Option<&Spanned<Vec<String>>>) -> [bool; 7] {
        const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let Some(at) = at else { return [true; 7] };
        let mut days = [false; 7];
        for name in at.get_ref() {
            match NAMES.iter().position(|known| known == name) {
                Some(day) => days[day] = true,
                None => self.problem(at, format!("`{name}` is no day of the week ({})", NAMES.join(", "))),
            }
        }
        days
    }
}

fn no_country(text: &str) -> String {
    let more = match text {
        "EU" | "EEA" => "; zones are for policies: list the countries",
        "UK" => "; did you mean `GB`?",
        _ => "",
    };
    format!("`{text}` is no ISO 3166-1 country (two capital letters) and not `local`{more}")
}

fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

fn millis(at: &Datetime) -> Option<UnixMillis> {
    let date = at.date?;
    let date =
        jiff::civil::date(i16::try_from(date.year).ok()?, i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?);
    let offset = match (at.time, at.offset) {
        (None, None) => 0,
        (Some(_), Some(Offset::Z)) => 0,
        (Some(_), Some(Offset::Custom { minutes })) => i64::from(minutes),
        _ => return None,
    };
    let midnight = jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?.as_millisecond();
    let time = at.time.map_or(0, |time| {
        let seconds = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0));
        seconds * 1000 + i64::from(time.nanosecond.unwrap_or(0) / 1_000_000)
    });
    Some(UnixMillis(midnight + time - offset * 60_000))
}
