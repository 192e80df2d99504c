//! `picket run`: the daemon.

use std::path::Path;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::{assemble, config::Config, ports::Clock, run};

pub fn run(path: &Path) -> anyhow::Result<()> {
    // Before anything is opened: a bad configuration must leave no trace but its message (I9).
    let config = Config::load(path)?;
    super::start_logging();
    let clock = Clock::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no tokio runtime")?;
    let finished = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("no SIGTERM handler")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("no SIGINT handler")?;
        let parts = assemble::assemble(config, clock)?;
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let daemon = run::run(parts, clock, shutdown);
        anyhow::Ok(daemon.await)
    })?;
    // Tasks that still wait for a provider must not hold the process.
    runtime.shutdown_background();
    if !finished {
        tracing::warn!(
            "stopped with work under way; what was acknowledged and is not answered is lost with this store"
        );
    }
    Ok(())
}
