//! A plan for people, for programs, and as a picture.

use std::fmt::Write as _;

use picket_core::escalation::{money::Money, plan};
use serde_json::{Value, json};

use super::{Assumed, Found, Lack, Line};

pub fn text(found: &Found, assumed: &Assumed) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut out, found, assumed);
    let mut rows = vec![
        ["promise", "threshold", "answered locally", "calls a day", "money a day", "right in all"].map(str::to_owned),
    ];
    let whole = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), percent);
    let money = |amount: Money| assumed.cost.map_or_else(|| "–".to_owned(), |_| in_money(amount, assumed));
    let ends = found.ends;
    let all = assumed.question.requests_per_day;
    let provider = ends.map_or(assumed.accuracy, |ends| ends.always_provider);
    rows.push([
        "always the provider".into(),
        "–".into(),
        percent(0.0),
        rounded(all.ceil(), 0),
        money(plan::money(&assumed.question, all)),
        percent(provider),
    ]);
    for (alpha, line) in &found.lines {
        let mark = if found.now == Some(*alpha) { "→ " } else { "" };
        let name = format!("{mark}at most {} wrong", percent_of(*alpha));
        match line {
            Ok(row) => rows.push([
                name,
                format!("{:.4}", row.lambda),
                percent(row.local_share),
                rounded(row.calls_per_day.ceil(), 0),
                money(row.money_per_day),
                whole(row.accuracy),
            ]),
            Err(lack) => rows.push([name, in_words(lack), String::new(), String::new(), String::new(), String::new()]),
        }
    }
    rows.push([
        "always local".into(),
        "–".into(),
        percent(1.0),
        "0".into(),
        money(Money::ZERO),
        whole(ends.map(|e| e.always_local)),
    ]);
    align(&mut out, &rows);
    out.push('\n');
    out.push_str(&foot(found, assumed));
    out
}

fn head(out: &mut String, found: &Found, assumed: &Assumed) -> std::fmt::Result {
    let question = &assumed.question;
    writeln!(
        out,
        "{}: {} labelled cases; each promise holds with {} confidence",
        found.model,
        found.cases,
        percent_of(1.0 - found.delta)
    )?;
    write!(out, "{} requests a day, ", rounded(question.requests_per_day, 0))?;
    match (&assumed.cost, &assumed.provider) {
        (Some(cost), Some(name)) => write!(out, "{cost} a call to {name}, ")?,
        (Some(cost), None) => write!(out, "{cost} a call, ")?,
        (None, _) => {}
    }
    writeln!(
        out,
        "provider right in {}, {} of the requests by lottery\n",
        percent_of(assumed.accuracy),
        percent_of(question.audit_rate)
    )
}

fn foot(found: &Found, assumed: &Assumed) -> String {
    let mut text = String::from(
        "A promise of 2 %: at most 2 of 100 requests are answered by the local model and wrong. All else is asked.\n",
    );
    if found.now.is_some() {
        text.push_str("→ is the promise of the bundle's calibration.\n");
    }
    if found.ends.is_none() {
        text.push_str("With labelled cases (picket plan BUNDLE DATA) the share that is right in all is told, too.\n");
    }
    if assumed.cost.is_none() {
        text.push_str("With --cost-per-call or --config the money is told, too.\n");
    }
    text
}

fn in_words(lack: &Lack) -> String {
    match lack {
        Lack::TooFew(few) => few.to_string(),
        Lack::NotListed => "not in the calibration file: give the labelled cases".to_owned(),
    }
}

/// The first column to the left, numbers to the right; a row without numbers has its sentence there.
fn align(out: &mut String, rows: &[[String; 6]]) {
    let is_sentence = |row: &[String; 6]| row[2].is_empty();
    let width = |column: usize| {
        let counted = rows.iter().filter(|row| column == 0 || !is_sentence(row));
        counted.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    for row in rows {
        let _ = write!(out, "  {:<1$}", row[0], widths[0]);
        if is_sentence(row) {
            let _ = writeln!(out, "   {}", row[1]);
            continue;
        }
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            let _ = write!(out, "   {cell:>width$}");
        }
        out.push('\n');
    }
}

/// 0.845 → `84.5 %`.
fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// 0.001 → `0.1 %`, with no more places than it needs.
fn percent_of(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// With two places, or four where even a day of nothing but calls costs less than one unit.
fn in_money(amount: Money, assumed: &Assumed) -> String {
    let most = plan::money(&assumed.question, assumed.question.requests_per_day).as_units();
    rounded(amount.as_units(), if most < 1.0 { 4 } else { 2 })
}

/// 12345.6 → `12,345.60`.
fn rounded(number: f64, places: usize) -> String {
    let text = format!("{number:.places$}");
    let (whole, part) = text.split_once('.').map_or((&*text, None), |(whole, part)| (whole, Some(part)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    part.map_or(grouped.clone(), |part| format!("{grouped}.{part}"))
}

pub fn document(found: &Found, assumed: &Assumed) -> Value {
    let question = &assumed.question;
    let money = |amount: Money| assumed.cost.map(|_| amount.as_units());
    let row = |(alpha, line): &Line| match line {
        Ok(row) => json!({
            "alpha": alpha, "threshold": row.lambda, "local_share": row.local_share, "calls_per_day": row.calls_per_day,
            "money_per_day": money(row.money_per_day), "accuracy": row.accuracy,
        }),
        Err(Lack::TooFew(few)) => {
            json!({ "alpha": alpha, "cases": few.cases, "cases_missing": few.needed.saturating_sub(few.cases) })
        }
        Err(Lack::NotListed) => json!({ "alpha": alpha, "missing": "data" }),
    };
    let all = question.requests_per_day;
    json!({
        "model": found.model, "cases": found.cases, "delta": found.delta, "promised_now": found.now,
        "requests_per_day": all, "cost_per_call": assumed.cost.map(Money::as_units), "audit_rate": question.audit_rate,
        "provider": assumed.provider, "provider_accuracy": assumed.accuracy,
        "rows": found.lines.iter().map(row).collect::<Vec<_>>(),
        "always_local": { "calls_per_day": 0, "money_per_day": money(Money::ZERO),
            "accuracy": found.ends.map(|ends| ends.always_local) },
        "always_provider": { "calls_per_day": all, "money_per_day": money(plan::money(question, all)),
            "accuracy": found.ends.map_or(assumed.accuracy, |ends| ends.always_provider) },
    })
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Room for the axes.
const MARGIN: f64 = 70.0;

/// Calls a day (and money, which is in proportion) against the promise, which is drawn by its logarithm.
pub fn svg(found: &Found, assumed: &Assumed) -> String {
    let rows: Vec<_> = found.lines.iter().filter_map(|(_, line)| line.as_ref().ok()).collect();
    let ln = |alpha: f64| alpha.ln();
    let low = rows.iter().map(|row| ln(row.alpha)).fold(f64::INFINITY, f64::min);
    let high = rows.iter().map(|row| ln(row.alpha)).fold(f64::NEG_INFINITY, f64::max);
    let all = assumed.question.requests_per_day;
    let x = |alpha: f64| {
        // A single promise stands in the middle.
        let share = if high > low { (ln(alpha) - low) / (high - low) } else { 0.5 };
        MARGIN + share * (WIDTH - 2.0 * MARGIN)
    };
    let y = |calls: f64| HEIGHT - MARGIN - (calls / all).min(1.0) * (HEIGHT - 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let (left, right, bottom, top) = (MARGIN, WIDTH - MARGIN, HEIGHT - MARGIN, MARGIN);
    let text = |x: f64, y: f64, anchor: &str, said: &str| {
        let said = said.replace('&', "&amp;").replace('<', "&lt;");
        format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{said}</text>\n")
    };
    let mut marks = String::new();
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = y(share * all);
        marks += &format!("<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\n");
        marks += &text(left - 6.0, at + 4.0, "end", &rounded(share * all, 0));
        if assumed.cost.is_some() {
            let money = plan::money(&assumed.question, share * all);
            marks += &text(right + 6.0, at + 4.0, "start", &in_money(money, assumed));
        }
    }
    for row in &rows {
        let (x, y) = (x(row.alpha), y(row.calls_per_day));
        marks += &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#1f5fa8\"/>\n");
        marks += &text(x, bottom + 18.0, "middle", &percent_of(row.alpha));
    }
    let points: Vec<String> =
        rows.iter().map(|row| format!("{:.1},{:.1}", x(row.alpha), y(row.calls_per_day))).collect();
    marks +=
        &format!("<polyline points=\"{}\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"2\"/>\n", points.join(" "));
    marks +=
        &text(WIDTH / 2.0, bottom + 44.0, "middle", "at most this share of requests is answered locally and wrong");
    marks += &text(left, top - 16.0, "middle", "calls a day");
    if assumed.cost.is_some() {
        marks += &text(right, top - 16.0, "middle", "money a day");
    }
    marks += &text(WIDTH / 2.0, 24.0, "middle", &format!("{}: what a promise costs", found.model));
    out.push_str(&marks);
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_rounded() {
        for (number, places, text) in [
            (0.0, 0, "0"),
            (999.0, 0, "999"),
            (1_234_567.0, 0, "1,234,567"),
            (1234.5, 2, "1,234.50"),
            (0.004, 2, "0.00"),
        ] {
            assert_eq!(rounded(number, places), text);
        }
        assert_eq!([0.001, 0.02, 0.005].map(percent_of), ["0.1 %", "2 %", "0.5 %"]);
    }
}
