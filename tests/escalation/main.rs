//! Replays real rows through Picket's own escalation and through its peers' rules, and writes what came out.

mod budgets;
mod device;
mod drift;
mod latency;
mod numbers;
mod pictures;
mod promise;
mod queue;
mod report;
mod rows;
mod rules;
mod stats;
mod tables;
mod whole;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use promise::Effort;
use rows::DataSet;

/// Evaluates escalation on the rows that train.py wrote
#[derive(Parser)]
struct Arguments {
    /// Folder with the rows
    rows: PathBuf,
    /// Few repetitions; fails where a hard promise is broken, and writes nothing
    #[arg(long)]
    quick: bool,
    /// Where RESULTS.md and pictures/ go
    #[arg(long, default_value = "tests/escalation")]
    out: PathBuf,
    /// Date of the run, for RESULTS.md
    #[arg(long, default_value = "")]
    date: String,
}

const SETS: [&str; 4] = ["digits", "mnist", "hydraulic", "gas"];
/// Sets whose answers are no classes.
const NUMBERS: [&str; 3] = ["efficiency", "leakage", "valve"];

/// All that was measured on one set.
pub struct Measured {
    pub set: DataSet,
    pub promise: promise::Found,
    pub budgets: budgets::Found,
    pub drift: drift::Found,
    pub queue: Option<queue::Found>,
    pub whole: whole::Found,
    pub latency: latency::Found,
}

/// How many requests each part replays.
struct Length {
    budget: usize,
    quiet: u64,
    day: usize,
}

fn measure(set: DataSet, effort: Effort, length: &Length) -> Measured {
    let promise = promise::run(&set, effort);
    let chosen = &promise.chosen;
    Measured {
        budgets: budgets::run(&set, chosen, effort.seeds, length.budget),
        drift: drift::run(&set, chosen, effort.seeds, length.quiet),
        queue: queue::run(&set, chosen, effort.seeds),
        whole: whole::run(&set, chosen, effort.seeds, length.day),
        latency: latency::run(&set, chosen),
        promise,
        set,
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let (effort, length) = if arguments.quick {
        (Effort { seeds: 4, draws: 125 }, Length { budget: 3_000, quiet: 25_000, day: 4_000 })
    } else {
        (Effort { seeds: 20, draws: 500 }, Length { budget: 10_000, quiet: 100_000, day: 8_000 })
    };
    let (mut all, mut skipped) = (Vec::new(), Vec::new());
    for name in SETS {
        let Some(set) = DataSet::load(&arguments.rows.join(format!("{name}.rows")))? else {
            println!("{name}: skipped, its data is not there");
            skipped.push(name);
            continue;
        };
        println!("{name}: {} rows", set.rows.len());
        all.push(measure(set, effort, &length));
    }
    let mut numbers = Vec::new();
    for name in NUMBERS {
        let Some((head, groups, rows)) = numbers::load(&arguments.rows.join(format!("{name}.numbers")))? else {
            println!("{name}: skipped, its data is not there");
            skipped.push(name);
            continue;
        };
        println!("{name}: {rows} rows");
        numbers.push(numbers::run(head, groups, rows, effort));
    }
    let text = report::text(&arguments.date, effort, &all, &numbers, &skipped);
    println!("{text}");
    if !arguments.quick {
        let folder = arguments.out.join("pictures");
        fs::create_dir_all(&folder)?;
        fs::write(arguments.out.join("RESULTS.md"), &text)?;
        for one in &all {
            let name = &one.set.head.name;
            pictures::risk(&folder, name, &one.promise)?;
            pictures::money(&folder, name, &one.budgets)?;
            pictures::days(&folder, name, &one.whole)?;
        }
    }
    let broken = report::broken(&all, &numbers);
    broken.iter().for_each(|line| eprintln!("broken: {line}"));
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
