//! What came of all cases, for people and for machines.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write};

use serde::Serialize;

use crate::{
    cases::Variant,
    corrections::{CORRECTIONS, Correction},
    run_case::Verdict,
    supervise::Outcome,
};

/// Reasons of an operator's refusals in the table, and how much of each.
const REASONS: usize = 3;
const REASON_CHARS: usize = 110;

/// How many cases came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    pub pass: usize,
    pub refuse: usize,
    pub wrong: usize,
    pub crash: usize,
}

impl Count {
    fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Pass => self.pass += 1,
            Verdict::Refuse(_) => self.refuse += 1,
            Verdict::Wrong(_) => self.wrong += 1,
            Verdict::Crash(_) => self.crash += 1,
        }
    }

    fn cells(&self) -> String {
        let cell = |n: usize| if n == 0 { String::new() } else { n.to_string() };
        [self.pass, self.refuse, self.wrong, self.crash].map(|n| format!(" {} |", cell(n))).concat()
    }
}

/// The totals of each variant.
pub fn totals(outcomes: &[Outcome]) -> BTreeMap<Variant, Count> {
    let mut totals: BTreeMap<Variant, Count> = BTreeMap::new();
    for outcome in outcomes {
        totals.entry(outcome.variant).or_default().add(&outcome.verdict);
    }
    totals
}

#[derive(Serialize)]
struct Json<'a> {
    date: &'a str,
    totals: BTreeMap<Variant, Count>,
    cases: &'a [Outcome],
}

/// # Errors
/// It cannot be written as JSON, which does not happen.
pub fn json(outcomes: &[Outcome], date: &str) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Json { date, totals: totals(outcomes), cases: outcomes })
}

const LEGEND: &str = "\
Every node case of ONNX 1.20's backend tests, as a bare `.onnx` file through Picket's own loading, guards and backend:

- **pass**: served, and the answer is right: same type and shape as announced and as wanted, floats within 1e-3 relative or 1e-5
  absolute (what ONNX Runtime asks of itself on these cases), halves within 1e-2 of the largest value, integers and bools equal.
- **refuse**: not served, with a stable code and a reason. A panic while loading is caught, and refuses the model; so does a run on
  zeros and on ones that both fail, which every model without golden vectors has to pass before it serves.
- **wrong**: served, and then the answer is wrong, or the run fails or panics.
- **crash**: the process dies, needs more than 4 GiB, or takes longer than a minute.

*Given*: all inputs come with the job. *Constant*: all inputs but the first are constants of the model, as weights, axes and
shapes are in real models (cases with more than one input).
";

const BEYOND: &str = "\
What ONNX's cases leave out (older operator sets, groups, directions, lengths, per-channel scales, half precision, operators
between quantisers), made by `more.py` and answered by ONNX Runtime on the same machine. Left out where ONNX Runtime's answer is
nobody's duty: ties after a division, the code of a NaN, a negative float as unsigned integer.
";

/// The committed report: `beyond` ONNX's own cases, or of them.
pub fn markdown(outcomes: &[Outcome], date: &str, profile: &str, beyond: bool) -> String {
    let mut text = if beyond {
        format!("\n# Beyond ONNX's own cases\n\n{BEYOND}\n")
    } else {
        format!(
            "# ONNX operator conformance\n\nMade by `tests/conformance/run --more` on {date}, {profile} build.\n\n{LEGEND}\n"
        )
    };
    text += "| | pass | refuse | wrong | crash |\n|---|--:|--:|--:|--:|\n";
    for (variant, count) in totals(outcomes) {
        let _ = writeln!(text, "| {} |{}", name(variant), count.cells());
    }
    text += "\n## By operator\n\n| operator | given: pass | refuse | wrong | crash | constant: pass | refuse | wrong | crash | refused because |\n";
    text += "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|\n";
    let mut operators: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        operators.entry(&outcome.operator).or_default().push(outcome);
    }
    for (operator, outcomes) in &operators {
        let _ = write!(text, "| {operator} |");
        for variant in [Variant::Given, Variant::Constant] {
            let mut count = Count::default();
            outcomes.iter().filter(|o| o.variant == variant).for_each(|o| count.add(&o.verdict));
            text += &count.cells();
        }
        let _ = writeln!(text, " {} |", reasons(outcomes));
    }
    text += &faults(outcomes);
    if beyond { text } else { text + &corrected() }
}

/// The most frequent reasons of refusals, with how many cases each.
fn reasons(outcomes: &[&Outcome]) -> String {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in outcomes {
        if let Verdict::Refuse(why) = &outcome.verdict {
            *reasons.entry(short(why)).or_default() += 1;
        }
    }
    let mut reasons: Vec<(String, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| Reverse(*count));
    let more = reasons.len().saturating_sub(REASONS);
    let mut lines: Vec<String> = reasons.iter().take(REASONS).map(|(why, count)| format!("{count} × {why}")).collect();
    lines.extend((more > 0).then(|| format!("{more} more")));
    lines.join("; ")
}

/// What is left of a reason without what differs from case to case: names and numbers.
fn short(why: &str) -> String {
    let line = why.lines().next().unwrap_or_default();
    // Between quotes stand the names of bundle, node and value.
    let line: String = line.split('"').step_by(2).collect();
    let mut rest = line.as_str();
    for lead in ["model/unsupported: ", "bundle : ", "tract cannot run this model: "] {
        rest = rest.strip_prefix(lead).unwrap_or(rest);
    }
    let plain = rest.replace('|', "\\|").replace(|c: char| c.is_ascii_digit(), "#").replace("  ", " ");
    let mut once = String::new();
    for c in plain.chars().take(REASON_CHARS) {
        if c != '#' || !once.ends_with('#') {
            once.push(c);
        }
    }
    once
}

/// Wrong answers and crashes one by one.
fn faults(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        if let Verdict::Wrong(why) | Verdict::Crash(why) = &outcome.verdict {
            let kind = if matches!(outcome.verdict, Verdict::Wrong(_)) { "wrong" } else { "crash" };
            let line = why.lines().next().unwrap_or_default();
            let _ = writeln!(text, "- {kind}: {} ({}): {line}", outcome.case, name(outcome.variant));
        }
    }
    if text.is_empty() { text } else { format!("\n## Wrong and crashed\n\n{text}") }
}

/// Where not the archive's answer is wanted.
fn corrected() -> String {
    let line = |c: &Correction| format!("- {}: {}\n", c.case, c.why);
    let lines: String = CORRECTIONS.iter().map(line).collect();
    format!(
        "\n## Corrected cases\n\nWhat later releases of ONNX want of these, and what ONNX Runtime gives, is wanted here:\n\n{lines}"
    )
}

const fn name(variant: Variant) -> &'static str {
    match variant {
        Variant::Given => "given",
        Variant::Constant => "constant",
    }
}
