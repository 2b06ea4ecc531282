//! What an attempt showed of its target.

use std::sync::Arc;
use std::time::Duration;

use crate::catalogue::Target;
use crate::domain::usage::{Basis, Usage};
use crate::forecast::Sample;

/// What an attempt showed of its target.
pub(super) struct Shown {
    pub took: Duration,
    pub ttft: Option<Duration>,
    pub usage: Usage,
    pub basis: Basis,
    /// Requests in flight there when it began.
    pub before: u32,
    /// Answers that were asked for.
    pub choices: u32,
    /// The label of the key it was made with.
    pub key: Option<Arc<str>>,
}

impl Shown {
    /// What it teaches of the target's speed, now that it is over.
    pub(super) fn sample(&self, target: &Target) -> Sample {
        // Several answers are written side by side.
        let tokens = self.usage.output_tokens() / u64::from(self.choices.max(1));
        Sample {
            // Where the first token was seen, it has been told.
            ttft: None,
            per_token: self.per_token(tokens, target),
            input_tokens: self.usage.input_tokens(),
            in_flight: self.ttft.is_none().then_some(self.before),
            took: Some(self.took),
            look: None,
        }
    }

    /// The mean time of each token after the first of an answer of so many; none = there are none.
    pub(super) fn per_token(&self, tokens: u64, target: &Target) -> Option<Duration> {
        let later = u32::try_from(tokens).unwrap_or(u32::MAX).checked_sub(1).filter(|later| *later > 0)?;
        // The first token of a whole answer nobody saw: its time is what is left after the wait that is usual there.
        let unseen = || self.took.saturating_sub(Duration::from_millis(target.prior.ttft_ms.into()).min(self.took / 2));
        Some(self.ttft.map_or_else(unseen, |ttft| self.took.saturating_sub(ttft)) / later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Catalogue, Surroundings};
    use crate::domain::usage::Bucket;

    #[test]
    fn several_answers_are_written_side_by_side() {
        let env = |name: &str| name.ends_with("_KEY").then(|| "key".to_owned());
        let catalogue = Catalogue::compile(&[], &Surroundings { env: &env, served: &[] }).unwrap();
        let target = catalogue.targets().first().unwrap();
        let per_token = |tokens: u64, choices: u32| {
            let usage = Usage::ZERO.with(Bucket::Output, tokens);
            let (took, ttft) = (Duration::from_secs(10), Some(Duration::from_secs(1)));
            let shown = Shown { took, ttft, usage, basis: Basis::Provider, before: 0, choices, key: None };
            shown.sample(target).per_token
        };
        assert_eq!(per_token(91, 1), Some(Duration::from_millis(100)));
        assert_eq!(per_token(364, 4), per_token(91, 1));
        assert_eq!(per_token(4, 4), None, "one token each tells nothing");
    }
}
