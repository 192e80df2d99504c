//! From a job's bytes to a model's inputs, and from its outputs to what the decision needs.

pub mod conclude;
mod decode;
mod draft;
mod image;
pub mod keys;
pub mod prepare;
mod redact;
mod view;
pub mod window;

pub use decode::decode;
pub use image::{Pixels, decode as decode_image};
pub use redact::Redaction;
