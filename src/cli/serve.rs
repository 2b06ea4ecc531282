//! `stellwerk serve`: start, say where, run until told to stop.

use std::process::ExitCode;

use clap::Args;

use super::{Common, Failed, banner, say};
use crate::app::{App, Sources};

/// Longest wait of the first screen for local models.
const LOADING: std::time::Duration = std::time::Duration::from_secs(120);

/// Start the gateway.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address of the data plane.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
    /// Address of the admin plane.
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<std::net::SocketAddr>,
    /// Logs as JSON lines.
    #[arg(long)]
    log_json: bool,
}

impl Serve {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        log_to_stderr(self.log_json);
        let common = common.clone();
        let load = move || {
            let mut config = common.load().map_err(Failed::into_lines)?;
            config.listen = self.listen.unwrap_or(config.listen);
            config.admin_listen = self.admin_listen.unwrap_or(config.admin_listen);
            Ok((config, common.file()))
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no async runtime: {error}"))?;
        runtime.block_on(async {
            let app = App::start(Sources::new(load)).await.map_err(Failed::Message)?;
            // The first screen tells which models answer, so it waits for those that load; requests are served already.
            app.settle_locals(LOADING).await;
            say(&banner::render(&app.facts()));
            app.run_until_signal().await;
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Logs go to stderr; `RUST_LOG` chooses, warnings and the gateway's own news by default.
fn log_to_stderr(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,stellwerk=info"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_target(false).with_ansi(colours);
    // A second subscriber in one process (tests) is no reason to fail.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
