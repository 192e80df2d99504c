//! Inference: backends, models that have proven themselves, and the threads that run them.

pub mod admit;
mod binding;
mod gathered;
pub mod pool;
pub mod prescan;
mod probe;
pub mod prover;
pub mod served;
pub mod streams;
#[cfg(feature = "tract")]
mod tract;

use crate::ports::Backend;

/// The registration table: to add a backend, add its folder, its `mod` line and its line here.
pub static BACKENDS: &[&dyn Backend] = &[
    #[cfg(feature = "tract")]
    &tract::Tract,
];
