//! The binary: the command line and its exit code, nothing else.

fn main() -> std::process::ExitCode {
    stellwerk::cli::run()
}
