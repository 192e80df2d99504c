//! Attacks on the promise: power cuts, kills, full and failing disks. Everything here is seeded; a failure prints the seed
//! and how to repeat it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod damage;
mod full;
mod images;
mod kill_loop;
mod migrate;
mod offline;
mod poison;
mod strace;

/// A number from the environment: campaigns are longer than the runs of every day.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
