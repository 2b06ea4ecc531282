//! Answers of providers with one thing wrong in them, to every client, whole and streamed: nobody panics, no answer whose
//! content was lost passes for an empty one, and every stream has the form of its dialect and ends in its last word or in an
//! error.
//!
//! The kept inputs of the fuzz targets are changed in every place; recorded exchanges, where they are at hand, in
//! `MUTATIONS` places each (4 unless the environment says more), the same ones at every run.

mod change;
mod shape;

use std::path::Path;

use bytes::BytesMut;
use serde_json::Value;
use stellwerk::dialect::{self, Quirks};
use stellwerk::domain::chat::{ChatEvent, ChatResponse, FinishReason, Part};
use stellwerk::domain::collect::{self, Collector};
use stellwerk::domain::error::{Error, ErrorKind, Failure};
use stellwerk::domain::id::DialectId;

use self::change::{Dice, Frames, Wrong};
use self::shape::End;
use crate::properties::drive;
use crate::recorded::exchange;

/// An answer as a provider gave it.
struct Given {
    name: String,
    from: DialectId,
    /// The form of a stream; none = a whole answer.
    stream: Option<String>,
    body: Vec<u8>,
}

/// What an answer says.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    /// Names and arguments.
    calls: Vec<String>,
    other: usize,
    finish: Vec<FinishReason>,
}

impl Said {
    fn of(answer: &ChatResponse) -> Self {
        let mut said = Self::default();
        for choice in &answer.choices {
            said.finish.push(choice.finish);
            for part in &choice.content {
                match part {
                    Part::Text(text) | Part::Refusal(text) => said.text.push_str(text),
                    // Thinking beside an answer is decoration: what cannot be read of it is passed over.
                    Part::Reasoning { .. } => {}
                    _ => said.other += 1,
                }
            }
            said.calls.extend(choice.tool_calls.iter().map(|call| format!("{} {}", call.name, call.arguments)));
        }
        said
    }

    fn nothing(&self) -> bool {
        self.text.is_empty() && self.calls.is_empty() && self.other == 0
    }
}

/// Every body with one thing wrong in it, and what.
fn wrongs(given: &Given, most: Option<usize>, dice: &mut Dice) -> Vec<(String, Wrong, Vec<u8>)> {
    let mut all: Vec<(String, Wrong, Option<usize>)> = Vec::new();
    let frames = given.stream.as_ref().map(|format| Frames::of(format, &given.body));
    let mut add = |frame: Option<usize>, json: &Value, dice: &mut Dice| {
        let places = change::places(json);
        let chosen: Vec<&String> = match most {
            None => places.iter().collect(),
            Some(_) if places.is_empty() => Vec::new(),
            Some(_) => vec![&places[dice.below(places.len())]],
        };
        for place in chosen {
            let kinds = change::at(json, place);
            let label = |wrong: &Wrong| format!("{} {frame:?} {wrong:?}", given.name);
            match most {
                None => all.extend(kinds.into_iter().map(|wrong| (label(&wrong), wrong, frame))),
                Some(_) => {
                    let wrong = kinds[dice.below(kinds.len())].clone();
                    all.push((label(&wrong), wrong, frame));
                }
            }
        }
    };
    match &frames {
        None => {
            let Ok(json) = serde_json::from_slice::<Value>(&given.body) else { return Vec::new() };
            (0..most.unwrap_or(1)).for_each(|_| add(None, &json, dice));
        }
        Some(Frames(list)) => {
            let speaking: Vec<usize> = (0..list.len()).filter(|at| list[*at].json.is_some()).collect();
            let chosen: Vec<usize> = match most {
                _ if speaking.is_empty() => Vec::new(),
                None => speaking,
                Some(most) => (0..most).map(|_| speaking[dice.below(speaking.len())]).collect(),
            };
            for at in chosen {
                add(Some(at), list[at].json.as_ref().unwrap(), dice);
            }
            let frame = dice.below(list.len());
            for wrong in [Wrong::Twice(frame), Wrong::Lost(frame)] {
                all.push((format!("{} {wrong:?}", given.name), wrong, Some(frame)));
            }
        }
    }
    let cut = Wrong::Cut(dice.below(given.body.len()));
    all.push((format!("{} {cut:?}", given.name), cut, None));
    let body = |(name, wrong, frame): (String, Wrong, Option<usize>)| {
        let body = match (&wrong, &frames, frame) {
            (Wrong::Cut(at), ..) => given.body[..*at].to_vec(),
            (Wrong::Twice(at), Some(frames), _) => frames.twice(*at),
            (Wrong::Lost(at), Some(frames), _) => frames.without(*at),
            (_, Some(frames), Some(at)) => {
                frames.with(at, &change::changed(frames.0[at].json.as_ref().unwrap(), &wrong))
            }
            _ => change::changed(&serde_json::from_slice(&given.body).unwrap(), &wrong).to_string().into_bytes(),
        };
        (name, wrong, body)
    };
    all.into_iter().map(body).collect()
}

/// What a provider's body is to us: events that a client may see, the answer if it is a good one, and why it is not.
struct Heard {
    events: Vec<ChatEvent>,
    answer: Result<ChatResponse, Failure>,
}

fn hear(given: &Given, body: &[u8]) -> Heard {
    let egress = dialect::egress(given.from).unwrap();
    let quirks = Quirks::default();
    if given.stream.is_none() {
        let answer = egress.transcode().decode_response(body, &quirks);
        return Heard { events: answer.clone().map(collect::events).unwrap_or_default(), answer };
    }
    let (events, result, _) = drive::decoded(egress, body, body.len(), &quirks);
    let gathered = || {
        let mut collector = Collector::default();
        events.iter().try_for_each(|event| collector.take(event.clone()))?;
        collector.finish()
    };
    Heard { answer: result.and_then(|()| gathered()), events }
}

/// Shows what was heard to every client.
fn show(name: &str, heard: &Heard) {
    for (client, ingress) in drive::clients() {
        if let Ok(answer) = &heard.answer {
            let whole = ingress.encode_response(answer, &drive::rendering(false));
            shape::whole(client, &whole).unwrap_or_else(|what| panic!("{name} to {}: {what}", client.name()));
        }
        let (mut encoder, mut out) = (ingress.encode_stream(drive::rendering(false)), BytesMut::new());
        heard.events.iter().for_each(|event| encoder.event(event, &mut out));
        let end = if heard.answer.is_ok() {
            End::Good
        } else {
            // What broke before anything was shown is an error with a status of its own.
            if out.is_empty() {
                continue;
            }
            encoder.broken(&Error::new(ErrorKind::UpstreamFailed, "it broke"), &mut out);
            End::Broken
        };
        shape::stream(client, &out, end).unwrap_or_else(|what| panic!("{name} to {}: {what}", client.name()));
    }
}

/// Whether an answer with that wrong in it is one that a provider of the dialect may give.
fn allowed(given: &Given, wrong: &Wrong) -> bool {
    let place = match wrong {
        Wrong::Gone(place) | Wrong::Null(place) | Wrong::Word(place) => place,
        Wrong::Lost(_) => return true,
        _ => return false,
    };
    // Nobody knows of an event or a member that does not come; new ones are passed over by design.
    let element = place.rsplit('/').next().is_some_and(|last| last.parse::<usize>().is_ok());
    let silent = match given.from {
        // Some end with `stop` after calls, and sound has no text beside it: without them nothing is missing.
        DialectId::OpenAiChat => ["/content", "/tool_calls", "/audio"].iter().any(|name| place.ends_with(name)),
        // A candidate may be without content.
        DialectId::Gemini => place.contains("/content"),
        DialectId::Cohere => place == "/message/content" || place == "/message",
        DialectId::Ollama => place == "/message/content",
        _ => false,
    };
    let new_kind = matches!(wrong, Wrong::Word(_)) && place.ends_with("/type");
    given.stream.is_some() || (matches!(wrong, Wrong::Gone(_)) && element) || silent || new_kind
}

/// Whether content was lost that the answer does not tell of.
fn lost(given: &Given, before: &Said, after: &Said, wrong: &Wrong) -> Option<String> {
    if allowed(given, wrong) {
        return None;
    }
    let cut_short = after.finish.iter().any(|finish| !matches!(finish, FinishReason::Stop | FinishReason::ToolCalls));
    if !before.nothing() && after.nothing() && !cut_short {
        return Some("an empty answer".to_owned());
    }
    let typed = matches!(wrong, Wrong::Typed(_));
    (typed && (after.text.len() < before.text.len() || after.calls.len() < before.calls.len()))
        .then(|| format!("less than was said: {after:?} of {before:?}"))
}

fn run(given: &Given, most: Option<usize>, dice: &mut Dice, found: &mut Vec<String>) -> usize {
    let good = hear(given, &given.body);
    let Ok(answer) = &good.answer else { return 0 };
    show(&given.name, &good);
    let before = Said::of(answer);
    let wrongs = wrongs(given, most, dice);
    for (name, wrong, body) in &wrongs {
        let heard = hear(given, body);
        show(name, &heard);
        if let Ok(answer) = &heard.answer
            && let Some(what) = lost(given, &before, &Said::of(answer), wrong)
        {
            found.push(format!("{name}: {what}"));
        }
    }
    wrongs.len()
}

fn kept() -> Vec<Given> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut all = Vec::new();
    for (kind, stream) in [("answer", false), ("stream", true)] {
        for entry in std::fs::read_dir(dir.join(kind)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let Some(from) = DialectId::by_name(&name) else { continue };
            let body = std::fs::read(&path).unwrap();
            // The first byte of a stream says how it is cut.
            let body = if stream { body[1..].to_vec() } else { body };
            let format = match from {
                DialectId::Bedrock => "aws-eventstream",
                DialectId::Ollama => "ndjson",
                _ => "sse",
            };
            let stream = stream.then(|| format.to_owned());
            all.push(Given { name: format!("{kind}/{name}"), from, stream, body });
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn recorded() -> Vec<Given> {
    let exchanges = exchange::load().unwrap_or_default().into_iter().filter(|x| x.status == 200);
    let given = |x: exchange::Exchange| {
        let from = x.dialect().filter(|from| *from != DialectId::OpenAiCompletions)?;
        let stream = x.streamed().then(|| x.wire_format.clone());
        // One array over time is a form for clients; providers are always asked for events.
        let array = stream.as_deref() == Some("json");
        (!array).then(|| Given { name: x.id.clone(), from, body: x.answer(), stream })
    };
    exchanges.filter_map(given).collect()
}

#[test]
fn one_wrong_thing_in_an_answer_is_never_a_silent_loss() {
    let (mut dice, mut found, mut cases) = (Dice(0x5745_4c4c), Vec::new(), 0);
    for given in kept() {
        cases += run(&given, None, &mut dice, &mut found);
    }
    let most = std::env::var("MUTATIONS").ok().and_then(|most| most.parse().ok()).unwrap_or(4);
    for given in recorded() {
        cases += run(&given, Some(most), &mut dice, &mut found);
    }
    println!("{cases} cases");
    assert!(cases > 1_000, "{cases}");
    assert!(found.is_empty(), "{} of {cases}:\n{}", found.len(), found.join("\n"));
}
