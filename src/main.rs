//! The binary: the command line and its exit code, nothing else.

fn main() -> std::process::ExitCode {
    stellwerk::cli::run()
}

/// A request makes some hundred small allocations, many of which end on the ledger's thread: the system's allocator takes a
/// tenth of a request's time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
