//! Thermal zones, and what the firmware says of throttling.

use std::path::PathBuf;

use picket_core::{heat::ZoneLimits, limits};

use super::{
    profile::{Profile, ThrottleProfile},
    root::{Root, read},
};

const FOLDER: &str = "sys/class/thermal";
/// °C between the first trip point at which the kernel slows the processor down and the soft limit, where a profile has no
/// numbers of its own.
const BEFORE_TRIP: f64 = 10.0;

/// A thermal zone of this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// The type that the kernel gives it, with the zone's number where several have the same.
    pub name: String,
    /// `None`: it is shown, and nothing depends on it.
    pub limits: Option<ZoneLimits>,
    /// In °C, as it was when the board was looked at.
    pub celsius: Option<f64>,
    file: PathBuf,
}

impl Zone {
    /// Now, in °C; `None`: it cannot be read, as those of parts without power.
    pub fn read(&self) -> Option<f64> {
        let thousandths: f64 = read(&self.file)?.trim().parse().ok()?;
        Some(thousandths / 1_000.0)
    }
}

/// The machine's zones; those that count by the profile have limits.
pub fn zones(root: &Root, profile: &Profile) -> Vec<Zone> {
    let folders = root.list(FOLDER).into_iter().filter(|name| name.starts_with("thermal_zone"));
    let mut zones: Vec<Zone> = Vec::new();
    for folder in folders.take(limits::HEAT_ZONES) {
        let Some(kind) = root.read(&format!("{FOLDER}/{folder}/type")) else { continue };
        let known = profile.zones.iter().find(|zone| zone.kind == kind);
        let limits = match known {
            Some(zone) => zone.limits().or_else(|| from_trips(root, &folder)),
            None if profile.zones.is_empty() => from_trips(root, &folder),
            None => None,
        };
        let name = if zones.iter().any(|zone| zone.name == kind) {
            format!("{kind}-{}", folder.trim_start_matches("thermal_zone"))
        } else {
            kind
        };
        let mut zone = Zone { name, limits, celsius: None, file: root.path(&format!("{FOLDER}/{folder}/temp")) };
        zone.celsius = zone.read();
        zones.push(zone);
    }
    zones
}

/// From the first trip point on the kernel slows the processor down, or switches the machine off. Points at which fans
/// start, and those that nobody has set, say nothing.
fn from_trips(root: &Root, folder: &str) -> Option<ZoneLimits> {
    let file = |name: &str| root.read(&format!("{FOLDER}/{folder}/{name}"));
    let point = |name: &String| {
        let stem = name.strip_suffix("_type").filter(|stem| stem.starts_with("trip_point_"))?;
        if !["passive", "hot", "critical"].contains(&file(name)?.as_str()) {
            return None;
        }
        let thousandths: f64 = file(&format!("{stem}_temp"))?.trim().parse().ok()?;
        Some(thousandths / 1_000.0).filter(|celsius| *celsius > 0.0)
    };
    let files = root.list(&format!("{FOLDER}/{folder}"));
    let hard = files.iter().filter_map(point).min_by(f64::total_cmp)?;
    ZoneLimits::new(hard - BEFORE_TRIP, hard)
}

/// What the firmware says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// The processor runs slower than it could, now.
    pub slowed: bool,
    /// It has, since somebody asked last.
    pub was_slowed: bool,
    /// The supply is too weak, or was.
    pub under_voltage: bool,
}

/// Bits of `vcgencmd get_throttled`: under-voltage, frequency capped, throttled, soft temperature limit; and the same from bit 16
/// on for what has occurred.
const UNDER_VOLTAGE: u32 = 1 << 0 | 1 << 16;
const SLOWED: u32 = 1 << 2 | 1 << 3;
const WAS_SLOWED: u32 = 1 << 17 | 1 << 18 | 1 << 19;

/// `None`: the board has no such thing, or it cannot be read.
pub fn throttle(root: &Root, profile: &ThrottleProfile) -> Option<Throttle> {
    let ThrottleProfile::RaspberryPi { flags, hwmon } = profile;
    let text = root.read(flags);
    let bits = text.and_then(|text| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok());
    let monitors = root.list("sys/class/hwmon").into_iter().map(|name| format!("sys/class/hwmon/{name}"));
    let alarm = monitors
        .filter(|folder| root.read(&format!("{folder}/name")).as_ref() == Some(hwmon))
        .find_map(|folder| root.read(&format!("{folder}/in0_lcrit_alarm")));
    if bits.is_none() && alarm.is_none() {
        return None;
    }
    let bits = bits.unwrap_or_default();
    Some(Throttle {
        slowed: bits & SLOWED != 0,
        was_slowed: bits & WAS_SLOWED != 0,
        under_voltage: bits & UNDER_VOLTAGE != 0 || alarm.as_deref() == Some("1"),
    })
}
