//! Takes from this process what it does not need, so that whatever it reads can do no harm.
//!
//! For a process of one thread that is about to read something hostile: no files, no network, no children, bounded memory and
//! time, and an end when its parent ends. Each measure that this kernel does not have, or that is forbidden here, is left
//! out; the limits hold everywhere.

use std::{fs, io};

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
    path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

/// What a process may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of memory that it may write to.
    pub memory: u64,
    /// Seconds of a processor.
    pub seconds: u64,
    pub open_files: u64,
}

/// What an inference engine looks at to choose its kernels. With others than the daemon's, a proof would be one of nothing.
const READABLE: &[&str] =
    &["/proc/cpuinfo", "/proc/device-tree", "/sys/firmware/devicetree/base", "/sys/devices/system/cpu"];

/// Confines this process for the rest of its life, as far as this system lets it. Returns the measures that hold.
///
/// # Errors
/// A limit cannot be set: then nothing may be read.
pub fn enter(limits: &Limits) -> io::Result<Vec<&'static str>> {
    let mut held = Vec::new();
    let mut done = |measure: &'static str, worked: bool| {
        if worked {
            held.push(measure);
        }
    };
    // When memory runs out, it goes first, not the daemon.
    done("oom", fs::write("/proc/self/oom_score_adj", "1000").is_ok());
    done("network-namespace", leave_network().is_ok());
    // After that, because new credentials clear it.
    done("parent", set_parent_process_death_signal(Some(Signal::KILL)).is_ok());
    bound(limits)?;
    done("limits", true);
    let landlock = forbid();
    done("landlock", landlock.as_ref().is_ok_and(|status| *status != RulesetStatus::NotEnforced));
    Ok(held)
}

/// No thread can be made any more. To be called when all are there.
pub fn no_more_threads() {
    let _ = setrlimit(Resource::Nproc, exactly(0));
}

fn bound(limits: &Limits) -> io::Result<()> {
    let limits = [
        // Not the address space: an allocator reserves a lot of that which it never touches.
        (Resource::Data, limits.memory),
        (Resource::Cpu, limits.seconds),
        (Resource::Nofile, limits.open_files),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ];
    for (resource, limit) in limits {
        setrlimit(resource, exactly(limit))?;
    }
    Ok(())
}

const fn exactly(limit: u64) -> Rlimit {
    Rlimit { current: Some(limit), maximum: Some(limit) }
}

/// No file but those that are open, no TCP, no signals and no abstract sockets outside. Forbids new privileges, too.
fn forbid() -> Result<RulesetStatus, landlock::RulesetError> {
    const NEWEST: ABI = ABI::V7;
    let look = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(READABLE, look))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

/// A network of its own, in which there is nothing. Needs user namespaces, which some systems forbid.
fn leave_network() -> io::Result<()> {
    #[expect(
        unsafe_code,
        reason = "no safe wrapper: other threads could rely on shared descriptors, which these flags keep"
    )]
    // SAFETY: makes namespaces; touches no memory and no descriptors.
    let result = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes what the parent had open and did not mean for this process: everything but the three standard streams. To be called
/// before this process opens anything.
///
/// # Errors
/// The kernel is older than 5.9.
pub fn close_inherited() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    #[expect(unsafe_code, reason = "descriptors that nobody owns have no safe handle")]
    // SAFETY: nobody in this process owns one of these, as it has opened nothing yet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
