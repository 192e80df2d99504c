//! What is missing on this machine, and what to do about it.

use serde::Serialize;

use super::{Board, machine, profile::Rtc};

/// Something that works worse than it could.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Stable.
    pub code: &'static str,
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

fn warning(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Warning {
    Warning { code, message: message.into(), hint: hint.into() }
}

pub(super) fn of(board: &Board) -> Vec<Warning> {
    let parts = [cgroup(board), clock(board), vectors(board), features(board), governor(board)];
    let throttle = [under_voltage(board), slowed(board), zones(board)];
    parts.into_iter().chain(throttle).flatten().collect()
}

fn cgroup(board: &Board) -> Option<Warning> {
    if board.memory_cgroup? {
        return None;
    }
    let usual = "boot the kernel with `cgroup_enable=memory`, or without `cgroup_disable=memory`";
    let hint = board.profile.memory_cgroup_hint.as_deref().unwrap_or(usual);
    Some(warning(
        "limits/memory-cgroup-off",
        "the kernel enforces no memory limits: MemoryMax= of a service does nothing",
        hint,
    ))
}

fn clock(board: &Board) -> Option<Warning> {
    if board.clocks > 0 || board.profile.rtc == Some(Rtc::Firmware) {
        return None;
    }
    let message = match board.profile.rtc {
        Some(Rtc::Board) => {
            "the board's real-time clock has no driver: after a power loss the time is wrong until NTP answers"
        }
        _ => "there is no real-time clock: after a power loss the time is wrong until NTP answers",
    };
    let hint = "deadlines across reboots count only by a clock that NTP vouches for; add a clock (a DS3231 and its overlay), or run a time server nearby";
    Some(warning("board/no-rtc", message, hint))
}

fn vectors(board: &Board) -> Option<Warning> {
    let arm = board.cpu.arch.is_some_and(|arch| arch != "x86-64");
    if !arm || machine::has_feature(&board.cpu, "neon") {
        return None;
    }
    Some(warning(
        "board/no-neon",
        "the processor has no NEON: inference runs several times slower",
        "use another board, or smaller models",
    ))
}

fn features(board: &Board) -> Option<Warning> {
    let neon = |feature: &&String| ["asimd", "neon"].contains(&feature.as_str());
    // A 32-bit system does not name them all.
    let same_width = board.profile.detect.arch.is_some() || board.cpu.arch != Some("armv7");
    let missing: Vec<&str> = board
        .profile
        .features
        .iter()
        .filter(|feature| !neon(feature))
        .filter(|feature| !machine::has_feature(&board.cpu, feature))
        .map(String::as_str)
        .collect();
    if missing.is_empty() || !same_width {
        return None;
    }
    let message =
        format!("the processor does not have {}: inference runs slower than on others of its kind", missing.join(", "));
    Some(warning(
        "board/feature-missing",
        message,
        "nothing is wrong; in a virtual machine, pass the host's processor through",
    ))
}

fn governor(board: &Board) -> Option<Warning> {
    let governor = board.governor.as_ref().filter(|governor| machine::is_slow(governor))?;
    let message = format!("the governor {:?} keeps the processor at its lowest frequency", governor.0);
    Some(warning(
        "board/governor-powersave",
        message,
        "set `schedutil`, `ondemand` or `performance` (`cpupower frequency-set -g schedutil`)",
    ))
}

fn under_voltage(board: &Board) -> Option<Warning> {
    board.throttle.filter(|throttle| throttle.under_voltage)?;
    let message = "the supply voltage is or was too low: the processor is slowed down, and cards lose data";
    Some(warning("board/under-voltage", message, "use the maker's power supply and a short, thick cable"))
}

fn slowed(board: &Board) -> Option<Warning> {
    board.throttle.filter(|throttle| throttle.slowed || throttle.was_slowed)?;
    let message = "the firmware slows the processor down, or has done so lately";
    Some(warning(
        "board/throttled",
        message,
        "cool the board better, or see to its supply; `vcgencmd get_throttled` tells which",
    ))
}

fn zones(board: &Board) -> Option<Warning> {
    if board.zones.iter().any(|zone| zone.limits.is_some()) {
        return None;
    }
    // A virtual machine has none, and nothing that gets hot.
    let expected = !board.profile.zones.is_empty();
    expected.then(|| {
        warning(
            "board/no-thermal-zone",
            "no thermal zone of the board is there: heat is not watched",
            "load the kernel's thermal driver; in a container, mount /sys and say where: `[device] sysfs`",
        )
    })
}
