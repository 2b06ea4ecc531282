//! Streams that pass, where a provider breaks what clients count on (`quirks.mends`): one id, one role, one end for each
//! answer, calls told by their numbers, usage in a chunk of its own, and a last word.
//!
//! Which provider needs what is in its file. Everything else in a chunk stays as it came, and so does every chunk with
//! nothing to mend.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::dialect::moved::{Item, each, within, without};
use crate::dialect::quirks::Mend;
use crate::wire::splice::quote;

/// Answers and calls beyond so many are not told apart: a provider does not decide how much is remembered.
const MOST: usize = 128;

/// So many chunks wait for one with an id: the first ones that say nothing of an answer, not a stream without ids.
const NAMELESS: usize = 4;

/// What is known of a stream so far.
#[derive(Default)]
pub(super) struct Mender {
    mends: Vec<Mend>,
    /// Whether the client wants the usage report.
    shows_usage: bool,
    id: Option<String>,
    /// Chunks without an id, until one has it.
    nameless: Vec<Bytes>,
    choices: BTreeMap<u32, Said>,
    /// The last chunk with a usage report, without its answers.
    usage: Option<Bytes>,
}

/// What an answer has said once and must not say again.
#[derive(Default)]
struct Said {
    role: bool,
    end: bool,
    /// Calls: number and id.
    calls: Vec<(u32, String)>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<Call<'a>>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

/// What becomes of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mended {
    /// It goes on as it came.
    Nothing,
    /// It waits for the next one.
    Later,
    /// These go on in its place.
    Chunks(Vec<Bytes>),
}

impl Mender {
    /// None where there is nothing to mend.
    pub(super) fn new(mends: &[Mend], shows_usage: bool) -> Option<Self> {
        (!mends.is_empty()).then(|| Self { mends: mends.to_vec(), shows_usage, ..Self::default() })
    }

    fn mends(&self, what: Mend) -> bool {
        self.mends.contains(&what)
    }

    /// Looks at the JSON of a chunk.
    pub(super) fn chunk(&mut self, data: &str) -> Mended {
        let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(data) else { return Mended::Nothing };
        let json = Bytes::copy_from_slice(data.as_bytes());
        let mut now = None;
        if let Some(choices) = chunk.choices.as_ref().filter(|choices| !choices.is_empty()) {
            now = within(&json, "choices", |list| {
                each(list, |at, choice| choices.get(at).and_then(|read| self.choice(read, choice)).into())
            });
            let moves = self.mends(Mend::Usage);
            if chunk.usage.is_some() && (moves || !self.shows_usage) {
                let whole = now.as_ref().unwrap_or(&json);
                if moves {
                    self.usage = within(whole, "choices", |_| Some(Bytes::from_static(b"[]")));
                }
                now = without(whole, "usage").or(now);
            }
        } else if chunk.usage.is_some() {
            // The provider has a chunk of its own after all.
            self.usage = None;
        }
        if !self.mends(Mend::Id) {
            return now.map_or(Mended::Nothing, |now| Mended::Chunks(vec![now]));
        }
        self.named(chunk.id.as_deref().unwrap_or_default(), json, now)
    }

    /// One id for all chunks: the first that there is.
    fn named(&mut self, id: &str, json: Bytes, now: Option<Bytes>) -> Mended {
        let Some(known) = self.id.clone() else {
            if id.is_empty() && self.nameless.len() < NAMELESS {
                self.nameless.push(now.unwrap_or(json));
                return Mended::Later;
            }
            self.id = Some(id.to_owned());
            if self.nameless.is_empty() {
                return now.map_or(Mended::Nothing, |now| Mended::Chunks(vec![now]));
            }
            // What the first chunks leave empty is said by this one.
            let whole = now.unwrap_or(json);
            let mut chunks: Vec<Bytes> = self.nameless.drain(..).map(|chunk| like(&chunk, &whole)).collect();
            chunks.push(whole);
            return Mended::Chunks(chunks);
        };
        // Where the first chunks had none, which the client has seen by now, there is nothing to give to the others.
        let now = if id == known || known.is_empty() {
            now
        } else {
            set(now.as_ref().unwrap_or(&json), "id", quote(&known).into()).or(now)
        };
        now.map_or(Mended::Nothing, |now| Mended::Chunks(vec![now]))
    }

    /// One choice of a chunk; none = it stays.
    fn choice(&mut self, read: &Choice<'_>, choice: &Bytes) -> Option<Bytes> {
        let number = read.index.unwrap_or(0);
        if !self.choices.contains_key(&number) && self.choices.len() >= MOST {
            return None;
        }
        let (role, end, calls) = (self.mends(Mend::Role), self.mends(Mend::FinishReason), self.mends(Mend::ToolCalls));
        let said = self.choices.entry(number).or_default();
        let mut now: Option<Bytes> = None;
        let given = read.delta.as_ref().is_some_and(|delta| delta.role.is_some());
        if given && std::mem::replace(&mut said.role, true) && role {
            now = within(choice, "delta", |delta| without(delta, "role"));
        }
        if let Some(delta) = read.delta.as_ref().filter(|_| calls)
            && let Some(made) = delta.tool_calls.as_ref()
        {
            let whole = now.as_ref().unwrap_or(choice);
            let mended = within(whole, "delta", |delta| {
                within(delta, "tool_calls", |list| {
                    each(list, |at, call| made.get(at).map_or(Item::Stays, |read| said.call(read, call)))
                })
            });
            now = mended.or(now);
        }
        if let Some(reason) = &read.finish_reason {
            let again = !reason.is_empty() && std::mem::replace(&mut said.end, true);
            if end && (again || reason.is_empty()) {
                let whole = now.as_ref().unwrap_or(choice);
                now = within(whole, "finish_reason", |_| Some(Bytes::from_static(b"null"))).or(now);
            }
        }
        now
    }

    /// What stands before the stream's last word: the usage report, where the client wants it and it stood elsewhere.
    pub(super) fn last(&mut self) -> Vec<Bytes> {
        let mut last = std::mem::take(&mut self.nameless);
        if let Some(usage) = self.usage.take().filter(|_| self.shows_usage) {
            let id = self.id.as_deref().and_then(|id| set(&usage, "id", quote(id).into()));
            last.push(id.unwrap_or(usage));
        }
        last
    }

    /// Whether the provider says no last word.
    pub(super) fn says_done(&self) -> bool {
        self.mends(Mend::Done)
    }
}

impl Said {
    /// A piece of a call: its number is always there, its id and its name at its beginning alone.
    fn call(&mut self, read: &Call<'_>, call: &Bytes) -> Item {
        let id = read.id.as_deref().unwrap_or_default();
        let by_id = || self.calls.iter().find(|(_, known)| !id.is_empty() && known == id).map(|(number, _)| *number);
        let next = || u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        // Without an id it goes on with the call before it.
        let last = || self.calls.last().filter(|_| id.is_empty()).map(|(number, _)| *number);
        let number = read.index.or_else(by_id).or_else(last).unwrap_or_else(next);
        let begun = self.calls.iter().any(|(known, _)| *known == number);
        if !begun && self.calls.len() < MOST {
            self.calls.push((number, id.to_owned()));
        }
        let mut now = None;
        if read.index.is_none() {
            now = set(call, "index", number.to_string().into());
        }
        if begun && read.id.is_some() {
            for member in ["id", "type"] {
                now = without(now.as_ref().unwrap_or(call), member).or(now);
            }
            now = within(now.as_ref().unwrap_or(call), "function", |function| without(function, "name")).or(now);
        }
        now.into()
    }
}

/// Sets a member of an object; none = it is no object.
fn set(object: &Bytes, name: &str, value: Bytes) -> Option<Bytes> {
    let members = crate::wire::splice::Members::scan(object).ok()?;
    let mut splice = members.splice();
    splice.set(name, value);
    Some(splice.apply(object).concat().into())
}

/// A first chunk with the names of another one where it leaves them empty.
fn like(chunk: &Bytes, other: &Bytes) -> Bytes {
    let mut named = chunk.clone();
    for name in ["id", "object", "created", "model"] {
        let mut value = None;
        within(other, name, |given| {
            value = Some(given.clone());
            None
        });
        let empty = |given: &Bytes| matches!(&**given, b"\"\"" | b"0" | b"null");
        let mut left = true;
        within(&named, name, |given| {
            left = empty(given);
            None
        });
        if let Some(value) = value.filter(|_| left) {
            named = set(&named, name, value).unwrap_or(named);
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::dialect::openai_chat::tap::ChatTap;
    use crate::dialect::{Quirks, Tap as _, corpus};
    use crate::domain::error::{Failure, FailureKind};
    use crate::domain::usage::Bucket;

    const ALL: [Mend; 6] = [Mend::Id, Mend::Role, Mend::FinishReason, Mend::ToolCalls, Mend::Usage, Mend::Done];

    /// What a client sees of chunks.
    fn seen(mends: &[Mend], chunks: &[Value]) -> Vec<Value> {
        let mut mender = Mender::new(mends, true).unwrap();
        let mut seen = Vec::new();
        let read = |chunk: Bytes| serde_json::from_slice::<Value>(&chunk).unwrap();
        for chunk in chunks {
            match mender.chunk(&chunk.to_string()) {
                Mended::Nothing => seen.push(chunk.clone()),
                Mended::Later => {}
                Mended::Chunks(all) => seen.extend(all.into_iter().map(read)),
            }
        }
        seen.extend(mender.last().into_iter().map(read));
        seen
    }

    fn chunk(delta: Value, finish: Value) -> Value {
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices":
            [{"index": 0, "delta": delta, "finish_reason": finish}]})
    }

    #[test]
    fn a_good_stream_stays_as_it_is() {
        let call =
            json!([{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]);
        let more = json!([{"index": 0, "function": {"arguments": "{}"}}]);
        let mut usage = chunk(json!({}), json!(null));
        (usage["choices"], usage["usage"]) = (json!([]), json!({"prompt_tokens": 1}));
        let good = [
            chunk(json!({"role": "assistant", "content": null}), json!(null)),
            chunk(json!({"content": "a"}), json!(null)),
            chunk(json!({"tool_calls": call}), json!(null)),
            chunk(json!({"tool_calls": more}), json!(null)),
            chunk(json!({}), json!("tool_calls")),
            usage,
        ];
        assert_eq!(seen(&ALL, &good), good);
        let mut mender = Mender::new(&ALL, true).unwrap();
        assert!(good.iter().all(|chunk| mender.chunk(&chunk.to_string()) == Mended::Nothing), "and is not touched");
        assert!(Mender::new(&[], true).is_none());
    }

    #[test]
    fn an_answer_has_one_role_and_one_end() {
        let given = [
            chunk(json!({"role": "assistant", "content": "a"}), json!(null)),
            chunk(json!({"role": "assistant", "content": "b"}), json!("")),
            chunk(json!({"role": "assistant", "content": ""}), json!("stop")),
            chunk(json!({"role": "assistant", "content": ""}), json!("stop")),
        ];
        let want = [
            given[0].clone(),
            chunk(json!({"content": "b"}), json!(null)),
            chunk(json!({"content": ""}), json!("stop")),
            chunk(json!({"content": ""}), json!(null)),
        ];
        assert_eq!(seen(&[Mend::Role, Mend::FinishReason], &given), want);
        assert_eq!(seen(&[Mend::Usage], &given), given, "what the file does not name stays");
        let mut two = given[0].clone();
        two["choices"][0]["index"] = json!(1);
        assert_eq!(seen(&ALL, &[given[0].clone(), two.clone()])[1], two, "each answer has its own");
    }

    #[test]
    fn calls_have_numbers_and_say_their_names_once() {
        let call = |members: Value, name: Value, arguments: &str| {
            let mut call = members;
            call["function"] = json!({"arguments": arguments});
            if !name.is_null() {
                call["function"]["name"] = name;
            }
            chunk(json!({"tool_calls": [call]}), json!(null))
        };
        let repeated = [
            call(json!({"index": 0, "id": "c1", "type": "function"}), json!("f"), "{"),
            call(json!({"index": 0, "id": "c1", "type": "function"}), json!("f"), "}"),
            call(json!({"index": 0, "id": ""}), json!(null), ""),
            call(json!({"index": 1, "id": "c2", "type": "function"}), json!("f"), "{}"),
        ];
        let want = [
            repeated[0].clone(),
            call(json!({"index": 0}), json!(null), "}"),
            call(json!({"index": 0}), json!(null), ""),
            repeated[3].clone(),
        ];
        assert_eq!(seen(&ALL, &repeated), want);
        let unnumbered = [
            call(json!({"id": "c1"}), json!("f"), "{}"),
            call(json!({"id": "c2"}), json!("g"), "{"),
            call(json!({}), json!(null), "}"),
        ];
        let want = [
            call(json!({"index": 0, "id": "c1"}), json!("f"), "{}"),
            call(json!({"index": 1, "id": "c2"}), json!("g"), "{"),
            call(json!({"index": 1}), json!(null), "}"),
        ];
        assert_eq!(seen(&ALL, &unnumbered), want);
    }

    #[test]
    fn usage_has_a_chunk_of_its_own_behind_all_else() {
        let with = |mut chunk: Value, tokens: u64| {
            chunk["usage"] = json!({"prompt_tokens": 1, "completion_tokens": tokens});
            chunk
        };
        let (a, b) = (chunk(json!({"content": "a"}), json!(null)), chunk(json!({"content": "b"}), json!("stop")));
        let mut own = with(b.clone(), 2);
        own["choices"] = json!([]);
        let given = [with(a.clone(), 1), with(b.clone(), 2)];
        assert_eq!(seen(&[Mend::Usage], &given), [a.clone(), b.clone(), own.clone()]);
        let twice = [with(a.clone(), 1), b.clone(), own.clone()];
        assert_eq!(seen(&[Mend::Usage], &twice), [a, b, own], "told once");
        let mut silent = Mender::new(&[Mend::Usage], false).unwrap();
        silent.chunk(&given[0].to_string());
        assert_eq!(silent.last(), Vec::<Bytes>::new(), "who did not ask sees none");
    }

    #[test]
    fn all_chunks_have_the_first_id_that_there_is() {
        let named = |id: &str, model: &str| {
            let mut chunk = chunk(json!({"content": "a"}), json!(null));
            (chunk["id"], chunk["model"]) = (json!(id), json!(model));
            chunk
        };
        let first =
            json!({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [1]});
        let given = [first.clone(), named("one", "m"), named("two", "n")];
        let mut filled = first;
        for name in ["id", "model", "object", "created"] {
            filled[name] = given[1][name].clone();
        }
        assert_eq!(seen(&[Mend::Id], &given), [filled, named("one", "m"), named("one", "n")]);
        let never = [json!({"id": "", "choices": []})];
        assert_eq!(seen(&[Mend::Id], &never), never, "what never gets one goes on at the end");
        let mut late: Vec<Value> = (0..NAMELESS + 2).map(|_| named("", "m")).collect();
        late.push(named("one", "m"));
        assert_eq!(seen(&[Mend::Id], &late), late, "an id that comes late stays");
    }

    /// What a client gets of a stream that is cut into pieces of that many bytes.
    fn passed(mends: &[Mend], hide_usage: bool, stream: &str, cut: usize) -> Result<String, Failure> {
        let quirks = Quirks { mends: mends.to_vec(), ..Quirks::default() };
        let (mut tap, mut out) = (ChatTap::new(&quirks, hide_usage), Vec::new());
        for piece in stream.as_bytes().chunks(cut) {
            tap.chunk(Bytes::copy_from_slice(piece), &mut out)?;
        }
        tap.end(&mut out)?;
        assert_eq!(tap.observed().usage.map(|usage| usage.get(Bucket::Output)), Some(2));
        Ok(String::from_utf8(out.concat()).unwrap())
    }

    #[test]
    fn any_cut_is_mended_alike_and_a_stream_that_is_cut_has_no_good_end() {
        let frame = |chunk: &Value| format!("data: {chunk}\n\n");
        let mut last = chunk(json!({"role": "assistant", "content": "b"}), json!("stop"));
        let first = chunk(json!({"role": "assistant", "content": "a"}), json!(null));
        let plain = frame(&chunk(json!({"content": "b"}), json!("stop")));
        last["usage"] = json!({"prompt_tokens": 1, "completion_tokens": 2});
        let mut usage = last.clone();
        usage["choices"] = json!([]);
        let (begin, usage) = (format!(": hi\n\n{}{plain}", frame(&first)), frame(&usage));
        for (end, done) in [("data: [DONE]\n\n", true), ("", false)] {
            let stream = format!(": hi\n\n{}{}{end}", frame(&first), frame(&last));
            for cut in 1..=stream.len() {
                let want = format!("{begin}{usage}data: [DONE]\n\n");
                assert_eq!(passed(&ALL, false, &stream, cut).unwrap(), want, "{cut}");
                assert_eq!(passed(&ALL, true, &stream, cut).unwrap(), format!("{begin}data: [DONE]\n\n"), "{cut}");
                let role = passed(&[Mend::Role], true, &stream, cut).unwrap();
                assert_eq!(role, format!("{begin}{end}"), "{cut} {done}");
            }
        }
        let cut = frame(&first);
        assert_eq!(passed(&ALL, false, &cut, 7).unwrap_err().kind, FailureKind::Truncated);
    }

    /// Streams of providers that break what clients count on, in their files' own words.
    #[test]
    fn recorded_streams_keep_what_clients_count_on() {
        let mut streams = 0;
        for (name, mends) in shipped() {
            let Ok(recorded) = std::fs::read_to_string(corpus::dir().join(format!("{name}.jsonl"))) else {
                println!("skipped: no recorded exchanges of {name}");
                continue;
            };
            streams += recorded.lines().filter(|line| checked(line, &mends)).count();
        }
        println!("{streams} recorded streams");
        assert!(streams > 30 || !corpus::dir().exists(), "{streams}");
    }

    /// What is mended, by provider.
    fn shipped() -> Vec<(String, Vec<Mend>)> {
        let files = std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("providers")).unwrap();
        let files = files.map(|file| file.unwrap().path()).filter_map(|path| {
            let text = std::fs::read_to_string(&path).ok()?;
            let list = text.lines().find_map(|line| line.strip_prefix("mends = "))?;
            let named: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
            let mends = Mend::ALL.iter().filter(|(name, _)| named.contains(name)).map(|(_, mend)| *mend).collect();
            Some((path.file_stem()?.to_str()?.to_owned(), mends))
        });
        files.collect()
    }

    fn checked(line: &str, mends: &[Mend]) -> bool {
        let exchange: Value = serde_json::from_str(line).unwrap();
        if exchange["api"] != "chat.completions" || exchange["wire_format"] != "sse" {
            return false;
        }
        let body = exchange["response"]["body_text"].as_str().unwrap();
        let quirks = Quirks { mends: mends.to_vec(), ..Quirks::default() };
        let (mut tap, mut out) = (ChatTap::new(&quirks, false), Vec::new());
        let whole = tap.chunk(Bytes::copy_from_slice(body.as_bytes()), &mut out).and_then(|()| tap.end(&mut out));
        if whole.is_ok() {
            holds(&String::from_utf8(out.concat()).unwrap(), exchange["id"].as_str().unwrap());
        }
        whole.is_ok()
    }

    fn holds(stream: &str, name: &str) {
        let (mut ids, mut roles, mut ends, mut calls) = (BTreeSet::new(), 0, 0, BTreeSet::new());
        let mut done = 0;
        for data in stream.lines().filter_map(|line| line.strip_prefix("data: ")) {
            let Ok(chunk) = serde_json::from_str::<Value>(data) else {
                done += u32::from(data.trim() == "[DONE]");
                continue;
            };
            ids.insert(chunk["id"].to_string());
            let choices = chunk["choices"].as_array().cloned().unwrap_or_default();
            assert!(chunk["usage"].is_null() || choices.is_empty(), "{name}: {data}");
            for choice in choices.iter().filter(|choice| choice["index"] == 0) {
                roles += u32::from(choice["delta"]["role"].is_string());
                ends += u32::from(choice["finish_reason"].is_string());
                for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                    assert!(call["index"].is_u64(), "{name}: {data}");
                    assert!(call["id"].is_null() || calls.insert(call["id"].to_string()), "{name}: {data}");
                }
            }
        }
        assert_eq!((ids.len(), done), (1, 1), "{name}: {stream}");
        // One that tells no end at all has only its last word.
        assert!(roles <= 1 && ends <= 1, "{name}: {roles} roles, {ends} ends");
    }
}
