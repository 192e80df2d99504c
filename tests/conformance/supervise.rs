//! Cases run in child processes of this binary: what takes one down, or never ends, is one crash and not the end.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::{
    cases::{Case, Variant},
    run_case::{self, Verdict},
};

/// A case takes milliseconds; one that takes this long never ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// Address space of a child.
const MEMORY_BYTES: u64 = 4 << 30;
/// Verdicts between a child and us.
const QUEUE: usize = 64;

pub const VARIANTS: [Variant; 2] = [Variant::Given, Variant::Constant];

/// What came of one case in one variant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub case: String,
    pub operator: String,
    pub variant: Variant,
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// All that there is to run: every case as it is, and with constants where it has more than one input.
pub fn plan(cases: &[Case]) -> Vec<(&Case, Variant)> {
    let variants = |case| VARIANTS.into_iter().map(move |variant| (case, variant));
    let differs = |(case, variant): &(&Case, Variant)| *variant == Variant::Given || case.inputs.len() > 1;
    cases.iter().flat_map(variants).filter(differs).collect()
}

/// Runs `plan[from]`, `plan[from + step]` … in this process, with one line on standard output for each.
///
/// # Errors
/// Nobody reads the lines.
pub fn child(plan: &[(&Case, Variant)], from: usize, step: usize) -> Result<()> {
    setrlimit(Resource::As, Rlimit { current: Some(MEMORY_BYTES), maximum: Some(MEMORY_BYTES) })?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let folder = tempfile::tempdir()?;
    let mut out = std::io::stdout().lock();
    for (case, variant) in plan.iter().skip(from).step_by(step) {
        let verdict = run_case::run(case, *variant, folder.path());
        writeln!(out, "{}", serde_json::to_string(&verdict)?)?;
        out.flush()?;
    }
    Ok(())
}

/// Runs the plan in `jobs` child processes at a time; outcomes in the plan's order.
///
/// # Errors
/// A child cannot be started, or says something else than verdicts.
pub fn run(plan: &[(&Case, Variant)], jobs: usize, archive: &Path, only: &str) -> Result<Vec<Outcome>> {
    let mut verdicts: Vec<Option<Verdict>> = vec![None; plan.len()];
    let parts: Vec<Result<Vec<(usize, Verdict)>>> = thread::scope(|scope| {
        let worker = |first| scope.spawn(move || lane(plan.len(), first, jobs, archive, only));
        let workers: Vec<_> = (0..jobs).map(worker).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| anyhow::bail!("a lane panicked"))).collect()
    });
    for part in parts {
        for (index, verdict) in part? {
            verdicts[index] = Some(verdict);
        }
    }
    let outcome = |((case, variant), verdict): (&(&Case, Variant), Option<Verdict>)| {
        let verdict = verdict.context("a case without a verdict")?;
        Ok(Outcome { case: case.name.clone(), operator: case.operator.clone(), variant: *variant, verdict })
    };
    plan.iter().zip(verdicts).map(outcome).collect()
}

/// Every `step`th case from `next` on, in one child after the other.
fn lane(end: usize, mut next: usize, step: usize, archive: &Path, only: &str) -> Result<Vec<(usize, Verdict)>> {
    let mut found = Vec::new();
    while next < end {
        let mut child = start(next, step, archive, only)?;
        let lines = lines(&mut child)?;
        while next < end {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => found.push((next, serde_json::from_str(&line).context(line)?)),
                Err(RecvTimeoutError::Disconnected) => {
                    found.push((next, Verdict::Crash(how(child.wait()?))));
                    next += step;
                    break;
                }
                Err(RecvTimeoutError::Timeout) => {
                    child.kill()?;
                    found.push((next, Verdict::Crash(format!("does not end within {PATIENCE:?}"))));
                    next += step;
                    break;
                }
            }
            next += step;
        }
        child.wait()?;
    }
    Ok(found)
}

fn start(from: usize, step: usize, archive: &Path, only: &str) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(archive).args(["--only", only, "--child", &format!("{from},{step}")]);
    // Panics are told in the verdicts.
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?)
}

fn lines(child: &mut Child) -> Result<Receiver<String>> {
    let out = child.stdout.take().context("a child without output")?;
    let (sender, receiver) = sync_channel(QUEUE);
    thread::spawn(move || {
        let lines = BufReader::new(out).lines().map_while(Result::ok);
        // Nobody receives any more when the child was given up.
        lines.into_iter().try_for_each(|line| sender.send(line))
    });
    Ok(receiver)
}

fn how(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("dies of signal {signal}"),
        None => format!("ends with {status}"),
    }
}
