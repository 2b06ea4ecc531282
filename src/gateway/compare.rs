//! Whether two answers agree, as far as a machine can say.

use std::collections::BTreeMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::domain::chat::{ChatRequest, ChatResponse, Choice, Part, ResponseFormat};
use crate::ledger::shadow::Agreement;

/// Compares the first answer, where it is known, with the shadow's.
pub(super) fn compare(request: &ChatRequest, primary: Option<&ChatResponse>, shadow: &ChatResponse) -> Agreement {
    let (first, second) = (primary.and_then(only), only(shadow));
    let wanted = wanted(request);
    let json = |choice: &Choice| {
        let called = !choice.tool_calls.is_empty();
        wanted.as_ref().filter(|_| !called).and_then(|wanted| wanted.met(&text(choice)))
    };
    let mut agreement =
        Agreement { json_primary: first.and_then(json), json_shadow: second.and_then(json), ..Agreement::default() };
    let (Some(first), Some(second)) = (first, second) else { return agreement };
    if !first.tool_calls.is_empty() || !second.tool_calls.is_empty() {
        agreement.calls = Some(calls(first) == calls(second));
        return agreement;
    }
    let (first, second) = (text(first), text(second));
    agreement.answer = Some(match (parsed(&first), parsed(&second)) {
        (Some(first), Some(second)) if wanted.is_some() => first == second,
        _ => first.trim() == second.trim(),
    });
    agreement.number = last_number(&first).map(|number| last_number(&second).is_some_and(|other| other == number));
    agreement
}

/// The answer, where there is exactly one.
fn only(response: &ChatResponse) -> Option<&Choice> {
    let [choice] = response.choices.as_slice() else { return None };
    Some(choice)
}

/// Longest schema that is held against answers, in bytes.
const SCHEMA: usize = 256 * 1024;

/// What kind of JSON was asked for.
enum Wanted {
    /// An object.
    Object,
    /// What its schema says.
    Schema(Box<Validator>),
    /// What a schema says that can't be read.
    Unreadable,
}

impl Wanted {
    /// Whether a text is what was asked for; none = it can't be said.
    fn met(&self, text: &str) -> Option<bool> {
        let value = parsed(text);
        match self {
            Self::Object => Some(value.is_some_and(|value| value.is_object())),
            Self::Schema(schema) => Some(value.is_some_and(|value| schema.is_valid(&value))),
            Self::Unreadable => value.is_none().then_some(false),
        }
    }
}

/// Which JSON was asked for; none = none was.
fn wanted(request: &ChatRequest) -> Option<Wanted> {
    match request.response_format.as_ref()? {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject | ResponseFormat::JsonSchema { schema: None, .. } => Some(Wanted::Object),
        ResponseFormat::JsonSchema { schema: Some(schema), .. } => {
            let schema = Some(schema.as_str()).filter(|text| text.len() <= SCHEMA).and_then(parsed);
            Some(schema.and_then(|schema| validator(&schema)).map_or(Wanted::Unreadable, Wanted::Schema))
        }
    }
}

/// A schema of a client's, without what could take long (patterns that go back) or lead elsewhere (other documents: the
/// crate is built without the means to fetch them).
fn validator(schema: &Value) -> Option<Box<Validator>> {
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
    options.build(schema).ok().map(Box::new)
}

fn parsed(text: &str) -> Option<Value> {
    serde_json::from_str(text.trim()).ok().map(plain)
}

/// The same with whole numbers written as such (`1.0` is `1`) and members in the order of their names.
fn plain(value: Value) -> Value {
    /// Up to here every whole number is a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|value| number.is_f64() && value.fract() == 0.0 && value.abs() < EXACT);
            #[expect(clippy::cast_possible_truncation, reason = "whole and within what a float holds exactly")]
            whole.map_or(Value::Number(number), |whole| Value::from(whole as i64))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Value::Object(members) => {
            let sorted: BTreeMap<String, Value> =
                members.into_iter().map(|(name, value)| (name, plain(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        other => other,
    }
}

fn text(choice: &Choice) -> String {
    let texts = choice.content.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// Names and arguments, whatever the order of members and white space. Calls of one turn have no order either.
fn calls(choice: &Choice) -> Vec<(&str, String)> {
    let arguments = |text: &str| parsed(text).unwrap_or_else(|| Value::String(text.to_owned())).to_string();
    let mut calls: Vec<_> =
        choice.tool_calls.iter().map(|call| (call.name.as_str(), arguments(&call.arguments))).collect();
    calls.sort_unstable();
    calls
}

/// The last number of a text, without separators and zeros that say nothing: `1,200.50` is `1200.5`.
fn last_number(text: &str) -> Option<String> {
    let part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
    let found = text.rmatch_indices(|c: char| c.is_ascii_digit()).next()?.0;
    let end = found + 1;
    let start =
        text[..end].rfind(|c: char| !part(c)).map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let digits: String = text[start..end].trim_start_matches([',', '.']).chars().filter(|c| *c != ',').collect();
    // What joins two numbers (`3-5`, `2026-11-29`) is no sign.
    let negative = text[..start]
        .strip_suffix(['-', '\u{2212}'])
        .is_some_and(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '.'));
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{}{whole}{dot}{fraction}", if negative { "-" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chat::{Json, ToolCall};

    fn says(text: &str) -> ChatResponse {
        let mut choice = Choice::new(0);
        choice.content.push(Part::Text(text.to_owned()));
        ChatResponse { choices: vec![choice], ..ChatResponse::default() }
    }

    fn does(name: &str, arguments: &str) -> ChatResponse {
        let mut choice = Choice::new(0);
        choice.tool_calls.push(ToolCall::new("id".to_owned(), name.to_owned(), arguments));
        ChatResponse { choices: vec![choice], ..ChatResponse::default() }
    }

    #[test]
    fn texts_and_their_last_numbers() {
        let request = ChatRequest::default();
        let of = |a: &str, b: &str| {
            let found = compare(&request, Some(&says(a)), &says(b));
            (found.answer, found.number)
        };
        assert_eq!(of("The answer is 42.", " The answer is 42.\n"), (Some(true), Some(true)));
        assert_eq!(of("so 1,200.50", "It is 1200.5!"), (Some(false), Some(true)));
        assert_eq!(of("x = -7", "x = 7"), (Some(false), Some(false)));
        assert_eq!(of("Zürich–8", "8"), (Some(false), Some(true)));
        assert_eq!(of("x = \u{2212}7", "-7.0"), (Some(false), Some(true)), "a minus that is typeset");
        assert_eq!(of("in 2026-11-29", "29"), (Some(false), Some(true)));
        assert_eq!(of("yes", "no"), (Some(false), None));
        assert_eq!(of("7", "seven"), (Some(false), Some(false)));
        assert_eq!(last_number("0.50").as_deref(), Some("0.5"));
        assert_eq!(last_number("007").as_deref(), Some("7"));
        assert_eq!(compare(&request, None, &says("x")), Agreement::default(), "a stream's text is not kept");
    }

    #[test]
    fn calls_are_equal_by_name_and_arguments_as_json() {
        let request = ChatRequest::default();
        let of = |a: &ChatResponse, b: &ChatResponse| compare(&request, Some(a), b).calls;
        assert_eq!(of(&does("f", r#"{"a":1,"b":2}"#), &does("f", r#"{ "b":2, "a":1 }"#)), Some(true));
        assert_eq!(of(&does("f", r#"{"a":[1.0]}"#), &does("f", r#"{"a":[1]}"#)), Some(true));
        let both = |first: &str, second: &str| {
            let mut both = does(first, "{}");
            both.choices[0].tool_calls.extend(does(second, "{}").choices.remove(0).tool_calls);
            both
        };
        assert_eq!(of(&both("f", "g"), &both("g", "f")), Some(true), "calls side by side");
        assert_eq!(of(&both("f", "g"), &both("g", "g")), Some(false));
        assert_eq!(of(&does("f", r#"{"a":1}"#), &does("f", r#"{"a":1.5}"#)), Some(false));
        assert_eq!(of(&does("f", r#"{"a":1}"#), &does("f", r#"{"a":2}"#)), Some(false));
        assert_eq!(of(&does("f", "{}"), &does("g", "{}")), Some(false));
        assert_eq!(of(&does("f", "{}"), &says("f")), Some(false));
    }

    fn asks_for(schema: &str) -> ChatRequest {
        let schema = Some(Json::new(schema));
        let format = ResponseFormat::JsonSchema { name: "n".to_owned(), description: None, schema, strict: None };
        ChatRequest { response_format: Some(format), ..ChatRequest::default() }
    }

    #[test]
    fn an_answer_is_held_against_the_whole_schema() {
        let request = asks_for(
            r##"{"type":"object","required":["name","ages"],"additionalProperties":false,"$defs":{"age":{"type":"integer","minimum":0}},
                "properties":{"name":{"type":"string","pattern":"^[a-z]+$"},"ages":{"type":"array","items":{"$ref":"#/$defs/age"}}}}"##,
        );
        let met = |text: &str| compare(&request, None, &says(text)).json_shadow;
        assert_eq!(met(r#"{"name":"ada","ages":[36]}"#), Some(true));
        for bad in [
            r#"{"name":"Ada","ages":[36]}"#,
            r#"{"name":"ada","ages":["36"]}"#,
            r#"{"name":"ada","ages":[-1]}"#,
            r#"{"name":"ada","ages":[],"more":1}"#,
            r#"{"name":"ada"}"#,
            "name: ada",
        ] {
            assert_eq!(met(bad), Some(false), "{bad}");
        }
        let list = asks_for(r#"{"type":"array"}"#);
        assert_eq!(compare(&list, None, &says("[1]")).json_shadow, Some(true), "not only objects");
    }

    #[test]
    fn what_a_schema_leaves_open_is_not_said_and_nothing_is_fetched() {
        for schema in [
            r#"{"$ref":"http://127.0.0.1:9/schema.json"}"#,
            r#"{"$ref":"file:///etc/passwd"}"#,
            r#"{"type":"no such type"}"#,
            r#"{"type":"string","pattern":"(a+)+\\1$"}"#,
        ] {
            let found = compare(&asks_for(schema), Some(&says(r#"{"a":1}"#)), &says(r#"{ "a": 1 }"#));
            assert_eq!((found.json_primary, found.json_shadow, found.answer), (None, None, Some(true)), "{schema}");
            assert_eq!(compare(&asks_for(schema), None, &says("no JSON")).json_shadow, Some(false), "{schema}");
        }
    }

    #[test]
    fn json_is_checked_where_it_was_asked_for() {
        let request = asks_for(r#"{"type":"object","required":["name"]}"#);
        let found = compare(&request, Some(&says(r#"{"name":"a"}"#)), &says(r#" {"name": "a"} "#));
        assert_eq!((found.json_primary, found.json_shadow, found.answer), (Some(true), Some(true), Some(true)));
        let found = compare(&request, Some(&says("{}")), &says("name: a"));
        assert_eq!((found.json_primary, found.json_shadow, found.answer), (Some(false), Some(false), Some(false)));
    }
}
