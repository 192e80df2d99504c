//! One suite × every implementation behind a port.

mod float_models;
mod proof;
mod run_loop;
