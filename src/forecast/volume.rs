//! How many tokens an answer has, how a target counts a prompt, how much of it comes from its cache: per route and
//! target. Integers, since expected costs are made of them.

use crate::domain::target::Expectation;
use crate::domain::usage::{Bucket, Usage};

/// One sample, so that a decayed weight keeps its fractions.
const ONE: u64 = 1 << 10;
/// Each sample keeps all but one part in so many of those before it.
const FADE: u64 = 64;
/// How many samples the prior counts for.
const PRIOR: u64 = 4;
/// Nothing is learned from amounts beyond this: a report that is off by orders of magnitude is a mistake.
const MOST: u64 = 10_000_000;

/// What was seen, decayed. All sums are in parts of [`ONE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Volume {
    answers: u64,
    output: u64,
    estimated: u64,
    input: u64,
    cached: u64,
}

impl Volume {
    /// Takes what a complete request used: `estimated` tokens of prompt were expected, and `choices` answers asked for.
    pub fn observe(&mut self, usage: &Usage, estimated: u64, choices: u32) {
        let each = usage.output_tokens() / u64::from(choices.max(1));
        let input = usage.input_tokens();
        if input == 0 || each > MOST || input > MOST || estimated > MOST {
            return;
        }
        let fade = |sum: &mut u64, add: u64| *sum = *sum - *sum / FADE + add.saturating_mul(ONE);
        fade(&mut self.answers, 1);
        fade(&mut self.output, each);
        fade(&mut self.estimated, estimated);
        fade(&mut self.input, input);
        fade(&mut self.cached, usage.get(Bucket::CacheRead).min(input));
    }

    /// What is expected of the next request, where an answer has `prior` tokens until something else is known.
    #[must_use]
    pub fn expect(&self, prior: u32) -> Expectation {
        let output = (PRIOR * ONE)
            .saturating_mul(u64::from(prior))
            .saturating_add(self.output)
            .checked_div(PRIOR * ONE + self.answers);
        // A share of sums: large prompts, which cost most, count most. Between a fifth and five times the estimate.
        let mean = self.estimated / (self.answers / ONE).max(1);
        let input_ppm = ppm(self.input.saturating_add(PRIOR * mean), self.estimated.saturating_add(PRIOR * mean));
        Expectation {
            output_tokens: output.and_then(|tokens| u32::try_from(tokens).ok()),
            input_ppm: input_ppm.unwrap_or(1_000_000).clamp(200_000, 5_000_000),
            // Nothing cached is the prior.
            cached_ppm: ppm(self.cached, self.input.saturating_add(PRIOR * mean)).unwrap_or(0).min(1_000_000),
        }
    }
}

fn ppm(part: u64, whole: u64) -> Option<u32> {
    let ppm = (u128::from(part) * 1_000_000).checked_div(u128::from(whole))?;
    u32::try_from(ppm).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input: u64, cached: u64, output: u64) -> Usage {
        Usage::ZERO.with(Bucket::Input, input).with(Bucket::CacheRead, cached).with(Bucket::Output, output)
    }

    #[test]
    fn the_prior_gives_way_to_what_is_seen() {
        let mut volume = Volume::default();
        assert_eq!(volume.expect(500), Expectation { output_tokens: Some(500), ..Expectation::UNKNOWN });
        volume.observe(&usage(100, 0, 5_000), 100, 1);
        let once = volume.expect(500).output_tokens.unwrap();
        assert!((1_200..1_600).contains(&once), "one answer proves little: {once}");
        (0..100).for_each(|_| volume.observe(&usage(100, 0, 5_000), 100, 1));
        let often = volume.expect(500).output_tokens.unwrap();
        assert!((4_600..=5_000).contains(&often), "{often}");
        (0..200).for_each(|_| volume.observe(&usage(100, 0, 100), 100, 1));
        assert!(volume.expect(500).output_tokens.unwrap() < 400, "the present outweighs the past");
    }

    #[test]
    fn prompts_are_counted_as_the_target_counts_them_and_caches_are_seen() {
        let mut volume = Volume::default();
        (0..200).for_each(|_| volume.observe(&usage(300, 900, 10), 1_000, 1));
        let expected = volume.expect(10);
        assert!((1_150_000..=1_200_000).contains(&expected.input_ppm), "{expected:?}");
        assert!((650_000..=750_000).contains(&expected.cached_ppm), "{expected:?}");
    }

    #[test]
    fn several_answers_share_their_tokens_and_nonsense_teaches_nothing() {
        let mut volume = Volume::default();
        (0..300).for_each(|_| volume.observe(&usage(100, 0, 400), 100, 4));
        assert!((98..=120).contains(&volume.expect(300).output_tokens.unwrap()), "{:?}", volume.expect(300));
        let before = volume;
        volume.observe(&usage(u64::MAX / 2, 0, 1), 1, 1);
        volume.observe(&Usage::ZERO, 1, 1);
        assert_eq!(volume, before);
    }
}
