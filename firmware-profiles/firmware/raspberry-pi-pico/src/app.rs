//! What the node does: measures, sends, and listens.

use cortex_m::singleton;
use embedded_hal::{digital::OutputPin, i2c::I2c};
use embedded_hal_nb::serial::{Read, Write};
use firmware_profiles::{
    nodes::MOTOR_VIBRATION,
    sensors::lis3dh::Lis3dh,
    units::StandardGravity,
    uplink::{Block, Uplink},
    wire::NodeId,
};

use crate::handlers;

/// 160 ms at 400 Hz: three readings of 128 bytes, 2.5 kB a second of the 11.5 kB that the wire carries.
const SAMPLES: usize = 64;

/// Runs for ever.
pub fn run(
    mut port: impl Read<u8> + Write<u8>,
    mut sensor: Lis3dh<impl I2c>,
    mut lamp: impl OutputPin,
    (node, boot): (NodeId, u32),
    mut now_us: impl FnMut() -> u64,
) -> ! {
    // Not on the stack: the linker counts what it takes, and says so if there is not enough.
    let wire = singleton!(: Uplink<6, 256> = Uplink::new(node, boot, &MOTOR_VIBRATION));
    let block = singleton!(: Block<3, SAMPLES> = Block::new(&MOTOR_VIBRATION));
    let (Some(wire), Some(block)) = (wire, block) else { panic!("started twice") };
    loop {
        let now_us = now_us();
        wire.poll(&mut port, now_us, &mut |heard| handlers::heard(&mut lamp, heard));
        // A sample that the bus lost is missing; the next reading's time says so.
        if sensor.is_ready() == Ok(true)
            && let Ok(axes) = sensor.acceleration()
        {
            block.sample(now_us, &axes.map(StandardGravity::get));
        }
        if wire.is_welcome() && block.hand_over(wire).is_err() {
            panic!("a reading has no place in a frame");
        }
    }
}
