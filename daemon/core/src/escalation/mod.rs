//! When the local answer is not enough.

pub mod breaker;
pub mod calibration;
pub mod certificate;
pub mod decide;
pub mod fit;
pub mod money;
pub mod reason;
pub mod score;
