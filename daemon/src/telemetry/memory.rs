//! What the system says of memory.

/// Peak resident memory of a process in KiB (`VmHWM`), from procfs; `None` where there is none.
pub fn peak_rss_kib(pid: Option<u32>) -> Option<u64> {
    let who = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let status = std::fs::read_to_string(format!("/proc/{who}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
