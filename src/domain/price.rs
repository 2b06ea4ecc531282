//! Dated prices as data: which rates hold for a model at an endpoint at a moment.

/// All price periods of one model at one endpoint.
#[derive(Clone, Debug, Default)]
pub struct PriceBook;
