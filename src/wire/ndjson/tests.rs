//! Lines in any cut, ends good and bad, the limit.

use proptest::prelude::*;

use super::*;

fn lines<'a>(max: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Result<(), LineTooLong>) {
    let mut decoder = NdjsonDecoder::new(max);
    let mut found = Vec::new();
    let mut on = |line: &str| found.push(line.to_owned());
    let mut result = Ok(());
    for chunk in chunks {
        result = decoder.push(chunk, &mut on);
        if result.is_err() {
            assert_eq!(decoder.push(b"{}\n", &mut on), Err(LineTooLong), "it stays broken");
            assert_eq!(decoder.finish(&mut on), Err(LineTooLong));
            break;
        }
    }
    if result.is_ok() {
        result = decoder.finish(&mut on);
    }
    (found, result)
}

#[test]
fn lines_end_in_three_ways_and_empty_ones_say_nothing() {
    let body = "{\"a\":1}\n\r\n{\"b\":\"\u{e9}\"}\r\n  \n{\"c\":3}".as_bytes();
    let want = ["{\"a\":1}", "{\"b\":\"\u{e9}\"}", "{\"c\":3}"].map(str::to_owned).to_vec();
    assert_eq!(lines(100, [body]), (want, Ok(())));
    assert_eq!(lines(100, [&b""[..]]), (Vec::new(), Ok(())));
    assert_eq!(lines(100, [&b"\xff\n"[..]]).0, ["\u{fffd}"]);
}

#[test]
fn the_limit_is_for_each_line() {
    let fits = b"12345\n12345\n12345".as_slice();
    assert_eq!(lines(5, [fits]).1, Ok(()));
    let (found, result) = lines(5, [&b"12345\n123456\n1\n"[..]]);
    assert_eq!((found.len(), result), (1, Err(LineTooLong)));
    // A line without end does not grow without end.
    assert_eq!(lines(5, [&b"123"[..], b"456"]).1, Err(LineTooLong));
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_lines(
        body in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'x'), Just(0xc3), Just(0xa9)], 0..60),
        cuts in proptest::collection::vec(1_usize..7, 1..60),
    ) {
        let whole = lines(9, [&body[..]]);
        let mut rest = &body[..];
        let mut chunks = Vec::new();
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            chunks.push(head);
            rest = tail;
        }
        prop_assert_eq!(lines(9, chunks), whole);
    }
}
