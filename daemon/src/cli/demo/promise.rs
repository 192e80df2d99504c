//! The certificate in words, with this run's own numbers behind them.

use std::fmt;

use picket_core::{escalation::calibration::Calibration, limits};

use super::score::Summary;

/// What is in force in the demo, as `picket calibrate` wrote it.
const FILE: &[u8] = include_bytes!("../../../../models/digits/calibration.json");

/// `None`: the file that was compiled in is none.
fn sentence() -> Option<String> {
    let file: Calibration = serde_json::from_slice(FILE).ok()?;
    Some(file.sentence)
}

/// The sentence for the engineer, and how it went.
pub struct Promise<'s>(pub &'s Summary);

impl fmt::Display for Promise<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(sentence) = sentence() else { return Ok(()) };
        let Summary { jobs, certified, certified_wrong, audited, .. } = *self.0;
        let percent = |part: usize| if jobs == 0 { 0.0 } else { 100.0 * part as f64 / jobs as f64 };
        writeln!(
            f,
            "{sentence} To notice when they do not, some requests, picked by lottery, get a second opinion; on an alarm"
        )?;
        writeln!(
            f,
            "the answers are marked 'not certified' until {} new cases have been checked. Answers below the threshold for \
             which money, link or time ran out are marked 'not certified', too.",
            limits::RECERTIFY_CASES
        )?;
        writeln!(
            f,
            "In this run: {certified} of {jobs} answers were certified, {certified_wrong} of these wrong ({:.1} % of the \
             requests); {audited} requests ({:.1} %) were picked by lottery.",
            percent(certified_wrong),
            percent(audited)
        )
    }
}
