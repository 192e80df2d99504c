//! tract multiplies with the kernels for this processor, not with the portable ones.

use tract_onnx::pb;

use super::{
    load,
    rewrites::{
        TABLE,
        testing::{constant, floats, model, node, value},
    },
};
use crate::tensor::Dtype;

/// How the names of the kernels begin that must be taken here; `None` where the processor has nothing but the portable.
fn family() -> Option<&'static [&'static str]> {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("fma").then_some(&["fma_", "avx512_"]);
    #[cfg(target_arch = "aarch64")]
    return Some(&["arm64simd_"]);
    #[cfg(target_arch = "arm")]
    return Some(&["armv7neon_"]);
    #[allow(unreachable_code, reason = "other processors")]
    None
}

#[test]
fn matrices_are_multiplied_by_kernels_for_this_processor() {
    let Some(family) = family() else { return };
    let weights: Vec<f32> = (0..64 * 32).map(|at| (at % 17) as f32).collect();
    let graph = pb::GraphProto {
        node: vec![node("MatMul", &["x", "w"], &["y"])],
        initializer: vec![constant(&floats("w", &[64, 32], &weights))],
        input: vec![value("x", Dtype::Fp32, &[24, 64])],
        output: vec![value("y", Dtype::Fp32, &[24, 32])],
        ..Default::default()
    };
    let plan = load::plan(TABLE, model(13, graph), &[vec![24, 64]]).unwrap();
    let said: Vec<String> = plan.model().nodes().iter().flat_map(|node| node.op().info().unwrap()).collect();
    let multiplies = said.iter().find(|line| line.starts_with("Mult: ")).unwrap_or_else(|| panic!("{said:#?}"));
    assert!(family.iter().any(|name| multiplies.contains(name)), "wanted one of {family:?}: {multiplies}");
}
