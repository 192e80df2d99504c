//! Where the log goes, and how much of it is written.

mod journal;
mod line;
mod quiet;

use std::{io::IsTerminal, sync::OnceLock};

use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use self::{journal::Journal, quiet::Quiet};

/// Of this process; there is one log.
static QUIET: OnceLock<Quiet> = OnceLock::new();

/// To the journal where standard error is its stream, else to standard error. `PICKET_LOG` filters, for example
/// `PICKET_LOG=debug`.
pub fn start() {
    let filter = filter(std::env::var("PICKET_LOG").ok().as_deref());
    let quiet = QUIET.get_or_init(Quiet::default);
    let registry = tracing_subscriber::registry().with(filter).with(quiet);
    let started = match Journal::of_standard_error() {
        Some(journal) => registry.with(journal).try_init(),
        None => {
            // Colours are for people: a file gets plain text.
            let colours = std::io::stderr().is_terminal();
            let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
            registry.with(lines).try_init()
        }
    };
    // A second start in one process finds the first one's log.
    drop(started);
}

/// Levels, of all or of a target: `debug`, `info,rumqttc=trace`. What cannot be read is as good as nothing.
fn filter(wanted: Option<&str>) -> Targets {
    use tracing::Level;
    wanted
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(Level::INFO).with_target("rumqttd", Level::ERROR))
}

/// Says, as long as the process runs, how often the log has left something out.
pub async fn tell_what_was_left_out() {
    match QUIET.get() {
        Some(quiet) => quiet.keep_telling().await,
        None => std::future::pending().await,
    }
}

/// Says it for the last time.
pub fn finish() {
    if let Some(quiet) = QUIET.get() {
        quiet.tell_all();
    }
}
