//! What rows have in common is written once, and older ledgers come to that form without a loss.

use rusqlite::types::ValueRef;

use super::*;
use crate::ledger::common::{Common, number, text};
use crate::ledger::decisions;
use crate::store::as_of;

fn count(store: &Store, table: &str) -> i64 {
    store.connect().unwrap().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn equal_texts_are_written_once_also_by_the_next_process() {
    let (_dir, store, ledger, writer) = open();
    let other = Receipt { model_asked: "made up".into(), generation: 9, ..receipt(3, vec![], None) };
    write(&ledger, vec![receipt(1, vec![attempt(1, Some("1"))], None), other]).await;
    writer.shutdown(&ledger).await.unwrap();
    let (ledger, _writer) = LedgerWriter::start(&store, 4, 30).unwrap();
    let elsewhere = AttemptRecord { endpoint: "eu".into(), ..attempt(2, Some("1")) };
    write(&ledger, vec![receipt(2, vec![attempt(1, Some("1")), elsewhere], None)]).await;
    assert_eq!((count(&store, "request_common"), count(&store, "request")), (1, 3));
    assert_eq!((count(&store, "attempt_common"), count(&store, "attempt")), (2, 3));
    assert_eq!(query::request(&store, RequestId(2)).unwrap().unwrap().tags, ["x"]);
    let connection = store.connect().unwrap();
    for sql in ["UPDATE request_common SET team = 'b'", "DELETE FROM attempt_common"] {
        assert!(connection.execute(sql, []).unwrap_err().to_string().contains("append-only"), "{sql}");
    }
}

#[test]
fn numbers_of_a_transaction_that_was_rolled_back_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("x.db"), Durability::Process).unwrap();
    let mut connection = store.connect().unwrap();
    let mut common = Common::default();
    let row = |team: &'static str| {
        let texts = ["tenant", "key_id", "tags", "policy", "dialect"].map(|name| (name, ValueRef::Text(b"x")));
        texts.into_iter().chain([("team", text(team)), ("baseline_as_of_ms", number(None))]).collect::<Vec<_>>()
    };
    let transaction = connection.transaction().unwrap();
    let lost = common.number(&transaction, "request_common", &row("a")).unwrap();
    transaction.rollback().unwrap();
    common.forget();
    let other = common.number(&connection, "request_common", &row("b")).unwrap();
    let again = common.number(&connection, "request_common", &row("a")).unwrap();
    assert_eq!((lost, other, again), (1, 1, 2));
    assert_eq!(common.number(&connection, "request_common", &row("a")).unwrap(), again);
}

#[test]
fn a_ledger_of_an_older_version_says_the_same_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    let old = as_of(&path, 12);
    old.execute_batch(OLD).unwrap();
    drop(old);
    let store = Store::open(&path, Durability::Process).unwrap();
    assert_eq!((count(&store, "request"), count(&store, "request_common")), (3, 2));
    assert_eq!((count(&store, "attempt"), count(&store, "attempt_common")), (3, 2));
    let row = query::request(&store, RequestId(2)).unwrap().unwrap();
    assert_eq!((row.team.as_str(), row.route.as_deref(), row.tags.len()), ("a\"'", None, 1));
    let told = |n: usize| (row.attempts[n].processing.as_deref(), row.attempts[n].dropped_params.len());
    assert_eq!([told(0), told(1)], [(None, 0), (Some("DE,FR"), 1)]);
    assert_eq!((row.attempts[0].cost, row.attempts[1].own_key), (None, true));
    assert_eq!(row.attempts[1].usage.get(Bucket::Search), 2);
    let spend = query::spend(&store, &ALL, GroupBy::Target).unwrap();
    assert_eq!((spend.total.attempts, spend.total.cost.to_string()), (3, "0.000000000012".to_owned()));
    let decision = decisions::decision(&store, RequestId(1)).unwrap().unwrap();
    assert_eq!((decision.snapshot.as_str(), decision.service.as_str(), decision.rejected.len()), ("s", "flex", 0));
    assert_eq!(decision.inexpressible.get("gemini").map(String::as_str), Some("seed"));
    // What refers to a request still does.
    let connection = store.connect().unwrap();
    let feedback = "INSERT INTO feedback (request_id, label, score_millionths, at_ms) VALUES (?1, 'l', 1, 1)";
    assert!(connection.execute(feedback, [RequestId(9).0.to_be_bytes().as_slice()]).is_err());
    connection.execute(feedback, [RequestId(1).0.to_be_bytes().as_slice()]).unwrap();
    let broken: Vec<String> = connection
        .prepare("PRAGMA foreign_key_check")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
}

/// Three requests, three attempts and a decision, as version 12 had them.
const OLD: &str = r#"
INSERT INTO request (id, started_ms, duration_ms, overhead_us, tenant, team, key_id, tags, policy, generation, route,
    dialect, model_asked, stream, input_estimate, status, cache_hit) VALUES
    (unhex('00000000000000000000000000000001'), 5, 1, 1, 't', 'b', 'k', '["x"]', 'p', 1, 'r', 'openai-chat', 'm', 0, 9, 200, 0),
    (unhex('00000000000000000000000000000002'), 6, 1, 1, 't', 'a"''', 'k', '["x"]', 'p', 2, NULL, 'openai-chat', 'm', 1, 9, 200, 0),
    (unhex('00000000000000000000000000000003'), 7, 1, 1, 't', 'a"''', 'k', '["x"]', 'p', 3, NULL, 'openai-chat', 'n', 1, 9, 502, 0);
INSERT INTO attempt (request_id, no, target, provider, model, endpoint, processing, retention_days, started_ms, duration_ms,
    outcome, basis, input, cache_read, cache_write, cache_write_1h, output, reasoning, input_audio, output_audio,
    input_image, output_image, search, cost_pico, unpriced, price_id, dropped_params, own_key) VALUES
    (unhex('00000000000000000000000000000001'), 1, 't/1', 't', 'm', 'e', 'DE,FR', 30, 5, 1, 'completed', 'provider',
     1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5, NULL, 'p', '[]', 1),
    (unhex('00000000000000000000000000000002'), 1, 't/2', 't', 'm', 'e', NULL, NULL, 5, 1, 'failed', 'provider',
     1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, NULL, 'no_price', NULL, '[]', 0),
    (unhex('00000000000000000000000000000002'), 2, 't/1', 't', 'm', 'e', 'DE,FR', 30, 5, 1, 'completed', 'provider',
     1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 7, NULL, 'p', '["seed"]', 1);
INSERT INTO decision (request_id, at_ms, dice, snapshot, policy, route, operation, dialect, input_tokens, choices, stream,
    needs, inexpressible, requires, lossy, max_attempts, admitted, rejected, signals, left_out, service) VALUES
    (unhex('00000000000000000000000000000001'), 5, -1, 's', 'p', 'r', 'chat', 'openai-chat', 9, 1, 0, 'tools',
     '{"gemini":"seed"}', 'any', 0, 3, '[]', '[]', '[]', 0, 'flex');
"#;
