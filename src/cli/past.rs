//! `stellwerk explain --request ID`: a decision of the past, from the ledger.

use super::{Common, Failed};
use crate::app::DATABASE;
use crate::config::Config;
use crate::domain::id::RequestId;
use crate::ledger::decisions;
use crate::report;
use crate::store::{Durability, Store};

/// What the ledger knows of a request.
///
/// # Errors
/// There is no ledger, or no such request in it.
pub(super) fn explain(common: &Common, id: &str, json: bool) -> Result<String, Failed> {
    let parsed: RequestId =
        id.parse().map_err(|()| format!("`{id}` is no request id: `req_` and 32 hexadecimal digits"))?;
    let store = open(common)?;
    let told = decisions::told(&store, parsed).map_err(|error| Failed::Message(error.to_string()))?;
    let told = told.ok_or_else(|| format!("there is no request {id} in the ledger"))?;
    Ok(if json { report::decision_json(&told).to_string() } else { report::decision_text(&told) })
}

/// The ledger of the data directory.
pub(super) fn open(common: &Common) -> Result<Store, Failed> {
    ledger(&common.load()?)
}

/// The ledger where this configuration has it.
pub(super) fn ledger(config: &Config) -> Result<Store, Failed> {
    let file = config.data_dir.join(DATABASE);
    if !file.exists() {
        return Err(Failed::Message(format!("there is no ledger at {} yet", file.display())));
    }
    Store::open(&file, Durability::Process).map_err(|error| Failed::Message(error.to_string()))
}
