//! What the node does about what it hears: its lamp is on while the last verdict is a bad one.

use embedded_hal::digital::OutputPin;
use firmware_profiles::{
    uplink::Heard,
    wire::{Outcome, Verdict},
};

/// A real machine's node would stop its motor here.
pub fn heard(lamp: &mut impl OutputPin, heard: Heard<'_>) {
    let Heard::Verdict(Verdict { outcome, .. }) = heard else { return };
    let bad = match outcome {
        Outcome::Anomaly { anomalous, .. } => anomalous,
        // The first label is the good one.
        Outcome::Class { class, .. } => class > 0,
        Outcome::Value { .. } | Outcome::Failed { .. } => return,
    };
    // A pin of the chip itself cannot fail.
    let _ = lamp.set_state(bad.into());
}
