//! Operators of our own for tract: where it is slow, or not exact. The daemon's `inference/tract/rewrites/` says where in a
//! model they take the place of tract's.
//!
//! A crate of its own so that it is compiled for speed always, and the daemon around it for size or quickly.

mod cpu;
pub mod int8;
pub mod largest;
pub mod planes;
pub mod quantise;
pub mod sigmoid;
