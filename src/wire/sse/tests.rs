//! Tests of the event stream decoder.

use proptest::prelude::*;

use super::*;

type Events = Vec<(Option<String>, String)>;

/// Feeds the chunks; the events, whether it failed, and the comments seen.
fn feed<'a>(max: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Events, bool, u64) {
    let mut decoder = SseDecoder::new(max);
    let mut events = Vec::new();
    let mut on = |e: SseEvent<'_>| events.push((e.name.map(str::to_owned), e.data.to_owned()));
    let mut failed = false;
    for chunk in chunks {
        failed |= decoder.push(chunk, &mut on).is_err();
    }
    failed |= decoder.finish(&mut on).is_err();
    (events, failed, decoder.comments())
}

fn data(bytes: &[u8]) -> Vec<String> {
    feed(1 << 20, [bytes]).0.into_iter().map(|(_, data)| data).collect()
}

#[test]
fn line_ends_of_all_kinds() {
    for text in [
        "data: a\n\ndata: b\n\n",
        "data: a\r\n\r\ndata: b\r\n\r\n",
        "data: a\r\rdata: b\r\r",
        "data: a\r\n\ndata: b\n\r",
    ] {
        assert_eq!(data(text.as_bytes()), ["a", "b"], "{text:?}");
    }
}

#[test]
fn fields_and_their_oddities() {
    assert_eq!(data(b"data:no space\n\ndata:  two\n\n"), ["no space", " two"]);
    assert_eq!(data(b"data: a\ndata:\ndata: c\n\n"), ["a\n\nc"]);
    assert_eq!(data(b"data\n\n"), [""]);
    assert_eq!(data(b"\xEF\xBB\xBFdata: bom\n\n\xEF\xBB\xBFdata: no\n\n"), ["bom"]);
    assert_eq!(data(b"id: 1\nretry: 2\nother: 3\ndatax: 4\ndata: {\"a\":1}\n\n"), ["{\"a\":1}"]);
    assert_eq!(data(b"data: a\xFFb\n\n"), ["a\u{FFFD}b"]);
}

#[test]
fn names() {
    let (events, _, _) =
        feed(99, [&b"event: x\ndata: 1\n\nevent:\ndata: 2\n\ndata: 3\nevent: y\n\nevent: z\n\ndata: 4\n\n"[..]]);
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_deref()).collect();
    assert_eq!(names, [Some("x"), None, Some("y"), None]);
    assert_eq!(events[3].1, "4");
}

#[test]
fn comments_are_life_and_nothing_else() {
    let (events, failed, comments) = feed(99, [&b": ping\n\n:\n: a\r\ndata: 1\n: inside\ndata: 2\n\n"[..]]);
    assert_eq!(events, [(None, "1\n2".to_owned())]);
    assert_eq!((failed, comments), (false, 4));
}

#[test]
fn a_last_event_without_its_blank_line_is_dispatched() {
    assert_eq!(data(b"data: a\n\ndata: b"), ["a", "b"]);
    assert_eq!(data(b"data: a\n\ndata: b\n"), ["a", "b"]);
    assert_eq!(data(b"data: a\n\nevent: b\n"), ["a"]);
}

#[test]
fn lengths_are_bounded() {
    assert_eq!(feed(8, [&b"data: ab\n\n"[..]]).0.len(), 1);
    assert!(feed(8, [&b"data: abc\n\n"[..]]).1);
    assert!(feed(8, [&b"data: a"[..], b"bc"]).1);
    assert!(!feed(8, [&b"data:aaa\ndata:bbb\n\n"[..]]).1);
    assert!(feed(8, [&b"data:aaa\ndata:bbb\ndata:c\n\n"[..]]).1);
    let (events, failed, _) = feed(8, [&b"data: ab\n\n: 1234567890\ndata: c\n\n"[..], b"data: d\n\n"]);
    assert_eq!((events.len(), failed), (1, true));
}

#[test]
fn an_event_in_one_chunk_is_not_copied() {
    let chunk = b"event: x\ndata: hello\n\n".to_vec();
    let inside = chunk.as_ptr_range();
    let mut seen = 0;
    SseDecoder::new(99)
        .push(&chunk, &mut |e| {
            assert!(inside.contains(&e.data.as_ptr()));
            assert!(inside.contains(&e.name.unwrap().as_ptr()));
            seen += 1;
        })
        .unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn the_end_of_each_frame_is_told() {
    let mut decoder = SseDecoder::new(99);
    let mut ends = Vec::new();
    for chunk in [&b"data: a\n\ndata: b\n\nda"[..], b"ta: c\n\n: x\n", b"\r\ndata: d"] {
        decoder.push(chunk, &mut |e| ends.push((e.data.to_owned(), e.end))).unwrap();
    }
    decoder.finish(&mut |e| ends.push((e.data.to_owned(), e.end))).unwrap();
    let want = [("a", 9), ("b", 18), ("c", 7), ("d", 0)].map(|(d, e)| (d.to_owned(), e));
    assert_eq!(ends, want);
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"data: ".to_vec()),
        Just(b"data".to_vec()),
        Just(b"event: e\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b": c\n".to_vec()),
        Just(b"\xEF\xBB\xBF".to_vec()),
        Just("\u{1F40C}".as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ]
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_events(
        pieces in proptest::collection::vec(piece(), 0..40),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        max in prop_oneof![Just(1_usize << 16), 4_usize..40],
    ) {
        let bytes = pieces.concat();
        let whole = feed(max, [&bytes[..]]);
        let single = feed(max, bytes.chunks(1));
        prop_assert_eq!(&whole, &single);
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let cut = feed(max, at.windows(2).map(|w| &bytes[w[0]..w[1]]));
        prop_assert_eq!(whole, cut);
    }
}
