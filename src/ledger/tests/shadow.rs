//! A day's limit of shadow runs holds, whatever happens.

use super::*;
use crate::ledger::shadow::{Agreement, Outcome as Came, Reservation, reserve, runs, settle};

const NOON: UnixMillis = UnixMillis(1_795_521_600_000);

fn wish(id: u128, at: UnixMillis, route: &str) -> Reservation {
    Reservation {
        request: RequestId(id),
        at,
        policy: "default".into(),
        route: route.into(),
        target: "b/m".into(),
        residency: super::attempt(1, None).residency,
        per_day: Money::parse("1").unwrap(),
    }
}

/// Whether a run that may cost 0.40 finds its money.
fn fits(store: &Store, wish: &Reservation) -> bool {
    let worst = Money::parse("0.4").unwrap();
    reserve(store, wish, |_| Some(((), worst))).unwrap().is_some()
}

fn came(cost: Option<&str>) -> Came {
    Came { cost: cost.map(|cost| Money::parse(cost).unwrap()), ..Came::default() }
}

#[test]
fn reservations_add_up_per_route_and_day_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    let store = Store::open(&path, Durability::Process).unwrap();
    assert!(fits(&store, &wish(1, NOON, "r")));
    assert!(fits(&store, &wish(2, NOON, "r")));
    assert!(!fits(&store, &wish(3, NOON, "r")), "1.20 would be more than 1");
    drop(store);
    let store = Store::open(&path, Durability::Process).unwrap();
    assert!(!fits(&store, &wish(3, NOON, "r")));
    assert!(fits(&store, &wish(4, NOON, "other")), "another route has its own limit");
    let tomorrow = UnixMillis(NOON.0 + 86_400_000);
    assert!(fits(&store, &wish(5, tomorrow, "r")), "and so has another day");
    assert!(!fits(&store, &wish(5, tomorrow, "r")), "a request has one shadow");
    settle(&store, RequestId(1), &came(Some("0.1"))).unwrap();
    assert!(fits(&store, &wish(3, NOON, "r")), "what was not needed is free again");
    settle(&store, RequestId(2), &came(None)).unwrap();
    assert!(!fits(&store, &wish(6, NOON, "r")), "a cost that is not known stays reserved");
}

#[test]
fn many_at_once_do_not_exceed_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("x.db"), Durability::Process).unwrap();
    let made: usize = std::thread::scope(|scope| {
        let store = &store;
        let tasks: Vec<_> =
            (0..8).map(|id| scope.spawn(move || usize::from(fits(store, &wish(id, NOON, "r"))))).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).sum()
    });
    assert_eq!(made, 2);
}

#[tokio::test]
async fn outcomes_are_compared_with_the_first_answers() {
    let (_dir, store, ledger, _writer) = open();
    for id in [1, 2, 3] {
        write(&ledger, vec![receipt(id, vec![attempt(1, Some("1.25"))], None)]).await;
        assert!(fits(&store, &wish(id, UnixMillis(NOON.0 + i64::try_from(id).unwrap() * 86_400_000), "r")));
    }
    let agreement = Agreement { answer: Some(true), number: Some(false), ..Agreement::default() };
    let usage = Usage::ZERO.with(Bucket::Output, 30);
    settle(&store, RequestId(1), &Came { agreement, usage, duration_ms: 4, ..came(Some("0.1")) }).unwrap();
    let differs = Agreement { answer: Some(false), ..Agreement::default() };
    settle(&store, RequestId(2), &Came { agreement: differs, usage, duration_ms: 4, ..came(None) }).unwrap();
    settle(&store, RequestId(3), &Came { failure: Some("timeout"), ..Came::default() }).unwrap();
    let found = runs(&store, &ALL).unwrap();
    let [(pair, runs)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((pair.primary.as_str(), pair.shadow.as_str()), ("deepseek/deepseek-reasoner", "b/m"));
    assert_eq!((runs.runs, runs.failed, runs.answers, runs.numbers, runs.calls), (3, 1, (1, 2), (0, 1), (0, 0)));
    assert_eq!(
        (runs.cost.0.to_string(), runs.cost.1.to_string()),
        ("1.25".into(), "0.10".into()),
        "where both are known"
    );
    assert_eq!((runs.output, runs.duration_ms), ((40, 60), (18, 8)));
    assert_eq!(query::spend(&store, &ALL, GroupBy::Team).unwrap().total.cost.to_string(), "3.75", "nobody is charged");
}
