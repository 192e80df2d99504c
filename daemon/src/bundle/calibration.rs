//! `calibration.json` of a bundle: is it well made, and is it of this model and of the steps around it?

use std::{fmt::Write as _, sync::Arc};

use picket_core::{
    escalation::calibration::{Calibration, State},
    limits,
    said::Measure,
};

use super::{Bundle, BundleError, files, files::Folder, states};
use crate::ports::Constant;

/// The file's name in a bundle's folder.
pub const FILE: &str = "calibration.json";

/// A bundle's calibration, and what may be promised with it.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// `None`: the bundle has none.
    pub file: Option<Calibration>,
    pub state: State,
}

/// Looks for the bundle's calibration. One of another model is no error: the model serves, and certifies nothing.
///
/// # Errors
/// `bundle/bad-calibration`: the file is there, and is none. `bundle/unreadable`, `bundle/too-large`.
pub fn read(folder: &Folder, bundle: &Bundle) -> Result<Found, BundleError> {
    if !folder.has(FILE) {
        return Ok(Found::default());
    }
    let bytes = folder.read(FILE, limits::CONFIG_BYTES)?;
    let bad = |why: String| BundleError::new("bundle/bad-calibration", format!("{}: {why}", folder.show(FILE)));
    let file: Calibration = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    let certified = file.certified(&format!("sha256:{}", files::sha256(&bytes))).map_err(bad)?;
    let state = if file.fits(&bundle.sha256, &preprocess_sha256(bundle)) {
        State::Valid(Arc::new(certified))
    } else {
        State::Mismatch
    };
    Ok(Found { file: Some(file), state })
}

/// SHA-256 of everything between a job's bytes and the scores that is not the model itself: what a job brings, what the
/// bundle binds, the steps before and behind the model, and the labels. A threshold that was measured with others says nothing.
pub fn preprocess_sha256(bundle: &Bundle) -> String {
    let mut text = String::from("picket-preprocess/1\n");
    // Writing to a String cannot fail.
    for input in &bundle.inputs {
        let _ = writeln!(text, "input {:?} {}", input.name, input.kind());
    }
    for step in &bundle.prepare {
        let _ = writeln!(text, "{}", step.identity());
    }
    for Constant { input, values } in &bundle.constants {
        let bits: Vec<String> = values.iter().map(|value| format!("{:016x}", value.to_bits())).collect();
        let _ = writeln!(text, "constant {input:?} {}", bits.join(","));
    }
    text += &states::identity(&bundle.states);
    for step in &bundle.conclude {
        let _ = writeln!(text, "{}", step.identity());
    }
    // What is right belongs to it, too: a threshold or a tolerance moves every score. Classes stay as they were.
    match &bundle.measure {
        Measure::Classes => {}
        Measure::Anomaly { threshold } => {
            let _ = writeln!(text, "anomaly {:016x}", threshold.to_bits());
        }
        Measure::Value { tolerance } => {
            let _ = writeln!(text, "value {:016x} {:?}", tolerance.to_bits(), bundle.sigma);
        }
        Measure::Boxes { iou, listed } => {
            let _ = writeln!(text, "boxes {:016x} {listed:?}", iou.to_bits());
        }
    }
    for label in &*bundle.labels {
        let _ = writeln!(text, "label {label:?}");
    }
    files::sha256(text.as_bytes())
}
