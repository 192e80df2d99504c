//! The operators against loops that anybody can read.

use tract_onnx::tract_core::internal::*;

use super::{codes::Codes, conv::Packed, *};

/// A sequence without a pattern, the same at every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next(256) as u8).collect()
    }
}

struct Case {
    geometry: Geometry,
    channels: usize,
    x: Codes,
    y: Codes,
}

/// Geometry from input size, kernel, stride, dilation, padding on all sides.
fn geometry(
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pad: usize,
    channels: usize,
) -> Geometry {
    let output =
        [0, 1].map(|axis| (input[axis] + 2 * pad - (kernel[axis] - 1) * dilation[axis] - 1) / stride[axis] + 1);
    Geometry { input, output, kernel, stride, dilation, before: [pad, pad], channels }
}

fn geometries() -> Vec<Geometry> {
    vec![
        geometry([1, 1], [1, 1], [1, 1], [1, 1], 0, 7),
        geometry([5, 4], [1, 1], [1, 1], [1, 1], 0, 16),
        geometry([5, 4], [1, 1], [2, 2], [1, 1], 0, 3),
        geometry([9, 7], [3, 3], [1, 1], [1, 1], 1, 3),
        geometry([9, 7], [3, 3], [2, 2], [1, 1], 1, 8),
        geometry([10, 11], [3, 2], [1, 3], [2, 3], 2, 5),
        geometry([12, 6], [10, 4], [2, 2], [1, 1], 4, 1),
        // The image as it lies, and read to its end.
        geometry([4, 6], [1, 1], [1, 1], [1, 1], 0, 12),
        geometry([7, 3], [2, 3], [2, 1], [1, 1], 0, 8),
        // More than one band.
        geometry([70, 60], [3, 3], [1, 1], [1, 1], 1, 24),
        geometry([33, 129], [5, 5], [3, 1], [1, 2], 4, 24),
    ]
}

fn code(byte: u8, codes: Codes) -> i32 {
    if codes.signed { i32::from(byte.cast_signed()) } else { i32::from(byte) }
}

/// One over the outputs' scale.
const RECIP: f32 = 0.7;

fn expected(sum: i32, factor: f32, offset: f32, y: Codes) -> u8 {
    let value = ((sum as f32 * factor + offset) * RECIP).round_ties_even() as i32 + y.zero;
    value.clamp(y.low, y.high) as u8
}

/// The sum of one output element's products over `inputs` channels.
fn sum(
    case: &Case,
    x: &[u8],
    pixel: [usize; 2],
    inputs: std::ops::Range<usize>,
    weight: impl Fn(usize, usize, usize) -> i32,
) -> i32 {
    let g = &case.geometry;
    let mut sum = 0;
    for row in 0..g.kernel[0] {
        for column in 0..g.kernel[1] {
            let from = |axis: usize, at: usize| {
                (pixel[axis] * g.stride[axis] + at * g.dilation[axis])
                    .checked_sub(g.before[axis])
                    .filter(|at| *at < g.input[axis])
            };
            let (Some(y), Some(z)) = (from(0, row), from(1, column)) else { continue };
            for input in inputs.clone() {
                let byte = x[(y * g.input[1] + z) * g.channels + input];
                sum += (code(byte, case.x) - case.x.zero) * weight(input, row, column);
            }
        }
    }
    sum
}

fn cases() -> Vec<Case> {
    let all = |datum_type, zero| Codes::all(datum_type, zero).unwrap();
    let mut cases = Vec::new();
    for (index, geometry) in geometries().into_iter().enumerate() {
        let large = geometry.input_len() > 10_000;
        for channels in [1, 16, 21].into_iter().filter(|channels| !large || *channels == 1) {
            let (x, y) = if index % 2 == 0 {
                (all(DatumType::U8, 113), Codes { low: 7, high: 201, ..all(DatumType::U8, 7) })
            } else {
                (all(DatumType::I8, -5), all(DatumType::I8, -128))
            };
            cases.push(Case { geometry: geometry.clone(), channels, x, y });
        }
    }
    cases
}

fn eval(op: &dyn TypedOp, x: &[u8], codes: Codes, shape: &[usize], rest: Vec<Tensor>) -> Vec<u8> {
    let mut tensor = Tensor::zero_dt(codes.datum_type(), shape).unwrap();
    tensor.as_bytes_mut().copy_from_slice(x);
    let inputs = std::iter::once(tensor).chain(rest).map(IntoTValue::into_tvalue).collect();
    op.eval_out_of_plan(inputs).unwrap().unwrap()[0].as_bytes().to_vec()
}

/// Checks the kernels that take weights of up to `most`, packed by `pack(case, weight)`.
fn convolves(most: i32, pack: impl Fn(&Case, &dyn Fn(usize, usize, usize, usize) -> i32) -> TractResult<Packed>) {
    let mut numbers = Numbers(1);
    for case in cases() {
        let g = &case.geometry;
        let images = 2;
        let x = numbers.bytes(images * g.input_len());
        let count = case.channels * g.channels * g.kernel[0] * g.kernel[1];
        let w: Vec<i32> = (0..count).map(|_| numbers.next(2 * most as u64 + 1) as i32 - most).collect();
        let weight = |output: usize, input: usize, row: usize, column: usize| {
            w[((output * g.channels + input) * g.kernel[0] + row) * g.kernel[1] + column]
        };
        let factors: Vec<f32> = (0..case.channels).map(|_| numbers.next(900) as f32 * 1e-6).collect();
        let offsets: Vec<f32> = (0..case.channels).map(|_| numbers.next(50) as f32 - 25.3).collect();
        let shape: TVec<usize> = tvec!(images, g.output[0], g.output[1], case.channels);
        let Packed { narrow, weights, begins } = pack(&case, &weight).unwrap();
        let op = QuantisedConv {
            geometry: g.clone(),
            x: case.x,
            y: case.y,
            recip: RECIP,
            channels: case.channels,
            shape,
            narrow,
        };
        let lanes = [lanes::<CHANNELS>(&factors).unwrap(), lanes::<CHANNELS>(&offsets).unwrap()];
        let rest = [weights, begins].into_iter().chain(lanes).collect();
        let got = eval(&op, &x, case.x, &[images, g.input[0], g.input[1], g.channels], rest);
        let mut want = Vec::new();
        for image in x.chunks_exact(g.input_len()) {
            for pixel in (0..g.output[0]).flat_map(|y| (0..g.output[1]).map(move |x| [y, x])) {
                for output in 0..case.channels {
                    let sum = sum(&case, image, pixel, 0..g.channels, |input, row, column| {
                        weight(output, input, row, column)
                    });
                    want.push(expected(sum, factors[output], offsets[output], case.y));
                }
            }
        }
        assert!(close(&got, &want, case.y), "{g:?}, {} channels", case.channels);
    }
}

#[test]
fn a_convolution_is_the_sum_of_its_products() {
    convolves(255, |case, weight| Packed::wide(&case.geometry, case.channels, weight));
}

#[test]
fn a_convolution_of_bytes_is_the_sum_of_its_products() {
    convolves(127, |case, weight| Packed::narrow(&case.geometry, case.x, case.channels, weight));
}

#[test]
fn a_depthwise_convolution_is_the_sum_of_its_products() {
    let mut numbers = Numbers(2);
    for case in cases().into_iter().filter(|case| case.channels == 1) {
        let g = &case.geometry;
        let x = numbers.bytes(g.input_len());
        let w: Vec<i32> = (0..g.channels * g.kernel[0] * g.kernel[1]).map(|_| numbers.next(511) as i32 - 255).collect();
        let weight = |channel, row, column| w[(channel * g.kernel[0] + row) * g.kernel[1] + column];
        let factors: Vec<f32> = (0..g.channels).map(|_| numbers.next(900) as f32 * 1e-5).collect();
        let offsets: Vec<f32> = (0..g.channels).map(|_| numbers.next(50) as f32 - 25.3).collect();
        let shape: TVec<usize> = tvec!(1, g.output[0], g.output[1], g.channels);
        let op = QuantisedDepthwise { geometry: g.clone(), x: case.x, y: case.y, recip: RECIP, shape };
        let rest = vec![
            QuantisedDepthwise::weights(g, weight).unwrap(),
            lanes::<LANES>(&factors).unwrap(),
            lanes::<LANES>(&offsets).unwrap(),
        ];
        let got = eval(&op, &x, case.x, &[1, g.input[0], g.input[1], g.channels], rest);
        let mut want = Vec::new();
        for pixel in (0..g.output[0]).flat_map(|y| (0..g.output[1]).map(move |x| [y, x])) {
            for channel in 0..g.channels {
                let sum = sum(&case, &x, pixel, channel..channel + 1, |_, row, column| weight(channel, row, column));
                want.push(expected(sum, factors[channel], offsets[channel], case.y));
            }
        }
        assert!(close(&got, &want, case.y), "{g:?}");
    }
}

/// Equal, but for codes whose value lies between two: a processor may multiply and add with one rounding or with two.
fn close(got: &[u8], want: &[u8], codes: Codes) -> bool {
    let off = got.iter().zip(want).filter(|(got, want)| got != want);
    let near = off.clone().all(|(got, want)| code(*got, codes).abs_diff(code(*want, codes)) == 1);
    got.len() == want.len() && near && off.count() <= got.len() / 1000
}
