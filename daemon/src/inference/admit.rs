//! A model's way into this process: proven by a child first, and only then loaded here.

use picket_core::job::Failure;

use super::{
    BACKENDS,
    prover::{Proof, Prover},
    served::Served,
};
use crate::bundle::Bundle;

/// Lets a child process prove the bundle, then loads the same bytes here. What cannot be proven never gets that far, so that
/// a file which crashes whoever reads it, or eats all memory, does that to the child.
///
/// # Errors
/// As [`Prover::prove`], and as [`Served::load`].
pub fn admit(bundle: Bundle, prover: &Prover) -> Result<Served, Failure> {
    admit_with_proof(bundle, prover).map(|(served, _)| served)
}

/// As [`admit`], with what the child found.
///
/// # Errors
/// As [`admit`].
pub fn admit_with_proof(mut bundle: Bundle, prover: &Prover) -> Result<(Served, Proof), Failure> {
    let Some(backend) = BACKENDS.first() else {
        return Err(Failure::new("model/unsupported", "this build has no inference backend"));
    };
    let proof = prover.prove(&mut bundle)?;
    Served::proven_elsewhere(*backend, bundle).map(|served| (served, proof))
}
