//! The pages of the program that only its start has needed.
//!
//! Starting reads configurations, proves and optimises models: most of the program's text and tables, each page of which
//! counts as this process's memory from then on. What serves jobs is a fraction of it. So once all is ready the program's
//! pages are unmapped; the kernel has them in its cache, and maps those that are needed again.

use std::{ffi::c_void, fs, io, ops::Range, path::Path};

use rustix::mm::{Advice, madvise};

/// Lets go of the pages of this program that are as they are in its file. Where that cannot be found out, nothing happens.
pub fn unmap_unused_program() {
    let advised =
        of_this_program().and_then(|ranges| ranges.iter().try_for_each(|range| advise(range, Advice::LinuxDontNeed)));
    if let Err(error) = advised {
        tracing::debug!(%error, "the program's pages stay mapped");
    }
}

fn of_this_program() -> io::Result<Vec<Range<usize>>> {
    Ok(untouched(&fs::read_to_string("/proc/self/smaps")?, &fs::read_link("/proc/self/exe")?))
}

/// `range` is one that [`untouched`] has found in this process.
fn advise(range: &Range<usize>, advice: Advice) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut::<c_void>(range.start);
    // SAFETY: the mapping is one of a file, is not writable, and has no page of its own: whether its pages come or go, what is
    // read there comes from the file, and is the same.
    #[expect(unsafe_code, reason = "the kernel is told about mappings by address")]
    let advised = unsafe { madvise(start, range.len(), advice) };
    Ok(advised?)
}

/// The mappings of `program` that nobody can write and nobody has written: not those in which the loader has put addresses,
/// although they are read-only by now.
fn untouched(smaps: &str, program: &Path) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut present = None;
    for line in smaps.lines() {
        if let Some(mapping) = mapping(line) {
            present = Some(mapping).filter(|(_, mode, file)| mode.starts_with("r-") && Path::new(file) == program);
        } else if let Some((range, ..)) = &present
            && line.strip_prefix("Anonymous:").is_some_and(|size| size.trim() == "0 kB")
        {
            found.push(range.clone());
        }
    }
    found
}

/// The first line of a mapping (proc_pid_smaps(5)): addresses, mode, file.
fn mapping(line: &str) -> Option<(Range<usize>, &str, &str)> {
    let (addresses, rest) = line.split_once(' ')?;
    let (start, end) = addresses.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    // Offset, device, inode; then spaces and the file, which may have spaces itself.
    let (mode, rest) = rest.split_once(' ')?;
    let file = rest.splitn(4, ' ').nth(3)?.trim_start();
    Some((number(start)?..number(end)?, mode, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
0000aaaa0000-0000aab50000 r--p 00000000 fe:01 48711                      /usr/bin/picket
Rss:                3000 kB
Anonymous:             0 kB
0000aab50000-0000ab000000 r-xp 00b40000 fe:01 48711                      /usr/bin/picket
Anonymous:             0 kB
0000ab000000-0000ab0b0000 r--p 00ff0000 fe:01 48711                      /usr/bin/picket
Anonymous:           700 kB
0000ab0b0000-0000ab0c0000 rw-p 010a0000 fe:01 48711                      /usr/bin/picket
Anonymous:             0 kB
0000ab0c0000-0000ab0d0000 rw-p 00000000 00:00 0                          [heap]
Anonymous:             0 kB
0000ff000000-0000ff100000 r-xp 00000000 fe:01 901                        /usr/lib/aarch64-linux-gnu/libc.so.6
Anonymous:             0 kB
";

    #[test]
    fn only_the_program_as_it_is_in_its_file_is_let_go() {
        let found = untouched(SMAPS, Path::new("/usr/bin/picket"));
        assert_eq!(found, [0xaaaa_0000..0xaab5_0000, 0xaab5_0000..0xab00_0000]);
    }

    /// KiB that this process has of its program's file.
    fn resident() -> u64 {
        let program = fs::read_link("/proc/self/exe").unwrap();
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let (mut ours, mut sum) = (false, 0);
        for line in smaps.lines() {
            if let Some((_, _, file)) = mapping(line) {
                ours = Path::new(file) == program;
            } else if let Some(size) = line.strip_prefix("Rss:").filter(|_| ours) {
                sum += size.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
            }
        }
        sum
    }

    #[test]
    fn a_process_goes_on_with_less_of_its_program() {
        // All of it, as after a long start.
        for range in of_this_program().unwrap() {
            advise(&range, Advice::LinuxPopulateRead).unwrap();
        }
        let before = resident();
        unmap_unused_program();
        let after = resident();
        assert!(after * 2 < before, "{after} of {before} KiB are still there");
    }
}
