//! The Open Inference Protocol v2, REST form with the binary tensor extension: JSON and bytes to tensors and back. Pure.
//!
//! Source: <https://github.com/kserve/open-inference-protocol> and, for binary tensors,
//! <https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md>.
//!
//! A JSON document of up to 64 MiB may come from anybody, so what is kept of it is bounded before it is decoded:
//! parameters by their bytes, shapes by their rank, tensors by the text that carries them.

mod numbers;
mod request;
mod response;
mod tensors;

pub use request::{Envelope, Inputs, binary_request, decode_inputs, encode_request, envelope, json_request};
pub use response::{Response, decode_response, encode_outputs, error_document, infer_response};

use picket_core::job::Failure;

/// The bytes are not what the protocol says.
fn undecodable(why: impl std::fmt::Display) -> Failure {
    Failure::new("input/undecodable", why.to_string())
}
