//! Time across restarts: what a stored deadline is measured by.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use picket_core::time::Stamp;
use rustix::time::{ClockId, clock_gettime};

/// Tells moments that outlive the process.
pub trait Calendar: Send {
    fn stamp(&self) -> Stamp;
}

/// The machine's own clocks.
pub struct SystemCalendar {
    boot: [u8; 16],
}

impl SystemCalendar {
    pub fn new() -> Self {
        Self { boot: boot_id().unwrap_or_else(rand::random) }
    }
}

impl Default for SystemCalendar {
    fn default() -> Self {
        Self::new()
    }
}

impl Calendar for SystemCalendar {
    fn stamp(&self) -> Stamp {
        // Counts while the machine sleeps, too, and nobody can set it.
        let up = clock_gettime(ClockId::Boottime);
        let up = u64::try_from(up.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(up.tv_nsec).unwrap_or(0) / 1_000;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |wall| wall.as_micros());
        Stamp { boot: self.boot, up, wall: u64::try_from(wall).unwrap_or(u64::MAX), trusted: synchronised() }
    }
}

/// The kernel makes a new one at every boot. Without it every process is a boot of its own.
fn boot_id() -> Option<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).ok().map(u128::to_le_bytes)
}

/// Does a time service say that it has set the clock? A board without a battery comes up in 1970, or wherever it was when
/// it went down.
fn synchronised() -> bool {
    // SAFETY: all zeros is a valid `timex`: with no mode set the call changes nothing and fills the struct in.
    #[expect(unsafe_code, reason = "the kernel's own word on its clock; no safe wrapper offers it")]
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&raw mut timex)
    };
    (0..libc::TIME_ERROR).contains(&state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stamps_of_one_boot_measure_the_time_between_them() {
        let calendar = SystemCalendar::new();
        let (first, second) = (calendar.stamp(), SystemCalendar::new().stamp());
        assert_eq!(first.boot, second.boot, "the boot is the machine's, not the process's");
        assert!(second.up >= first.up && first.up > 0);
        assert!(second.since(&first).as_micros() < 60_000_000);
    }
}
