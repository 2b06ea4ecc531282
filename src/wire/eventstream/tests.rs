//! Frames written here are read back, whatever the cut; damage never passes.

use proptest::prelude::*;

use super::*;

/// Writes a frame.
pub(crate) fn frame(headers: &[(&str, HeaderValue<'_>)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).unwrap());
        head.extend_from_slice(name.as_bytes());
        write_value(value, &mut head);
    }
    let total = u32::try_from(PRELUDE + head.len() + payload.len() + SUM).unwrap();
    let mut out = total.to_be_bytes().to_vec();
    out.extend(u32::try_from(head.len()).unwrap().to_be_bytes());
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out.extend(head);
    out.extend_from_slice(payload);
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}

fn write_value(value: &HeaderValue<'_>, out: &mut Vec<u8>) {
    let mut put = |kind: u8, bytes: &[u8]| {
        out.push(kind);
        out.extend_from_slice(bytes);
    };
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    match value {
        HeaderValue::Bool(true) => put(0, &[]),
        HeaderValue::Bool(false) => put(1, &[]),
        HeaderValue::Byte(n) => put(2, &n.to_be_bytes()),
        HeaderValue::Short(n) => put(3, &n.to_be_bytes()),
        HeaderValue::Int(n) => put(4, &n.to_be_bytes()),
        HeaderValue::Long(n) => put(5, &n.to_be_bytes()),
        HeaderValue::Bytes(b) => put(6, &sized(b)),
        HeaderValue::Text(t) => put(7, &sized(t.as_bytes())),
        HeaderValue::Timestamp(n) => put(8, &n.to_be_bytes()),
        HeaderValue::Uuid(b) => put(9, b),
    }
}

/// What a decoder said: each frame's headers and payload, and how it ended.
type Told = (Vec<(Vec<String>, Vec<u8>)>, Result<(), BadFrame>, bool);

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Told {
    let mut decoder = EventStreamDecoder::new(1 << 10);
    let mut frames = Vec::new();
    let mut result = Ok(());
    for chunk in chunks {
        result = decoder.push(chunk, &mut |frame| {
            frames.push((frame.headers().map(|h| format!("{h:?}")).collect(), frame.payload.to_vec()));
        });
    }
    (frames, result, decoder.is_idle())
}

fn all_types() -> [(&'static str, HeaderValue<'static>); 10] {
    [
        (":event-type", HeaderValue::Text("contentBlockDelta")),
        ("yes", HeaderValue::Bool(true)),
        ("no", HeaderValue::Bool(false)),
        ("byte", HeaderValue::Byte(-7)),
        ("short", HeaderValue::Short(-300)),
        ("int", HeaderValue::Int(-70_000)),
        ("long", HeaderValue::Long(i64::MIN)),
        ("bytes", HeaderValue::Bytes(&[0, 255])),
        ("time", HeaderValue::Timestamp(1_700_000_000_000)),
        ("uuid", HeaderValue::Uuid([9; 16])),
    ]
}

fn stream() -> Vec<u8> {
    [frame(&all_types(), b"{\"a\":1}"), frame(&[], b""), frame(&[("x", HeaderValue::Text("\u{e4}"))], b"payload")]
        .concat()
}

#[test]
fn all_types_of_headers_are_read() {
    let bytes = stream();
    let (frames, result, idle) = decode([&bytes[..]]);
    assert_eq!((frames.len(), result, idle), (3, Ok(()), true));
    assert_eq!(frames[0].0, all_types().iter().map(|h| format!("{h:?}")).collect::<Vec<_>>());
    assert_eq!(frames[0].1, b"{\"a\":1}");
    let mut names = Vec::new();
    let mut decoder = EventStreamDecoder::new(1 << 10);
    decoder.push(&bytes, &mut |f| names.push((f.text(":event-type").is_some(), f.text("yes").is_some()))).unwrap();
    assert_eq!(names, [(true, false), (false, false), (false, false)], "only texts are texts");
}

#[test]
fn a_published_frame_is_read() {
    // The empty message of the specification's test vectors.
    let bytes = [0, 0, 0, 16, 0, 0, 0, 0, 5, 194, 72, 235, 125, 152, 200, 255];
    assert_eq!(decode([&bytes[..]]), (vec![(vec![], vec![])], Ok(()), true));
    assert_eq!(frame(&[], b""), bytes);
}

#[test]
fn a_long_frame_is_refused_before_it_arrives() {
    let bytes = frame(&[], &[0; 1 << 10]);
    assert_eq!(decode([&bytes[..PRELUDE]]).1, Err(BadFrame::TooLong));
}

#[test]
fn contradictory_lengths_and_unreadable_headers_are_refused() {
    let prelude = |total: u32, headers: u32| {
        let mut out = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        out.extend(crc32fast::hash(&out).to_be_bytes());
        out
    };
    for (total, headers) in [(15, 0), (0, 0), (16, 1), (40, 25)] {
        assert_eq!(decode([&prelude(total, headers)[..]]).1, Err(BadFrame::Shape), "{total} {headers}");
    }
    // No such type, a cut value, a name over its end, a text that is no UTF-8.
    for head in [&[1, b'a', 10][..], &[1, b'a', 5, 0], &[9, b'a', 0], &[1, b'a', 7, 0, 1, 0xFF]] {
        let mut bytes = prelude(u32::try_from(16 + head.len()).unwrap(), u32::try_from(head.len()).unwrap());
        bytes.extend_from_slice(head);
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        let (frames, result, _) = decode([&bytes[..]]);
        assert_eq!((frames.len(), result), (0, Err(BadFrame::Shape)), "{head:?}");
    }
}

#[test]
fn a_broken_stream_stays_broken() {
    let mut bytes = stream();
    bytes[3] ^= 1;
    let good = stream();
    assert_eq!(decode([&bytes[..], &good[..]]), (vec![], Err(BadFrame::Sum), true));
}

fn cuts(bytes: &[u8], at: &[prop::sample::Index]) -> Vec<usize> {
    let mut cuts: Vec<usize> = at.iter().map(|i| i.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_frames(at in proptest::collection::vec(any::<prop::sample::Index>(), 0..12), cut_off in any::<prop::sample::Index>()) {
        let bytes = stream();
        let at = cuts(&bytes, &at);
        prop_assert_eq!(decode(at.windows(2).map(|w| &bytes[w[0]..w[1]])), decode([&bytes[..]]));
        let end = cut_off.index(bytes.len());
        let pieces = at.windows(2).map(|w| &bytes[w[0].min(end)..w[1].min(end)]);
        prop_assert_eq!(decode(pieces), decode([&bytes[..end]]));
    }

    #[test]
    fn a_flipped_bit_is_an_error(bit in any::<prop::sample::Index>(), at in proptest::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut bytes = stream();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let at = cuts(&bytes, &at);
        let (frames, result, _) = decode(at.windows(2).map(|w| &bytes[w[0]..w[1]]));
        prop_assert_eq!(result, Err(BadFrame::Sum));
        prop_assert_eq!(&frames[..], &decode([&stream()[..]]).0[..frames.len()], "what came before is good");
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in 1_usize..50) {
        let _ = decode(bytes.chunks(size));
    }
}
