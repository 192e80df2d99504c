//! `kind = "exec"`: any command that writes pictures to its standard output: `rpicam-vid`, `ffmpeg`, a script.
//!
//! The newest frame wins: while one is in work, the one that waits is replaced by every later one. A frame is not worth a
//! disk: give its model `durable = false`.

use std::{future::Future, path::Path, pin::Pin, time::Duration};

use bytes::Bytes;
use picket_core::{limits, time::Doubling};
use serde::Deserialize;
use tokio::{
    io::AsyncReadExt,
    time::{Instant, sleep_until},
};
use toml::Spanned;

use super::{
    SourceKind, SourceSetup,
    command::Running,
    desk::{Desk, News},
    frames::{Frames, Layout, Pixel},
    trigger::{RawTrigger, Trigger},
    turn::Turn,
};
use crate::{
    board::Profile,
    config::{ConfigError, Section, words},
};

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
    trigger: Option<RawTrigger>,
    stall_s: Option<Spanned<u64>>,
}

struct Setup {
    command: Vec<String>,
    /// `None`: JPEG after JPEG.
    layout: Option<Layout>,
    max_fps: f64,
    trigger: Option<Trigger>,
    stall: Duration,
}

const MAX_FPS: f64 = 10.0;
const STALL_S: u64 = 10;
const STALL_MAX_S: u64 = 3_600;

impl SourceKind for Exec {
    fn name(&self) -> &'static str {
        "exec"
    }

    fn configure(
        &self,
        section: Section<'_>,
        folder: &Path,
        board: &Profile,
    ) -> Result<Box<dyn SourceSetup>, ConfigError> {
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
        let trigger = raw.trigger.as_ref().map(|raw| Trigger::check(&section, raw, folder, board)).transpose()?;
        let command = raw.command.into_inner();
        Ok(Box::new(Setup { command, layout, max_fps, trigger, stall: Duration::from_secs(stall_s) }))
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
        let no_program = (!found).then(|| format!("there is no program {program}"));
        no_program.or_else(|| self.trigger.as_ref()?.missing())
    }

    fn run(self: Box<Self>, desk: Desk) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { Camera::new(*self, desk).live().await })
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
    turn: Turn<Bytes>,
    /// An operator has been told that no frames come.
    out: bool,
    /// So the commands before have failed.
    retry: Doubling,
}

impl Camera {
    fn new(mut setup: Setup, desk: Desk) -> Self {
        let edges = setup.trigger.take().map(|trigger| trigger.start(&desk));
        Self { setup, desk, turn: Turn::new(edges), out: false, retry: super::retry() }
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
                    if started.elapsed() >= Duration::from(limits::SOURCE_RETRY_MAX) {
                        self.retry.reset();
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
        let until = Instant::now() + Duration::from(self.retry.wait());
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                news = self.desk.news() => match news {
                    News::Ended(ended) => self.turn.hear(&self.desk, &ended).await,
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
            let apart = apart(self.setup.max_fps, self.desk.rate.get());
            self.turn.hand_in(&self.desk, apart, |frame| frames.content(frame)).await;
            let turn = self.turn.due();
            tokio::select! {
                biased;
                news = self.desk.news() => match news {
                    News::Ended(ended) => self.turn.hear(&self.desk, &ended).await,
                    News::Stop => return Over::Stopped,
                },
                () = sleep_until(turn.unwrap_or(stalled_at)), if turn.is_some() => {}
                () = self.turn.edge() => self.turn.arm(&self.desk),
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
        self.turn.offer(&self.desk, frame, found);
        if std::mem::take(&mut self.out) {
            self.desk.tell("source/back", "frames come again").await;
        }
        true
    }
}

/// Between one job and the next; longer while the board is hot.
fn apart(max_fps: f64, rate: f64) -> Duration {
    Duration::from_secs_f64(1.0 / (max_fps * rate).max(1e-3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_stretches_the_time_between_two_frames() {
        assert_eq!(apart(10.0, 1.0), Duration::from_millis(100));
        assert_eq!(apart(10.0, 0.25), Duration::from_millis(400));
        assert_eq!(apart(1e-9, 1e-6), Duration::from_secs(1_000));
    }
}
