//! A flood of one complaint must not fill the journal: the first ones are written, then their number once a minute.

use std::{
    cmp::Ordering,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use picket_core::{
    flood::{Flood, Unsaid},
    limits,
    time::Moment,
};
use tokio::{sync::Notify, time::sleep_until};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::line::Line;
use crate::ports::Clock;

/// Lines of this target are about lines that were left out.
const ABOUT_ITSELF: &str = "picket::log";

/// A code, or where it has none the place in the source, at its level.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Complaint {
    what: String,
    is_code: bool,
    level: Severity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    Error,
    Warn,
    Info,
}

pub struct Quiet {
    clock: Clock,
    flood: Mutex<Flood<Complaint>>,
    /// Something was left out.
    woken: Notify,
}

impl Default for Quiet {
    fn default() -> Self {
        Self { clock: Clock::start(), flood: Mutex::default(), woken: Notify::new() }
    }
}

impl Quiet {
    fn flood(&self) -> MutexGuard<'_, Flood<Complaint>> {
        self.flood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn says(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        // Who asks for debugging wants all of it.
        if metadata.level().cmp(&Level::INFO) == Ordering::Greater || metadata.target() == ABOUT_ITSELF {
            return true;
        }
        let complaint = Complaint::of(event);
        let says = self.flood().says(self.clock.now(), &complaint);
        if !says {
            self.woken.notify_one();
        }
        says
    }

    pub async fn keep_telling(&self) {
        loop {
            self.woken.notified().await;
            loop {
                let Some(due) = self.flood().next_due() else { break };
                sleep_until(self.clock.instant(due).into()).await;
                self.tell(self.clock.now());
            }
        }
    }

    pub fn tell_all(&self) {
        self.tell(Moment::from_micros(u64::MAX));
    }

    fn tell(&self, now: Moment) {
        // Before anything is logged: that asks the table, too.
        let (unsaid, others) = self.flood().unsaid(now);
        let last_s = Duration::from(limits::LOG_WINDOW).as_secs();
        for Unsaid { what: Complaint { what, is_code, level }, times } in unsaid {
            let code = if is_code { what.as_str() } else { "log/repeated" };
            match level {
                Severity::Error => {
                    tracing::error!(target: ABOUT_ITSELF, code, times, "{times} more of {what} in the last {last_s} s")
                }
                Severity::Warn => {
                    tracing::warn!(target: ABOUT_ITSELF, code, times, "{times} more of {what} in the last {last_s} s")
                }
                Severity::Info => {
                    tracing::info!(target: ABOUT_ITSELF, code, times, "{times} more of {what} in the last {last_s} s")
                }
            }
        }
        if others > 0 {
            tracing::warn!(target: ABOUT_ITSELF, code = "log/flood", others, "{others} lines of other kinds were left out");
        }
    }
}

impl Complaint {
    fn of(event: &Event<'_>) -> Self {
        let (metadata, line) = (event.metadata(), Line::of(event));
        let level = match *metadata.level() {
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warn,
            _ => Severity::Info,
        };
        match line.code() {
            Some(code) => Self { what: code.to_owned(), is_code: true, level },
            None => {
                let number = metadata.line().unwrap_or_default();
                Self { what: format!("{}:{number}", metadata.target()), is_code: false, level }
            }
        }
    }
}

/// For all layers: a filter of one layer that refuses an event, and not its place in the source, leaves
/// tracing-subscriber 0.3 in a state that the next event trips over.
impl<S: Subscriber> Layer<S> for &'static Quiet {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.says(event)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flood_of_one_code_silences_nothing_else() {
        let quiet: &'static Quiet = Box::leak(Box::default());
        let paper = Paper::default();
        let writer = paper.clone();
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines).with(quiet), || {
            for number in 0..1_000 {
                tracing::info!(code = "input/not-json", number, "job failed");
                tracing::debug!(code = "input/not-json", number, "all of it");
                tracing::warn!(number, "without a code");
            }
            tracing::info!(code = "input/too-large", "job failed");
            tracing::error!("store/failed: nothing can be made durable any more");
            quiet.tell_all();
        });
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        let count = |words: &str| text.lines().filter(|line| line.contains(words)).count();
        assert_eq!(count("job failed code=\"input/not-json\""), limits::LOG_BURST as usize, "{text}");
        assert_eq!(count("all of it"), 1_000);
        assert_eq!(count("without a code"), limits::LOG_BURST as usize);
        assert_eq!((count("input/too-large"), count("store/failed")), (1, 1));
        assert_eq!(
            count("INFO picket::log: 990 more of input/not-json in the last 60 s code=\"input/not-json\" times=990"),
            1
        );
        assert_eq!(count("WARN picket::log: 990 more of picket::log::quiet::tests:"), 1);
        assert_eq!(count("more of"), 2);
    }
}
