//! What a child died of, in words.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

/// How a child ended that said nothing.
pub(super) struct End<'e> {
    pub status: ExitStatus,
    /// What it wrote to standard error.
    pub complaint: &'e str,
    pub late: bool,
    /// Its memory in bytes, and its time.
    pub bounds: (u64, Duration),
}

impl End<'_> {
    /// Goes on after "proving it …".
    pub fn words(&self) -> String {
        let (bytes, wait) = self.bounds;
        let signal = self.status.signal();
        if self.late || signal == Some(libc::SIGXCPU) {
            return format!("took longer than {} s", wait.as_secs());
        }
        // The words of Rust's runtime, which then aborts.
        if self.complaint.contains("memory allocation of") {
            return format!("ran out of its {} MiB", bytes >> 20);
        }
        if self.complaint.contains("overflowed its stack") {
            return "overflowed its stack".to_owned();
        }
        let last = self.last_line();
        match signal {
            Some(signal) => format!("was killed by {}{last}", name(signal)),
            None => format!("ended without a word (exit code {}){last}", self.status.code().unwrap_or_default()),
        }
    }

    fn last_line(&self) -> String {
        const SHOWN: usize = 300;
        let line = self.complaint.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        if line.is_empty() { String::new() } else { format!(": {}", line.chars().take(SHOWN).collect::<String>()) }
    }
}

fn name(signal: i32) -> String {
    let known = [
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGSYS, "SIGSYS"),
        (libc::SIGKILL, "SIGKILL, as by a system that runs out of memory"),
    ];
    let found = known.into_iter().find(|(number, _)| *number == signal);
    found.map_or_else(|| format!("signal {signal}"), |(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(raw_status: i32, complaint: &str, late: bool) -> String {
        let status = ExitStatus::from_raw(raw_status);
        End { status, complaint, late, bounds: (600 << 20, Duration::from_secs(30)) }.words()
    }

    #[test]
    fn every_end_has_its_words() {
        let out_of_memory = "memory allocation of 4096 bytes failed\n";
        assert_eq!(words(libc::SIGABRT, out_of_memory, false), "ran out of its 600 MiB");
        assert_eq!(words(libc::SIGABRT, "\nthread 'p' has overflowed its stack\n", false), "overflowed its stack");
        assert_eq!(words(libc::SIGSEGV, "", false), "was killed by SIGSEGV");
        assert_eq!(
            words(libc::SIGABRT, "one\nmunmap_chunk(): invalid\n", false),
            "was killed by SIGABRT: munmap_chunk(): invalid"
        );
        assert_eq!(words(libc::SIGXCPU, "", false), "took longer than 30 s");
        assert_eq!(words(libc::SIGKILL, "", true), "took longer than 30 s");
        assert_eq!(words(3 << 8, "", false), "ended without a word (exit code 3)");
    }
}
