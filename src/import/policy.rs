//! A policy file as text.

use std::fmt::Write;

use super::emit::{list, quoted, schema};

/// How a route chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Prefer {
    Cheapest,
    Fastest,
    Listed,
    /// A weight for each of the first targets; the others follow.
    Weighted(Vec<u32>),
}

/// A route that is to be written.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub name: String,
    /// Names that clients ask for, as they are.
    pub models: Vec<String>,
    /// Patterns.
    pub targets: Vec<String>,
    pub prefer: Prefer,
    pub lossy: bool,
    pub cache: Option<String>,
    pub max_output: Option<u64>,
    /// Members of `require`, as written.
    pub require: Vec<(&'static str, String)>,
    pub attempts: u64,
    /// Members of `timeout`, as written.
    pub timeouts: Vec<(&'static str, String)>,
    /// The operation of the route's test; none = a conversation.
    pub operation: Option<&'static str>,
    /// Where it comes from.
    pub place: String,
}

/// A name that is letters, digits, `-`, `_` and `.` only, and not among those that are taken.
pub(super) fn slug(text: &str, taken: &dyn Fn(&str) -> bool) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let base: String = text.chars().map(plain).collect::<String>().trim_matches('-').to_owned();
    let base = if base.is_empty() || base == "direct" { format!("route-{base}") } else { base };
    let base = base.trim_end_matches('-').to_owned();
    let numbered = |n: usize| if n == 1 { base.clone() } else { format!("{base}-{n}") };
    (1..).map(numbered).find(|name| !taken(name)).unwrap_or(base)
}

/// The file.
pub(super) fn document(head: &str, routes: &[Route]) -> String {
    let mut out = schema("policy") + head;
    for route in routes {
        let _ = write!(out, "\n# {}\n{}", route.place, route.text());
    }
    for route in routes {
        let operation = route.operation.map(|op| format!(", operation = {}", quoted(op))).unwrap_or_default();
        let Some(model) = route.models.first() else { continue };
        let _ = write!(
            out,
            "\n[[test]]\nname = {}\ngiven = {{ model = {}{operation} }}\nexpect = {{ route = {} }}\n",
            quoted(&format!("`{model}` has an answer")),
            quoted(model),
            quoted(&route.name),
        );
    }
    out
}

impl Route {
    fn text(&self) -> String {
        // Names are names: nothing in them is a pattern.
        let plain = |names: &[String]| names.iter().map(|name| globset::escape(name)).collect::<Vec<_>>();
        let (models, targets) = (plain(&self.models), &self.targets);
        let mut out = format!("[[route]]\nname = {}\n", quoted(&self.name));
        let _ = writeln!(out, "match = {{ model = {} }}", list(&models));
        let _ = writeln!(out, "targets = {}", list(targets));
        if self.lossy {
            out.push_str("lossy = \"allow\"\n");
        }
        if let Some(cache) = &self.cache {
            let _ = writeln!(out, "cache = {}", quoted(cache));
        }
        if let Some(limit) = self.max_output {
            let _ = writeln!(out, "max_output = {limit}");
        }
        if !self.require.is_empty() {
            out.push_str("[route.require]\n");
            for (name, value) in &self.require {
                let _ = writeln!(out, "{name} = {value}");
            }
        }
        match &self.prefer {
            Prefer::Cheapest => {}
            Prefer::Fastest => out.push_str("[route.prefer]\nsecond_is_worth = \"inf\"\n"),
            Prefer::Listed => out.push_str("[route.prefer]\norder = \"listed\"\n"),
            Prefer::Weighted(weights) => {
                let pairs =
                    targets.iter().zip(weights).map(|(target, weight)| format!("{} = {weight}", quoted(target)));
                let pairs: Vec<String> = pairs.collect();
                let _ = writeln!(out, "[route.prefer]\norder = \"weighted\"\nweights = {{ {} }}", pairs.join(", "));
            }
        }
        let _ = writeln!(out, "[route.attempts]\nmax = {}", self.attempts);
        if !self.timeouts.is_empty() {
            let pairs = self.timeouts.iter().map(|(name, value)| format!("{name} = {}", quoted(value)));
            let _ = writeln!(out, "timeout = {{ {} }}", pairs.collect::<Vec<_>>().join(", "));
        }
        out
    }
}
