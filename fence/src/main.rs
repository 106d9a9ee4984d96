//! The program: arguments, settings, logging, run, exit code.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use fence::node;
use fence::settings::{Arguments, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long a thread for blocking work is kept idle: longer than the pauses between comparisons, so that there always is
/// one, also on a machine that has run out of threads to give.
const KEEP_THREADS: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fence: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // What the engine's client says at that level are whole bodies; asked for by name only.
    let filter = tracing_subscriber::EnvFilter::try_new(format!("bollard=info,{}", arguments.log))
        .with_context(|| format!("could not understand the log filter {:?}", arguments.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let settings = Settings::read(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(KEEP_THREADS)
        .build()
        .context("could not start the runtime")?;
    let result = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(stop_on_signal(shutdown.clone()));
        node::run(settings, shutdown).await
    });
    // Whatever still hangs in a blocking call must not keep the program from ending.
    runtime.shutdown_background();
    Ok(result?)
}

async fn stop_on_signal(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("could not listen for signals; only SIGKILL ends this fence");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; containers and their processes go on");
    shutdown.cancel();
}
