//! Why a request goes where it goes: for the ledger's trail, and for clients that ask before they send.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};

use super::body::Body;
use super::call::Call;
use super::headers;
use super::snapshot::Snapshot;
use super::{Gateway, JSON, insert};
use crate::domain::error::Error;
use crate::domain::id::{DialectId, TargetId};
use crate::domain::target::Signal;
use crate::ledger::Trail;
use crate::policy::{self, Decision};

/// What a plan asked about.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Measurements of targets.
    pub signals: Vec<(TargetId, Signal)>,
    /// Dialects, with the first parameter that each can't express.
    pub inexpressible: Vec<(DialectId, Option<String>)>,
    /// The client's user.
    pub user: Option<String>,
    /// The conversation.
    pub session: Option<u64>,
    /// The target that answered it last.
    pub home: Option<TargetId>,
}

/// What the ledger keeps of a decision; nothing where it keeps none.
pub(super) fn of(call: &Call, snapshot: &Snapshot, decision: &Arc<Decision>, seen: Seen) -> Option<Box<Trail>> {
    (snapshot.config.decision_days > 0).then(|| {
        Box::new(Trail {
            catalogue: Arc::clone(&snapshot.catalogue),
            snapshot: Arc::clone(&snapshot.hash),
            decision: Arc::clone(decision),
            operation: call.operation,
            dialect: call.dialect,
            envelope: Arc::clone(&call.envelope),
            input_tokens: call.input_estimate(),
            key_requires: Arc::clone(&call.principal.requirements),
            request_requires: call.require.clone(),
            signals: seen.signals,
            inexpressible: seen.inexpressible,
            user: seen.user,
            session: seen.session,
            home: seen.home,
        })
    })
}

impl Gateway {
    /// A dry run: the plan as the answer. Nobody is called, nothing is cached, nothing is written to the ledger. A
    /// request that would be refused is not: the refusal is part of the plan.
    ///
    /// # Errors
    /// What can't be planned at all: a requirement that can't be read, a policy that does not exist.
    pub(super) fn rehearse(&self, call: &Call, snapshot: &Snapshot) -> Result<Response<Body>, Error> {
        let mut decision = self.plan(call, snapshot, &mut Seen::default())?;
        decision.refusal = decision.refusal.map(|error| call.in_its_words(error));
        let mut plan = policy::shown(&*snapshot.catalogue, &call.envelope.model, &decision);
        plan["dry_run"] = true.into();
        plan["request_id"] = call.request.to_string().into();
        plan["operation"] = call.operation.name().into();
        plan["input_tokens"] = call.input_estimate().into();
        plan["stream"] = call.envelope.stream.into();
        plan["policy_version"] = (*snapshot.hash).into();
        let mut response = Response::new(Body::whole(Bytes::from(plan.to_string())));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        insert(&mut response, &headers::DRY_RUN, "true");
        insert(&mut response, &headers::ROUTE, &decision.route);
        Ok(response)
    }
}
