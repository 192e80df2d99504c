//! `trigger = { pin = "GPIO27" }`: a light barrier or a button says when something is to be looked at.

use std::{path::Path, time::Duration};

use picket_core::limits;
use serde::Deserialize;
use tokio::{sync::mpsc, time::sleep};
use toml::Spanned;

use super::desk::{Desk, Voice};
use crate::{
    board::Profile,
    config::{
        ConfigError, Section,
        pin::{self, Given},
        words,
    },
    gpio::{Edge, Edges, Fault, Place},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTrigger {
    pin: Option<Spanned<String>>,
    chip: Option<Spanned<String>>,
    line: Option<Spanned<u64>>,
    edge: Option<Spanned<String>>,
    debounce_ms: Option<Spanned<u64>>,
}

/// A checked trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    place: Place,
    edge: Edge,
    debounce: Duration,
}

const DEBOUNCE_MAX_MS: u64 = 10_000;

impl Trigger {
    pub fn check(section: &Section<'_>, raw: &RawTrigger, folder: &Path, board: &Profile) -> Result<Self, ConfigError> {
        let place = pin::place(section, Given { pin: &raw.pin, chip: &raw.chip, line: &raw.line }, folder, board)?;
        let edges = [("rising", Edge::Rising), ("falling", Edge::Falling), ("both", Edge::Both)];
        let edge = match &raw.edge {
            Some(word) => words::choose(section, "edge", word, &edges, &[])?,
            None => Edge::Rising,
        };
        let debounce = words::number(section, "debounce_ms", raw.debounce_ms.as_ref(), 0..=DEBOUNCE_MAX_MS, 0)?;
        Ok(Self { place, edge, debounce: Duration::from_millis(debounce) })
    }

    pub fn missing(&self) -> Option<String> {
        self.place.missing()
    }

    /// Watches the line until nobody wants its edges any more.
    pub fn start(self, desk: &Desk) -> mpsc::Receiver<()> {
        // One edge for what comes next; those that come before that are counted, no more.
        let (ring, edges) = mpsc::channel(limits::SOURCE_EDGES);
        tokio::spawn(watch(self, desk.voice.clone(), ring));
        edges
    }
}

async fn watch(trigger: Trigger, voice: Voice, ring: mpsc::Sender<()>) {
    let (mut retry, mut is_out) = (super::retry(), false);
    loop {
        let fault = match Edges::open(&trigger.place, trigger.edge, trigger.debounce) {
            Ok(mut edges) => {
                retry.reset();
                if std::mem::take(&mut is_out) {
                    voice.tell("source/back", "the trigger's line is there again").await;
                }
                tokio::select! {
                    fault = ring_on(&mut edges, &voice, &ring) => fault,
                    () = ring.closed() => return,
                }
            }
            Err(fault) => fault,
        };
        voice.count("no-trigger");
        if !std::mem::replace(&mut is_out, true) {
            let code = match fault {
                Fault::Busy(_) => "source/busy",
                Fault::NoLine(_) => "source/no-line",
            };
            voice.tell(code, &format!("the trigger: {fault}")).await;
        }
        tokio::select! {
            () = sleep(retry.wait().into()) => {}
            () = ring.closed() => return,
        }
    }
}

/// Until the line is gone.
async fn ring_on(edges: &mut Edges, voice: &Voice, ring: &mpsc::Sender<()>) -> Fault {
    loop {
        match edges.next().await {
            Ok(many) => {
                voice.count_many("edges", many);
                let heard = (0..many).filter(|_| ring.try_send(()).is_ok()).count() as u64;
                voice.count_many("missed", many - heard);
            }
            Err(fault) => return fault,
        }
    }
}
