//! Errands: questions to a target about what it has made or is making for somebody (a batch, its results). They choose
//! nothing, but they are calls like any other: only a ticket lets them dial.

use super::plan::Ticket;
use super::{Market, Policy, Reason, Requirement};
use crate::domain::id::TargetId;
use crate::domain::target::UnixMillis;

impl Policy {
    /// Leave to ask a target about what was made there under `requirement`, once. That holds still, with all that the policy
    /// requires by now; a model that has been retired meanwhile may still hand out its results.
    ///
    /// # Errors
    /// Why not.
    pub fn errand(
        &self,
        requirement: &Requirement,
        (target, own_key): (TargetId, bool),
        market: &dyn Market,
        now: UnixMillis,
    ) -> Result<Ticket, Reason> {
        let target = market.targets().get(target.index()).ok_or(Reason::NotConfigured)?;
        self.require().narrow(requirement).check(target, market, now)?;
        if !target.is_usable(own_key) {
            return Err(Reason::NotConfigured);
        }
        Ok(Ticket::to(target.id))
    }
}

impl Requirement {
    /// What holds of a request's answer as long as it lies somewhere: not what it might cost, nor how fast it must be.
    #[must_use]
    pub fn lasting(&self) -> Self {
        Self { max_cost: None, ttft_p95_ms: None, measured_only: false, ..self.clone() }
    }
}
