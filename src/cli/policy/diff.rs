//! `stellwerk policy diff`: what a change of policies means.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::super::{Common, Failed, say};
use crate::catalogue::{Catalogue, SourceFile};
use crate::domain::problem::Problem;
use crate::gateway::{Compiled, files, now};
use crate::policy::{
    Change, MemberDiff, Moved, Policy, PolicyDiff, RequirementDiff, RouteDiff, Side, TargetFacts, diff,
};

const HELP: &str = "\
Tells, route by route, which targets may now be reached that could not be before and the other way round, which
requirements became laxer or stricter, and every other member that changed. Comments and spelling are no difference.

Exit code: 0 compared, 1 with `--fail-on widening` where the change widens (an added policy is no widening by itself:
keys must name it), or files that can't be read, 2 wrong command line.

Examples:
  stellwerk policy diff policies/ new/
  stellwerk policy diff old/eu-only.toml new/eu-only.toml --fail-on widening      a gate for CI";

/// Compare two policies, or two directories of them, by what they mean for the catalogue's targets.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Diff {
    /// A policy file or a directory of policy files.
    old: PathBuf,
    /// The same, after the change.
    new: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Exit with 1 if the change does that.
    #[arg(long, value_name = "WHAT")]
    fail_on: Option<FailOn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A request may go to a target, or under a requirement, that it could not before.
    Widening,
}

/// Policies by name, with their text.
type Set = BTreeMap<String, (Policy, String)>;

impl Diff {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let (catalogue, problems) = Compiled::catalogue(&common.load()?);
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let (old, new) = self.sides(&catalogue)?;
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let (mut diffs, mut come, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            match (old.get(name), new.get(name)) {
                (Some((before, old)), Some((after, new))) => {
                    let (old, new) = (Side { policy: before, text: old }, Side { policy: after, text: new });
                    diffs.push(diff(old, new, &catalogue, now()));
                }
                (None, _) => come.push(name.as_str()),
                (_, None) => gone.push(name.as_str()),
            }
        }
        diffs.retain(|diff| !diff.is_empty());
        let widens = diffs.iter().any(|diff| !diff.widening.is_empty());
        if self.json {
            let told = serde_json::json!({ "added": come, "removed": gone, "changed": diffs, "widens": widens });
            say(&told.to_string());
        } else {
            say(&shown(&come, &gone, &diffs));
        }
        let fails = self.fail_on == Some(FailOn::Widening) && widens;
        Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Two files are one policy before and after, whatever their names are; of directories, each file is a policy, and
    /// the shipped ones hold beside them.
    fn sides(&self, catalogue: &Catalogue) -> Result<(Set, Set), Failed> {
        if self.old.is_dir() != self.new.is_dir() {
            return Err("a file can only be compared with a file, and a directory with a directory".to_owned().into());
        }
        let name = (!self.new.is_dir()).then(|| stem(&self.new.display().to_string()));
        let (mut sets, mut problems) = (Vec::new(), Vec::new());
        for path in [&self.old, &self.new] {
            match read(path, name.as_deref(), catalogue) {
                Ok(set) => sets.push(set),
                Err(Failed::Problems(more)) => problems.extend(more),
                Err(failed) => return Err(failed),
            }
        }
        match (sets.pop(), sets.pop()) {
            (Some(new), Some(old)) => Ok((old, new)),
            _ => Err(Failed::Problems(problems)),
        }
    }
}

fn stem(file: &str) -> String {
    Path::new(file).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

fn read(path: &Path, name: Option<&str>, catalogue: &Catalogue) -> Result<Set, Failed> {
    let files = if path.is_dir() {
        Compiled::with_shipped(files::policies(path)?)
    } else {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        vec![SourceFile { name: path.display().to_string(), text }]
    };
    let (mut set, mut problems): (Set, Vec<Problem>) = (Set::new(), Vec::new());
    for SourceFile { name: file, text } in files {
        let name = name.map_or_else(|| stem(&file), str::to_owned);
        match Policy::compile(&name, &file, &text, catalogue) {
            Ok(policy) => drop(set.insert(name, (policy, text))),
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() { Ok(set) } else { Err(problems.into()) }
}

/// For a person.
fn shown(come: &[&str], gone: &[&str], diffs: &[PolicyDiff]) -> String {
    let mut out = String::new();
    for name in come {
        let _ = writeln!(out, "policy {name}: new; nothing uses it until a key, team or tenant names it");
    }
    for name in gone {
        let _ = writeln!(out, "policy {name}: gone; keys that name it are refused");
    }
    for diff in diffs {
        let _ = writeln!(out, "policy {}", diff.policy);
        members(&mut out, "  ", &diff.members);
        diff.routes.iter().for_each(|one| route(&mut out, one));
        if let Some((old, new)) = &diff.reordered {
            let _ = writeln!(out, "  order of routes: {} -> {}", old.join(", "), new.join(", "));
        }
        diff.moved.iter().for_each(|one| moved(&mut out, one));
        for test in &diff.tests {
            let result = |passes: bool| if passes { "passes" } else { "fails" };
            let within = serde_json::to_value(test.within).ok();
            let within = match within.as_ref().and_then(serde_json::Value::as_str) {
                Some("old") => " (removed or rewritten)",
                Some("new") => " (new)",
                _ => "",
            };
            let (old, new) = (result(test.old_passes), result(test.new_passes));
            let _ = writeln!(out, "  test \"{}\"{within}: {old} before, {new} now", test.test);
            if !test.why.is_empty() {
                let _ = writeln!(out, "      {}", test.why);
            }
        }
        for why in &diff.widening {
            let _ = writeln!(out, "  WIDENS: {why}");
        }
    }
    if out.is_empty() { "no difference in meaning\n".to_owned() } else { out }
}

fn members(out: &mut String, indent: &str, members: &[MemberDiff]) {
    for MemberDiff { path, old, new } in members {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "(absent)".to_owned());
        let _ = writeln!(out, "{indent}{path}: {} -> {}", text(old), text(new));
    }
}

fn route(out: &mut String, diff: &RouteDiff) {
    let what = match diff.change {
        Change::Added => "new",
        Change::Removed => "gone",
        Change::Changed => "changed",
    };
    let _ = writeln!(out, "  route {}: {what}", diff.route);
    members(out, "    ", &diff.members);
    if let Some(require) = &diff.requirement {
        requirement(out, require);
    }
    targets(out, "    ", &diff.newly_admissible, &diff.no_longer_admissible);
}

fn requirement(out: &mut String, diff: &RequirementDiff) {
    let text = |require: &str| if require.is_empty() { "nothing".to_owned() } else { require.to_owned() };
    let direction = format!("{:?}", diff.direction).to_lowercase();
    let _ = writeln!(out, "    requires ({direction}): {} -> {}", text(&diff.old), text(&diff.new));
    for countries in &diff.countries {
        let list = |codes: &Option<Vec<String>>| match codes {
            None => "any".to_owned(),
            Some(codes) if codes.is_empty() => "none".to_owned(),
            Some(codes) => codes.join(" "),
        };
        let (added, removed) = (list(&countries.added), list(&countries.removed));
        let _ = writeln!(out, "    {}: allowed now: {added}; no longer: {removed}", countries.part);
    }
}

fn targets(out: &mut String, indent: &str, newly: &[TargetFacts], no_longer: &[TargetFacts]) {
    for (mark, list) in [("+", newly), ("-", no_longer)] {
        for target in list {
            let place = target.processing.as_ref().map_or_else(|| "unknown".to_owned(), |places| places.join(", "));
            let operator = target.operator.as_deref().unwrap_or("unknown");
            let _ = writeln!(out, "{indent}{mark} {} (processed in {place}; operator {operator})", target.target);
        }
    }
}

fn moved(out: &mut String, diff: &Moved) {
    let routes = |names: &[String]| if names.is_empty() { "unknown".to_owned() } else { names.join(" or ") };
    let (shown, more) = (diff.models.len().min(8), diff.models.len().saturating_sub(8));
    let models = diff.models.iter().take(shown).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let _ = writeln!(out, "  requests for {models}{more}: {} -> {}", routes(&diff.old), routes(&diff.new));
    targets(out, "    ", &diff.newly_admissible, &diff.no_longer_admissible);
}
