//! The real binary with a real broker, real clients and real data.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is broken")]

mod bad_input;
mod budget;
mod calibrate;
mod cli;
mod clock;
mod config;
mod control;
mod demo;
mod diag;
mod durable;
mod escalation;
mod explain;
mod export;
mod heat;
mod hostile;
mod http;
mod images;
mod jobs;
mod link;
mod log;
mod manual;
mod mlserver;
mod model;
mod outputs;
mod plan;
mod secrets;
mod serial;
mod serial_attacks;
mod serial_fleet;
mod sources;
mod streams;
mod support;
mod tasks;
mod upgrade;
mod watchdog;
