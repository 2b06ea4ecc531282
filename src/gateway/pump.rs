//! One attempt's answer being read: from the provider's bytes, or the local runtime's events, to the client's bytes.
//!
//! The pump is polled by whoever owns it: the dispatch until the first frame, the relay after that, a drain task when
//! the client has gone but the provider bills on.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::Stream as _;

use crate::cache::Items;
use crate::dialect::{CallIds, DecodeStream, EncodeStream, Observed, Renamed, Tap};
use crate::domain::chat::{ChatEvent, ChatRequest, ChatResponse};
use crate::domain::collect::events;
use crate::domain::error::{Error, Failure, FailureKind};
use crate::domain::usage::Usage;
use crate::local::Generation;
use crate::upstream::ReplyBody;

/// What one step of reading brought.
#[derive(Debug)]
pub(super) enum Step {
    /// Something, or at least a sign of life.
    More,
    /// The good end.
    End,
    /// The bad end. What was pushed before it is still good.
    Failed(Failure),
}

/// Where the answer comes from and how it is turned.
pub(super) enum Pump {
    /// Same dialect: the bytes pass, a tap watches.
    Identity {
        /// The provider's answer.
        body: ReplyBody,
        /// The watcher.
        tap: Box<dyn Tap>,
        /// Scratch for what the tap lets through.
        pieces: Vec<Bytes>,
    },
    /// Different dialects: decode, encode.
    Transcode {
        /// The provider's answer.
        body: ReplyBody,
        /// The provider's side.
        decode: Box<dyn DecodeStream>,
        /// The client's side.
        render: Render,
    },
    /// The embedded runtime.
    Local {
        /// Its events.
        generation: Box<Generation>,
        /// The client's side.
        render: Render,
        /// What was seen of them.
        observed: Observed,
    },
    /// It ended before the head went out: all of it is already pending.
    Ended {
        /// What was seen of it.
        observed: Observed,
    },
}

/// The client's side of a translated stream, with its reusable buffers.
pub(super) struct Render {
    encode: Box<dyn EncodeStream>,
    /// Calls after the first are not for the client: it asked for one at most.
    one_call: bool,
    /// The words of thinking are not for the client.
    hide_thinking: bool,
    /// Names of tools that the client knows by others.
    renamed: Renamed,
    /// For calls that have none.
    ids: CallIds,
    /// Where parts of the answer are kept, and for whom.
    keep: Option<(Items, Arc<str>)>,
    /// The prompt as it is estimated, for an answer whose provider reports no usage. None once it has.
    estimate: Option<Usage>,
    events: Vec<ChatEvent>,
    buffer: BytesMut,
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Identity { .. } => "Identity",
            Self::Transcode { .. } => "Transcode",
            Self::Local { .. } => "Local",
            Self::Ended { .. } => "Ended",
        })
    }
}

impl Render {
    pub(super) fn new(
        encode: Box<dyn EncodeStream>,
        request: &ChatRequest,
        renamed: Renamed,
        ids: CallIds,
        keep: Option<(Items, Arc<str>)>,
        estimate: Usage,
    ) -> Self {
        let one_call = request.parallel_tool_calls == Some(false);
        let (hide_thinking, estimate) = (request.hide_thinking, Some(estimate));
        let (events, buffer) = (Vec::new(), BytesMut::new());
        Self { encode, one_call, hide_thinking, renamed, ids, keep, estimate, events, buffer }
    }

    /// Renders an answer that is there already, whole.
    pub(super) fn whole(mut self, response: ChatResponse, observed: &Observed, out: &mut VecDeque<Bytes>) {
        self.events = events(response);
        self.flush(observed, out);
    }

    /// Renders the events gathered so far; an error event is held back for the caller, who ends the stream with it.
    fn flush(&mut self, observed: &Observed, out: &mut VecDeque<Bytes>) -> Option<Failure> {
        let mut failed = None;
        for mut event in self.events.drain(..) {
            self.renamed.restore_event(&mut event);
            self.ids.fill_event(&mut event);
            match event {
                ChatEvent::Error(failure) => failed = Some(failure),
                ChatEvent::ToolStart { index: 1.., .. } | ChatEvent::ToolArguments { index: 1.., .. }
                    if self.one_call => {}
                ChatEvent::Reasoning { .. } if self.hide_thinking => {}
                event => {
                    if matches!(event, ChatEvent::Usage(_)) {
                        self.estimate = None;
                    }
                    // What the ledger will say as well.
                    if event == ChatEvent::End
                        && let Some(prompt) = self.estimate.take()
                    {
                        let usage = Usage::estimated(observed.prompt.unwrap_or(prompt), observed.output_bytes);
                        self.encode.event(&ChatEvent::Usage(usage), &mut self.buffer);
                    }
                    self.encode.event(&event, &mut self.buffer);
                    if let (ChatEvent::End, Some((items, tenant))) = (&event, &self.keep) {
                        items.keep(tenant, self.encode.kept());
                    }
                }
            }
        }
        if !self.buffer.is_empty() {
            out.push_back(self.buffer.split().freeze());
        }
        failed
    }
}

impl Render {
    fn broken(&mut self, error: &Error) -> Bytes {
        self.encode.broken(error, &mut self.buffer);
        self.buffer.split().freeze()
    }
}

impl Pump {
    /// Reads one chunk or event and pushes what it means for the client.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>, out: &mut VecDeque<Bytes>) -> Poll<Step> {
        match self {
            Self::Identity { body, tap, pieces } => {
                let result = match ready!(poll_data(body, cx, tap.observed().ended)) {
                    Some(Ok(chunk)) => tap.chunk(chunk, pieces).map(|()| Step::More),
                    Some(Err(failure)) => Err(failure),
                    None => tap.end(pieces).map(|()| Step::End),
                };
                out.extend(pieces.drain(..));
                Poll::Ready(result.unwrap_or_else(Step::Failed))
            }
            Self::Transcode { body, decode, render } => {
                let result = match ready!(poll_data(body, cx, decode.observed().ended)) {
                    Some(Ok(chunk)) => decode.chunk(&chunk, &mut render.events).map(|()| Step::More),
                    Some(Err(failure)) => Err(failure),
                    None => decode.end(&mut render.events).map(|()| Step::End),
                };
                let failed = render.flush(decode.observed(), out);
                Poll::Ready(failed.map_or_else(|| result.unwrap_or_else(Step::Failed), Step::Failed))
            }
            Self::Local { generation, render, observed } => {
                let Some(event) = ready!(Pin::new(&mut **generation).poll_next(cx)) else {
                    let failure = Failure::new(FailureKind::Worker, "the local worker ended without an end");
                    return Poll::Ready(Step::Failed(failure));
                };
                observe(observed, &event);
                let end = event == ChatEvent::End;
                render.events.push(event);
                Poll::Ready(match render.flush(observed, out) {
                    Some(failure) => Step::Failed(failure),
                    None if end => Step::End,
                    None => Step::More,
                })
            }
            Self::Ended { .. } => Poll::Ready(Step::End),
        }
    }

    /// What has been learned of the answer so far.
    pub(super) fn observed(&self) -> Observed {
        match self {
            Self::Identity { tap, .. } => tap.observed().clone(),
            Self::Transcode { decode, .. } => decode.observed().clone(),
            Self::Local { generation, observed, .. } => {
                let mut observed = observed.clone();
                observed.usage = Some(generation.usage_so_far());
                observed
            }
            Self::Ended { observed } => observed.clone(),
        }
    }

    /// A sign of life between two frames; none where bytes pass, since the provider sends its own.
    pub(super) fn ping(&mut self) -> Option<Bytes> {
        match self {
            Self::Transcode { render, .. } | Self::Local { render, .. } => {
                render.encode.ping(&mut render.buffer);
                (!render.buffer.is_empty()).then(|| render.buffer.split().freeze())
            }
            Self::Identity { .. } | Self::Ended { .. } => None,
        }
    }

    /// What ends the client's stream when the upstream's broke.
    pub(super) fn broken(&mut self, error: &Error) -> Bytes {
        match self {
            Self::Identity { tap, .. } => tap.broken(error),
            Self::Transcode { render, .. } | Self::Local { render, .. } => render.broken(error),
            Self::Ended { .. } => Bytes::new(),
        }
    }

    /// Whether anything that a client would show has arrived.
    pub(super) fn began(&self) -> bool {
        match self {
            Self::Identity { tap, .. } => tap.observed().began,
            Self::Transcode { decode, .. } => decode.observed().began,
            Self::Local { observed, .. } | Self::Ended { observed } => observed.began,
        }
    }
}

fn observe(observed: &mut Observed, event: &ChatEvent) {
    match event {
        ChatEvent::Start { model, .. } => observed.model = Some(model.clone()),
        ChatEvent::Text { text, .. } | ChatEvent::Reasoning { text, .. } | ChatEvent::Refusal { text, .. } => {
            observed.began = true;
            observed.output_bytes += text.len() as u64;
        }
        ChatEvent::ToolStart { .. } => observed.began = true,
        ChatEvent::ToolArguments { fragment, .. } => observed.output_bytes += fragment.len() as u64,
        ChatEvent::Finish { .. } => {
            observed.began = true;
            observed.finished = true;
        }
        ChatEvent::Media { .. } => observed.began = true,
        ChatEvent::ReasoningSignature { .. }
        | ChatEvent::Logprobs { .. }
        | ChatEvent::Citation { .. }
        | ChatEvent::Usage(_)
        | ChatEvent::Error(_)
        | ChatEvent::End => {}
    }
}

/// The next bytes of a body; trailers are of no interest. `ended`: the answer's last word has been read, and what may
/// still come is only the end of the body, which some servers are slow to send or never do. It is not waited for here;
/// a task of its own does for a moment, so that the connection can be used again.
fn poll_data(body: &mut ReplyBody, cx: &mut Context<'_>, ended: bool) -> Poll<Option<Result<Bytes, Failure>>> {
    match body.poll_data(cx) {
        Poll::Pending if ended => {
            linger(body.take());
            Poll::Ready(None)
        }
        Poll::Ready(Some(Err(_))) if ended => Poll::Ready(None),
        polled => polled,
    }
}

/// Reads the end of a body whose answer is over, for a moment.
fn linger(mut body: ReplyBody) {
    const MOMENT: std::time::Duration = std::time::Duration::from_secs(1);
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(tokio::time::timeout(MOMENT, async move {
        while let Some(Ok(_)) = std::future::poll_fn(|cx| body.poll_data(cx)).await {}
    }));
}
