//! When the local answer is not enough.

pub mod alarms;
pub mod backlog;
pub mod breaker;
pub mod budget;
pub mod calibration;
pub mod certificate;
pub mod decide;
pub mod detector;
pub mod division;
pub mod duplicates;
pub mod fit;
pub mod gain;
pub mod latency;
pub mod lottery;
pub mod money;
pub mod period;
pub mod plan;
pub mod platt;
pub mod price;
pub mod profile;
pub mod reason;
pub mod retry;
pub mod saved;
pub mod score;
pub mod shift;
