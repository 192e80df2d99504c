//! An ONNX file, whoever made it: it is outlined, or refused with a code. The look at it takes no more than its bytes.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fuzzer panics where it finds something")]

use libfuzzer_sys::fuzz_target;
use picket::inference::prescan::{self, DimOutline};
use picket_core::limits;

fuzz_target!(|data: &[u8]| {
    match prescan::scan(data) {
        Ok(outline) => {
            let faces = outline.inputs.len() + outline.outputs.len();
            assert!(!outline.outputs.is_empty() && faces <= limits::ONNX_FACES);
            assert!(outline.parameters <= limits::ONNX_ELEMENTS);
            assert!(outline.operators.values().sum::<usize>() <= limits::ONNX_NODES);
            for shape in outline.inputs.iter().chain(&outline.outputs).filter_map(|value| value.shape.as_ref()) {
                assert!(shape.len() <= limits::MAX_TENSOR_RANK);
                let sizes = shape.iter().map(|dim| if let DimOutline::Fixed(size) = dim { *size } else { 1 });
                assert!(sizes.product::<usize>() <= limits::MAX_TENSOR_ELEMENTS);
            }
        }
        Err(refusal) => {
            assert!(matches!(refusal.code, "model/broken" | "model/external-data" | "model/too-large"), "{refusal}");
            // Shown in a log and in an answer.
            assert!(!refusal.message.is_empty() && refusal.message.len() < 2_000, "{refusal}");
        }
    }
});
