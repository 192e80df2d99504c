//! Subcommands, one file each.

mod bench;
mod calibrate;
mod check;
mod completions;
mod dead;
mod demo;
mod diag;
mod explain;
mod export;
mod http;
mod infer;
mod ledger;
mod manual;
mod model;
mod plan;
mod prove;
mod replay;
mod run;
mod status;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    bundle::Bundle,
    config::ConfigError,
    inference::{admit::admit, prover::Prover, served::Served},
    store::redb::OpenError,
};

/// An edge inference daemon: ONNX models next to the machine, jobs over MQTT and HTTP, doubtful cases asked upstream.
#[derive(Debug, Parser)]
#[command(name = "picket", version, arg_required_else_help = true)]
pub struct Cli {
    /// Print results as one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Run {
        /// Configuration file; `conf.d/*.toml` beside it is read too.
        #[arg(long, default_value = "/etc/picket/picket.toml")]
        config: PathBuf,
    },
    /// Read the configuration and prove its models; open nothing.
    Check {
        #[arg(long, default_value = "/etc/picket/picket.toml")]
        config: PathBuf,
    },
    /// What a shell needs to complete this program's command line, on standard output.
    Completions {
        /// Which shell.
        shell: completions::Shell,
    },
    /// Show the whole thing at work, with no set-up: broker, local Picket, upstream Picket, handwritten digits.
    Demo {
        /// How long jobs are sent.
        #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=600))]
        seconds: u64,
    },
    /// Answer inputs on the spot, without a broker.
    Infer {
        /// A bundle's folder, or an `.onnx` file.
        bundle: PathBuf,
        /// Inputs: `.json` (Open Inference Protocol request), `.npz` or `.npy`, anything else is a raw tensor.
        #[arg(required = true)]
        inputs: Vec<PathBuf>,
        #[command(flatten)]
        trial: Trial,
    },
    /// Measure a bundle on this machine: load time, latency, jobs per second and core, peak memory.
    Bench {
        bundle: PathBuf,
        /// Least time spent measuring.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        #[command(flatten)]
        trial: Trial,
    },
    /// Measure on labelled cases what may be promised of a model's answers, and write it into its bundle.
    Calibrate(calibrate::Calibrate),
    /// Bring a model of one's own: write a first bundle around an ONNX file, and see what a bundle lacks.
    Model(model::Model),
    /// What each promise would cost: threshold, local share, calls and money a day.
    Plan(plan::Plan),
    /// Jobs that were accepted and got an error instead of an answer.
    Dead(dead::Dead),
    /// What a bug report needs, in one archive without secrets and without inputs.
    Diag(diag::Diag),
    /// Why an answer is what it is, in words.
    Explain(explain::Explain),
    /// Cases that a provider has labelled, as data to train and measure the next local model with.
    Export(export::Export),
    /// What left this device for a provider, and whether the record of it is whole.
    Ledger(ledger::Ledger),
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Manual { folder: PathBuf },
    #[command(hide = true)]
    Prove(prove::Prove),
    /// Make every decision of a log again, and see whether it is the same; or with another policy.
    Replay(replay::Replay),
    /// What a running daemon does now, over its HTTP face.
    Status {
        #[arg(long, default_value = "http://127.0.0.1:8470")]
        url: String,
        /// File with the token, where the daemon wants one.
        #[arg(long)]
        token_file: Option<PathBuf>,
    },
}

/// Exit code of what only a person can change, as a bad configuration (`EX_CONFIG`); systemd does not restart for it.
const BAD_CONFIG: u8 = 78;
/// Exit code when another Picket holds the store (`EX_TEMPFAIL`); systemd tries again.
const STORE_LOCKED: u8 = 75;

/// Runs one command to its exit code.
pub fn run(cli: Cli) -> ExitCode {
    let json = cli.json;
    let result = match cli.command {
        Command::Run { config } => run::run(&config),
        Command::Check { config } => check::run(&config, json),
        Command::Completions { shell } => completions::run(shell),
        Command::Manual { folder } => manual::run(&folder),
        Command::Demo { seconds } => demo::run(seconds, json),
        Command::Infer { bundle, inputs, trial } => infer::run(&bundle, &inputs, &trial, json),
        Command::Bench { bundle, seconds, trial } => bench::run(&bundle, seconds, &trial, json),
        Command::Calibrate(calibrate) => calibrate::run(&calibrate, json),
        Command::Model(model) => model::run(&model, json),
        Command::Plan(plan) => plan::run(&plan, json),
        Command::Prove(prove) => return prove::run(&prove),
        Command::Dead(dead) => dead::run(&dead, json),
        Command::Diag(diag) => diag::run(&diag, json),
        Command::Explain(explain) => explain::run(&explain, json),
        Command::Export(export) => export::run(&export, json),
        Command::Ledger(ledger) => ledger::run(&ledger, json),
        Command::Replay(replay) => replay::run(&replay, json),
        Command::Status { url, token_file } => status::run(&url, token_file.as_deref(), json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", one_line(&error));
            exit_code(&error)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref() {
        _ if error.is::<ConfigError>() => ExitCode::from(BAD_CONFIG),
        // As a bad configuration: the next start would find the same.
        Some(OpenError::Newer(..)) => ExitCode::from(BAD_CONFIG),
        Some(OpenError::Locked(_)) => ExitCode::from(STORE_LOCKED),
        _ => ExitCode::FAILURE,
    }
}

/// `error[code]: …`; errors without a code of their own are `cli/failed`.
fn one_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    if text.starts_with("error[") { text } else { format!("error[cli/failed]: {text}") }
}

/// Where a model is tried out before it is loaded.
#[derive(Debug, Default, clap::Args)]
pub struct Trial {
    /// Load the model without the trial in a child process, for emulators that cannot start one.
    #[arg(long, hide = true)]
    in_process: bool,
}

impl Trial {
    /// Proves a bundle and loads it.
    ///
    /// # Errors
    /// Why it is not served.
    fn load(&self, bundle: Bundle) -> anyhow::Result<Served> {
        let loaded = if self.in_process { Served::load(bundle) } else { admit(bundle, &Prover::this_program()?) };
        loaded.map_err(|failure| failure_error(&failure))
    }
}

/// A failure as the one line that users see.
fn failure_error(failure: &picket_core::job::Failure) -> anyhow::Error {
    anyhow::anyhow!("error[{}]: {}", failure.code, failure.message)
}
