//! What a change of a policy means.

use super::super::diff::{Change, Direction, PolicyDiff, Side, TargetFacts, Within, diff};
use super::*;

fn between(old: &str, new: &str) -> PolicyDiff {
    let shop = shop();
    let (before, after) = (compile(old, &shop), compile(new, &shop));
    diff(Side { policy: &before, text: old }, Side { policy: &after, text: new }, &shop, NOW)
}

fn named(targets: &[TargetFacts]) -> Vec<&str> {
    targets.iter().map(|t| t.target.as_str()).collect()
}

fn route(name: &str, models: &str, targets: &str, lines: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\nmatch = {{ model = [{models}] }}\ntargets = [{targets}]\n{lines}\n")
}

#[test]
fn comments_order_of_members_and_spelling_of_zones_mean_nothing() {
    let old = route("r", "\"m\"", "\"nebius/*\"", "require = { processing = [\"FI\", \"DE\"] }");
    let new = "# a comment\n".to_owned()
        + &old
            .replace("targets = [\"nebius/*\"]\n", "")
            .replace("[[route]]\n", "[[route]]\ntargets = [\"nebius/*\"]\n");
    assert!(between(&old, &new).is_empty());
    let respelt = between(&old, &old.replace("\"FI\", \"DE\"", "\"DE\", \"FI\""));
    assert!(respelt.routes[0].requirement.is_none() && respelt.widening.is_empty(), "{respelt:?}");
}

#[test]
fn a_wider_requirement_names_the_targets_and_countries() {
    let old = route("r", "\"m\"", "\"family:deepseek-r1\"", "require = { processing = [\"EU\", \"local\"] }");
    let new = old.replace("\"EU\", ", "\"EU\", \"US\", ");
    let told = between(&old, &new);
    let route = &told.routes[0];
    assert_eq!((route.change, named(&route.newly_admissible)), (Change::Changed, vec!["together/DeepSeek-R1@us"]));
    assert_eq!(route.newly_admissible[0].processing.as_deref(), Some(&["US".to_owned()][..]));
    let require = route.requirement.as_ref().unwrap();
    assert_eq!(require.direction, Direction::Widened);
    assert_eq!(require.countries[0].added.as_deref(), Some(&["US".to_owned()][..]));
    assert_eq!(told.widening.len(), 2, "{:?}", told.widening);
    let back = between(&new, &old);
    assert_eq!(named(&back.routes[0].no_longer_admissible), ["together/DeepSeek-R1@us"]);
    assert!(back.widening.is_empty(), "{:?}", back.widening);
    let none = between(&old, &old.replace("require = { processing = [\"EU\", \"local\"] }", ""));
    assert_eq!(none.routes[0].requirement.as_ref().unwrap().countries[0].added, None, "any country");
    assert_eq!(none.routes[0].newly_admissible.len(), 2);
}

#[test]
fn a_requirement_that_goes_both_ways_counts_as_a_widening() {
    let old = route("r", "\"m\"", "\"nebius/*\"", "require = { retention_days = 0, max_cost = \"1 USD\" }");
    let new = old.replace("retention_days = 0", "retention_days = 30").replace("1 USD", "0.5 USD");
    let told = between(&old, &new);
    assert_eq!(told.routes[0].requirement.as_ref().unwrap().direction, Direction::Shifted);
    assert_eq!(told.widening.len(), 1, "{:?}", told.widening);
    assert_eq!(told.routes[0].members.len(), 2);
}

#[test]
fn the_file_s_requirement_holds_for_models_without_a_route() {
    let old = "require = { processing = [\"EU\"] }\n";
    let told = between(old, "require = { processing = [\"EU\", \"US\"] }\n");
    let direct = &told.routes[0];
    assert_eq!((direct.route.as_str(), named(&direct.newly_admissible)), ("direct", vec!["together/DeepSeek-R1@us"]));
    assert!(!told.widening.is_empty(), "the retired o1 is not among them: {direct:?}");
}

#[test]
fn requests_that_move_between_routes_are_found() {
    let strict = route("strict", "\"m\", \"r1*\"", "\"nebius/*\"", "");
    let loose = route("loose", "\"m\", \"x\"", "\"together/*\", \"nebius/*\"", "");
    let told = between(&(strict.clone() + &loose), &(loose.clone() + &strict));
    assert_eq!(told.reordered.as_ref().unwrap().1, ["loose", "strict"]);
    assert!(told.routes.is_empty());
    let [moved] = told.moved.as_slice() else { panic!("{told:?}") };
    assert_eq!((moved.models.as_slice(), moved.old.as_slice()), (&["m".to_owned()][..], &["strict".to_owned()][..]));
    assert_eq!(named(&moved.newly_admissible), ["together/DeepSeek-R1@us"]);
    assert_eq!(told.widening, ["requests for m may go to together/DeepSeek-R1@us"]);

    let told = between(&(strict.clone() + &loose), &loose);
    assert_eq!(
        (told.routes[0].change, named(&told.routes[0].no_longer_admissible)),
        (Change::Removed, vec!["nebius/DeepSeek-R1@eu"])
    );
    let gone = told.moved.iter().find(|moved| moved.models == ["r1x"]).unwrap();
    assert!(gone.new.is_empty() && gone.newly_admissible.is_empty());
    // A route that takes a name of the catalogue away from `direct`.
    let all = route("all", "\"nebius/*\"", "\"together/*\"", "");
    let told = between(&loose, &(loose.clone() + &all));
    let direct = told.moved.iter().find(|moved| moved.old == ["direct"]).unwrap();
    assert!(direct.models.contains(&"nebius/DeepSeek-R1".to_owned()), "{direct:?}");
    assert_eq!(named(&direct.newly_admissible), ["together/DeepSeek-R1@us"]);
}

#[test]
fn tests_that_come_out_otherwise_are_told_also_when_they_have_been_removed() {
    let test = |name: &str, expect: &str| {
        format!("[[test]]\nname = \"{name}\"\ngiven = {{ model = \"m\" }}\nexpect = {{ {expect} }}\n")
    };
    let (eu, us) = (route("r", "\"m\"", "\"nebius/*\"", ""), route("r", "\"m\"", "\"together/*\"", ""));
    let old = eu + &test("stays in Finland", "first = \"nebius/*\"") + &test("is answered", "route = \"r\"");
    let kept = us.clone() + &test("stays in Finland", "first = \"nebius/*\"") + &test("is answered", "route = \"r\"");
    let told = between(&old, &kept);
    let [one] = told.tests.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (one.test.as_str(), one.within, one.old_passes, one.new_passes),
        ("stays in Finland", Within::Both, true, false)
    );
    assert!(one.why.contains("together"), "{one:?}");
    let rewritten = us + &test("stays in Finland", "first = \"together/*\"") + &test("is answered", "route = \"r\"");
    let told = between(&old, &rewritten);
    let found: Vec<_> = told.tests.iter().map(|t| (t.within, t.old_passes, t.new_passes)).collect();
    assert_eq!(found, [(Within::Old, true, false), (Within::New, false, true)]);
}

#[test]
fn members_are_told_by_their_paths() {
    let old = route("r", "\"m\"", "\"nebius/*\"", "attempts = { max = 2, timeout = { idle = \"5s\" } }");
    let told = between(&old, &old.replace("\"5s\"", "\"9s\"").replace("max = 2, ", ""));
    let found: Vec<_> = told.routes[0].members.iter().map(|m| (m.path.as_str(), m.new.as_deref())).collect();
    assert_eq!(found, [("attempts.max", None), ("attempts.timeout.idle", Some("\"9s\""))]);
    assert!(told.widening.is_empty());
}
