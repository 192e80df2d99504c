//! `picket model`: from somebody's ONNX file to a bundle that is served.

mod check;
mod init;

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Model {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a first bundle around an ONNX file, with what can be read from the file and places for what cannot.
    Init(init::Init),
    /// Say everything that is missing or wrong in a bundle; prove it when nothing is.
    Check {
        /// A bundle's folder, or an `.onnx` file.
        bundle: PathBuf,
    },
}

pub fn run(asked: &Model, as_json: bool) -> anyhow::Result<()> {
    match &asked.verb {
        Verb::Init(asked) => init::run(asked, as_json),
        Verb::Check { bundle } => check::run(bundle, as_json),
    }
}
