//! When the local answer is not enough.

pub mod breaker;
pub mod decide;
