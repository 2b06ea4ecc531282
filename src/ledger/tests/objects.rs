//! What lies at providers, or may.

use super::*;
use crate::ledger::objects::{self, Account, Kind, Object};

#[test]
fn what_a_killed_process_has_begun_without_a_name_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("db"), Durability::Process).unwrap();
    let object = |id: &str, shown: Option<&str>| Object {
        tenant: "acme".into(),
        id: id.into(),
        kind: Kind::Batch,
        dialect: DialectId::OpenAiChat,
        target: "alpha/m-1".into(),
        account: Account::default(),
        made: UnixMillis(1),
        shown: shown.map(str::to_owned),
    };
    for (id, shown) in [("pending:req_1", None), ("pending:req_2", None), ("batch_3", Some("{}"))] {
        objects::keep(&store, &object(id, shown)).unwrap();
    }
    // The running process has told of this one itself.
    objects::settled(&store, "acme", "pending:req_2", UnixMillis(2)).unwrap();
    let left = objects::left_nameless(&store, UnixMillis(3)).unwrap();
    assert_eq!(left, [object("pending:req_1", None)]);
    assert_eq!(objects::left_nameless(&store, UnixMillis(4)).unwrap(), []);
    assert_eq!(objects::open(&store).unwrap(), [object("batch_3", Some("{}"))], "what has a name goes on as ever");
}
