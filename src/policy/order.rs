//! The order of admitted targets, and what may stand before the best.

use std::cmp::Ordering;

use super::plan::{Candidate, Decision, Dice, Ticket};
use super::split::mix;
use super::{Market, Preference, Share};
use crate::domain::id::TargetId;
use crate::domain::target::{Signal, UnixMillis};

/// Why the first target is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// It has the best score, or nearly so and less to do.
    Best,
    /// It is of the share that the request falls into.
    Weighted,
    /// It is the canary.
    Canary,
    /// It answered this conversation before, and its cached prompt makes it the best.
    Affinity,
    /// Its speed is not known, or may be better again, and some requests find it out.
    Explored,
    /// Everything admitted rests by our own breakers; its rest ends soonest.
    LastResort,
}

impl Lead {
    /// A stable word for it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::Weighted => "weighted",
            Self::Canary => "canary",
            Self::Affinity => "affinity",
            Self::Explored => "explored",
            Self::LastResort => "last_resort",
        }
    }

    /// By its stable word.
    #[must_use]
    pub fn by_label(label: &str) -> Option<Self> {
        let all = [Self::Best, Self::Weighted, Self::Canary, Self::Affinity, Self::Explored, Self::LastResort];
        all.into_iter().find(|lead| lead.label() == label)
    }

    /// The same for people, behind a number of attempts; nothing where there is nothing to say.
    #[must_use]
    pub fn shown(self) -> &'static str {
        match self {
            Self::Best => "",
            Self::Weighted => "; by weights, for this caller",
            Self::Canary => "; the canary first, for this caller",
            Self::Affinity => "; where this conversation was before",
            Self::Explored => "; one first whose speed is not known, or may be better again",
            Self::LastResort => "; resting after failures, tried since nothing else is left",
        }
    }
}

impl Decision {
    /// Leave to ask a second target beside the admitted one of that number: the next that is up, and whose expected cost is
    /// known and within the route's limit. Never where the first one's price is not known.
    pub fn second(
        &self,
        first: usize,
        made: u8,
        up: &dyn Fn(&Candidate) -> bool,
        market: &dyn Market,
        signals: &dyn Fn(TargetId) -> Signal,
        now: UnixMillis,
    ) -> Option<(usize, Ticket)> {
        let limit = self.hedge?.max_extra_cost;
        self.admitted.get(first)?.expected_cost?;
        let fits = |c: &Candidate| c.expected_cost.is_some_and(|cost| cost <= limit) && up(c);
        let mut others = self.admitted.iter().enumerate().skip(first + 1).filter(|(_, candidate)| fits(candidate));
        others.find_map(|(number, _)| Some((number, self.ticket(number, made, market, signals, now).ok()?)))
    }
}

/// A target that nobody has measured, or that was slow when it was last seen and would be the best if it were as fast as
/// it usually was, for a share of the requests: one at a time, and only where it costs at most twice what the best one
/// does. Otherwise a cheap slow target would stay the only one that is known, and one that has recovered would stay out.
pub(super) fn explored(admitted: &[Candidate], share: Share, dice: Dice) -> Option<usize> {
    let draw = dice.thrown().map(|bits| mix(bits ^ 0x0E59_1043)).filter(|draw| share.has(*draw))?;
    let (best, others) = admitted.split_first()?;
    let most = best.expected_cost.filter(|_| best.measured)?.pico().saturating_mul(2);
    let may_be_best = |c: &Candidate| c.hope.zip(best.score).is_some_and(|(hope, score)| hope < score);
    let cheap = |c: &Candidate| c.expected_cost.is_some_and(|cost| cost.pico() <= most);
    let unknown = |c: &Candidate| (!c.measured || may_be_best(c)) && c.in_flight == 0 && cheap(c);
    let count = others.iter().filter(|c| unknown(c)).count();
    let drawn = usize::try_from(mix(draw) % u64::try_from(count.max(1)).ok()?).ok()?;
    others.iter().enumerate().filter(|(_, c)| unknown(c)).nth(drawn).map(|(number, _)| number + 1)
}

/// Best first. Among near-ties two are drawn and the less loaded one leads: always sending to the very best would
/// overrun it and leave the next best unmeasured.
pub(super) fn order(admitted: &mut [Candidate], prefer: Preference, dice: Dice) -> Lead {
    let cost = |c: &Candidate| (c.expected_cost.is_none(), c.expected_cost);
    let none_last = |a: &Candidate, b: &Candidate| match (a.score, b.score) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    };
    admitted.sort_by(|a, b| {
        none_last(a, b)
            .then_with(|| cost(a).cmp(&cost(b)))
            .then_with(|| (a.latency_ms, a.position, a.target).cmp(&(b.latency_ms, b.position, b.target)))
    });
    match prefer {
        Preference::Listed => return Lead::Best,
        Preference::Weighted => return Lead::Weighted,
        Preference::Exchange { .. } | Preference::Fastest => {}
    }
    let Some(best) = admitted.first().and_then(|c| c.score) else { return Lead::Best };
    let limit = best.saturating_add(best / 20);
    let near = admitted.iter().take_while(|c| c.score.is_some_and(|s| s <= limit)).count();
    if near >= 2 {
        let (first, second) = draw_two(dice, near);
        let lead = if admitted[second].in_flight < admitted[first].in_flight { second } else { first };
        admitted[..=lead].rotate_right(1);
    }
    Lead::Best
}

/// Two different numbers below `n`, which is at least 2.
fn draw_two(Dice(dice): Dice, n: usize) -> (usize, usize) {
    let index = |value: u64| usize::try_from(value).unwrap_or(0);
    let wide = u64::try_from(n).unwrap_or(u64::MAX);
    let first = index(dice % wide);
    let second = index(dice / wide % (wide - 1));
    (first, if second >= first { second + 1 } else { second })
}
