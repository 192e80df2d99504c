//! From a job's bytes to a model's inputs, and from its outputs to what the decision needs.

mod conclude;
mod decode;
mod prepare;
mod redact;

pub use conclude::conclude;
pub use decode::decode;
pub use prepare::prepare;
pub use redact::Redaction;
