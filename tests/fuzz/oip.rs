//! A body of the Open Inference Protocol, as a request and as a provider's response: what is decoded is whole, and goes
//! through the protocol once more without a change; everything else has a code.
//!
//! An input is the JSON document; what follows an empty line are the tensors of the binary extension.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fuzzer panics where it finds something")]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use picket::{oip, tensor::Tensor};
use picket_core::{job::Failure, limits};
use serde_json::Map;

fn has_a_code(failure: &Failure) {
    let (family, name) = failure.code.split_once('/').expect("a code has a family");
    assert!(matches!(family, "input" | "job") && !name.is_empty() && !failure.message.is_empty(), "{failure:?}");
}

fn is_whole(tensor: &Tensor) {
    assert!(tensor.shape().len() <= limits::MAX_TENSOR_RANK && tensor.elements() <= limits::MAX_TENSOR_ELEMENTS);
    assert_eq!(tensor.data().len(), tensor.elements() * tensor.dtype().size());
}

fn same(one: &[Tensor], other: &[Tensor]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert_eq!((&one.name, one.dtype(), one.shape()), (&other.name, other.dtype(), other.shape()));
        assert_eq!(one.data(), other.data(), "{one:?}");
    }
}

fuzz_target!(|data: &[u8]| {
    let split = data.windows(2).position(|pair| pair == b"\n\n");
    let (json, binary) = split.map_or((data, &[][..]), |at| (&data[..at], &data[at + 2..]));
    let binary = Bytes::copy_from_slice(binary);
    match oip::envelope(json) {
        Ok(envelope) => {
            if let Err(failure) = envelope.options() {
                has_a_code(&failure);
            }
        }
        Err(failure) => has_a_code(&failure),
    }
    match oip::decode_inputs(json, &binary) {
        Ok(inputs) => {
            let tensors = inputs.tensors;
            tensors.iter().for_each(is_whole);
            let (payload, json_len) = oip::encode_request("again", Map::new(), &tensors);
            let behind = Bytes::copy_from_slice(&payload[json_len..]);
            let again = oip::decode_inputs(&payload[..json_len], &behind).expect("what was encoded is decoded");
            same(&tensors, &again.tensors);
            if let Ok(text) = oip::json_request("again", Map::new(), &tensors, None) {
                let again = oip::decode_inputs(&text, &Bytes::new()).expect("what was encoded is decoded");
                same(&tensors, &again.tensors);
            }
        }
        Err(failure) => has_a_code(&failure),
    }
    match oip::decode_response(json, &binary) {
        Ok(response) => response.outputs.iter().for_each(is_whole),
        Err(failure) => has_a_code(&failure),
    }
});
