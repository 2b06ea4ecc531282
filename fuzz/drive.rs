//! What every decoder must stand: any bytes, in any pieces. The fuzz targets and the stable tests call the same.

use bytes::{Bytes, BytesMut};
use stellwerk::dialect::batch::{Batch, State};
use stellwerk::dialect::{
    self, Destination, Egress, Ingress, Located, Observed, Quirks, Rendering, StreamUsage, Watching,
};
use stellwerk::domain::chat::ChatEvent;
use stellwerk::domain::error::Failure;
use stellwerk::domain::id::DialectId;

/// All dialects of clients.
pub(crate) fn clients() -> impl Iterator<Item = (DialectId, &'static dyn Ingress)> {
    DialectId::ALL.into_iter().filter_map(|dialect| Some((dialect, dialect::ingress(dialect)?)))
}

/// All dialects of providers.
pub(crate) fn providers() -> impl Iterator<Item = (DialectId, &'static dyn Egress)> {
    DialectId::ALL.into_iter().filter_map(|dialect| Some((dialect, dialect::egress(dialect)?)))
}

/// How an answer is rendered.
pub(crate) fn rendering(array: bool) -> Rendering {
    let (model, id, request) = ("asked".to_owned(), "own".to_owned(), std::sync::Arc::default());
    Rendering { model, include_usage: true, array, created: 0, id, request }
}

/// Peculiarities that turn on as many branches as there are.
fn peculiar() -> Quirks {
    Quirks { think_tags: true, reasoning_outside_output: true, stream_usage: StreamUsage::Always, ..Quirks::default() }
}

/// A request: read by every client dialect, and what is understood written for every provider dialect.
pub(crate) fn request(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    let quirks = Quirks::default();
    let to = Destination { model: "m", default_max_output: 100, max_output: None, quirks: &quirks };
    for batches in providers().filter_map(|(_, provider)| provider.batches()) {
        let Ok(batch) = Batch::read(batches, &body, 0..body.len()) else { continue };
        let sent = Bytes::from(batch.renamed(&body, "another \"name\"").concat());
        let again = Batch::read(batches, &sent, 0..sent.len());
        assert_eq!(again.map(|batch| batch.model), Ok("another \"name\"".to_owned()), "only the name is another");
    }
    for (from, client) in clients() {
        let model = (from == DialectId::Gemini).then(|| "m".to_owned());
        let _ = client.envelope_of_other(&body);
        let Ok(envelope) = client.envelope(&body, &Located { model, ..Located::default() }) else { continue };
        if let Some(passes) = dialect::egress(from).and_then(Egress::passthrough) {
            let sent = passes.retarget(&body, &envelope, &to).concat();
            assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&sent).is_ok(), "what passes is JSON");
        }
        let Ok(request) = client.decode_request(&body, &envelope) else { continue };
        for (_, provider) in providers() {
            if let Ok((wire, _)) = provider.transcode().encode_request(&request, &to) {
                assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&wire).is_ok(), "what is written is JSON");
            }
        }
    }
}

/// A whole answer: read by every provider dialect, and what is understood written for every client dialect.
pub(crate) fn answer(data: &[u8]) {
    for batches in providers().filter_map(|(_, provider)| provider.batches()) {
        let shown = batches.shown(&Bytes::copy_from_slice(data));
        let id = |state: Option<State>| state.map(|state| (state.id, state.ended));
        assert_eq!(id(batches.state(&shown)), id(batches.state(data)), "it is shown as it is");
        let _ = batches.result(data);
    }
    for quirks in [Quirks::default(), peculiar()] {
        for (_, provider) in providers() {
            if let Some(passes) = provider.passthrough() {
                let _ = passes.observe_response(data, &quirks);
            }
            let Ok(answer) = provider.transcode().decode_response(data, &quirks) else { continue };
            for (_, client) in clients() {
                let written = client.encode_response(&answer, &rendering(false));
                assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&written).is_ok(), "what is written is JSON");
            }
        }
    }
}

/// An error, under a status of two bytes.
pub(crate) fn error(data: &[u8]) {
    let [high, low, body @ ..] = data else { return };
    let status = 400 + u16::from_be_bytes([*high, *low]) % 200;
    for (_, provider) in providers() {
        let failure = provider.decode_error(status, body);
        assert_eq!(failure.status, Some(status));
    }
}

/// A stream in pieces as long as the first byte says: the same comes out as of one piece.
pub(crate) fn stream(data: &[u8]) {
    let [piece, body @ ..] = data else { return };
    let piece = usize::from(*piece).max(1);
    for quirks in [Quirks::default(), peculiar()] {
        for (dialect, provider) in providers() {
            let whole = decoded(provider, body, body.len(), &quirks);
            let cut = decoded(provider, body, piece, &quirks);
            assert_eq!(cut.0, whole.0, "{}", dialect.name());
            assert_eq!(cut.1, whole.1, "{}", dialect.name());
            let seen = |o: &Observed| (o.usage, o.model.clone(), o.finished, o.began, o.output_bytes);
            assert_eq!(seen(&cut.2), seen(&whole.2), "{}", dialect.name());
            for (_, client) in clients() {
                let (mut encoder, mut out) = (client.encode_stream(rendering(false)), BytesMut::new());
                let shown = whole.0.iter().filter(|event| !matches!(event, ChatEvent::Error(_)));
                shown.for_each(|event| encoder.event(event, &mut out));
                assert!(std::str::from_utf8(&out).is_ok(), "what is written is text");
            }
            tapped(provider, body, piece, &quirks);
        }
    }
}

/// Decodes a stream in pieces of that length.
pub(crate) fn decoded(
    provider: &dyn Egress,
    body: &[u8],
    piece: usize,
    quirks: &Quirks,
) -> (Vec<ChatEvent>, Result<(), Failure>, Observed) {
    let mut decoder = provider.transcode().decode_stream(quirks);
    let mut events = Vec::new();
    let mut result = Ok(());
    for chunk in body.chunks(piece.max(1)) {
        result = decoder.chunk(chunk, &mut events);
        if result.is_err() {
            break;
        }
    }
    let result = result.and_then(|()| decoder.end(&mut events));
    (events, result, decoder.observed().clone())
}

/// A stream that passes is the same in any pieces, and untouched where nothing is hidden.
fn tapped(provider: &dyn Egress, body: &[u8], piece: usize, quirks: &Quirks) {
    let Some(passes) = provider.passthrough() else { return };
    let through = |piece: usize, hide_usage: bool| {
        let mut tap = passes.tap(quirks, Watching { hide_usage, ..Watching::default() });
        let mut out = Vec::new();
        for chunk in body.chunks(piece.max(1)) {
            tap.chunk(Bytes::copy_from_slice(chunk), &mut out)?;
        }
        tap.end(&mut out)?;
        Ok::<_, Failure>(out.concat())
    };
    if let (Ok(whole), Ok(cut)) = (through(body.len(), false), through(piece, false)) {
        assert_eq!(whole, cut);
        // Nothing goes on behind the stream's last word, nor the end mark of another dialect; a last line end that was
        // half is whole.
        let same = body.starts_with(&whole) || body.starts_with(whole.strip_suffix(b"\n").unwrap_or(&whole));
        assert!(same || body.windows(6).any(|window| window == b"[DONE]"));
    }
    if let (Ok(whole), Ok(cut)) = (through(body.len(), true), through(piece, true)) {
        assert_eq!(whole, cut);
    }
}
