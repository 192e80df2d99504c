//! From a job to the line that moves: jobs over the HTTP face, one after the other, and the file of an output that makes a
//! pulse for each answer.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};

use crate::{figures, http};

const WARM_UP: usize = 20;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub struct Args {
    /// unix:/path or 127.0.0.1:port
    #[arg(long)]
    connect: String,
    /// The output's
    #[arg(long)]
    file: PathBuf,
    #[arg(long, default_value_t = 500)]
    jobs: usize,
}

/// Microseconds since 1970, as the output's file has them.
fn wall_us() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e6
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut stream = http::connect(&args.connect)?;
    // Eight by eight dots, 0 to 16: some digit or other. The output waits for all of them.
    let pixels: Vec<f32> = (0..64).map(|i| (i as f32 * 0.618_034).fract() * 16.0).collect();
    let request = http::request("digits", "pixels", &pixels, true);
    let mut line = Line::open(&args.file)?;
    let (mut sent, mut results, mut totals) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..WARM_UP + args.jobs {
        // Not in step with anything that ticks in milliseconds.
        let (begin, pause) = (Instant::now(), Duration::from_micros(2_000 + number as u64 * 618 % 1_000));
        while begin.elapsed() < pause {
            std::hint::spin_loop();
        }
        sent.push(wall_us());
        stream.write_all(&request)?;
        let answer: serde_json::Value = serde_json::from_slice(&http::answer(stream.as_mut())?)?;
        results.push(wall_us());
        totals.push(answer["parameters"]["total_ms"].as_f64().context("an answer without its time")?);
        line.wait_for_pulse(sent.len())?;
    }
    let between = |from: &[f64], to: &[f64]| {
        figures(from.iter().zip(to).skip(WARM_UP).map(|(from, to)| (to - from) / 1e6).collect())
    };
    let found = serde_json::json!({
        "job_to_edge": between(&sent, &line.rises), "job_to_result": between(&sent, &results),
        "edge_to_result": between(&line.rises, &results),
        "daemon_total": figures(totals.iter().skip(WARM_UP).map(|millis| millis / 1e3).collect()),
    });
    println!("{found}");
    Ok(())
}

/// The output's file, read as it grows.
struct Line {
    file: File,
    text: String,
    is_high: bool,
    /// When the line went high, in microseconds since 1970.
    rises: Vec<f64>,
}

impl Line {
    /// What stands there already is of no concern.
    fn open(path: &Path) -> anyhow::Result<Self> {
        let mut file = File::open(path).with_context(|| format!("{} is the output's file", path.display()))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, text: String::new(), is_high: false, rises: Vec::new() })
    }

    /// Until the line was high so many times, and is low again: two pulses that meet would be one.
    fn wait_for_pulse(&mut self, count: usize) -> anyhow::Result<()> {
        let begin = Instant::now();
        while self.rises.len() < count || self.is_high {
            ensure!(begin.elapsed() < PATIENCE, "{count} jobs moved the line {} times", self.rises.len());
            self.file.read_to_string(&mut self.text)?;
            while let Some(end) = self.text.find('\n') {
                let line: String = self.text.drain(..=end).collect();
                let (at, level) = line.trim_end().split_once(' ').context("a time and a level")?;
                self.is_high = level == "1";
                if self.is_high {
                    self.rises.push(at.parse::<f64>()? * 1e6);
                }
            }
        }
        ensure!(self.rises.len() == count, "{count} jobs moved the line {} times", self.rises.len());
        Ok(())
    }
}
