//! Processor, memory, clock: what the kernel says of the machine.

use std::collections::BTreeSet;

use super::root::Root;

/// What a device tree calls the machine; nothing where there is none.
pub fn device_tree(root: &Root) -> (Vec<String>, Option<String>) {
    let read = |name: &str| {
        root.read(&format!("proc/device-tree/{name}"))
            .or_else(|| root.read(&format!("sys/firmware/devicetree/base/{name}")))
    };
    let compatible = read("compatible").unwrap_or_default();
    (compatible.split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect(), read("model"))
}

/// What the processor is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Those that are online.
    pub cores: usize,
    /// `aarch64`, `armv7` or `x86-64`, as programs see it; `None`: something else.
    pub arch: Option<&'static str>,
    /// As `/proc/cpuinfo` names them.
    pub features: BTreeSet<String>,
}

/// `/proc/cpuinfo`; a 32-bit program on a 64-bit kernel sees a 32-bit processor there, which is what it can use.
pub fn cpu(root: &Root) -> Cpu {
    let info = root.read("proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let line = info.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key))?;
        line.split_once(':').map(|(_, value)| value.trim())
    };
    let listed = value("Features").or_else(|| value("flags")).unwrap_or_default();
    let features: BTreeSet<String> = listed.split_whitespace().map(str::to_owned).collect();
    let has = |feature: &str| features.contains(feature);
    let arch = match value("Features") {
        Some(_) if has("asimd") || has("fp") => Some("aarch64"),
        Some(_) if has("vfp") || has("neon") => Some("armv7"),
        // `lm`: long mode.
        None if has("lm") => Some("x86-64"),
        _ => None,
    };
    let online = root.read("sys/devices/system/cpu/online").and_then(|list| count(&list));
    let listed = info.lines().filter(|line| line.starts_with("processor")).count();
    Cpu { cores: online.unwrap_or(listed), arch, features }
}

/// `0-3,8`: five.
fn count(list: &str) -> Option<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        last.checked_sub(first).map(|more| more + 1)
    };
    list.split(',').map(range).sum()
}

/// Is this feature there, by either of the names that Arm's 32-bit and 64-bit processors have for the same unit?
pub fn has_feature(cpu: &Cpu, feature: &str) -> bool {
    let other = match feature {
        "asimd" => "neon",
        "neon" => "asimd",
        _ => feature,
    };
    cpu.features.contains(feature) || cpu.features.contains(other)
}

/// MiB that the kernel can use: less than what is built in.
pub fn memory_mib(root: &Root) -> Option<u64> {
    let info = root.read("proc/meminfo")?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib >> 10)
}

/// Does the kernel enforce memory limits of control groups? `None`: it does not say.
pub fn memory_cgroup(root: &Root) -> Option<bool> {
    let unified = root.read("sys/fs/cgroup/cgroup.controllers");
    if unified.as_ref().is_some_and(|list| list.split_whitespace().any(|name| name == "memory")) {
        return Some(true);
    }
    // subsys_name  hierarchy  num_cgroups  enabled
    let groups = root.read("proc/cgroups");
    match groups.as_ref().and_then(|text| text.lines().find(|line| line.starts_with("memory"))) {
        Some(line) => Some(line.split_whitespace().nth(3) == Some("1")),
        None if unified.is_none() && groups.is_none() => None,
        None => Some(false),
    }
}

/// Real-time clocks that have a driver.
pub fn clocks(root: &Root) -> Vec<String> {
    root.list("sys/class/rtc").into_iter().filter(|name| name.starts_with("rtc")).collect()
}

/// The frequency governor of the first processor that has one, and the driver below it.
pub fn governor(root: &Root) -> Option<(String, String)> {
    let folders = root.list("sys/devices/system/cpu").into_iter().filter(|name| {
        name.strip_prefix("cpu").is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
    });
    folders.into_iter().find_map(|cpu| {
        let folder = format!("sys/devices/system/cpu/{cpu}/cpufreq");
        let governor = root.read(&format!("{folder}/scaling_governor"))?;
        Some((governor, root.read(&format!("{folder}/scaling_driver")).unwrap_or_default()))
    })
}

/// Does this governor hold the lowest frequency? Drivers that choose by themselves call their usual way of doing so
/// `powersave`, too (Linux, admin-guide/pm/intel_pstate and amd-pstate).
pub fn is_slow((governor, driver): &(String, String)) -> bool {
    governor == "powersave" && !["intel_pstate", "amd-pstate-epp", "amd_pstate_epp"].contains(&driver.as_str())
}
