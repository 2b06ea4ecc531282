//! The splitter on real shapes of answers.
use proptest::prelude::*;

use super::*;

const R1: &str = "<think>\nI will <call> it. 日本\n</think>\n\nSee: 🦀<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": \"Paris\"}\n```<｜tool▁call▁end｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>b\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>";

fn split(text: &[u8], cuts: &[usize], stage: Stage, stops: &[&str]) -> Vec<Piece> {
    let mut splitter = Splitter::new(stage, true, stops.iter().map(|s| (*s).to_owned()).collect());
    let (mut out, mut at) = (Vec::new(), 0);
    for cut in cuts.iter().copied().chain([text.len()]) {
        let cut = cut.clamp(at, text.len());
        splitter.push(&text[at..cut], &mut out);
        at = cut;
    }
    splitter.finish(&mut out);
    joined(out)
}

/// Neighbouring deltas of one kind as one.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (out.last_mut(), piece) {
            (Some(Piece::Text(text)), Piece::Text(more)) | (Some(Piece::Reasoning(text)), Piece::Reasoning(more)) => {
                text.push_str(&more)
            }
            (_, piece) => out.push(piece),
        }
    }
    out
}

fn text(text: &str) -> Piece {
    Piece::Text(text.into())
}

fn thought(text: &str) -> Piece {
    Piece::Reasoning(text.into())
}

fn call(name: &str, arguments: &str) -> Piece {
    Piece::ToolCall { name: name.into(), arguments: arguments.into() }
}

#[test]
fn an_answer_of_r1_is_taken_apart() {
    let expected = [
        thought("I will <call> it. 日本"),
        text("See: 🦀"),
        call("get_weather", "{\"city\": \"Paris\"}"),
        call("b", "{}"),
    ];
    assert_eq!(split(R1.as_bytes(), &[], Stage::Opening, &[]), expected);
    let forced = R1.strip_prefix("<think>\n").unwrap();
    assert_eq!(split(forced.as_bytes(), &[], Stage::Thinking, &[]), expected, "the prompt may hold the opening mark");
}

#[test]
fn no_thinking_and_empty_thinking_are_answers() {
    assert_eq!(split(b"Paris.", &[], Stage::Opening, &[]), [text("Paris.")]);
    assert_eq!(split(b"<think>\n\n</think>\n\nDone.", &[], Stage::Opening, &[]), [text("Done.")]);
    assert_eq!(split(b"<thin", &[], Stage::Opening, &[]), [text("<thin")], "what was held back comes at the end");
}

#[test]
fn stop_sequences_cut_the_answer_and_not_the_thinking() {
    let all = b"<think>\nEND\n</think>\n\nab END cd";
    assert_eq!(split(all, &[], Stage::Opening, &["END"]), [thought("END"), text("ab "), Piece::Stopped]);
    assert_eq!(split(b"ab EN", &[], Stage::Answer, &["END"]), [text("ab EN")]);
}

#[test]
fn cut_thinking_stays_thinking() {
    assert_eq!(split(b"<think>\nhm", &[], Stage::Opening, &[]), [thought("hm")]);
}

#[test]
fn broken_bytes_are_replaced_and_not_held_for_ever() {
    assert_eq!(split(b"a\xff\xfeb", &[1, 2], Stage::Answer, &[]), [text("a\u{fffd}\u{fffd}b")]);
    assert_eq!(split(&"é".as_bytes()[..1], &[], Stage::Answer, &[]), [text("\u{fffd}")]);
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(mut cuts in prop::collection::vec(0..R1.len(), 0..20), stop in any::<bool>()) {
        cuts.sort_unstable();
        let stops: &[&str] = if stop { &["🦀"] } else { &[] };
        prop_assert_eq!(split(R1.as_bytes(), &[], Stage::Opening, stops), split(R1.as_bytes(), &cuts, Stage::Opening, stops));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        split(&bytes, &[bytes.len() / 2], Stage::Opening, &["x", "\u{e9}"]);
    }
}
