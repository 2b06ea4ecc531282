//! The worker process: loads one model, then works off jobs. The only place that touches llama.cpp.
//!
//! Three threads: this one reads asks, renders prompts and counts tokens; the engine decodes and samples; the third
//! writes. Queues between them are bounded. When the gateway's end of the socket closes, the process ends.

mod engine;
mod prompt;

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;

use super::WorkerArgs;
use super::protocol::{self, Ask, Job, JobEvent, Tell, VERSION};
use engine::Engine;
use prompt::{Prompt, Renderer};

/// A job ready for the engine.
pub(super) struct Ready {
    job: Job,
    prompt: Prompt,
    cancelled: Arc<AtomicBool>,
}

/// Cancel flags of jobs that are queued or running.
type Flags = Arc<Mutex<HashMap<u64, Arc<AtomicBool>>>>;

pub(super) fn run(args: &WorkerArgs) -> ExitCode {
    let Ok(socket) = std::io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    let Ok(write_end) = socket.try_clone() else { return ExitCode::FAILURE };
    let (tells, told) = sync_channel::<Tell>(1024);
    let writer = std::thread::spawn(move || write_all(write_end, &told));
    let result = serve(args, socket, &tells);
    if let Err(reason) = &result {
        let _ = tells.send(Tell::Broken { reason: reason.clone() });
    }
    drop(tells);
    let _ = writer.join();
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Ends the process when the gateway has gone: there is nobody left to work for.
fn write_all(socket: OwnedFd, told: &Receiver<Tell>) {
    let mut out = BufWriter::new(File::from(socket));
    while let Ok(tell) = told.recv() {
        let written = protocol::write(&mut out, &tell).and_then(|()| std::io::Write::flush(&mut out));
        if written.is_err() {
            std::process::exit(0);
        }
    }
}

fn serve(args: &WorkerArgs, socket: OwnedFd, tells: &SyncSender<Tell>) -> Result<(), String> {
    check_processor()?;
    check_file(args)?;
    let mut backend = LlamaBackend::init().map_err(|error| format!("llama.cpp can't start: {error}"))?;
    backend.void_logs();
    let model = LlamaModel::load_from_file(&backend, &args.path, &LlamaModelParams::default())
        .map_err(|error| format!("{} can't be loaded: {error}", args.path.display()))?;
    let model = Arc::new(model);
    let backend = Arc::new(backend);
    let renderer = Renderer::new(&model)?;
    let context = args.context.min(model.n_ctx_train()).max(256);
    let flags: Flags = Arc::default();
    let (jobs, queued) = sync_channel::<Ready>(args.queue.max(1));
    let engine = Engine {
        backend,
        model: Arc::clone(&model),
        context,
        threads: i32::try_from(args.threads.clamp(1, 256)).unwrap_or(1),
        stops: renderer.stop_tokens(&model),
        r1: renderer.is_r1(),
        tells: tells.clone(),
        flags: Arc::clone(&flags),
    };
    let (loaded, is_loaded) = sync_channel(1);
    std::thread::spawn(move || {
        engine.run(&queued, &loaded);
        // Without its engine the worker is of no use; the gateway starts another.
        std::process::exit(1);
    });
    is_loaded.recv().map_err(|_| "the engine ended while loading".to_owned())??;
    tells.send(Tell::Ready { version: VERSION, context }).map_err(|_| "nobody listens".to_owned())?;
    let mut asks = File::from(socket);
    while let Some(ask) = protocol::read::<Ask>(&mut asks).map_err(|error| error.to_string())? {
        match ask {
            Ask::Cancel { id } => {
                if let Some(flag) = flags.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
                    flag.store(true, Ordering::Relaxed);
                }
            }
            Ask::Job(job) => take(*job, &model, &renderer, context, &jobs, &flags, tells),
        }
    }
    std::process::exit(0)
}

/// Renders the prompt, checks that it fits, and queues the job.
fn take(
    job: Job,
    model: &LlamaModel,
    renderer: &Renderer,
    context: u32,
    jobs: &SyncSender<Ready>,
    flags: &Flags,
    tells: &SyncSender<Tell>,
) {
    let id = job.id;
    let tell = |event, input| {
        let _ = tells.send(Tell::Job { id, event, input, output: 0, reasoning: 0 });
    };
    let prompt = match renderer.render(model, &job) {
        Ok(prompt) => prompt,
        Err(reason) => return tell(JobEvent::Refused { reason, param: Some("messages".to_owned()) }, 0),
    };
    let input = prompt.tokens.len() as u64;
    if input + 16 > u64::from(context) {
        return tell(JobEvent::TooLong { prompt: input, context }, 0);
    }
    let cancelled = Arc::new(AtomicBool::new(false));
    flags.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&cancelled));
    if let Err(error) = jobs.try_send(Ready { job, prompt, cancelled }) {
        flags.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        match error {
            TrySendError::Full(_) => tell(JobEvent::Busy, 0),
            TrySendError::Disconnected(_) => tell(JobEvent::Failed { reason: "the engine has ended".to_owned() }, 0),
        }
    }
}

/// The default build needs AVX2; without it the process would die of an illegal instruction.
fn check_processor() -> Result<(), String> {
    #[cfg(target_arch = "x86_64")]
    if !std::arch::is_x86_feature_detected!("avx2") {
        return Err("this processor has no AVX2, which the embedded runtime is built for".to_owned());
    }
    Ok(())
}

/// What can be seen of a file before llama.cpp sees it.
fn check_file(args: &WorkerArgs) -> Result<(), String> {
    let mut magic = [0; 4];
    let read = File::open(&args.path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    read.map_err(|error| format!("{}: {error}", args.path.display()))?;
    if &magic == b"GGUF" { Ok(()) } else { Err(format!("{} is no GGUF file", args.path.display())) }
}
