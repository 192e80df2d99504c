//! `kind = "exec"`: any command that writes pictures to its standard output: `rpicam-vid`, `ffmpeg`, a script.
//!
//! The newest frame wins: while one is in work, the one that waits is replaced by every later one. A frame is not worth a
//! disk: give its model `durable = false`.

use std::{
    future::Future,
    path::Path,
    pin::Pin,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use picket_core::{job::JobId, limits};
use serde::Deserialize;
use tokio::{
    io::AsyncReadExt,
    time::{Instant, sleep_until},
};
use toml::Spanned;

use super::{
    SourceKind, SourceSetup,
    command::Running,
    desk::{Desk, Ended, News},
    frames::{Frames, Layout, Pixel},
};
use crate::config::{ConfigError, Section, words};

pub struct Exec;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    command: Spanned<Vec<String>>,
    format: Option<Spanned<String>>,
    width: Option<Spanned<u64>>,
    height: Option<Spanned<u64>>,
    pixel: Option<Spanned<String>>,
    max_fps: Option<Spanned<f64>>,
    stall_s: Option<Spanned<u64>>,
}

struct Setup {
    command: Vec<String>,
    /// `None`: JPEG after JPEG.
    layout: Option<Layout>,
    max_fps: f64,
    stall: Duration,
}

const MAX_FPS: f64 = 10.0;
const STALL_S: u64 = 10;
const STALL_MAX_S: u64 = 3_600;

impl SourceKind for Exec {
    fn name(&self) -> &'static str {
        "exec"
    }

    fn configure(&self, section: Section<'_>, _folder: &Path) -> Result<Box<dyn SourceSetup>, ConfigError> {
        let raw: Raw = section.parse()?;
        if raw.command.get_ref().first().is_none_or(String::is_empty) {
            let message = "`command` is a program and its arguments: [\"rpicam-vid\", \"--codec\", \"mjpeg\", …]";
            return Err(section.error(Some(raw.command.span()), message));
        }
        let layout = layout(&section, &raw)?;
        let max_fps = raw.max_fps.as_ref().map_or(MAX_FPS, |fps| *fps.get_ref());
        if !(max_fps > 0.0 && max_fps <= 1_000.0) {
            let message = "`max_fps` is a number above 0, at most 1000";
            return Err(section.error(raw.max_fps.map(|fps| fps.span()), message));
        }
        let stall_s = words::number(&section, "stall_s", raw.stall_s.as_ref(), 1..=STALL_MAX_S, STALL_S)?;
        let command = raw.command.into_inner();
        Ok(Box::new(Setup { command, layout, max_fps, stall: Duration::from_secs(stall_s) }))
    }
}

fn layout(section: &Section<'_>, raw: &Raw) -> Result<Option<Layout>, ConfigError> {
    let is_raw = match &raw.format {
        Some(word) => words::choose(section, "format", word, &[("mjpeg", false), ("raw", true)], &[])?,
        None => raw.pixel.is_some(),
    };
    let given = [raw.width.as_ref().map(Spanned::span), raw.height.as_ref().map(Spanned::span)];
    if !is_raw {
        return match given.into_iter().flatten().next() {
            Some(span) => {
                Err(section.error(Some(span), "a JPEG says itself how large it is; this is for `format = \"raw\"`"))
            }
            None => Ok(None),
        };
    }
    let (Some(width), Some(height), Some(pixel)) = (&raw.width, &raw.height, &raw.pixel) else {
        let message = "raw frames need `width`, `height` and `pixel` (\"rgb24\" or \"gray8\")";
        return Err(section.error(raw.format.as_ref().map(Spanned::span), message));
    };
    let pixel = words::choose(section, "pixel", pixel, &[("rgb24", Pixel::Rgb24), ("gray8", Pixel::Gray8)], &[])?;
    let most = u64::from(limits::JOB_IMAGE_SIDE);
    let side = |key, value: &Spanned<u64>| words::number(section, key, Some(value), 1..=most, 1);
    // Both are at most `JOB_IMAGE_SIDE`.
    let layout = Layout { width: side("width", width)? as u32, height: side("height", height)? as u32, pixel };
    if layout.bytes() > limits::SOURCE_FRAME_BYTES {
        let message = format!("a frame has {} bytes; at most {}", layout.bytes(), limits::SOURCE_FRAME_BYTES);
        return Err(section.error(Some(width.span()), message));
    }
    Ok(Some(layout))
}

impl SourceSetup for Setup {
    fn missing(&self) -> Option<String> {
        let program = self.command.first()?;
        let found = if program.contains('/') {
            Path::new(program).is_file()
        } else {
            let paths = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
        };
        (!found).then(|| format!("there is no program {program}"))
    }

    fn run(self: Box<Self>, desk: Desk) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Camera::new(*self, desk).live())
    }
}

/// Why a command was watched no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Ended,
    Stalled,
    Stopped,
}

struct Camera {
    setup: Setup,
    desk: Desk,
    /// Tells this process's frames from those of earlier ones.
    run: u64,
    number: u64,
    /// The job that has no answer yet.
    in_work: Option<JobId>,
    waiting: Option<Bytes>,
    /// The next job is not made before this.
    next_at: Instant,
    /// An operator has been told that no frames come.
    out: bool,
    /// So the commands before have failed.
    failures: u32,
}

impl Camera {
    fn new(setup: Setup, desk: Desk) -> Self {
        let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Self {
            setup,
            desk,
            run,
            number: 0,
            in_work: None,
            waiting: None,
            next_at: Instant::now(),
            out: false,
            failures: 0,
        }
    }

    async fn live(mut self) {
        while !self.desk.is_stopping() {
            match Running::start(&self.setup.command) {
                Err(error) => {
                    self.is_out("source/ended", &format!("{} cannot be started: {error}", self.setup.command[0])).await
                }
                Ok(mut running) => {
                    let started = Instant::now();
                    let over = self.watch(&mut running).await;
                    let how = running.end(over == Over::Ended).await;
                    match over {
                        Over::Stopped => break,
                        Over::Ended => self.is_out("source/ended", &format!("the command ended: {how}")).await,
                        Over::Stalled => {
                            let message =
                                format!("no frame for {} s: the command was ended", self.setup.stall.as_secs());
                            self.is_out("source/stalled", &message).await;
                        }
                    }
                    if started.elapsed() >= micros(limits::SOURCE_RETRY_MAX) {
                        self.failures = 0;
                    }
                }
            }
            self.pause().await;
        }
        self.desk.drain().await;
    }

    /// Counted each time, told once until frames come again.
    async fn is_out(&mut self, code: &'static str, message: &str) {
        self.desk.count(if code == "source/stalled" { "stalled" } else { "ended" });
        if !std::mem::replace(&mut self.out, true) {
            self.desk.tell(code, message).await;
        }
    }

    /// Between one command and the next.
    async fn pause(&mut self) {
        let doubled = micros(limits::SOURCE_RETRY).saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        let until = Instant::now() + doubled.min(micros(limits::SOURCE_RETRY_MAX));
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                news = self.desk.news() => match news {
                    News::Ended(ended) => self.hear(&ended).await,
                    News::Stop => return,
                },
            }
        }
    }

    /// Until it stops, ends, or brings nothing any more.
    async fn watch(&mut self, running: &mut Running) -> Over {
        let mut frames = self.setup.layout.map_or_else(Frames::mjpeg, Frames::raw);
        let mut buffer = vec![0; limits::SOURCE_READ_BYTES];
        let mut stalled_at = Instant::now() + self.setup.stall;
        loop {
            self.hand_in(&frames).await;
            let turn = (self.waiting.is_some() && self.in_work.is_none()).then_some(self.next_at);
            tokio::select! {
                biased;
                news = self.desk.news() => match news {
                    News::Ended(ended) => self.hear(&ended).await,
                    News::Stop => return Over::Stopped,
                },
                () = sleep_until(turn.unwrap_or(stalled_at)), if turn.is_some() => {}
                read = running.stdout.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return Over::Ended,
                    Ok(read) => {
                        if self.take(&mut frames, &buffer[..read]).await {
                            stalled_at = Instant::now() + self.setup.stall;
                        }
                    }
                },
                () = sleep_until(stalled_at) => return Over::Stalled,
            }
            // What only ever writes must not keep this from being seen.
            if Instant::now() >= stalled_at {
                return Over::Stalled;
            }
        }
    }

    /// Did a frame come?
    async fn take(&mut self, frames: &mut Frames, bytes: &[u8]) -> bool {
        let (mut found, mut newest) = (0, None);
        frames.push(bytes, |frame| {
            found += 1;
            newest = Some(frame);
        });
        let garbage = frames.garbage();
        if garbage > 0 {
            self.desk.count_many("garbage", garbage);
            tracing::info!(source = &*self.desk.name, "source/garbage: what the command writes was no frame");
        }
        let Some(frame) = newest else { return false };
        self.desk.count_many("frames", found);
        let replaced = found - 1 + u64::from(self.waiting.replace(frame).is_some());
        self.desk.count_many("replaced", replaced);
        if std::mem::take(&mut self.out) {
            self.desk.tell("source/back", "frames come again").await;
        }
        true
    }

    /// The frame that waits becomes a job, if it is its turn.
    async fn hand_in(&mut self, frames: &Frames) {
        if self.in_work.is_some() || Instant::now() < self.next_at {
            return;
        }
        let Some(frame) = self.waiting.take() else { return };
        self.number += 1;
        let Ok(id) = JobId::new(&format!("{}/{:x}/{}", self.desk.name, self.run, self.number)) else { return };
        // Kept in step where that is possible: a frame that came a little late does not delay all that follow.
        let apart = Duration::from_secs_f64(1.0 / (self.setup.max_fps * self.desk.rate.get()).max(1e-3));
        let now = Instant::now();
        self.next_at = (self.next_at + apart).max(now + apart / 2);
        self.in_work = Some(id.clone());
        self.desk.submit(id, frames.content(frame), None).await;
    }

    async fn hear(&mut self, ended: &Ended) {
        self.desk.confirm(ended).await;
        // What an earlier process has made is no concern of this one. What the store did not take has no name.
        if ended.job.is_none() || ended.job == self.in_work {
            self.in_work = None;
            self.desk.count(if ended.code.is_some() { "failed" } else { "answered" });
        }
    }
}

fn micros(span: picket_core::time::Span) -> Duration {
    Duration::from_micros(span.as_micros())
}
