//! The operators against loops that anybody can read.

use tract_onnx::tract_core::internal::*;

use super::*;

fn geometry(
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    before: [usize; 2],
) -> Geometry {
    let output = [0, 1]
        .map(|axis| (input[axis] + 2 * before[axis] - (kernel[axis] - 1) * dilation[axis] - 1) / stride[axis] + 1);
    Geometry { input, output, kernel, stride, dilation, before, channels: 3 }
}

fn geometries() -> Vec<Geometry> {
    vec![
        geometry([1, 1], [1, 1], [1, 1], [1, 1], [0, 0]),
        geometry([6, 6], [3, 3], [1, 1], [1, 1], [1, 1]),
        geometry([7, 9], [3, 3], [2, 2], [1, 1], [1, 1]),
        geometry([8, 8], [3, 3], [2, 2], [1, 1], [0, 1]),
        geometry([40, 37], [5, 5], [1, 1], [1, 1], [2, 2]),
        geometry([20, 31], [3, 2], [3, 3], [1, 1], [2, 1]),
        geometry([15, 14], [3, 3], [1, 2], [2, 3], [2, 3]),
        geometry([9, 9], [2, 2], [2, 2], [1, 1], [0, 0]),
    ]
}

/// The elements of a window that lie in the image: place in the window and value.
fn window(g: &Geometry, plane: &[f32], pixel: [usize; 2]) -> Vec<(usize, f32)> {
    let mut found = Vec::new();
    for row in 0..g.kernel[0] {
        for column in 0..g.kernel[1] {
            let at = |axis: usize, k: usize| {
                (pixel[axis] * g.stride[axis] + k * g.dilation[axis])
                    .checked_sub(g.before[axis])
                    .filter(|at| *at < g.input[axis])
            };
            if let (Some(y), Some(x)) = (at(0, row), at(1, column)) {
                found.push((row * g.kernel[1] + column, plane[y * g.input[1] + x]));
            }
        }
    }
    found
}

/// Whole numbers, so that sums are exact in any order.
fn input(g: &Geometry, images: usize) -> Tensor {
    let count = images * g.channels * g.input[0] * g.input[1];
    let values: Vec<f32> = (0..count).map(|at| (at * 7919 % 101) as f32 - 50.0).collect();
    Tensor::from_shape(&[images, g.channels, g.input[0], g.input[1]], &values).unwrap()
}

fn expected(g: &Geometry, x: &Tensor, value: impl Fn(usize, &[(usize, f32)]) -> f32) -> Vec<f32> {
    let x = x.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec();
    let mut out = Vec::new();
    for (index, plane) in x.chunks_exact(g.input[0] * g.input[1]).enumerate() {
        for row in 0..g.output[0] {
            for column in 0..g.output[1] {
                out.push(value(index % g.channels, &window(g, plane, [row, column])));
            }
        }
    }
    out
}

fn eval(op: &dyn TypedOp, inputs: TVec<TValue>) -> Vec<f32> {
    let y = op.eval_out_of_plan(inputs).unwrap().unwrap();
    y[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
}

#[test]
fn a_depthwise_convolution_is_the_sum_of_its_products() {
    for g in geometries() {
        let taps = g.kernel[0] * g.kernel[1];
        let weights: Vec<f32> = (0..g.channels * taps).map(|at| (at * 31 % 17) as f32 - 8.0).collect();
        let bias = [1.0f32, -20.0, 300.0];
        let x = input(&g, 2);
        let op = DepthwisePlanes { geometry: g.clone(), low: -100.0, high: 700.0 };
        let rest = [Tensor::from_shape(&[g.channels, taps], &weights).unwrap(), tensor1(&bias)];
        let want = expected(&g, &x, |channel, window| {
            let sum: f32 = window.iter().map(|(tap, x)| x * weights[channel * taps + tap]).sum();
            (sum + bias[channel]).clamp(-100.0, 700.0)
        });
        let got = eval(&op, std::iter::once(x).chain(rest).map(IntoTValue::into_tvalue).collect());
        assert_eq!(got, want, "{g:?}");
    }
}

#[test]
fn a_pool_is_the_largest_of_its_window() {
    for g in geometries() {
        let x = input(&g, 2);
        let want = expected(&g, &x, |_, window| window.iter().map(|(_, x)| *x).fold(f32::NEG_INFINITY, f32::max));
        let got = eval(&MaxPlanes { geometry: g.clone() }, tvec!(x.into_tvalue()));
        assert_eq!(got, want, "{g:?}");
    }
}
