//! Shares of requests: weighted targets and canaries, and what keeps a request with its share.
//!
//! A request is assigned by hashing what it sticks to with each group's name (weighted rendezvous hashing: Thaler and
//! Ravishankar 1998; the weights after Schindelhauer and Schomaker 2005). So the assignment needs no memory, is the same
//! on every machine, and when a group fails or a weight changes, only the requests that must move do.

use super::Dice;
use super::plan::Ask;
use crate::domain::id::TargetId;

/// What keeps a request with its share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sticky {
    /// Nothing: each request is drawn anew.
    #[default]
    None,
    /// The key that asks.
    Key,
    /// The client's user, as the request names it.
    User,
    /// The conversation.
    Session,
}

impl Sticky {
    /// All with their names in policies.
    pub(super) const ALL: [(&'static str, Self); 4] =
        [("none", Self::None), ("key", Self::Key), ("user", Self::User), ("session", Self::Session)];

    /// What is drawn by: the same for requests that stick together. None where nothing may be left to chance.
    pub(super) fn seed(self, ask: &Ask<'_>, dice: Dice) -> Option<u64> {
        let who = &ask.principal;
        let value = match self {
            Self::None => None,
            Self::Key => Some(who.key).filter(|key| !key.is_empty()).map(|key| hash(0, key)),
            Self::User => ask.user.filter(|user| !user.is_empty()).map(|user| hash(hash(0, who.tenant), user)),
            Self::Session => (ask.session)(),
        };
        value.or_else(|| dice.thrown())
    }
}

/// A share of all requests, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub(super) u32);

impl Share {
    /// Reads `5%` or `0.25%`: more than nothing, at most everything, exact to a ten-thousandth of a percent.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a share such as \"5%\" or \"0.25%\"");
        let percent = text.strip_suffix('%').ok_or_else(bad)?.trim_end();
        let (whole, part) = percent.split_once('.').unwrap_or((percent, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 4 || whole.len() > 3 {
            return Err(bad());
        }
        let number = |s: &str| s.parse::<u32>().map_err(|_| bad());
        let scale = 10_u32.pow(4 - u32::try_from(part.len()).unwrap_or(4));
        let ppm = number(whole)? * 10_000 + number(part)? * scale;
        if ppm == 0 || ppm > 1_000_000 {
            return Err(format!("`{text}` is not more than 0% and at most 100%"));
        }
        Ok(Self(ppm))
    }

    /// Whether a draw falls into the share.
    pub(super) fn has(self, draw: u64) -> bool {
        (u128::from(draw) * 1_000_000) >> 64 < u128::from(self.0)
    }
}

/// A target that a share of requests tries first, while everything else stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Which.
    pub target: TargetId,
    /// How many requests.
    pub share: Share,
    /// What keeps a request in the share or out of it.
    pub sticky: Sticky,
}

impl Canary {
    /// Whether the request is in the share.
    pub(super) fn takes(&self, route: &str, ask: &Ask<'_>, dice: Dice) -> bool {
        let draw = self.sticky.seed(ask, dice).map(|seed| hash(mix(seed), route));
        draw.is_some_and(|draw| self.share.has(mix(draw ^ 0xCA4A_11E5)))
    }
}

/// Groups of targets with weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// What keeps a request with its group.
    pub sticky: Sticky,
    /// Name and weight of each group.
    pub(super) groups: Vec<(Box<str>, u32)>,
    /// The group of each target that has one, by target.
    pub(super) of: Vec<(TargetId, u16)>,
}

impl Split {
    /// The group of a target; targets without a weight are in none.
    pub(super) fn group(&self, target: TargetId) -> Option<usize> {
        let at = self.of.binary_search_by_key(&target, |(target, _)| *target).ok()?;
        self.of.get(at).map(|(_, group)| usize::from(*group))
    }

    /// The rank of each group for a request, 0 first. Without chance the heaviest is first.
    pub(super) fn ranks(&self, route: &str, ask: &Ask<'_>, dice: Dice) -> Vec<usize> {
        let seed = self.sticky.seed(ask, dice).map(|seed| hash(mix(seed), route));
        let mut order: Vec<(f64, usize)> = Vec::with_capacity(self.groups.len());
        for (number, (name, weight)) in self.groups.iter().enumerate() {
            let weight = f64::from(*weight);
            // -ln(u) / w: an exponentially distributed lot of rate w. The least wins, in proportion to w.
            let lot = seed.map_or(-weight, |seed| -unit(mix(hash(seed, name))).ln() / weight);
            order.push((lot, number));
        }
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut ranks = vec![0; order.len()];
        for (rank, (_, group)) in order.into_iter().enumerate() {
            if let Some(slot) = ranks.get_mut(group) {
                *slot = rank;
            }
        }
        ranks
    }
}

/// The highest 53 bits as a number above 0 and at most 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
fn unit(bits: u64) -> f64 {
    ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

/// FNV-1a, going on from `start`.
pub(super) fn hash(start: u64, text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    // A length at the end keeps ("ab", "c") and ("a", "bc") apart.
    let hash = text.bytes().fold(start ^ 0xCBF2_9CE4_8422_2325, step);
    mix(hash ^ text.len() as u64)
}

/// Spreads every bit over all (the finisher of splitmix64).
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_or_refused() {
        for (text, ppm) in [("5%", 50_000), ("0.25%", 2_500), ("100%", 1_000_000), ("0.0001%", 1), ("12.5 %", 125_000)]
        {
            assert_eq!(Share::parse(text), Ok(Share(ppm)), "{text}");
        }
        for bad in ["5", "%", "-1%", "0%", "0.00001%", "101%", "1e1%", "5%%", ".5%", "1.%", "9999%"] {
            assert!(Share::parse(bad).is_err(), "{bad}");
        }
        assert!(Share(1_000_000).has(u64::MAX) && Share(1).has(0) && !Share(999_999).has(u64::MAX));
    }
}
