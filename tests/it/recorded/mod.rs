//! Recorded traffic of real providers, through the whole gateway: to clients of the same dialect byte for byte, to
//! clients of every other dialect with the same text, calls, end and usage, as an independent reader has them. The
//! recordings are no part of this repository; without them nothing is checked, and that is told.

mod answers;
pub(crate) mod exchange;
mod replay;
mod report;
pub(crate) mod requests;
mod same;
mod stand;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where requests and answers are to be written as they would be sent; none = nowhere.
fn dump() -> Option<PathBuf> {
    let dir = std::env::var_os("STELLWERK_DUMP").map(PathBuf::from)?;
    std::fs::create_dir_all(&dir).unwrap();
    Some(dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_exchanges_by_every_client() {
    let Some(exchanges) = exchange::load() else { return };
    let exchanges: Vec<Arc<exchange::Exchange>> = exchanges.into_iter().map(Arc::new).collect();
    let want = exchange::digests(None);
    let failing = |x: &&Arc<exchange::Exchange>| want[&x.id].error.is_some();
    let alone: BTreeSet<String> = exchanges.iter().filter(failing).map(|x| x.id.clone()).collect();
    let started = std::time::Instant::now();
    let stand = stand::Stand::start(&exchanges, alone).await;
    println!("gateway up after {:?}", started.elapsed());
    let mut checks = same::check(&stand, &exchanges, &want).await;
    println!("same dialect after {:?}", started.elapsed());
    checks.extend(answers::check(&stand, &exchanges, &want).await);
    println!("{} checks in {:?}", checks.len(), started.elapsed());
    let mut report = report::report(&checks);
    let translated = requests::translate(&exchanges);
    if let Some(dir) = dump() {
        requests::dump(&translated, &dir);
    }
    let (text, wrong) = requests::report(&translated);
    report.text.push_str(&text);
    report.wrong.extend(wrong);
    if exchange::others().is_some() {
        let wrong: Vec<&String> = report.wrong.iter().filter(|w| !w.starts_with(report::UNUSED)).collect();
        println!("{}", report.text);
        assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), checks.len());
        return;
    }
    assert!(report.wrong.is_empty(), "{} of {}:\n{}", report.wrong.len(), checks.len(), report.wrong.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recorded-traffic.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &report.text).unwrap();
    }
    let stale = std::fs::read_to_string(&path).unwrap_or_default() != report.text;
    assert!(!stale, "look at the difference, then UPDATE_GOLDEN=1: {}", path.display());
}
