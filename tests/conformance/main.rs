//! ONNX's own operator tests, through Picket: which operators it answers right, which it refuses, and that it answers none
//! wrong.

#![allow(clippy::print_stdout, reason = "a report is printed")]

mod cases;
mod compare;
mod corrections;
mod onnx;
mod report;
mod run_case;
mod supervise;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;

/// Runs every case of ONNX's backend tests through Picket.
#[derive(Parser)]
struct Options {
    /// onnx-…-backend-test-data.tar.gz
    archive: PathBuf,
    /// The report as JSON, with every case, instead of the tables.
    #[arg(long)]
    json: bool,
    /// The cases are others than ONNX's own; the report is a part of another one.
    #[arg(long)]
    beyond: bool,
    /// Only cases whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Child processes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Of the report.
    #[arg(long, default_value = "today")]
    date: String,
    /// Run cases in this process: the first, and the distance to the next.
    #[arg(long, hide = true)]
    child: Option<String>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let mut cases = cases::read(&options.archive)?;
    cases.retain(|case| case.name.contains(&options.only));
    let plan = supervise::plan(&cases);
    if let Some(child) = &options.child {
        let (from, step) = child.split_once(',').context("--child FROM,STEP")?;
        supervise::child(&plan, from.parse()?, step.parse()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let outcomes = supervise::run(&plan, options.jobs.max(1), &options.archive, &options.only)?;
    if options.json {
        println!("{}", report::json(&outcomes, &options.date)?);
    } else {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        print!("{}", report::markdown(&outcomes, &options.date, profile, options.beyond));
    }
    let right = report::totals(&outcomes).values().all(|count| count.wrong + count.crash == 0);
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
