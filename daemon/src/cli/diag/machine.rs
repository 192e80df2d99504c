//! What Picket runs on, as far as the machine itself says.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use crate::{
    board::Board,
    calendar::{Calendar, SystemCalendar},
};

/// Of the unit, where systemd runs it as a system service.
const CGROUP: &str = "/sys/fs/cgroup/system.slice/picket.service";
const CGROUP_FILES: &[&str] = &[
    "cpu.max",
    "memory.current",
    "memory.events",
    "memory.high",
    "memory.max",
    "memory.peak",
    "memory.swap.max",
    "pids.max",
];

pub fn version() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "arch": std::env::consts::ARCH,
        "target_env": if cfg!(target_env = "musl") { "musl" } else if cfg!(target_env = "gnu") { "gnu" } else { "other" },
        "pointer_bits": usize::BITS,
        "debug_assertions": cfg!(debug_assertions),
        "broker": cfg!(feature = "broker"),
        "tract": cfg!(feature = "tract"),
    })
}

pub fn document(board: &Board, store: Option<&Path>) -> Value {
    let stamp = SystemCalendar::new().stamp();
    let text = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    json!({
        "board": board.document(),
        "cpu": cpu(),
        "kernel": text("/proc/sys/kernel/osrelease"),
        "system": system(),
        "cgroup": cgroup(),
        "pressure": { "cpu": text("/proc/pressure/cpu"), "io": text("/proc/pressure/io"), "memory": text("/proc/pressure/memory") },
        "clock": {
            "now": crate::decisions::record::time(stamp.wall),
            "trusted": stamp.trusted,
            "up_s": stamp.up / 1_000_000,
        },
        "disk": store.map(disk),
    })
}

/// The processor's own words, of the first core.
fn cpu() -> Value {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let first = text.split("\n\n").next().unwrap_or_default();
    let wanted = [
        "model name",
        "vendor_id",
        "flags",
        "Features",
        "CPU implementer",
        "CPU architecture",
        "CPU part",
        "CPU revision",
    ];
    let pairs = first.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.trim(), value.trim()));
    pairs
        .filter(|(key, _)| wanted.contains(key))
        .map(|(key, value)| (key.to_owned(), Value::from(value)))
        .collect::<Map<_, _>>()
        .into()
}

fn system() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

fn cgroup() -> Map<String, Value> {
    let read =
        |file: &&str| Some(((*file).to_owned(), fs::read_to_string(Path::new(CGROUP).join(file)).ok()?.trim().into()));
    CGROUP_FILES.iter().filter_map(read).collect()
}

fn disk(store: &Path) -> Value {
    match rustix::fs::statvfs(store) {
        Ok(disk) => json!({ "bytes": disk.f_blocks * disk.f_frsize, "free": disk.f_bavail * disk.f_frsize }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}
