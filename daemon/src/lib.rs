//! Picket: an edge inference daemon. See README.md for the map of the house.

pub mod answer;
pub mod assemble;
pub mod board;
pub mod bundle;
pub mod calendar;
pub mod cli;
pub mod config;
pub mod decisions;
pub mod export;
mod failpoint;
pub mod inference;
pub mod labelled;
pub mod ledger;
pub mod media;
pub mod oip;
pub mod options;
pub mod pipeline;
pub mod ports;
pub mod provider;
pub mod run;
pub mod sandbox;
pub mod store;
pub mod telemetry;
pub mod tensor;
pub mod tls;
pub mod transport;
