//! What was checked, what may differ and why, and the table of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;
use stellwerk::domain::id::DialectId;

use super::exchange::Exchange;

/// One thing that is not as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) field: &'static str,
    pub(crate) got: String,
    pub(crate) want: String,
}

/// One exchange, looked at in one way.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) id: String,
    pub(crate) who: String,
    pub(crate) api: String,
    pub(crate) features: Vec<String>,
    pub(crate) client: DialectId,
    pub(crate) what: &'static str,
    pub(crate) differences: Vec<Difference>,
}

impl Check {
    pub(crate) fn new(
        exchange: &Exchange,
        client: DialectId,
        what: &'static str,
        differences: Vec<Difference>,
    ) -> Self {
        Self {
            id: exchange.id.clone(),
            who: exchange.who(),
            api: exchange.api().to_owned(),
            features: exchange.features.clone(),
            client,
            what,
            differences,
        }
    }
}

/// What may differ. Empty members mean all.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    /// Ids of exchanges, or their beginnings with `*`.
    #[serde(default)]
    ids: Vec<String>,
    /// Client dialects.
    #[serde(default)]
    clients: Vec<String>,
    fields: Vec<String>,
    /// Recordings with one of these features.
    #[serde(default)]
    features: Vec<String>,
    reason: String,
    /// The client's dialect has no words for it, so that it counts neither as a pass nor as none.
    #[serde(default)]
    inexpressible: bool,
}

#[derive(Debug, Deserialize)]
struct Exceptions {
    exception: Vec<Exception>,
}

impl Exception {
    fn covers(&self, check: &Check, difference: &Difference) -> bool {
        let id = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => check.id.starts_with(start),
            None => check.id == *pattern,
        };
        let any = |list: &[String], holds: &dyn Fn(&String) -> bool| list.is_empty() || list.iter().any(holds);
        any(&self.ids, &id)
            && any(&self.clients, &|client| client == check.client.name())
            && any(&self.features, &|feature| check.features.contains(feature))
            && self.fields.iter().any(|field| field == difference.field)
    }
}

/// What was found: the document, and what is wrong.
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) wrong: Vec<String>,
}

/// Begins what is told of an exception that no check needed.
pub(crate) const UNUSED: &str = "an exception that nothing needs";

const HEAD: &str = "# Recorded traffic

Exchanges that public projects recorded with the real services, sent through the whole gateway by the test
`recorded_exchanges_by_every_client`, which writes this file (`UPDATE_GOLDEN=1`). The recordings are no part of the
repository: they are looked for in `../shared/corpus` (`STELLWERK_SHARED` names another place), and without them the test
says that it checks nothing. `STELLWERK_CORPUS` names other recordings in the same form, of which it prints the table.

- **same**: a client of the recorded dialect. What reached the provider is what the client sent, byte for byte, but for
  `model` and, in streams of the OpenAI dialects, `stream_options`; what came back is the recording, byte for byte, but
  for usage that the client did not ask for, and `[DONE]` behind the last event of a Responses stream. Errors come with their message, and never as the client's own 401 or 403.
- **the other columns**: a client of that dialect gets the recorded answer translated, whole or as a stream, as it was
  recorded. An independent reader (of the recordings, not ours) finds the same text, refusal, thinking, calls with their
  ids and arguments, end and usage in both.

Cells are passes of checks. What does not pass is listed at the end with its reason, else the test fails; an answer that
the client's dialect has no words for (marked there) does not count. Legacy completions are not translated.

";

const EXCEPTIONS: &str = include_str!("exceptions.toml");

pub(crate) fn report(checks: &[Check]) -> Report {
    let exceptions = toml::from_str::<Exceptions>(EXCEPTIONS).unwrap().exception;
    let mut used = vec![0_usize; exceptions.len()];
    let mut wrong = Vec::new();
    let mut table = Table::default();
    for check in checks {
        let (mut open, mut excepted) = (Vec::new(), BTreeSet::new());
        for difference in &check.differences {
            match exceptions.iter().position(|e| e.covers(check, difference)) {
                Some(at) => _ = excepted.insert(at),
                None => open.push(difference),
            }
        }
        excepted.iter().for_each(|at| used[*at] += 1);
        let good = open.is_empty() && excepted.is_empty();
        if good || !open.is_empty() || excepted.iter().any(|at| !exceptions[*at].inexpressible) {
            table.take(check, good);
        }
        if !open.is_empty() {
            let told: Vec<String> =
                open.iter().map(|d| format!("{}: got {}, want {}", d.field, short(&d.got), short(&d.want))).collect();
            wrong.push(format!("{} {} {}: {}", check.id, check.what, check.client.name(), told.join("; ")));
        }
    }
    let mut text = HEAD.to_owned() + &table.render();
    let _ =
        writeln!(text, "\n## Exceptions\n\n| where | what differs | checks | counts | reason |\n|---|---|---|---|---|");
    for (exception, count) in exceptions.iter().zip(&used) {
        let places = [exception.ids.join(", "), exception.features.join(", "), exception.clients.join(", ")];
        let places: Vec<&str> = places.iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
        let counts = if exception.inexpressible { "no" } else { "yes" };
        let places = if places.is_empty() { "everywhere".to_owned() } else { places.join("; ") };
        let _ = writeln!(
            text,
            "| {places} | {} | {count} | {counts} | {} |",
            exception.fields.join(", "),
            exception.reason
        );
        if *count == 0 {
            wrong.push(format!("{UNUSED}: {exception:?}"));
        }
    }
    Report { text, wrong }
}

fn short(text: &str) -> String {
    let cut: String = text.chars().take(300).collect();
    format!("{cut:?}")
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    good: usize,
    all: usize,
}

impl Count {
    fn add(&mut self, good: bool) {
        self.good += usize::from(good);
        self.all += 1;
    }

    fn show(self) -> String {
        if self.all == 0 { "-".to_owned() } else { format!("{}/{}", self.good, self.all) }
    }
}

/// Columns: the same dialect, then the other clients.
const COLUMNS: [&str; 6] = ["same", "openai-chat", "openai-responses", "anthropic", "gemini", "openai-completions"];

#[derive(Default)]
struct Table {
    by_api: BTreeMap<(String, String), BTreeMap<&'static str, Count>>,
    by_feature: BTreeMap<(String, String, String), Count>,
    features: BTreeMap<String, BTreeMap<&'static str, Count>>,
    total: BTreeMap<&'static str, Count>,
}

impl Table {
    fn take(&mut self, check: &Check, good: bool) {
        let column = if check.what == "same" { "same" } else { check.client.name() };
        let place = (check.who.clone(), check.api.clone());
        self.by_api.entry(place.clone()).or_default().entry(column).or_default().add(good);
        self.total.entry(column).or_default().add(good);
        for feature in &check.features {
            self.features.entry(feature.clone()).or_default().entry(column).or_default().add(good);
            self.by_feature.entry((place.0.clone(), place.1.clone(), feature.clone())).or_default().add(good);
        }
    }

    fn render(&self) -> String {
        let mut out = String::new();
        let head = COLUMNS.join(" | ");
        let rule = "---|".repeat(COLUMNS.len());
        let cells = |row: &BTreeMap<&'static str, Count>| {
            COLUMNS.iter().map(|c| row.get(c).copied().unwrap_or_default().show()).collect::<Vec<_>>().join(" | ")
        };
        let _ = writeln!(out, "## By provider and API\n\n| provider | API | {head} |\n|---|---|{rule}");
        for ((who, api), row) in &self.by_api {
            let _ = writeln!(out, "| {who} | {api} | {} |", cells(row));
        }
        let _ = writeln!(out, "| all | | {} |", cells(&self.total));
        let _ = writeln!(out, "\n## By feature\n\n| feature | {head} |\n|---|{rule}");
        for (feature, row) in &self.features {
            let _ = writeln!(out, "| {feature} | {} |", cells(row));
        }
        let _ = writeln!(out, "\n## By provider, API and feature\n");
        let mut places: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for ((who, api, feature), count) in &self.by_feature {
            places.entry((who, api)).or_default().push(format!("{feature} {}", count.show()));
        }
        for ((who, api), features) in places {
            let _ = writeln!(out, "- {who}, {api}: {}", features.join(", "));
        }
        out
    }
}
