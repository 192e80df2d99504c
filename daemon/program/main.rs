//! The `picket` command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    picket::cli::run(picket::cli::Cli::parse())
}
