//! The scanner against serde_json; edits against the same edits on a parsed value.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn edited(body: &str, edit: impl FnOnce(&mut Splice<'_>)) -> String {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let members = Members::scan(&body).unwrap();
    let mut splice = members.splice();
    edit(&mut splice);
    String::from_utf8(splice.apply(&body).concat()).unwrap()
}

#[test]
fn what_is_wrong_is_told() {
    use Malformed::*;
    let scan = |body: &[u8]| Members::scan(body).unwrap_err();
    assert_eq!(scan(b""), Empty);
    assert_eq!(scan(b" \n"), Empty);
    assert_eq!(scan(b"[]"), NotAnObject);
    assert_eq!(scan(b"\"x\""), NotAnObject);
    assert_eq!(scan(b"{\"a\":1,\"a\":2}"), Duplicate);
    assert_eq!(scan(b"{\"a\":1,\"\\u0061\":2}"), Duplicate, "escaped names are compared unescaped");
    assert_eq!(scan(format!("{{\"a\":{}", "[".repeat(10_000)).as_bytes()), TooDeep);
    let bad = [
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1e}",
        "{\"a\":NaN}",
        "{\"a\":tru}",
        "{\"a\":'x'}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":1}x",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{a:1}",
        "\u{feff}{}",
        "{\"a\":{\"b\"}}",
    ];
    for text in bad {
        assert!(matches!(scan(text.as_bytes()), Syntax(_)), "{text}");
    }
    assert!(matches!(scan(b"{\"a\":\"\xff\"}"), Syntax(_)));
}

#[test]
fn nesting_up_to_the_limit_is_fine() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(Members::scan(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
    assert_eq!(Members::scan(nested(MAX_DEPTH).as_bytes()), Err(Malformed::TooDeep));
}

#[test]
fn edits_touch_only_what_they_must() {
    let body = r#"{ "model" : "a",  "x":[1, 2] ,"stream":true }"#;
    assert_eq!(edited(body, |s| s.set("model", "\"b\"")), r#"{ "model" : "b",  "x":[1, 2] ,"stream":true }"#);
    assert_eq!(edited(body, |s| s.set("y", "1")), r#"{ "model" : "a",  "x":[1, 2] ,"stream":true ,"y":1}"#);
    assert_eq!(edited(body, |s| s.remove("x")), r#"{"model" : "a","stream":true}"#);
    assert_eq!(edited(body, |s| s.rename("x", "z")), r#"{ "model" : "a",  "z":[1, 2] ,"stream":true }"#);
    assert_eq!(edited("{}", |s| s.set("y", "1")), r#"{"y":1}"#);
    assert_eq!(edited(body, |_| {}), body);
}

#[test]
fn an_untouched_body_is_not_copied() {
    let body = Bytes::from_static(b"{\"a\":1}");
    let members = Members::scan(&body).unwrap();
    let pieces = members.splice().apply(&body);
    assert_eq!(pieces.len(), 1);
    assert_eq!(pieces[0].as_ptr(), body.as_ptr());
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 2.0)),
        "\\PC*".prop_map(Value::from),
        "[\\x00-\\x7f\u{1f600}]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[a-c\"\\\\\u{e9}]{1,3}", inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::hash_map("[a-e]", json(), 0..5).prop_map(|m| Value::Object(m.into_iter().collect()))
}

proptest! {
    #[test]
    fn well_formed_objects_are_accepted_and_spans_are_right(value in object(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let members = Members::scan(text.as_bytes()).unwrap();
        let object = value.as_object().unwrap();
        prop_assert_eq!(members.all().len(), object.len());
        for member in members.all() {
            let parsed: Value = serde_json::from_str(&text[member.value.clone()]).unwrap();
            prop_assert_eq!(&parsed, &object[&*member.name]);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_agree_with_a_parser(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if Members::scan(&bytes).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }

    #[test]
    fn mutated_json_agrees_with_a_parser(value in object(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let ours = Members::scan(&bytes);
        let theirs = serde_json::from_slice::<Value>(&bytes);
        match (&ours, &theirs) {
            (Ok(_), theirs) => {
                // serde_json refuses numbers beyond f64; the grammar does not.
                let range = theirs.as_ref().err().is_some_and(|e| e.to_string().contains("out of range"));
                prop_assert!(theirs.is_ok() || range, "{:?}", theirs);
            }
            (Err(Malformed::Syntax(_) | Malformed::Empty), Ok(value)) => prop_assert!(false, "refused {}", value),
            _ => {}
        }
    }

    #[test]
    fn edits_equal_the_same_edits_on_a_value(
        value in object(), set in "[a-h]", removed in prop::collection::vec("[a-e]", 0..4), new in json()
    ) {
        let text = serde_json::to_string(&value).unwrap();
        let removed: Vec<_> = removed.into_iter().filter(|name| *name != set).collect();
        let mut expected = value.as_object().unwrap().clone();
        expected.insert(set.clone(), new.clone());
        removed.iter().for_each(|name| { expected.remove(name); });
        let got = edited(&text, |s| {
            s.set(&set, serde_json::to_string(&new).unwrap());
            removed.iter().for_each(|name| s.remove(name));
        });
        let got: Value = serde_json::from_str(&got).unwrap();
        prop_assert_eq!(got, Value::Object(expected));
    }
}
