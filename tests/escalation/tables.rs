//! The tables of RESULTS.md.

use std::fmt::Write as _;

use picket_core::escalation::{anomaly, fit::Chosen, score::ScoreRule};

use crate::{
    budgets, drift, numbers,
    promise::{self, ALPHAS, RULES, SIZES},
    queue,
    rows::{DataSet, Groups, Row, Split},
    rules, whole,
};

/// What a set is, and how it is scored.
pub fn describe(out: &mut String, set: &DataSet, found: &promise::Found) {
    let head = &set.head;
    let _ = writeln!(
        out,
        "- **{}**: {} ({}). Local: {}. Upstream: {}. A group is: {}. {}\n  Score: {}",
        head.name,
        head.source,
        head.licence,
        head.local,
        head.upstream,
        head.group,
        head.note,
        in_words(&found.chosen)
    );
}

/// Which score was chosen, and by what.
pub fn in_words(chosen: &Chosen) -> String {
    let name = match &chosen.rule {
        ScoreRule::Softmax { temperature } => format!("softmax at T {temperature:.2}"),
        ScoreRule::Logistic { temperature, pnorm, .. } => format!("logistic at T {temperature:.2}, p {pnorm}"),
        // These are no scores of classes, and there is no choice of them.
        other @ (ScoreRule::Distance | ScoreRule::Spread | ScoreRule::Boxes) => format!("{other:?}"),
    };
    match chosen.logistic {
        Some(found) => format!(
            "{name}; held-out AUGRC {:.4} for the softmax, {:.4} for the logistic, standard error of the difference {:.4}.",
            chosen.augrc_msp, found.augrc, found.standard_error
        ),
        None if chosen.augrc.is_nan() => format!("{name}; there are too few groups to try another."),
        None => format!("{name}; the logistic could not be fitted, because no case is wrong in some fold."),
    }
}

/// E1: rules against promises.
pub fn promise(out: &mut String, set: &DataSet, found: &promise::Found) {
    let population = &found.population;
    let _ = writeln!(
        out,
        "\n### {}\n\nPopulation: {} rows in {} groups; the local model is wrong on {:.1} % of requests.\n",
        set.head.name,
        population.rows,
        population.groups.len(),
        100.0 * population.base()
    );
    let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    cells(out, &names, &found.cells);
    unpromised(out, set);
}

/// Rules against promises: draws that break them, and the local share.
fn cells(out: &mut String, rules: &[&str], cells: &[promise::Cell]) {
    let header: Vec<String> = ALPHAS.iter().map(|alpha| format!("α {} %", 100.0 * alpha)).collect();
    let _ = writeln!(out, "| rule | n | {} |\n|---|---|{}", header.join(" | "), "---|".repeat(ALPHAS.len()));
    for (place, rule) in rules.iter().enumerate() {
        for n in SIZES {
            let cells: Vec<_> = cells.iter().filter(|cell| cell.rule == place && cell.n == n).collect();
            if cells.is_empty() {
                continue;
            }
            let shown = cells
                .iter()
                .map(|cell| format!("{}; {} of {:.1}", cell.broken.text(), cell.local.percent(), 100.0 * cell.oracle));
            let _ = writeln!(out, "| {rule} | {n} | {} |", shown.collect::<Vec<_>>().join(" | "));
        }
    }
}

/// E9.
pub fn numbers(out: &mut String, found: &numbers::Found) {
    let numbers::Head { name, source, licence, local, group, .. } = &found.head;
    let population = &found.population;
    let wrong = match found.head.task {
        numbers::Task::Value { tolerance } => {
            format!("off by more than {tolerance} in {:.1} % of requests", 100.0 * population.base())
        }
        numbers::Task::Anomaly { .. } => {
            let side = |(label, (share, wrong)): (&str, &(f64, f64))| {
                format!("{:.1} % '{label}', of them {:.1} % wrong", 100.0 * share, 100.0 * wrong)
            };
            anomaly::LABELS.into_iter().zip(&found.sides).map(side).collect::<Vec<_>>().join("; ")
        }
    };
    let _ = writeln!(
        out,
        "\n### {name}\n\n{source} ({licence}). Local: {local}. A group is: {group}.\n\nPopulation: {} rows in {} groups; the local \
         model says: {wrong}.\n",
        population.rows,
        population.groups.len(),
    );
    cells(out, &found.rules(), &found.cells);
}

/// Rules whose threshold knows nothing of the data.
fn unpromised(out: &mut String, set: &DataSet) {
    let mut rows = set.of(Split::Certify, 0);
    rows.extend(set.of(Split::Stream, 0));
    let weight = Groups::new(rows.iter().map(|row| (row.group, *row))).weighted();
    type Stays = fn(&Row) -> bool;
    let stays: [(&str, Stays); 5] = [
        ("always local", |_| true),
        ("always upstream", |_| false),
        ("fixed 0.90 (Groundlight)", |row| rules::fixed(row, 0.9)),
        ("Sedna Threshold, default 0.5", rules::sedna_threshold),
        ("Sedna CrossEntropy, default 0.5", rules::sedna_entropy),
    ];
    let _ = writeln!(out, "\n| no promise | local | local and wrong | right in all |\n|---|---|---|---|");
    for (name, stay) in stays {
        let sum = |counts: &dyn Fn(&Row) -> bool| -> f64 {
            weight.iter().filter(|(row, _)| counts(row)).map(|(_, weight)| weight).fold(0.0, |sum, w| sum + w)
        };
        let local = sum(&|row| stay(row));
        let joint = sum(&|row| stay(row) && row.local_wrong());
        let right = sum(&|row| if stay(row) { !row.local_wrong() } else { row.upstream_right() });
        let _ = writeln!(out, "| {name} | {:.1} % | {:.2} % | {:.1} % |", 100.0 * local, 100.0 * joint, 100.0 * right);
    }
}

/// E3.
pub fn budgets(out: &mut String, set: &DataSet, found: &budgets::Found) {
    let _ = writeln!(out, "\n### {}\n", set.head.name);
    let days = found.days.iter().map(|day| budgets::DAYS[*day].0);
    let wrong = ["normal, forecast × 0.6", "normal, forecast × 1.6"];
    let header: Vec<&str> = days.chain(wrong).collect();
    let _ = writeln!(out, "| policy | {} |\n|---|{}", header.join(" | "), "---|".repeat(header.len()));
    for (place, (name, _)) in budgets::POLICIES.iter().enumerate() {
        let right = found.cells.iter().map(|day| &day[0][place]);
        let wrong = found.cells.first().into_iter().flat_map(|day| day[1..].iter().map(|cells| &cells[place]));
        let shown = right.chain(wrong).map(|cell| match cell.share.len() {
            0 => "–".to_owned(),
            _ => format!("{} / {:.2}", cell.share.text(), cell.gone.mean()),
        });
        let _ = writeln!(out, "| {name} | {} |", shown.collect::<Vec<_>>().join(" | "));
    }
}

/// E4.
pub fn drift(out: &mut String, set: &DataSet, found: &drift::Found) {
    let header: Vec<&str> = drift::CHANGES.iter().map(|(name, _)| *name).collect();
    let _ = writeln!(
        out,
        "\n### {}\n\n| who listens | {} |\n|---|{}",
        set.head.name,
        header.join(" | "),
        "---|".repeat(header.len())
    );
    for ((name, _), row) in drift::WATCHES.iter().zip(&found.noticed) {
        let shown = row.iter().map(|noticed| match noticed {
            None => "–".to_owned(),
            Some(noticed) => {
                let [audit, escalation, score] = noticed.first;
                let delay = if noticed.delays.len() == 0 {
                    "–".to_owned()
                } else {
                    format!("{:.0}", noticed.delays.median())
                };
                format!(
                    "{} of {}; {delay}; {audit} / {escalation} / {score}; early {}",
                    noticed.delays.len(),
                    noticed.runs,
                    noticed.early
                )
            }
        });
        let _ = writeln!(out, "| {name} | {} |", shown.collect::<Vec<_>>().join(" | "));
    }
    let harm =
        found.noticed.first().into_iter().flatten().map(|noticed| {
            noticed.as_ref().map_or("–".to_owned(), |noticed| format!("{} %", noticed.harm.percent()))
        });
    let _ = writeln!(out, "| *local and wrong while nobody notices* | {} |", harm.collect::<Vec<_>>().join(" | "));
    let [audit, escalation, score] = found.false_alarms;
    let _ = writeln!(
        out,
        "\nWithout a change, Picket's alarms rang {} times in {} requests ({audit} audit, {escalation} escalation, {score} score): {:.2} in 100,000.",
        audit + escalation + score,
        found.quiet,
        found.false_per_100_000()
    );
}

/// E6.
pub fn queue(out: &mut String, set: &DataSet, found: Option<&queue::Found>) {
    let Some(found) = found else {
        let _ =
            writeln!(out, "\n### {}\n\nAsking mends nothing here; there is no order to be right about.", set.head.name);
        return;
    };
    let _ = writeln!(out, "\n### {}\n\n| order | 5 % of the bytes | 20 % |\n|---|---|---|", set.head.name);
    for (name, [few, many]) in queue::ORDERS.iter().zip(&found.share) {
        let _ = writeln!(out, "| {name} | {} % | {} % |", few.percent(), many.percent());
    }
}

/// E8.
pub fn whole(out: &mut String, set: &DataSet, found: &whole::Found) {
    let _ = writeln!(
        out,
        "\n### {}\n\n| policy | {} |\n|---|{}",
        set.head.name,
        found.days.join(" | "),
        "---|".repeat(found.days.len())
    );
    for (place, (name, row)) in whole::POLICIES.iter().zip(&found.cells).enumerate() {
        let shown = row.iter().map(|cell| {
            let promised = if place < whole::PROMISING {
                "–".to_owned()
            } else {
                format!(
                    "{:.0} / {} (most {:.2})",
                    100.0 * cell.certified.mean(),
                    cell.certified_wrong.percent(),
                    100.0 * cell.certified_wrong.most()
                )
            };
            format!("{:.1} / {:.0} / {promised}", 100.0 * cell.right.mean(), 100.0 * cell.asked.mean())
        });
        let _ = writeln!(out, "| {name} | {} |", shown.collect::<Vec<_>>().join(" | "));
    }
    let alarms = found.alarms.iter().zip(&found.days).map(|(alarms, day)| match alarms.len() {
        0 => format!("{day}: none"),
        many => format!("{day}: {many} runs, median after {:.0} requests", alarms.median()),
    });
    let _ = writeln!(
        out,
        "\nPromised: at most {} % of requests, from {} cases. Days on which more was certified and wrong: static {} of {}, \
         Picket {} (labels by humans), {} (by upstream). First alarm of each day (labels by humans): {}. Calls beyond the \
         budget: {}.",
        100.0 * found.alpha,
        found.cases,
        found.broken[0].hits,
        found.broken[0].trials,
        found.broken[1].hits,
        found.broken[2].hits,
        alarms.collect::<Vec<_>>().join("; "),
        found.overspent
    );
}
