//! A node of the hydraulic rig on such a line: what the firmware does, cycle after cycle, as fast as it is let.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use firmware_profiles::{
    nodes::HYDRAULIC_RIG,
    uplink::{Heard, Uplink},
    wire::{NodeId, Outcome, RejectCode, Samples},
};

use crate::{line::Line, pty::Pty};

pub const MODEL: &str = "hydraulic-pump";
pub const CHANNELS: usize = 8;
/// Six cycles of the rig, 8 channels × 60 samples of FP32 each.
const CYCLES: &[u8] = include_bytes!("../../../firmware-profiles/firmware/mps2-an386/cycles/cycles.bin");
const CHANNEL_BYTES: usize = 60 * 4;
const CYCLE_BYTES: usize = CHANNELS * CHANNEL_BYTES;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Node {
    wire: Box<Uplink<4, 2_048>>,
    pub line: Line,
    start: Instant,
    /// How often each job was told its answer.
    pub told: BTreeMap<u32, u32>,
    /// When the latest verdict had come, and of which job.
    pub latest: Option<(u32, Instant)>,
    /// Verdicts that were none, by their code.
    pub failed: BTreeMap<String, u32>,
    pub busy: u32,
    pub rejected: u32,
    /// Frames that were handed over.
    pub handed: u64,
}

impl Node {
    pub fn new(id: u64, port: &Path, baud: Option<u32>, log: bool) -> Self {
        // Another one in every run, so that a store that is kept has no answers to our numbers.
        let boot = std::process::id();
        Self {
            wire: Box::new(Uplink::new(NodeId(id), boot, &HYDRAULIC_RIG)),
            line: Line::new(Pty::plug(port), baud, log),
            start: Instant::now(),
            told: BTreeMap::new(),
            latest: None,
            failed: BTreeMap::new(),
            busy: 0,
            rejected: 0,
            handed: 0,
        }
    }

    pub fn is_welcome(&self) -> bool {
        self.wire.is_welcome()
    }

    pub fn has_room(&self) -> bool {
        self.wire.is_welcome() && self.wire.has_room()
    }

    pub fn under_way(&self) -> usize {
        self.wire.under_way()
    }

    /// Frames that had to be sent again.
    pub fn repeated(&self) -> u32 {
        self.wire.line().1
    }

    /// Hands over a whole cycle as a job; returns its number.
    pub fn job(&mut self, cycle: usize) -> u32 {
        self.handed += 1;
        self.wire.job(MODEL, Samples::floats(of(cycle)).unwrap()).unwrap()
    }

    /// Hands over what one channel measured in a whole cycle, as the converter's counts; returns the frame's number.
    pub fn reading(&mut self, cycle: usize, channel: usize, t_us: u64) -> u32 {
        let full_scale = HYDRAULIC_RIG.channels[channel].full_scale;
        let measured = Samples::floats(&of(cycle)[channel * CHANNEL_BYTES..][..CHANNEL_BYTES]).unwrap();
        let counts = measured.values(full_scale).flat_map(|value| Samples::count(value, full_scale).to_le_bytes());
        let counts: Vec<u8> = counts.collect();
        self.handed += 1;
        self.wire.reading(channel as u8, t_us, Samples::Counts(&counts)).unwrap()
    }

    /// The node's clock.
    pub fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// One turn: what has come is read, and what is due goes out.
    pub fn turn(&mut self) {
        let now = Instant::now();
        self.line.pump(now);
        let now_us = now.duration_since(self.start).as_micros() as u64;
        let Self { wire, line, told, latest, failed, busy, rejected, .. } = self;
        wire.poll(line, now_us, &mut |heard| match heard {
            Heard::Verdict(verdict) => {
                *told.entry(verdict.seq).or_default() += 1;
                *latest = Some((verdict.seq, now));
                if !matches!(verdict.outcome, Outcome::Class { .. }) {
                    *failed.entry(format!("{:?}", verdict.outcome)).or_default() += 1;
                }
            }
            Heard::Rejected { code, .. } if code == RejectCode::BUSY => *busy += 1,
            Heard::Rejected { .. } => *rejected += 1,
            Heard::Welcomed | Heard::Acknowledged { .. } | Heard::Fault(_) => {}
        });
        line.pump(now);
    }

    /// Turns until `done`.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            anyhow::ensure!(Instant::now() < end, "not in time: {what}");
            self.turn();
        }
        Ok(())
    }
}

fn of(cycle: usize) -> &'static [u8] {
    let at = cycle % (CYCLES.len() / CYCLE_BYTES) * CYCLE_BYTES;
    &CYCLES[at..at + CYCLE_BYTES]
}
