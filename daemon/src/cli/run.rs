//! `picket run`: the daemon.

use std::path::Path;

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{
    assemble,
    config::Config,
    inference::prover::Prover,
    log,
    ports::Clock,
    run::{self, Ended},
};

pub fn run(path: &Path) -> anyhow::Result<()> {
    // Before anything is opened: a bad configuration must leave no trace but its message (I9).
    let config = Config::load(path)?;
    log::start();
    let prover = Prover::this_program().context("this program does not find itself")?;
    let clock = Clock::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no tokio runtime")?;
    let durable = config.store.durable;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("no SIGTERM handler")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("no SIGINT handler")?;
        let parts = assemble::assemble(config, clock, &prover)?;
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(log::tell_what_was_left_out());
        tokio::spawn(async move {
            let mut stop = Some(stop);
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                // The second signal: whoever is in such a hurry gets it. What was acknowledged is in the store.
                let Some(stop) = stop.take() else { std::process::exit(0) };
                let _ = stop.send(());
            }
        });
        let shutdown = async {
            let _ = stopped.await;
        };
        anyhow::Ok(run::run(parts, clock, shutdown).await?)
    })?;
    // Tasks that still wait for a provider must not hold the process.
    runtime.shutdown_background();
    match ended {
        Ended::Finished => {}
        Ended::Parked(jobs) if durable => tracing::info!(jobs, "stopped; the store keeps what is not finished"),
        Ended::Parked(jobs) => {
            tracing::warn!(jobs, "stopped with work under way, and with a store that forgets (durable = false)");
        }
        Ended::Broken(why) => {
            log::finish();
            anyhow::bail!("{why}");
        }
    }
    log::finish();
    Ok(())
}
