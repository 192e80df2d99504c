//! Stores: where jobs and results stay while they must.

pub mod memory;
