//! When the local answer is not enough.

pub mod alarms;
pub mod breaker;
pub mod budget;
pub mod calibration;
pub mod certificate;
pub mod decide;
pub mod detector;
pub mod fit;
pub mod gain;
pub mod money;
pub mod period;
pub mod platt;
pub mod price;
pub mod profile;
pub mod reason;
pub mod saved;
pub mod score;
pub mod shift;
