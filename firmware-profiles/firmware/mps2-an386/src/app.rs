//! What the node does: plays recorded cycles as if it measured them, and asks about each.

use core::fmt::Write;

use cortex_m::singleton;
use firmware_profiles::{
    nodes::HYDRAULIC_RIG,
    uplink::{Uplink, WindowError},
    wire::{NodeId, Samples},
};

use crate::{handlers, uart::Uart};

/// Six cycles of the rig; see `cycles/README.md`.
static CYCLES: &[u8] = include_bytes!("../cycles/cycles.bin");
const NODE: NodeId = NodeId(0x386);
const MODEL: &str = "hydraulic-pump";
const CHANNELS: usize = 8;
const SAMPLES: usize = 60;
const CHANNEL_BYTES: usize = SAMPLES * 4;
const CYCLE_BYTES: usize = CHANNELS * CHANNEL_BYTES;
/// A cycle of 60 s is played in one: a reading's samples are of the rig's time, its stamp is of this node's clock.
const CYCLE_US: u64 = 1_000_000;

/// A job takes 1,920 bytes, and some for its frame.
type Wire = Uplink<4, 2048>;

/// Which cycle is being played, and what of it goes out next: eight readings, then the job.
struct Player {
    cycle: usize,
    step: usize,
    start_us: u64,
}

impl Player {
    /// Hands over what is next, until the window is full or the cycle is over.
    fn play(&mut self, wire: &mut Wire, console: &mut Uart, now_us: u64) {
        while self.step <= CHANNELS && wire.has_room() {
            let result = self.hand_over(wire, console);
            if let Err(error) = result {
                let _ = writeln!(console, "cycle {} step {}: {error:?}", self.cycle, self.step);
                return;
            }
            self.step += 1;
        }
        if self.step > CHANNELS && now_us >= self.start_us + CYCLE_US {
            let next = if (self.cycle + 1) * CYCLE_BYTES < CYCLES.len() { self.cycle + 1 } else { 0 };
            *self = Self { cycle: next, step: 0, start_us: now_us };
        }
    }

    fn hand_over(&self, wire: &mut Wire, console: &mut Uart) -> Result<(), WindowError> {
        let cycle = &CYCLES[self.cycle * CYCLE_BYTES..][..CYCLE_BYTES];
        let Some(channel) = HYDRAULIC_RIG.channels.get(self.step) else {
            let seq = wire.job(MODEL, Samples::Floats(cycle))?;
            let _ = writeln!(console, "job seq={seq} cycle={}", self.cycle);
            return Ok(());
        };
        let measured = Samples::Floats(&cycle[self.step * CHANNEL_BYTES..][..CHANNEL_BYTES]);
        let mut counts = [0; 2 * SAMPLES];
        for (place, value) in counts.chunks_exact_mut(2).zip(measured.values(channel.full_scale)) {
            place.copy_from_slice(&Samples::count(value, channel.full_scale).to_le_bytes());
        }
        wire.reading(self.step as u8, self.start_us, Samples::Counts(&counts)).map(drop)
    }
}

/// Runs for ever.
pub fn run(mut port: Uart, mut console: Uart, boot: u32, mut now_us: impl FnMut() -> u64) -> ! {
    // Not on the stack: the linker counts what it takes, and says so if there is not enough.
    let Some(wire) = singleton!(: Wire = Wire::new(NODE, boot, &HYDRAULIC_RIG)) else { panic!("started twice") };
    let mut player = Player { cycle: 0, step: 0, start_us: now_us() };
    let _ = writeln!(console, "node {NODE} boot {boot} profile {}", HYDRAULIC_RIG.name);
    loop {
        let now_us = now_us();
        wire.poll(&mut port, now_us, &mut |heard| handlers::heard(&mut console, heard));
        if wire.is_welcome() {
            player.play(wire, &mut console, now_us);
        }
    }
}
