//! What the node does: measures, sends, and listens.

use cortex_m::singleton;
use embedded_hal::{digital::OutputPin, i2c::I2c};
use embedded_hal_nb::serial::{Read, Write};
use firmware_profiles::{
    nodes::MOTOR_CURRENT,
    sensors::ina219::Ina219,
    uplink::{Block, Uplink},
    wire::NodeId,
};

use crate::handlers;

/// Two readings a second.
const SAMPLES: usize = 10;
/// The profile's 10 Hz.
const SAMPLE_US: u64 = 100_000;

/// Runs for ever.
pub fn run(
    mut port: impl Read<u8> + Write<u8>,
    mut sensor: Ina219<impl I2c>,
    mut lamp: impl OutputPin,
    (node, boot): (NodeId, u32),
    mut now_us: impl FnMut() -> u64,
) -> ! {
    // Not on the stack: the linker counts what it takes, and says so if there is not enough.
    let wire = singleton!(: Uplink<8, 128> = Uplink::new(node, boot, &MOTOR_CURRENT));
    let block = singleton!(: Block<2, SAMPLES> = Block::new(&MOTOR_CURRENT));
    let (Some(wire), Some(block)) = (wire, block) else { panic!("started twice") };
    let mut due_us = now_us();
    loop {
        let now_us = now_us();
        wire.poll(&mut port, now_us, &mut |heard| handlers::heard(&mut lamp, heard));
        if now_us >= due_us {
            due_us += SAMPLE_US;
            // A sample that the bus lost is missing; the next reading's time says so.
            if let (Ok(current), Ok(supply)) = (sensor.current(), sensor.supply()) {
                block.sample(now_us, &[current.get(), supply.get()]);
            }
        }
        if wire.is_welcome() && block.hand_over(wire).is_err() {
            panic!("a reading has no place in a frame");
        }
    }
}
