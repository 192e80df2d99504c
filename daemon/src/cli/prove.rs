//! `picket prove`: what Picket starts itself with when it proves a model. Not for people.

use std::process::ExitCode;

use clap::Args;

use crate::inference::prover::inside;

#[derive(Debug, Args)]
pub struct Prove {
    /// Bytes of memory.
    #[arg(long)]
    memory: u64,
    /// Seconds of a processor.
    #[arg(long)]
    seconds: u64,
    /// Take the time of an inference, too.
    #[arg(long)]
    measure: bool,
}

pub fn run(asked: &Prove) -> ExitCode {
    inside::run(&inside::Asked { memory: asked.memory, seconds: asked.seconds, measure: asked.measure })
}
