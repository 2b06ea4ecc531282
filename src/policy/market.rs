//! The catalogue as a market.

use super::Market;
use crate::catalogue::{Catalogue, TIERS, tier_rank};
use crate::domain::money::Money;
use crate::domain::price::ServiceTier;
use crate::domain::target::{Target, UnixMillis};
use crate::domain::usage::Usage;
use crate::pricing::{self, When};

impl Market for Catalogue {
    fn targets(&self) -> &[Target] {
        self.targets()
    }

    fn tiers(&self) -> Vec<&str> {
        TIERS.to_vec()
    }

    fn tier_rank(&self, tier: &str) -> Option<u32> {
        tier_rank(tier)
    }

    fn providers(&self) -> Vec<&str> {
        self.providers().iter().map(|provider| &*provider.name).collect()
    }

    fn price(&self, target: &Target, usage: &Usage, at: UnixMillis) -> Option<Money> {
        pricing::usd(usage, &target.prices, When::at(at), self.fx())
    }

    fn price_in(&self, service: ServiceTier, target: &Target, usage: &Usage, at: UnixMillis) -> Option<Money> {
        pricing::usd(usage, &target.prices, When { service, ..When::at(at) }, self.fx())
    }

    fn expected(
        &self,
        service: ServiceTier,
        target: &Target,
        input: (u64, u64),
        output: u64,
        at: UnixMillis,
    ) -> Option<Money> {
        pricing::expected_usd(input, output, &target.prices, When { service, ..When::at(at) }, self.fx())
    }
}
