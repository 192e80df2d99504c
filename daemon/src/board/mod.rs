//! The board that this is: what its profile says, and what the machine shows. Reads, never writes.
//!
//! A board is one file in `firmware-profiles/boards/` and one row in the table here.

mod machine;
mod profile;
mod root;
mod table;
mod thermal;
mod warnings;
pub mod watch;

#[cfg(test)]
mod tests;

use std::path::Path;

use picket_core::limits;
use serde_json::{Value, json};

pub use self::{
    machine::Cpu,
    profile::{Gpio, Pin, Profile, Rtc, Serial},
    root::Root,
    table::names,
    thermal::{Throttle, Zone},
    warnings::Warning,
};

/// What was found.
#[derive(Clone, Debug)]
pub struct Board {
    pub profile: Profile,
    /// Why it is this one.
    pub why: String,
    /// What the device tree calls the machine.
    pub model: Option<String>,
    pub cpu: Cpu,
    pub memory_mib: Option<u64>,
    pub zones: Vec<Zone>,
    /// `None`: the firmware does not say.
    pub throttle: Option<Throttle>,
    /// Frequency governor, and the driver below it.
    pub governor: Option<(String, String)>,
    /// Real-time clocks with a driver.
    pub clocks: usize,
    /// The kernel enforces memory limits. `None`: it does not say.
    pub memory_cgroup: Option<bool>,
    root: Root,
}

/// Which profile is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// By device tree, else by processor.
    Auto,
    Name(&'a str),
    File(&'a Path),
}

/// Why there is no such board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No profile has this name.
    Name,
    Unreadable(String),
    /// The file is no profile.
    Invalid(String),
}

impl Board {
    /// Looks at the machine under `root`.
    ///
    /// # Errors
    /// The profile that was asked for cannot be had. With [`Choice::Auto`] there always is one.
    pub fn look(root: Root, choice: Choice<'_>) -> Result<Self, Missing> {
        let (compatible, model) = machine::device_tree(&root);
        let cpu = machine::cpu(&root);
        let (profile, why) = match choice {
            Choice::Auto => detect(&compatible, &cpu),
            Choice::Name(name) => {
                let profile = table::named(name).ok_or(Missing::Name)?.map_err(Missing::Invalid)?;
                (profile, "the configuration says so".to_owned())
            }
            Choice::File(path) => (
                Profile::parse(&text_of(path)?).map_err(Missing::Invalid)?,
                format!("the configuration names {}", path.display()),
            ),
        };
        Ok(Self::seen(root, profile, why, model, cpu))
    }

    fn seen(root: Root, profile: Profile, why: String, model: Option<String>, cpu: Cpu) -> Self {
        Self {
            zones: thermal::zones(&root, &profile),
            throttle: profile.throttle.as_ref().and_then(|profile| thermal::throttle(&root, profile)),
            governor: machine::governor(&root),
            clocks: machine::clocks(&root).len(),
            memory_cgroup: machine::memory_cgroup(&root),
            memory_mib: machine::memory_mib(&root),
            profile,
            why,
            model,
            cpu,
            root,
        }
    }

    /// By what the machine under `/` shows.
    pub fn of_this_machine() -> Self {
        let (root, cpu) = (Root::new("/"), Cpu::default());
        Self::look(root.clone(), Choice::Auto)
            .unwrap_or_else(|_| Self::seen(root, Profile::unknown(), String::new(), None, cpu))
    }

    /// What is missing, each with a code and what to do about it.
    pub fn warnings(&self) -> Vec<Warning> {
        warnings::of(self)
    }

    /// Features that the profile asks for and the processor has.
    pub fn features(&self) -> Vec<&str> {
        let wanted = self.profile.features.iter().map(String::as_str);
        wanted.filter(|feature| machine::has_feature(&self.cpu, feature)).collect()
    }

    /// For `picket check --json` and `/status`: temperatures are those of when the board was looked at.
    pub fn document(&self) -> Value {
        let zone = |zone: &Zone| {
            json!({
                "name": zone.name, "celsius": zone.celsius,
                "soft": zone.limits.map(|limits| limits.soft()), "hard": zone.limits.map(|limits| limits.hard()),
            })
        };
        json!({
            "name": self.profile.name,
            "title": self.profile.title,
            "why": self.why,
            "model": self.model,
            "cores": self.cpu.cores,
            "features": self.features(),
            "memory_mib": self.memory_mib,
            "memory_cgroup": self.memory_cgroup,
            "governor": self.governor.as_ref().map(|(governor, _)| governor),
            "real_time_clocks": self.clocks,
            "zones": self.zones.iter().map(zone).collect::<Vec<_>>(),
            "workers": self.profile.workers,
            "queue": self.profile.queue,
            "warnings": self.warnings(),
        })
    }
}

fn text_of(path: &Path) -> Result<String, Missing> {
    let unreadable = |why: std::io::Error| Missing::Unreadable(why.to_string());
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > limits::CONFIG_BYTES {
        let most = limits::CONFIG_BYTES >> 10;
        return Err(Missing::Unreadable(format!("it is no file of at most {most} KiB")));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn detect(compatible: &[String], cpu: &Cpu) -> (Profile, String) {
    let told = |profile: &Profile| profile.detect.compatible.iter().find(|word| compatible.contains(*word)).cloned();
    if let Some(profile) = table::find(|profile| told(profile).is_some()) {
        let word = told(&profile).unwrap_or_default();
        return (profile, format!("the device tree says {word}"));
    }
    let arch = cpu.arch.unwrap_or(THIS_ARCH);
    let by_arch = |arch: &str| table::find(|profile| profile.detect.arch.as_deref() == Some(arch));
    let why = match compatible.first() {
        Some(word) => format!("no profile knows the device tree's {word}; the processor is {arch}"),
        None => format!("there is no device tree; the processor is {arch}"),
    };
    let nobody = || (Profile::unknown(), format!("no profile knows this machine; the processor is {arch}"));
    by_arch(arch).map_or_else(nobody, |profile| (profile, why))
}

/// What this program was built for, in the words of the profiles.
const THIS_ARCH: &str = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => "x86-64",
    b"aarch64" => "aarch64",
    b"arm" => "armv7",
    _ => "unknown",
};
