//! What the node does about what it hears: it says so on the console, one line each.

use core::fmt::Write;

use firmware_profiles::{
    uplink::Heard,
    wire::{Outcome, Verdict},
};

/// A real machine's node would stop its motor here, or light a lamp.
pub fn heard(console: &mut impl Write, heard: Heard<'_>) {
    // The console takes everything.
    let _ = match heard {
        Heard::Welcomed => writeln!(console, "welcomed"),
        Heard::Verdict(verdict) => show(console, verdict),
        Heard::Acknowledged { .. } => Ok(()),
        Heard::Rejected { seq, code } => writeln!(console, "rejected seq={seq} code={code}"),
        Heard::Fault(fault) => writeln!(console, "fault {}", fault.code()),
    };
}

fn show(console: &mut impl Write, verdict: Verdict<'_>) -> core::fmt::Result {
    let Verdict { seq, revision, last, outcome } = verdict;
    write!(console, "verdict seq={seq} revision={revision} last={last} ")?;
    match outcome {
        Outcome::Class { class, confidence, certified } => {
            // Whole numbers: the code that writes floats is larger than all the rest.
            let permille = (confidence.get() * 1000.0 + 0.5) as u16;
            writeln!(console, "class={class} confidence_permille={permille} certified={certified}")
        }
        Outcome::Anomaly { anomalous, .. } => writeln!(console, "anomalous={anomalous}"),
        Outcome::Value { value } => writeln!(console, "value_milli={}", (value * 1000.0) as i32),
        Outcome::Failed { code } => writeln!(console, "failed={code}"),
    }
}
