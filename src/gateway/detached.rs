//! A request that may outlive its client.
//!
//! When the client of a whole answer goes away, its attempt is dropped, which hangs up. Where the provider bills on
//! regardless, the attempt is finished without the client instead, so that the true usage is learned; a bounded number
//! of such at once, the others are settled by estimate.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::domain::error::{Error, ErrorKind};

/// What decides whether a request outlives its client.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// An attempt is in flight whose provider bills on when we hang up.
    pub bills_on: Arc<AtomicBool>,
    /// The client has gone.
    pub abandoned: Arc<AtomicBool>,
    /// How many more may outlive their clients.
    pub permits: Arc<Semaphore>,
    /// The process ends: what is known by then is settled.
    pub ending: CancellationToken,
}

/// Work that goes on to its end whoever has gone: a batch that may have begun at a provider must get its name here.
///
/// # Errors
/// Those of the work.
pub(super) async fn unabandoned<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let ended = tokio::spawn(work).await;
    ended.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "a defect of the gateway").detail(error.to_string()))
    })
}

/// The work of a request.
pub(super) struct Detached<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    work: Option<Pin<Box<F>>>,
    held: Held,
}

impl<F> Detached<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    pub(super) fn new(work: F, held: Held) -> Self {
        Self { work: Some(Box::pin(work)), held }
    }
}

impl<F> Future for Detached<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Polled after its end it stays pending, as any future may.
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<F> Drop for Detached<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        self.held.abandoned.store(true, Ordering::Relaxed);
        if !self.held.bills_on.load(Ordering::Relaxed) {
            return;
        }
        let permit = Arc::clone(&self.held.permits).try_acquire_owned().ok();
        if let Some((permit, runtime)) = permit.zip(tokio::runtime::Handle::try_current().ok()) {
            let ending = self.held.ending.clone();
            runtime.spawn(async move {
                tokio::select! {
                    done = work => drop(done),
                    () = ending.cancelled() => {}
                }
                drop(permit);
            });
        }
    }
}
