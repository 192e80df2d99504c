//! Image files: whatever the bytes are, there are pixels within the limits or an error that a job can be answered with; and what the steps
//! before a model make of the pixels has the shape that they promise.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fuzzer panics where it finds something")]

use libfuzzer_sys::fuzz_target;
use picket::{
    pipeline::{
        self,
        prepare::{PREPARE, Step, prepare},
    },
    ports::TensorSpec,
    tensor::{Dtype, Tensor},
};
use picket_core::limits;

/// More than that is decoded as well, but the steps behind would only repeat themselves.
const PIXELS: usize = 1 << 20;

fn step(text: &str) -> Step {
    let mut keys: toml::Table = toml::from_str(text).unwrap();
    let name = keys.remove("step").unwrap();
    let kind = PREPARE.iter().find(|kind| Some(kind.name) == name.as_str()).unwrap();
    Step { input: None, step: (kind.read)(keys).unwrap() }
}

// A decoder that panics is caught by ours, and the job gets its error; the fuzzer's own hook would end the process before that. A panic
// that nobody catches still ends it.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| {
    let pixels = match pipeline::decode_image(data) {
        Ok(pixels) => pixels,
        Err(failure) => {
            assert!(matches!(failure.code, "input/undecodable" | "input/too-large"), "{failure:?}");
            assert!(!failure.message.is_empty());
            return;
        }
    };
    let (width, height) = (pixels.width, pixels.height);
    assert!(width.max(height) <= limits::JOB_IMAGE_SIDE as usize && width.min(height) > 0, "{width} x {height}");
    assert!((width * height) as u64 <= limits::JOB_IMAGE_PIXELS, "{width} x {height}");
    assert_eq!(pixels.rgb.len(), 3 * width * height);
    if width * height > PIXELS {
        return;
    }
    let image = Tensor::new("x", Dtype::Uint8, vec![height, width, 3], pixels.rgb).unwrap();
    for fit in ["stretch", "fit", "fill"] {
        let filter = ["bilinear", "area", "nearest"][data.len() % 3];
        let steps = [
            step(&format!("step = \"resize\"\nw = 24\nh = 16\nfit = \"{fit}\"\nfilter = \"{filter}\"")),
            step("step = \"to-gray\""),
            step("step = \"quantize\"\nscale = 2.0\nzero_point = -3\ndtype = \"INT8\""),
            step("step = \"layout\"\norder = \"NCHW\""),
        ];
        let declared = TensorSpec { name: "x".into(), dtype: Dtype::Uint8, shape: vec![None, None, Some(3)] };
        let promised = steps.iter().fold(declared, |spec, step| step.step.shape(spec).unwrap());
        let done = prepare(vec![image.clone()], &steps).unwrap();
        let given = &done.inputs[0];
        assert!(promised.dtype == given.dtype() && promised.accepts(given.shape()), "{given:?} is no {promised:?}");
        assert_eq!(done.view.size, Some((width, height)));
        let (right, bottom) = done.view.point(24.0, 16.0);
        assert!(right.is_finite() && bottom.is_finite() && right > 0.0 && bottom > 0.0);
    }
});
