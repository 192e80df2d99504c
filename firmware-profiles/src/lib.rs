//! What microcontrollers and the Picket daemon share. No allocator, no standard library.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod units;
pub mod wire;
