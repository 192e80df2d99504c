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
        let text = format!(
            "{sentence} To notice when they do not, some requests, picked by lottery, get a second opinion; on an alarm the \
             answers are marked 'not certified' until {} new cases have been checked. Answers below the threshold for which \
             money, link or time ran out are marked 'not certified', too. In this run {certified} of {jobs} answers were \
             certified, {certified_wrong} of these wrong: {:.1} % of the requests. The lottery picked {audited}.",
            limits::RECERTIFY_CASES,
            percent(certified_wrong),
        );
        wrap(&text, f)
    }
}

/// Lines of so many characters at most.
const WIDTH: usize = 110;

fn wrap(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            writeln!(f)?;
            column = 0;
        }
        write!(f, "{}{word}", if column > 0 { " " } else { "" })?;
        column += length + usize::from(column > 0);
    }
    writeln!(f)
}
