//! Picket: an edge inference daemon. See README.md for the map of the house.

pub mod config;
pub mod inference;
pub mod ports;
pub mod provider;
pub mod telemetry;
pub mod tensor;
pub mod transport;
