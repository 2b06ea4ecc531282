//! Tests of the parameter table.

use super::super::params::{Class, class, neutral, parameters};
use super::*;
use crate::domain::target::{Capabilities, Capability};

#[test]
fn the_table_is_sorted_and_found() {
    assert!(parameters().windows(2).all(|w| w[0].name < w[1].name));
    for row in parameters() {
        assert_eq!(class(row.name), row.class);
    }
    assert_eq!(class("never_heard_of"), Class::Semantic);
}

#[test]
fn neutral_values() {
    for (name, value) in [("seed", "null"), ("n", " 1 "), ("frequency_penalty", "-0.0"), ("logit_bias", "{\n}")] {
        assert!(neutral(name, value), "{name} {value}");
    }
    for (name, value) in [("seed", "0"), ("n", "2"), ("frequency_penalty", "0.1"), ("odd", "0"), ("logprobs", "true")] {
        assert!(!neutral(name, value), "{name} {value}");
    }
}

fn envelope(members: &[&str]) -> Envelope {
    Envelope {
        model: "m".to_owned(),
        stream: false,
        include_usage: false,
        max_output: None,
        choices: 1,
        needs: Capabilities::NONE,
        prompt_bytes: 0,
        members: members.iter().map(|m| (*m).into()).collect(),
        cacheable: false,
        spans: crate::wire::splice::Members::default(),
    }
}

#[test]
fn what_cannot_be_said_is_known_before_the_body_is_read() {
    let members = ["model", "messages", "n", "logprobs", "response_format", "seed", "store", "odd"];
    let mut request = envelope(&members);
    assert_eq!(Anthropic.inexpressible(&request), ["seed", "odd"]);
    request.choices = 2;
    request.needs = Capabilities::NONE.with(Capability::Json).with(Capability::Logprobs);
    assert_eq!(Anthropic.inexpressible(&request), ["n", "logprobs", "response_format", "seed", "odd"]);
    request.needs = request.needs.with(Capability::JsonSchema);
    assert!(!Anthropic.inexpressible(&request).contains(&"response_format".to_owned()));
}
