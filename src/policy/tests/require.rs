//! Requirements as text.

use super::*;

#[test]
fn the_text_form_reads_back() {
    let shop = shop();
    let text = "processing=EU,local; operator=EU; parent=EU,US; retention_days=0; training=no,opt-out; \
                min_guarantee=documented; min_tier=reasoning; max_cost=0.01 USD";
    let read = Requirement::parse(text, &shop).unwrap();
    assert_eq!(read.to_string(), text);
    assert_eq!(Requirement::parse(&read.to_string(), &shop).unwrap(), read);
    assert_eq!(Requirement::parse("  ", &shop).unwrap(), Requirement::ANY);
    assert_eq!(Requirement::ANY.to_string(), "");
    let operator = Requirement::parse("operator=DE", &shop).unwrap();
    assert_eq!(operator.parent, operator.operator);
    assert_eq!(Requirement::parse("parent=DE", &shop).unwrap().operator, None);
}

#[test]
fn a_requirement_is_never_read_in_part() {
    let shop = shop();
    for (text, expect) in [
        ("processing", "name=value"),
        ("procesing=EU", "did you mean `processing`?"),
        ("processing=EU; processing=US", "twice"),
        ("processing=", "neither a zone"),
        ("processing=EU,UK", "`GB`"),
        ("retention_days=unknown", "number of days"),
        ("retention_days=-1", "number of days"),
        ("training=never", "no, opt-out, yes"),
        ("min_tier=reasonning", "did you mean `reasoning`?"),
        ("min_guarantee=iron", "none, documented, contract"),
        ("max_cost=0.01", "0.05 USD"),
        ("max_cost=0.01 EUR", "USD"),
        ("ttft_p95=2", "not a duration"),
        ("unmeasured=no", "allow, refuse"),
        ("speed=2s", "no such requirement"),
    ] {
        let error = Requirement::parse(text, &shop).unwrap_err().to_string();
        assert!(error.contains(expect), "{text}: {error}");
    }
}

#[test]
fn each_part_narrows_to_the_stricter_one() {
    let shop = shop();
    let read = |text| Requirement::parse(text, &shop).unwrap();
    let loose = "processing=EEA,local,US; operator=EEA,US; parent=EEA,US; retention_days=30; training=no,opt-out; \
                 min_guarantee=documented; min_tier=small; max_cost=0.10 USD; ttft_p95=2s; unmeasured=allow";
    let strict = "processing=EU,local,GB; operator=DE,US; parent=DE; retention_days=1; training=no,yes; \
                  min_guarantee=contract; min_tier=reasoning; max_cost=0.01 USD; ttft_p95=1500ms; unmeasured=refuse";
    let both = "processing=EU,local; operator=DE,US; parent=DE; retention_days=1; training=no; \
                min_guarantee=contract; min_tier=reasoning; max_cost=0.01 USD; ttft_p95=1500ms; unmeasured=refuse";
    assert_eq!(read(loose).narrow(&read(strict)), read(both));
    assert_eq!(read(strict).narrow(&read(loose)), read(both));
    assert!(read("processing=US").narrow(&read("processing=EU")).processing.unwrap().is_empty());
}
