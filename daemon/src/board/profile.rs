//! What is known of a board before one looks at it: `firmware-profiles/boards/*.toml`, or a file of the owner's.

use std::collections::BTreeMap;

use picket_core::{heat::ZoneLimits, limits};
use serde::Deserialize;

/// One board. firmware-profiles/boards/README.md describes the fields.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    /// As its maker calls it.
    pub title: String,
    pub cpu: Option<String>,
    pub cores: Option<usize>,
    /// Features of the processor without which inference is slow, named as in `/proc/cpuinfo`.
    #[serde(default)]
    pub features: Vec<String>,
    /// As sold.
    #[serde(default)]
    pub memory_mib: Vec<u64>,
    /// `None`: nobody knows.
    pub rtc: Option<Rtc>,
    /// What to do where the kernel enforces no memory limits.
    pub memory_cgroup_hint: Option<String>,
    /// Inference threads of a model whose configuration does not say …
    pub workers: usize,
    /// … and jobs that wait for it at most.
    pub queue: usize,
    pub detect: Detect,
    /// Thermal zones that count. None: all that have trip points.
    #[serde(default, rename = "zone")]
    pub zones: Vec<ZoneProfile>,
    pub throttle: Option<ThrottleProfile>,
    #[serde(default, rename = "serial")]
    pub serials: Vec<Serial>,
    pub gpio: Option<Gpio>,
}

/// Where the time comes from after a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rtc {
    /// There is no real-time clock on the board.
    None,
    /// There is one, with a driver of its own.
    Board,
    /// The firmware has one, which the kernel reads without a driver.
    Firmware,
}

/// What tells the board from others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detect {
    /// Any of these stands in the device tree's `compatible`.
    #[serde(default)]
    pub compatible: Vec<String>,
    /// `aarch64`, `armv7` or `x86-64`: for boards that nothing else tells.
    pub arch: Option<String>,
}

/// A thermal zone, by the type that the kernel gives it. Without numbers the kernel's trip points are the limits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneProfile {
    #[serde(rename = "type")]
    pub kind: String,
    /// In °C.
    pub soft: Option<f64>,
    pub hard: Option<f64>,
}

impl ZoneProfile {
    pub fn limits(&self) -> Option<ZoneLimits> {
        ZoneLimits::new(self.soft?, self.hard?)
    }
}

/// Where the firmware says that it slows the processor down. Paths are relative to the root of the file system.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ThrottleProfile {
    RaspberryPi {
        /// The file with the flags.
        flags: String,
        /// Name of the hardware monitor that knows of under-voltage.
        hwmon: String,
    },
}

/// A serial port that the board itself has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serial {
    pub name: String,
    pub path: String,
}

/// The pins of the header, by name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpio {
    /// Label of the chip that they are lines of, as `gpiodetect` shows it.
    pub chip: String,
    pub pins: BTreeMap<String, Pin>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Number on the header.
    pub pin: u32,
    /// Offset on the chip.
    pub line: u32,
}

impl Profile {
    /// # Errors
    /// What is wrong, with its place in the text where the text is no profile at all.
    pub fn parse(text: &str) -> Result<Self, String> {
        let profile: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let place = line.map_or_else(String::new, |line| format!("line {line}: "));
            format!("{place}{}", error.message().trim_end().replace('\n', " "))
        })?;
        profile.fault().map_or(Ok(profile), Err)
    }

    /// Of a machine that no profile knows.
    pub(super) fn unknown() -> Self {
        Self {
            name: "unknown".to_owned(),
            title: "Some machine".to_owned(),
            cpu: None,
            cores: None,
            features: Vec::new(),
            memory_mib: Vec::new(),
            rtc: None,
            memory_cgroup_hint: None,
            workers: 1,
            queue: limits::MODEL_QUEUE,
            detect: Detect::default(),
            zones: Vec::new(),
            throttle: None,
            serials: Vec::new(),
            gpio: None,
        }
    }

    fn fault(&self) -> Option<String> {
        if let Some(fault) = crate::config::words::id_fault(&self.name) {
            return Some(fault);
        }
        if !(1..=limits::WORKERS_PER_MODEL).contains(&self.workers) {
            return Some(format!("`workers` is {}; possible: 1 to {}", self.workers, limits::WORKERS_PER_MODEL));
        }
        if !(1..=limits::MODEL_QUEUE_MAX).contains(&self.queue) {
            return Some(format!("`queue` is {}; possible: 1 to {}", self.queue, limits::MODEL_QUEUE_MAX));
        }
        let numbers = |zone: &&ZoneProfile| zone.soft.is_some() || zone.hard.is_some();
        if let Some(zone) = self.zones.iter().filter(numbers).find(|zone| zone.limits().is_none()) {
            return Some(format!("zone {}: `soft` is to be below `hard`, both in °C", zone.kind));
        }
        let gpio = self.gpio.as_ref()?;
        let mut lines: Vec<u32> = gpio.pins.values().map(|pin| pin.line).collect();
        let mut pins: Vec<u32> = gpio.pins.values().map(|pin| pin.pin).collect();
        lines.sort_unstable();
        pins.sort_unstable();
        let twice = |sorted: &[u32]| sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        if let Some(pin) = twice(&pins) {
            return Some(format!("pin {pin} of the header stands there twice"));
        }
        twice(&lines).map(|line| format!("line {line} of the chip stands there twice"))
    }

    /// The chip's label and the line of a pin, given as it is named (`GPIO17`) or numbered on the header (`pin11`).
    pub fn line(&self, name: &str) -> Option<(&str, u32)> {
        let gpio = self.gpio.as_ref()?;
        let number = name.strip_prefix("pin").and_then(|number| number.parse::<u32>().ok());
        let by_number = || gpio.pins.values().find(|pin| Some(pin.pin) == number);
        let pin = gpio.pins.get(name).or_else(by_number)?;
        Some((&gpio.chip, pin.line))
    }
}
