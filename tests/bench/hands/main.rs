//! `picket-hands`: what stands around a daemon that has hands: nodes on serial lines, a camera, a line that moves when a
//! model answers. Each command measures one of them and says what it found as one line of JSON; `run` beside this file
//! starts the daemon and whatever else there is.
//!
//! Where it measures, it never sleeps: it asks the clock and the lines again and again, and wants a core of its own.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends where it fails, and standard output is its interface"
)]

mod board;
mod camera;
mod edge;
mod fleet;
#[path = "../http.rs"]
mod http;
mod line;
mod node;
#[allow(dead_code, reason = "no line is pulled out here")]
#[path = "../../support/pty.rs"]
mod pty;
mod wire;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Nodes, lines and cameras around a daemon, and how long they wait for it")]
enum Command {
    /// One node, one question at a time: from a frame's last byte to its verdict's last
    Wire(wire::Args),
    /// The other end of such a line, with nothing behind it: answers each frame with bytes
    Echo(wire::EchoArgs),
    /// Many nodes that ask as much as they can
    Fleet(fleet::Args),
    /// Stands between QEMU's node and the daemon, and looks at the clock
    Board(board::Args),
    /// From a job to the line in the file of an output
    Edge(edge::Args),
    /// Writes one picture again and again to standard output
    Camera(camera::Args),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Wire(args) => wire::run(&args),
        Command::Echo(args) => wire::echo(&args),
        Command::Fleet(args) => fleet::run(&args),
        Command::Board(args) => board::run(&args),
        Command::Edge(args) => edge::run(&args),
        Command::Camera(args) => camera::run(&args),
    }
}

/// p50, p99 and the most, in milliseconds, of these seconds.
fn figures(mut seconds: Vec<f64>) -> serde_json::Value {
    seconds.sort_by(f64::total_cmp);
    let millis = |q: f64| {
        let at = (seconds.len().saturating_sub(1) as f64 * q) as usize;
        seconds.get(at).map(|value| (1e6 * value).round() / 1e3)
    };
    serde_json::json!({ "count": seconds.len(), "p50_ms": millis(0.5), "p99_ms": millis(0.99), "max_ms": millis(1.0) })
}
