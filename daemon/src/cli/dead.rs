//! `picket dead`: jobs that were accepted and got an error instead of an answer.

use std::{
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::http::Face;
use crate::{
    calendar::SystemCalendar,
    config::Config,
    ports::{Clock, DeadLetter, Store, Write},
    store::{
        Names,
        redb::{OpenError, RedbStore, Setup},
    },
};

#[derive(Debug, Args)]
pub struct Dead {
    #[command(subcommand)]
    what: What,
    /// The running daemon's HTTP face.
    #[arg(long, global = true, default_value = "http://127.0.0.1:8470")]
    url: String,
    /// File with the token, where the daemon wants one.
    #[arg(long, global = true)]
    token_file: Option<PathBuf>,
    /// Of a daemon that does not run: look into its store instead.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One line for each, oldest first.
    List,
    /// All that is known of one.
    Show { number: u64 },
    /// Run it once more. Its answer goes where the first one should have gone.
    Retry { number: u64 },
    /// Forget it.
    Drop { number: u64 },
}

pub fn run(dead: &Dead, as_json: bool) -> anyhow::Result<()> {
    match &dead.config {
        Some(path) => at_rest(&Config::load(path)?, &dead.what, as_json),
        None => running(&Face::new(&dead.url, dead.token_file.as_deref())?, &dead.what, as_json),
    }
}

fn running(face: &Face, what: &What, as_json: bool) -> anyhow::Result<()> {
    let number = match what {
        What::List => return print_list(&face.get::<Vec<_>>("/dead")?, as_json),
        What::Show { number } => return print_one(face.get("/dead")?, *number, as_json),
        What::Retry { number } => {
            face.post(&format!("/dead/{number}/retry"))?;
            number
        }
        What::Drop { number } => {
            face.delete(&format!("/dead/{number}"))?;
            number
        }
    };
    say_done(what, *number, as_json);
    Ok(())
}

/// Looks into the store of a daemon that does not run.
fn at_rest(config: &Config, what: &What, as_json: bool) -> anyhow::Result<()> {
    let setup = Setup {
        folder: config.store.path.clone(),
        max_bytes: usize::try_from(config.store.max_bytes).unwrap_or(usize::MAX),
        on_full: config.store.on_full,
        names: Names::default(),
        clock: Clock::start(),
        calendar: Box::new(SystemCalendar::new()),
    };
    let mut store = RedbStore::open(setup).map_err(|error| match error {
        OpenError::Locked(_) => anyhow::Error::new(error)
            .context("the daemon runs: ask it without --config, over its HTTP face ([http] in its configuration)"),
        other => other.into(),
    })?;
    match what {
        What::List => print_list(&store.dead(), as_json),
        What::Show { number } => print_one(store.dead(), *number, as_json),
        What::Retry { .. } => anyhow::bail!("error[dead/not-running]: only a running daemon can run a job again"),
        What::Drop { number } => {
            find(store.dead(), *number)?;
            store.transact(vec![Write::ForgetDead { number: *number }]);
            say_done(what, *number, as_json);
            Ok(())
        }
    }
}

fn find(letters: Vec<DeadLetter>, number: u64) -> anyhow::Result<DeadLetter> {
    let found = letters.into_iter().find(|letter| letter.number == number);
    found
        .with_context(|| format!("error[dead/unknown]: there is no dead letter {number}; `picket dead list` shows all"))
}

fn say_done(what: &What, number: u64, as_json: bool) {
    let word = if matches!(what, What::Retry { .. }) { "retried" } else { "dropped" };
    if as_json {
        println!("{}", serde_json::json!({ word: number }));
    } else {
        println!("{word} {number}");
    }
}

fn print_list(letters: &[DeadLetter], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        println!("{}", serde_json::to_string(letters)?);
        return Ok(());
    }
    if letters.is_empty() {
        println!("no dead letters");
        return Ok(());
    }
    println!("{:>6}  {:<20}  {:<24}  {:<16}  {:>8}  job", "number", "since", "code", "model", "attempts");
    for letter in letters {
        let DeadLetter { number, code, model, attempts, id, .. } = letter;
        println!("{number:>6}  {:<20}  {code:<24}  {model:<16}  {attempts:>8}  {id}", utc(letter.since).to_string());
    }
    Ok(())
}

fn print_one(letters: Vec<DeadLetter>, number: u64, as_json: bool) -> anyhow::Result<()> {
    let letter = find(letters, number)?;
    if as_json {
        println!("{}", serde_json::to_string(&letter)?);
        return Ok(());
    }
    println!("job       {}", letter.id);
    println!("model     {}", letter.model);
    println!("error     {}: {}", letter.code, letter.message);
    println!("attempts  {}", letter.attempts);
    println!("since     {}", utc(letter.since));
    println!("digest    sha256:{}", letter.digest);
    println!("input     {} bytes, the first in base64: {}", letter.bytes, letter.first);
    Ok(())
}

fn utc(seconds: u64) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds))
}
