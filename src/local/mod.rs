//! The embedded runtime: llama.cpp in a supervised worker process of this same binary.
//!
//! A failed assertion or a hostile model file takes the worker down, never the gateway. The two talk over a socket
//! pair in length-prefixed JSON frames (`protocol`). The gateway's side (`supervisor`) needs no llama.cpp and is always
//! compiled; the worker's side is behind the feature `local`.

mod convert;
mod protocol;
mod supervisor;
mod text;
#[cfg(feature = "local")]
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

pub use supervisor::{Generation, LocalModel, ModelSpec, ModelState};

/// Arguments of the worker process.
#[derive(Clone, Debug, clap::Args)]
pub struct WorkerArgs {
    /// The GGUF file.
    #[arg(long)]
    pub path: PathBuf,
    /// The model's name, for the log.
    #[arg(long)]
    pub name: String,
    /// Threads.
    #[arg(long)]
    pub threads: u32,
    /// Context in tokens; the model's own if that is smaller.
    #[arg(long)]
    pub context: u32,
    /// Jobs that may wait.
    #[arg(long)]
    pub queue: usize,
}

/// Runs the worker process: speaks the protocol on its standard input, which is a socket, until the other end closes.
#[must_use]
pub fn worker_main(args: WorkerArgs) -> ExitCode {
    #[cfg(feature = "local")]
    return worker::run(&args);
    #[cfg(not(feature = "local"))]
    {
        drop(args);
        ExitCode::FAILURE
    }
}
