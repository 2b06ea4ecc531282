//! The body of an answer: whole, or a stream that settles itself.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::relay::Relay;

/// The answer broke where it has no place for words: the connection is cut, so that nobody takes a part for the whole.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the upstream broke off in the middle of the answer")]
pub struct Cut;

/// What goes to the client. A broken upstream becomes an error event of the client's dialect, where there are events.
#[derive(Debug)]
pub enum Body {
    /// A whole answer, or nothing.
    Whole(Option<Bytes>),
    /// A stream.
    Stream(Box<Relay>),
}

impl Body {
    /// A whole answer.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Stream(relay) => relay.poll_next(cx).map(|next| next.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
