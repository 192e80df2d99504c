//! Replays real rows through Picket's own escalation and through its peers' rules, and writes what came out.

mod budgets;
mod device;
mod drift;
mod promise;
mod queue;
mod report;
mod rows;
mod rules;
mod stats;
mod whole;

use std::{path::PathBuf, process::ExitCode};

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

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let effort = if arguments.quick { Effort { seeds: 4, draws: 125 } } else { Effort { seeds: 20, draws: 500 } };
    let mut report = report::Report::new(&arguments.date, effort);
    for name in SETS {
        let Some(set) = DataSet::load(&arguments.rows.join(format!("{name}.rows")))? else {
            println!("{name}: skipped, there are no rows of it");
            report.skipped(name);
            continue;
        };
        let found = promise::run(&set, effort);
        report.promise(&set, &found);
        let requests = if arguments.quick { 3_000 } else { 10_000 };
        report.budgets(&set, &budgets::run(&set, &found.chosen, effort.seeds, requests));
        let quiet = if arguments.quick { 25_000 } else { 100_000 };
        report.drift(&set, &drift::run(&set, &found.chosen, effort.seeds, quiet));
        report.queue(&set, queue::run(&set, &found.chosen, effort.seeds).as_ref());
        let requests = if arguments.quick { 4_000 } else { 8_000 };
        report.whole(&set, &whole::run(&set, &found.chosen, effort.seeds, requests));
    }
    let (text, broken) = report.finish();
    println!("{text}");
    if !arguments.quick {
        std::fs::write(arguments.out.join("RESULTS.md"), &text)?;
    }
    for line in &broken {
        eprintln!("broken: {line}");
    }
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
