//! `picket completions`: what a shell has to know to complete this program's command line.

use std::io::{self, Write};

use anyhow::Context;
use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::{aot, generate};

use super::Cli;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub fn run(shell: Shell) -> anyhow::Result<()> {
    let shell = match shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut for_people(), "picket", &mut script);
    io::stdout().write_all(&script).context("standard output does not take it")
}

/// The command line without what Picket calls itself with.
pub fn for_people() -> Command {
    let all = Cli::command();
    let mut shown = Command::new("picket").arg_required_else_help(true).args(all.get_arguments().cloned());
    if let Some(about) = all.get_about() {
        shown = shown.version(env!("CARGO_PKG_VERSION")).about(about.clone());
    }
    shown.subcommands(all.get_subcommands().filter(|command| !command.is_hide_set()).cloned())
}
