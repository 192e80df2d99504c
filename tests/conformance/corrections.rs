//! Cases whose wanted answer contradicts the operator's own text, as ONNX itself has found since: later releases of its
//! cases (1.23) want what stands here, and ONNX Runtime gives it.

pub struct Correction {
    pub case: &'static str,
    pub why: &'static str,
    /// The whole output.
    pub values: &'static [f64],
}

pub const CORRECTIONS: &[Correction] = &[
    Correction {
        case: "test_l2normalization_axis_0",
        why: "0/0 is 0, not NaN",
        values: &[
            1.0,
            0.371_390_67,
            0.371_390_67,
            0.447_213_6,
            0.447_213_6,
            0.0,
            0.0,
            0.928_476_7,
            0.928_476_7,
            0.894_427_2,
            0.894_427_2,
            0.0,
        ],
    },
    Correction {
        case: "test_qlinearmatmul_2D_int8_float32",
        why: "what is beyond the type saturates and does not wrap",
        values: &[41.0, -12.0, -9.0, 1.0, -75.0, -128.0],
    },
    Correction {
        case: "test_qlinearmatmul_2D_int8_float16",
        why: "as above",
        values: &[41.0, -12.0, -9.0, 1.0, -75.0, -128.0],
    },
    Correction {
        case: "test_qlinearmatmul_3D_int8_float16",
        why: "as above",
        values: &[-86.0, -128.0, -128.0, 115.0, 39.0, -121.0, -86.0, -128.0, -128.0, 115.0, 39.0, -121.0],
    },
    Correction {
        case: "test_qlinearmatmul_3D_int8_float32",
        why: "what is beyond the type saturates and does not wrap",
        values: &[-86.0, -128.0, -128.0, 115.0, 39.0, -121.0, -86.0, -128.0, -128.0, 115.0, 39.0, -121.0],
    },
];

/// What this case should want, where that is not what it says.
pub fn of(case: &str) -> Option<&'static Correction> {
    CORRECTIONS.iter().find(|correction| correction.case == case)
}
