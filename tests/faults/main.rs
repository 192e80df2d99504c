//! What goes wrong between a broker and the daemon: one test per row of the fault model's table, with the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is broken")]

mod connection;
mod delivery;
mod jobs;
mod load;
mod receipts;
mod refusals;
mod samples;
mod support;
mod tls;
