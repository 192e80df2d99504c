//! One suite × every implementation behind a port.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is broken")]

mod graphs;
mod models;
mod prescan;
mod proof;
mod prover;
mod run_loop;
mod sandbox;
