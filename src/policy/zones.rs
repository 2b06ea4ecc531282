//! Countries as sets, and the named sets that policies may use.
//!
//! A requirement is never about the word "EU": it is about countries. A zone is expanded when it is read, so a target
//! that processes in FI satisfies `processing = ["EU"]`, and one whose catalogue entry says `US` never does by name.

use std::fmt;

use super::text;
use crate::domain::target::Country;

/// A set of countries, the pseudo-country `local` included. A bit each: requirements are intersected on each request.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Countries([u64; WORDS]);

/// 26 × 26 codes and one for `local`.
const WORDS: usize = 11;
const LOCAL_BIT: usize = 26 * 26;

/// A named set of countries.
pub struct Zone {
    /// The name in policies.
    pub name: &'static str,
    /// What it is, and as of when where that matters.
    pub about: &'static str,
    parts: &'static [&'static str],
}

const EU: &str = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK";
const EFTA_IN_EEA: &str = "IS LI NO";
/// Decisions under article 45 GDPR that cover a whole country without conditions on the recipient, as of the date in
/// the zone's name. Canada (commercial organisations only) and the United States (certified organisations only) are
/// left out: a country code cannot tell whether the recipient is covered.
const ADEQUATE: &str = "AD AR CH FO GB GG IL IM JE JP KR NZ UY";

/// The zones that ship. Widest first: rendering a set names the widest zone that is wholly inside.
pub const ZONES: [Zone; 6] = [
    Zone {
        name: "adequacy-2025-12",
        about: "EEA and the countries with an unconditional EU adequacy decision, as of December 2025",
        parts: &[EU, EFTA_IN_EEA, ADEQUATE],
    },
    Zone { name: "europe", about: "EEA, Switzerland and the United Kingdom", parts: &[EU, EFTA_IN_EEA, "CH GB"] },
    Zone { name: "EEA+CH", about: "EEA and Switzerland", parts: &[EU, EFTA_IN_EEA, "CH"] },
    Zone { name: "EEA", about: "EU, Iceland, Liechtenstein and Norway", parts: &[EU, EFTA_IN_EEA] },
    Zone { name: "EU", about: "the 27 member states since 2020-02-01", parts: &[EU] },
    Zone { name: "local", about: "this machine: no byte leaves it", parts: &["local"] },
];

/// What people write instead of the code.
const NOT_CODES: [(&str, &str); 4] = [("UK", "GB"), ("EL", "GR"), ("USA", "US"), ("PRC", "CN")];

impl Countries {
    /// The empty set.
    pub const NONE: Self = Self([0; WORDS]);

    /// Reads the name of a zone or a country code.
    ///
    /// # Errors
    /// A message and a hint, when it is neither.
    pub fn parse(name: &str) -> Result<Self, (String, Option<String>)> {
        if let Some(zone) = ZONES.iter().find(|z| z.name == name) {
            return Ok(zone.countries());
        }
        if let Some(country) = Country::named(name) {
            return Ok(Self::NONE.with(country));
        }
        let hint = NOT_CODES.iter().find(|(wrong, _)| wrong.eq_ignore_ascii_case(name)).map_or_else(
            || text::did_you_mean(name, ZONES.iter().map(|z| z.name).chain(Country::ISO.split_ascii_whitespace())),
            |(_, right)| Some(format!("did you mean `{right}`?")),
        );
        Err((format!("`{name}` is neither a zone nor an ISO 3166-1 country code"), hint))
    }

    /// The set with one more.
    #[must_use]
    pub fn with(mut self, country: Country) -> Self {
        if let Some((word, bit)) = place(country) {
            self.0[word] |= bit;
        }
        self
    }

    /// Whether it is in the set.
    #[must_use]
    pub fn has(&self, country: Country) -> bool {
        place(country).is_some_and(|(word, bit)| self.0[word] & bit != 0)
    }

    /// What is in both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a &= b);
        self
    }

    /// What is in either.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a |= b);
        self
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|w| *w == 0)
    }

    fn without(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a &= !b);
        self
    }

    /// All countries of the set, `local` included.
    pub fn iter(&self) -> impl Iterator<Item = Country> + '_ {
        Country::ISO.split_ascii_whitespace().chain(["local"]).filter_map(Country::parse).filter(|c| self.has(*c))
    }
}

impl Zone {
    /// Its countries.
    #[must_use]
    pub fn countries(&self) -> Countries {
        let codes = self.parts.iter().flat_map(|p| p.split_ascii_whitespace());
        codes.filter_map(Country::parse).fold(Countries::NONE, Countries::with)
    }
}

impl fmt::Display for Countries {
    /// `EEA,US`: the widest zones first, then what is left. Reads back as the same set unless it is empty (`none`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut rest = *self;
        let mut comma = "";
        for zone in &ZONES {
            let countries = zone.countries();
            if rest.and(countries) == countries {
                write!(f, "{comma}{}", zone.name)?;
                rest = rest.without(countries);
                comma = ",";
            }
        }
        for country in rest.iter() {
            write!(f, "{comma}{}", country.code())?;
            comma = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for Countries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn place(country: Country) -> Option<(usize, u64)> {
    let letter = |b: u8| b.is_ascii_uppercase().then(|| usize::from(b - b'A'));
    let index = match country.letters() {
        Some([a, b]) => letter(a)? * 26 + letter(b)?,
        None => LOCAL_BIT,
    };
    Some((index / 64, 1 << (index % 64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> Countries {
        names.iter().fold(Countries::NONE, |s, n| s.or(Countries::parse(n).unwrap()))
    }

    #[test]
    fn zones_hold_what_their_names_say() {
        let count = |name: &str| set(&[name]).iter().count();
        assert_eq!((count("EU"), count("EEA"), count("EEA+CH"), count("europe")), (27, 30, 31, 32));
        assert_eq!(Country::ISO.split_ascii_whitespace().count(), 249);
        let country = |c| Country::parse(c).unwrap();
        assert!(
            set(&["EU"]).has(country("FI")) && !set(&["EU"]).has(country("GB")) && !set(&["EU"]).has(country("US"))
        );
        assert!(!set(&["EU"]).has(Country::LOCAL) && set(&["local"]).has(Country::LOCAL));
        assert!(!set(&["adequacy-2025-12"]).has(country("US")));
    }

    #[test]
    fn unknown_names_get_a_hint() {
        let hint = |name| Countries::parse(name).unwrap_err().1.unwrap_or_default();
        assert!(hint("UK").contains("`GB`"));
        assert!(hint("eu").contains("`EU`"));
        assert!(hint("EAA").contains("`EEA`"));
        assert!(Countries::parse("XX").is_err());
        assert!(Countries::parse("").is_err());
    }

    #[test]
    fn sets_read_back_from_their_text() {
        for names in [&["EU", "local"][..], &["europe", "US"], &["DE"], &["EEA+CH", "CN", "local"]] {
            let text = set(names).to_string();
            let again: Vec<&str> = text.split(',').collect();
            assert_eq!(set(&again), set(names), "{text}");
        }
        assert_eq!(set(&["EU", "local"]).to_string(), "EU,local");
    }
}
