//! Confines itself as a child does that proves a model, and tries what such a child must not do. One line for each:
//! what was tried, and whether it worked.

use std::{fs, net::TcpStream, process::Command};

use picket::sandbox::{self, Limits};

/// Bytes.
const MEMORY: u64 = 256 << 20;

fn main() {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok()).unwrap_or(0);
    let closed = sandbox::close_inherited().is_ok();
    // Handed down by the shell that started this.
    say("inherited-file", closed && fs::metadata("/proc/self/fd/7").is_ok());
    let held = sandbox::enter(&Limits { memory: MEMORY, seconds: 10, open_files: 16 }).unwrap_or_default();
    println!("held {}", held.join(" "));
    say("read-a-file", fs::read("/etc/hostname").is_ok());
    say("list-a-folder", fs::read_dir("/").is_ok_and(|mut entries| entries.next().is_some()));
    say("write-a-file", fs::write("/tmp/picket-sandbox-probe", "x").is_ok());
    say("run-a-program", Command::new("/bin/true").status().is_ok());
    say("connect", TcpStream::connect(("127.0.0.1", port)).is_ok());
    say("too-much-memory", Vec::<u8>::new().try_reserve_exact(2 * MEMORY as usize).is_ok());
    say("some-memory", Vec::<u8>::new().try_reserve_exact(MEMORY as usize / 2).is_ok());
    say("know-the-processor", fs::read("/proc/cpuinfo").is_ok());
}

fn say(what: &str, worked: bool) {
    println!("{what} {}", if worked { "works" } else { "fails" });
}
