//! Versions on a directory and a database, without a gateway.

use std::fs;

use super::disk::Lock;
use super::table::Entry;
use super::*;
use crate::config::{self, Config};
use crate::domain::target::UnixMillis;
use crate::gateway::files::{self, POLICY_LOCK};
use crate::store::{Durability, Store};

const NOW: UnixMillis = UnixMillis(1_795_478_400_000);

struct Place {
    dir: tempfile::TempDir,
    config: Config,
    store: Store,
    versions: Versions,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("policies")).unwrap();
        let config = config::parse("x.toml", "[policies]\ndir = \"policies\"\n", dir.path()).unwrap();
        let store = Store::open(&dir.path().join("x.db"), Durability::Process).unwrap();
        let versions = Versions::new(store.clone());
        Self { dir, config, store, versions }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join("policies").join(name), text).unwrap();
    }

    fn disk(&self) -> PolicySet {
        PolicySet::of(&files::tables(&self.dir.path().join("policies")).unwrap())
    }

    fn apply(&self, set: &PolicySet, edit: impl FnOnce(&mut Apply)) -> Result<Applied, Refused> {
        let mut change = Apply {
            set: set.clone(),
            from: None,
            author: "ann".into(),
            message: "why".into(),
            expect: None,
            force: false,
        };
        edit(&mut change);
        apply(&self.config, &self.versions, &change, NOW)
    }

    fn states(&self) -> Vec<(String, State)> {
        self.versions.list(100).unwrap().into_iter().map(|v| (v.author, v.state)).collect()
    }
}

fn policy(models: &str) -> String {
    format!("[[route]]\nname = \"r\"\nmatch = {{ model = [{models}] }}\ntargets = [\"openai/*\"]\n")
}

fn set(files: &[(&str, &str)]) -> PolicySet {
    PolicySet::new(files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect()).unwrap()
}

#[test]
fn a_set_is_written_as_a_whole_and_what_lay_there_can_be_had_again() {
    let place = Place::new();
    place.write("default.toml", &policy("\"old\""));
    place.write("gone.toml", &policy("\"x\""));
    let next = set(&[("default.toml", &policy("\"new\"")), ("more.toml", &policy("\"y\""))]);
    let applied = place.apply(&next, |_| {}).unwrap();
    assert_eq!((applied.seq, applied.hash.as_str()), (Some(2), next.hash().as_str()));
    assert_eq!(place.disk(), next, "others are removed, and no draft is left");
    assert_eq!(place.states(), [("ann".into(), State::Applying), ("disk".into(), State::InForce)]);
    place.versions.in_force(&next, "c1", NOW).unwrap();
    place.versions.in_force(&next, "c1", NOW).unwrap();
    let list = place.versions.list(10).unwrap();
    assert_eq!((list.len(), list[0].state, list[0].config_hash.as_deref()), (2, State::InForce, Some("c1")));
    assert_eq!((list[0].message.as_str(), list[0].at), ("why", NOW));
    assert_eq!(place.apply(&next, |_| {}).unwrap().seq, None, "what is in force is not applied twice");
    let (first, before) = place.versions.find("1").unwrap().unwrap();
    assert!(before.files().contains_key("gone.toml") && first.author == "disk");
    let back = place.apply(&before, |change| change.message = "rollback".into()).unwrap();
    assert_eq!((back.seq, place.disk()), (Some(3), before.clone()));
    assert_eq!(place.versions.find(&before.hash()[..8]).unwrap().unwrap().0.seq, 3, "the newest of that digest");
    assert!(place.versions.find("99").unwrap().is_none() && place.versions.find("nonsense").unwrap().is_none());
}

#[test]
fn edits_on_the_disk_are_recorded_and_never_lost() {
    let place = Place::new();
    let first = set(&[("default.toml", &policy("\"a\""))]);
    place.apply(&first, |_| {}).unwrap();
    place.versions.in_force(&first, "c1", NOW).unwrap();
    place.write("default.toml", &policy("\"edited\""));
    let edited = place.disk();
    let next = set(&[("default.toml", &policy("\"b\""))]);
    assert!(matches!(place.apply(&next, |_| {}), Err(Refused::Edited { version: 2, .. })));
    assert_eq!(place.disk(), edited);
    place.apply(&next, |change| change.force = true).unwrap();
    assert_eq!(place.disk(), next);
    let kept = place.versions.list(10).unwrap().into_iter().find(|v| v.hash == edited.hash()).unwrap();
    assert_eq!((kept.author.as_str(), kept.state), ("disk", State::Abandoned));
    assert_eq!(place.versions.find(&kept.seq.to_string()).unwrap().unwrap().1, edited);
    // An edit that a gateway has taken over is in force, and may be replaced.
    place.versions.in_force(&next, "c2", NOW).unwrap();
    place.write("default.toml", &policy("\"again\""));
    place.versions.in_force(&place.disk(), "c3", NOW).unwrap();
    assert_eq!(place.states()[0], ("disk".into(), State::InForce));
    place.apply(&first, |_| {}).unwrap();
}

#[test]
fn what_is_wrong_or_unexpected_is_not_written() {
    let place = Place::new();
    place.write("default.toml", &policy("\"a\""));
    let before = place.disk();
    let good = policy("\"b\"");
    let failing =
        good.clone() + "[[test]]\nname = \"t\"\ngiven = { model = \"b\" }\nexpect = { first = \"mistral/*\" }\n";
    let refused = place.apply(&set(&[("default.toml", &(good.clone() + "x = 1\n"))]), |c| c.force = true);
    assert!(matches!(refused, Err(Refused::Problems(problems)) if problems[0].line == 5));
    assert!(matches!(place.apply(&set(&[("default.toml", &failing)]), |_| {}), Err(Refused::Tests(t)) if t.len() == 1));
    let other = place.apply(&set(&[("default.toml", &good)]), |c| c.expect = Some("ffff".into()));
    assert!(matches!(other, Err(Refused::Unexpected { found, .. }) if found == before.hash()));
    assert_eq!((place.disk(), place.versions.list(9).unwrap().len()), (before.clone(), 0));
    let expected = before.hash()[..8].to_owned();
    place.apply(&set(&[("default.toml", &good)]), |c| c.expect = Some(expected)).unwrap();
    place.apply(&set(&[("default.toml", &failing)]), |c| c.force = true).unwrap();
    for bad in ["../default.toml", ".hidden.toml", "a b.toml", "x.txt", ""] {
        assert!(PolicySet::new([(bad.to_owned(), good.clone())].into()).is_err(), "{bad}");
    }
    assert!(PolicySet::new(BTreeMap::new()).is_err());
    let nowhere = config::parse("x.toml", "", place.dir.path()).unwrap();
    let change =
        Apply { set: before, from: None, author: "ann".into(), message: String::new(), expect: None, force: false };
    assert!(matches!(apply(&nowhere, &place.versions, &change, NOW), Err(Refused::NoDirectory)));
}

/// Leaves what a writer leaves that dies after noting what it is about to write, and after so many steps of writing it.
fn crashed(place: &Place, before: &PolicySet, after: &PolicySet, steps: Option<usize>) {
    let entry = Entry {
        set: after,
        previous: Some(before),
        config_hash: None,
        author: "ann",
        message: "",
        state: State::Applying,
    };
    let seq = place.versions.record(&entry, NOW).unwrap();
    let Some(steps) = steps else { return };
    let dir = place.dir.path().join("policies");
    fs::write(dir.join(POLICY_LOCK), format!("version {seq} is being written\n")).unwrap();
    let written = after.files().iter().map(|(name, text)| (name, Some(text)));
    let removed = before.files().keys().filter(|name| !after.files().contains_key(*name)).map(|name| (name, None));
    for (name, text) in written.chain(removed).take(steps) {
        match text {
            Some(text) => place.write(name, text),
            None => fs::remove_file(dir.join(name)).unwrap(),
        }
    }
}

/// Two sets that differ in every way, of which the first lies on the disk and is in force.
fn two(place: &Place) -> (PolicySet, PolicySet) {
    let before = set(&[("a.toml", &policy("\"a\"")), ("b.toml", &policy("\"b\"")), ("same.toml", &policy("\"s\""))]);
    let after = set(&[("a.toml", &policy("\"a2\"")), ("c.toml", &policy("\"c\"")), ("same.toml", &policy("\"s\""))]);
    for (name, text) in before.files() {
        place.write(name, text);
    }
    place.versions.in_force(&before, "c1", NOW).unwrap();
    (before, after)
}

#[test]
fn a_crash_leaves_the_old_set_or_the_new_one_wherever_it_comes() {
    let place = Place::new();
    let (before, after) = two(&place);
    crashed(&place, &before, &after, None);
    recover(&place.config, &place.versions).unwrap();
    assert_eq!((place.disk(), place.states()[0].1), (before, State::Abandoned), "nothing was written yet");
    for steps in 0..=4 {
        let place = Place::new();
        let (before, after) = two(&place);
        let dir = place.dir.path().join("policies");
        crashed(&place, &before, &after, Some(steps));
        let told = files::policies(&dir).unwrap_err();
        assert!(told[0].message.contains("version 2 is being written"), "nobody reads half of a set: {told:?}");
        recover(&place.config, &place.versions).unwrap();
        assert_eq!(place.disk(), after, "after {steps} steps");
        assert_eq!(PolicySet::of(&files::policies(&dir).unwrap()), after);
        place.versions.in_force(&after, "c1", NOW).unwrap();
        assert_eq!(place.states(), [("ann".into(), State::InForce), ("disk".into(), State::InForce)]);
    }
}

#[test]
fn an_apply_finishes_what_a_crash_left_before_it_begins() {
    let place = Place::new();
    let (before, after) = two(&place);
    crashed(&place, &before, &after, Some(1));
    let next = set(&[("default.toml", &policy("\"n\""))]);
    let applied = place.apply(&next, |change| change.expect = Some(after.hash())).unwrap();
    let (version, _) = place.versions.find(&applied.seq.unwrap().to_string()).unwrap().unwrap();
    assert_eq!((place.disk(), version.previous), (next, Some(after.hash())));
}

#[test]
fn half_a_set_with_somebody_s_edits_is_neither_read_nor_overwritten() {
    let place = Place::new();
    let (before, after) = two(&place);
    crashed(&place, &before, &after, Some(1));
    place.write("b.toml", &policy("\"mine\""));
    let mine = place.disk();
    assert!(matches!(recover(&place.config, &place.versions), Err(Refused::Half { .. })));
    assert!(matches!(place.apply(&after, |_| {}), Err(Refused::Half { .. })));
    assert_eq!(place.disk(), mine);
    assert!(files::policies(&place.dir.path().join("policies")).is_err());
    place.apply(&after, |change| change.force = true).unwrap();
    assert_eq!(place.disk(), after);
    let kept = place.versions.list(10).unwrap().into_iter().find(|v| v.hash == mine.hash()).unwrap();
    assert_eq!((kept.author.as_str(), kept.state), ("disk", State::Abandoned));
    assert!(files::policies(&place.dir.path().join("policies")).is_ok());
}

#[test]
fn an_edit_back_to_what_was_there_before_is_an_edit() {
    let place = Place::new();
    let (before, after) = two(&place);
    place.apply(&after, |_| {}).unwrap();
    for (name, text) in before.files() {
        place.write(name, text);
    }
    fs::remove_file(place.dir.path().join("policies/c.toml")).unwrap();
    recover(&place.config, &place.versions).unwrap();
    assert_eq!((place.disk(), place.states()[0].1), (before, State::Abandoned), "a whole set that was edited stays");
}

#[test]
fn a_version_that_the_gateway_refuses_is_taken_back() {
    let place = Place::new();
    let (before, after) = two(&place);
    let seq = place.apply(&after, |_| {}).unwrap().seq.unwrap();
    undo(&place.config, &place.versions, seq, NOW).unwrap();
    assert_eq!(place.disk(), before);
    place.versions.in_force(&before, "c1", NOW).unwrap();
    assert_eq!(place.states()[0], ("gateway".into(), State::InForce));
    assert_eq!(place.states()[1], ("ann".into(), State::Abandoned));
    // What somebody has written since is not ours to take back.
    let seq = place.apply(&after, |_| {}).unwrap().seq.unwrap();
    place.write("a.toml", &policy("\"mine\""));
    let mine = place.disk();
    undo(&place.config, &place.versions, seq, NOW).unwrap();
    assert_eq!((place.disk(), place.states()[0].1), (mine, State::Abandoned));
}

#[test]
fn versions_are_told_in_the_order_in_which_they_came_into_force_and_keep_their_numbers() {
    let place = Place::new();
    let (a, b) = (set(&[("a.toml", &policy("\"a\""))]), set(&[("a.toml", &policy("\"b\""))]));
    crashed(&place, &a, &b, None);
    place.versions.in_force(&a, "c1", NOW).unwrap();
    assert_eq!(place.versions.current().unwrap().unwrap().seq, 1, "what is being applied is what will be in force");
    place.versions.in_force(&b, "c2", NOW).unwrap();
    let list = place.versions.list(10).unwrap();
    assert_eq!(list.iter().map(|v| (v.seq, v.hash.clone())).collect::<Vec<_>>(), [(1, b.hash()), (2, a.hash())]);
    assert_eq!(place.versions.current().unwrap().unwrap().seq, 1);
    // The next replaces the one that no gateway took over, unless a gateway did so at that very moment.
    crashed(&place, &b, &a, None);
    crashed(&place, &a, &b, None);
    place.versions.in_force(&a, "c2", NOW).unwrap();
    let list = place.versions.list(10).unwrap();
    assert_eq!((list[0].seq, list[0].state, list[1].seq, list[1].state), (3, State::InForce, 4, State::Applying));
}

#[test]
fn authors_and_messages_fit_a_list_and_policies_that_keys_name_stay() {
    let place = Place::new();
    let good = set(&[("default.toml", &policy("\"a\""))]);
    for author in ["", " ", "disk", "gateway", "a\nb", "\u{1b}[2J", &"x".repeat(101)] {
        let refused = place.apply(&good, |change| change.author = author.into());
        assert!(matches!(refused, Err(Refused::Set(_))), "{author}");
    }
    assert!(matches!(place.apply(&good, |change| change.message = "a\rb".into()), Err(Refused::Set(_))));
    let connection = place.store.connect().unwrap();
    connection
        .execute("INSERT INTO scope (kind, name, policy) VALUES ('team', 'web', 'web'), ('team', 'eu', 'eu-only')", [])
        .unwrap();
    assert!(matches!(place.apply(&good, |_| {}), Err(Refused::Named(names)) if names == ["web"]));
    place.apply(&set(&[("web.toml", &policy("\"a\""))]), |_| {}).unwrap();
}

#[test]
fn drift_is_told() {
    let place = Place::new();
    let (_, after) = two(&place);
    place.apply(&after, |_| {}).unwrap();
    assert_eq!(drift(&place.config, &place.versions).unwrap(), None);
    place.write("a.toml", &policy("\"mine\""));
    place.write("z.toml", &policy("\"z\""));
    fs::remove_file(place.dir.path().join("policies/c.toml")).unwrap();
    let told = drift(&place.config, &place.versions).unwrap().unwrap();
    assert!(told.ends_with("not in force (a.toml edited, z.toml added, c.toml removed)"), "{told}");
}

#[test]
fn links_are_not_replaced_and_modes_are_kept() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = Place::new();
    let dir = place.dir.path().join("policies");
    place.write("a.toml", &policy("\"a\""));
    fs::set_permissions(dir.join("a.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    place.apply(&set(&[("a.toml", &policy("\"b\""))]), |_| {}).unwrap();
    assert_eq!(fs::metadata(dir.join("a.toml")).unwrap().permissions().mode() & 0o777, 0o640);
    fs::rename(dir.join("a.toml"), place.dir.path().join("elsewhere.toml")).unwrap();
    symlink(place.dir.path().join("elsewhere.toml"), dir.join("a.toml")).unwrap();
    let before = place.disk();
    let refused = place.apply(&set(&[("a.toml", &policy("\"c\"")), ("b.toml", &policy("\"d\""))]), |_| {});
    assert!(matches!(refused, Err(Refused::Disk(why)) if why.contains("is a link")));
    assert_eq!(place.disk(), before);
    let left: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

#[test]
fn a_reader_waits_for_a_set_that_is_being_written() {
    let place = Place::new();
    place.write("default.toml", &policy("\"a\""));
    let dir = place.dir.path().join("policies");
    let lock = Lock::take(&dir).unwrap();
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let files = files::policies(&dir).unwrap();
            tell.send(files.len()).unwrap();
        });
        assert!(told.recv_timeout(std::time::Duration::from_millis(100)).is_err(), "it must wait");
        place.write("more.toml", &policy("\"b\""));
        drop(lock);
        assert_eq!(told.recv_timeout(std::time::Duration::from_secs(20)).unwrap(), 2);
    });
}
