//! A motor or pump that shakes: an accelerometer on its housing.
//!
//! 400 Hz shows what turns at up to 12,000 revolutions per minute (200 Hz); bearings that sing higher need another
//! profile and a faster chip. A window is 1.28 s: two to the ninth samples, for an FFT.

use super::{Channel, Profile};
use crate::units::{Hertz, Unit};

const fn axis(name: &'static str) -> Channel {
    Channel { name, unit: Unit::StandardGravity, rate: Hertz::of(400.0), full_scale: 16.0 }
}

/// Three axes of acceleration.
pub static MOTOR_VIBRATION: Profile =
    Profile { name: "motor-vibration", channels: &[axis("x"), axis("y"), axis("z")], window: 512, hop: 256 };
