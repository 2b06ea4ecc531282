//! The gateway's side of a local model: keeps the worker process alive and turns its events into canonical ones.
//!
//! Every job has its own bounded queue. A client that reads too slowly fills its queue and loses its job, which is
//! cancelled at once; the others go on. When the worker dies, each open job ends with a failure, and the worker is started again with back-off.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::convert;
use super::protocol::{self, Ask, Finish, Job, JobEvent, Tell, VERSION};
use crate::domain::chat::{ChatEvent, ChatRequest, FinishReason};
use crate::domain::error::{Failure, FailureKind};
use crate::domain::usage::{Bucket, Usage};

/// A model to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// Its name.
    pub name: String,
    /// The GGUF file.
    pub path: PathBuf,
    /// Threads; none = one less than the cores, at least one.
    pub threads: Option<u32>,
    /// Context in tokens; none = 8192.
    pub context: Option<u32>,
    /// Jobs that may wait; none = 32.
    pub queue: Option<usize>,
}

/// Where a model stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// The worker is loading it.
    Starting,
    /// It serves.
    Up,
    /// It does not, and will be tried again.
    Down(String),
}

/// A served model.
#[derive(Debug)]
pub struct LocalModel {
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    name: Arc<str>,
    state: ArcSwap<ModelState>,
    asks: mpsc::Sender<Ask>,
    jobs: Mutex<HashMap<u64, mpsc::Sender<Heard>>>,
    next: AtomicU64,
}

/// What a job hears.
#[derive(Debug)]
enum Heard {
    /// An event with the counts of the job so far.
    Event(JobEvent, Usage),
    /// The queue is full; nothing follows.
    Cut,
}

/// Events a job may be ahead of its reader.
const AHEAD: usize = 1024;
/// Longest loading of a model.
const LOADING: Duration = Duration::from_secs(600);
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

impl LocalModel {
    /// Starts the worker and keeps it running; returns at once. Must be called within the async runtime.
    ///
    /// # Errors
    /// This build has no embedded runtime.
    pub fn spawn(spec: ModelSpec, exe: PathBuf) -> Result<Self, String> {
        if cfg!(not(feature = "local")) && exe == std::env::current_exe().unwrap_or_default() {
            return Err(format!("local model `{}`: this build has no embedded runtime (feature `local`)", spec.name));
        }
        let (shared, asked) = Shared::new(&spec.name);
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep_alive(spec, exe, Arc::clone(&shared), asked, stop.clone()));
        Ok(Self { shared, stop, task: Mutex::new(Some(task)) })
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> ModelState {
        ModelState::clone(&self.shared.state.load())
    }

    /// Puts a request to the model and waits for the first sign of its answer, so that the caller may still go
    /// elsewhere.
    ///
    /// # Errors
    /// The model is down, refuses, or too many requests wait.
    pub async fn generate(&self, request: &ChatRequest, max_output: u64) -> Result<Generation, Failure> {
        if self.state() != ModelState::Up {
            return Err(Failure::new(FailureKind::Worker, "the local model is not up"));
        }
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let job: Job = convert::job(id, request, max_output);
        let mut generation = Generation::new(id, Arc::clone(&self.shared));
        generation.ready.push(ChatEvent::Start {
            id: format!("chatcmpl-{:x}", uuid::Uuid::now_v7().as_u128()),
            model: self.shared.name.to_string(),
            created: None,
        });
        if self.shared.asks.send(Ask::Job(Box::new(job))).await.is_err() {
            return Err(Failure::new(FailureKind::Worker, "the local model is shutting down"));
        }
        generation.first().await?;
        Ok(generation)
    }

    /// Stops the worker and waits for its end.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

/// A model that a reload has taken out of service goes with the last request that uses it.
impl Drop for LocalModel {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    fn new(name: &str) -> (Arc<Self>, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(256);
        let state = ArcSwap::from_pointee(ModelState::Starting);
        let shared = Self { name: name.into(), state, asks, jobs: Mutex::default(), next: AtomicU64::new(1) };
        (Arc::new(shared), asked)
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, HashMap<u64, mpsc::Sender<Heard>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One answer being generated. Dropping it cancels the job.
#[derive(Debug)]
pub struct Generation {
    id: u64,
    shared: Arc<Shared>,
    received: mpsc::Receiver<Heard>,
    /// Events in reverse order.
    ready: Vec<ChatEvent>,
    usage: Usage,
    calls: u32,
    over: bool,
}

impl Generation {
    fn new(id: u64, shared: Arc<Shared>) -> Self {
        let (events, received) = mpsc::channel(AHEAD);
        shared.jobs().insert(id, events);
        Self { id, shared, received, ready: Vec::new(), usage: Usage::ZERO, calls: 0, over: false }
    }

    /// Exact counts of what has been received so far: what a cancelled or broken answer is settled by.
    #[must_use]
    pub fn usage_so_far(&self) -> Usage {
        self.usage
    }

    /// Waits until something is there that a client would see.
    async fn first(&mut self) -> Result<(), Failure> {
        while let Some(heard) = self.received.recv().await {
            let Heard::Event(event, usage) = heard else { return Err(self.cut()) };
            match event {
                JobEvent::Busy => {
                    self.over = true;
                    let mut busy = Failure::new(FailureKind::RateLimited, "the local model's queue is full");
                    busy.retry_after = Some(Duration::from_secs(2));
                    return Err(busy);
                }
                JobEvent::Refused { reason, param } => {
                    self.over = true;
                    return Err(Failure { param, ..Failure::new(FailureKind::Rejected, reason) });
                }
                JobEvent::TooLong { prompt, context } => {
                    self.over = true;
                    return Err(too_long(prompt, context));
                }
                JobEvent::Failed { reason } => {
                    self.over = true;
                    return Err(Failure::new(FailureKind::Worker, reason));
                }
                JobEvent::Started => self.usage = usage,
                event => {
                    self.take(event, usage);
                    return Ok(());
                }
            }
        }
        Err(self.died())
    }

    fn died(&mut self) -> Failure {
        self.over = true;
        Failure::new(FailureKind::Worker, format!("the worker of {} died", self.shared.name))
    }

    fn cut(&mut self) -> Failure {
        self.over = true;
        Failure::new(FailureKind::SlowReader, "the client read too slowly")
    }

    /// Turns one event of the worker into canonical ones.
    fn take(&mut self, event: JobEvent, usage: Usage) {
        self.usage = usage;
        let mut fresh = match event {
            JobEvent::Started | JobEvent::Busy => Vec::new(),
            JobEvent::Reasoning(text) => vec![ChatEvent::Reasoning { choice: 0, text }],
            JobEvent::Text(text) => vec![ChatEvent::Text { choice: 0, text }],
            JobEvent::ToolCall { id, name, arguments, .. } => {
                let index = self.calls;
                self.calls += 1;
                vec![
                    ChatEvent::ToolStart { choice: 0, index, id, name, custom: false, signature: None },
                    ChatEvent::ToolArguments { choice: 0, index, fragment: arguments },
                ]
            }
            JobEvent::Finished(finish) => {
                self.over = true;
                let reason = match finish {
                    Finish::Stop => FinishReason::Stop,
                    Finish::Length => FinishReason::Length,
                    Finish::ToolCalls => FinishReason::ToolCalls,
                };
                vec![
                    ChatEvent::Finish { choice: 0, reason, stop_sequence: None },
                    ChatEvent::Usage(self.usage),
                    ChatEvent::End,
                ]
            }
            JobEvent::Refused { reason, .. } | JobEvent::Failed { reason } => {
                self.over = true;
                vec![ChatEvent::Error(Failure::new(FailureKind::Worker, reason))]
            }
            JobEvent::TooLong { prompt, context } => {
                self.over = true;
                vec![ChatEvent::Error(too_long(prompt, context))]
            }
        };
        fresh.reverse();
        fresh.append(&mut self.ready);
        self.ready = fresh;
    }
}

impl Stream for Generation {
    type Item = ChatEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ChatEvent>> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Poll::Ready(Some(event));
            }
            if self.over {
                return Poll::Ready(None);
            }
            match self.received.poll_recv(cx) {
                Poll::Ready(Some(Heard::Event(event, usage))) => self.take(event, usage),
                Poll::Ready(Some(Heard::Cut)) => {
                    let failure = self.cut();
                    return Poll::Ready(Some(ChatEvent::Error(failure)));
                }
                Poll::Ready(None) => {
                    let failure = self.died();
                    return Poll::Ready(Some(ChatEvent::Error(failure)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.shared.jobs().remove(&self.id);
        if !self.over {
            // If the queue to the worker is full, the worker learns of it by the reader that has gone.
            let _ = self.shared.asks.try_send(Ask::Cancel { id: self.id });
        }
    }
}

/// Starts the worker again whenever it ends, until told to stop.
async fn keep_alive(
    spec: ModelSpec,
    exe: PathBuf,
    shared: Arc<Shared>,
    mut asked: mpsc::Receiver<Ask>,
    stop: CancellationToken,
) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        let started = tokio::time::Instant::now();
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = live(&spec, &exe, &shared, &mut asked) => ended,
        };
        // Dropping the senders ends every open job with a failure.
        shared.jobs().clear();
        let reason = ended.err().unwrap_or_else(|| "the worker ended".to_owned());
        tracing::warn!(model = %spec.name, %reason, "local model down");
        shared.state.store(Arc::new(ModelState::Down(reason)));
        backoff = if started.elapsed() > Duration::from_secs(30) {
            FIRST_BACKOFF
        } else {
            (backoff * 2).min(LONGEST_BACKOFF)
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff) => {}
        }
        // Asks of jobs that have ended meanwhile.
        while asked.try_recv().is_ok() {}
        shared.state.store(Arc::new(ModelState::Starting));
    }
}

/// One life of the worker.
async fn live(
    spec: &ModelSpec,
    exe: &PathBuf,
    shared: &Arc<Shared>,
    asked: &mut mpsc::Receiver<Ask>,
) -> Result<(), String> {
    let (mut child, socket) = start(spec, exe).map_err(|error| format!("the worker can't be started: {error}"))?;
    let (mut from, mut to) = socket.into_split();
    let ready = tokio::time::timeout(LOADING, read(&mut from)).await.map_err(|_| "loading took too long".to_owned())?;
    match ready {
        Ok(Tell::Ready { version: VERSION, context }) => {
            tracing::info!(model = %spec.name, context, pid = child.id(), "local model up");
        }
        Ok(Tell::Ready { version, .. }) => return Err(format!("the worker speaks version {version}, not {VERSION}")),
        Ok(Tell::Broken { reason }) => return Err(reason),
        Ok(Tell::Job { .. }) => return Err("the worker began with a job".to_owned()),
        Err(error) => {
            return Err(format!("the worker ended while loading: {}", ended(&mut child, &error.to_string()).await));
        }
    }
    shared.state.store(Arc::new(ModelState::Up));
    let mut reader = tokio::spawn({
        let shared = Arc::clone(shared);
        async move {
            loop {
                match read(&mut from).await {
                    Ok(Tell::Job { id, event, input, output, reasoning }) => {
                        deliver(&shared, id, event, [input, output, reasoning])
                    }
                    Ok(Tell::Ready { .. } | Tell::Broken { .. }) => return "an unexpected frame".to_owned(),
                    Err(error) => return error.to_string(),
                }
            }
        }
    });
    let reason = loop {
        tokio::select! {
            reason = &mut reader => break reason.unwrap_or_else(|error| error.to_string()),
            ask = asked.recv() => {
                let Some(ask) = ask else { break "no more asks".to_owned() };
                let frame = protocol::frame(&ask).map_err(|error| error.to_string())?;
                if let Err(error) = to.write_all(&frame).await {
                    break error.to_string();
                }
            }
        }
    };
    reader.abort();
    Err(ended(&mut child, &reason).await)
}

/// The planner knows an estimate of the prompt, the worker the truth.
fn too_long(prompt: u64, context: u32) -> Failure {
    let message = format!("the prompt has {prompt} tokens, the model's context holds {context}");
    let failure = Failure::new(FailureKind::Rejected, message).too_long_prompt();
    Failure { param: Some("messages".to_owned()), ..failure }
}

/// Hands an event to its job. A job that is gone or whose reader is too slow is not waited for: its last place is for
/// the word that nothing follows.
fn deliver(shared: &Shared, id: u64, event: JobEvent, [input, output, reasoning]: [u64; 3]) {
    let usage = Usage::ZERO.with(Bucket::Input, input).with(Bucket::Output, output).with(Bucket::Reasoning, reasoning);
    let mut jobs = shared.jobs();
    let Some(job) = jobs.get(&id) else { return };
    if job.capacity() > 1 {
        let _ = job.try_send(Heard::Event(event, usage));
        return;
    }
    tracing::warn!(model = %shared.name, job = id, "a reader of a local answer is too slow; its answer is cut");
    let _ = job.try_send(Heard::Cut);
    jobs.remove(&id);
    let _ = shared.asks.try_send(Ask::Cancel { id });
}

async fn ended(child: &mut Child, reason: &str) -> String {
    let _ = child.start_kill();
    match child.wait().await {
        Ok(status) => format!("{status} ({reason})"),
        Err(error) => format!("{error} ({reason})"),
    }
}

/// The worker gets one end of a socket pair as its standard input, and an environment without our secrets.
fn start(spec: &ModelSpec, exe: &PathBuf) -> std::io::Result<(Child, UnixStream)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = spec.threads.unwrap_or_else(|| u32::try_from(cores.saturating_sub(1)).unwrap_or(1).max(1));
    let child = Command::new(exe)
        .arg("local-worker")
        .arg("--path")
        .arg(&spec.path)
        .args(["--name", &spec.name])
        .args(["--threads", &threads.to_string()])
        .args(["--context", &spec.context.unwrap_or(8192).to_string()])
        .args(["--queue", &spec.queue.unwrap_or(32).to_string()])
        .env_clear()
        // Threads that wait must not spin: with other work on the machine that costs all speed.
        .env("OMP_WAIT_POLICY", "PASSIVE")
        // A failed assertion would start a debugger for its backtrace.
        .env("GGML_NO_BACKTRACE", "1")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, UnixStream::from_std(ours)?))
}

async fn read(from: &mut OwnedReadHalf) -> std::io::Result<Tell> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let mut body = vec![0; protocol::length(head)?];
    from.read_exact(&mut body).await?;
    serde_json::from_slice(&body).map_err(std::io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_is_too_slow_loses_its_own_answer_only() {
        let (shared, mut asked) = Shared::new("m");
        let (mut slow, mut other) = (Generation::new(1, Arc::clone(&shared)), Generation::new(2, Arc::clone(&shared)));
        for n in 0..AHEAD as u64 + 10 {
            deliver(&shared, 1, JobEvent::Text("a".into()), [7, n + 1, 0]);
        }
        deliver(&shared, 2, JobEvent::Text("b".into()), [7, 1, 0]);
        assert!(matches!(asked.try_recv(), Ok(Ask::Cancel { id: 1 })), "the worker is told at once");
        assert!(asked.try_recv().is_err(), "and once");
        let next = async |generation: &mut Generation| {
            std::future::poll_fn(|cx| Pin::new(&mut *generation).poll_next(cx)).await
        };
        for _ in 0..AHEAD - 1 {
            assert!(matches!(next(&mut slow).await, Some(ChatEvent::Text { .. })));
        }
        let Some(ChatEvent::Error(failure)) = next(&mut slow).await else { panic!("it is no clean end") };
        assert_eq!(failure.kind, FailureKind::SlowReader);
        assert_eq!(slow.usage_so_far().get(Bucket::Output), AHEAD as u64 - 1, "counted is what came through");
        assert_eq!(next(&mut slow).await, None);
        assert!(matches!(next(&mut other).await, Some(ChatEvent::Text { .. })));
        drop(slow);
        assert!(asked.try_recv().is_err(), "what is over is not cancelled again");
    }
}
