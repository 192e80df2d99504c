//! The operators.

use tract_onnx::tract_core::internal::*;

use super::{LANES, Layout, Plane, slide};
use crate::int8::Geometry;

/// A convolution of each channel by itself, and bounds. Inputs: x, NCHW; weights, one window after the other; bias.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthwisePlanes {
    pub geometry: Geometry,
    pub low: f32,
    pub high: f32,
}

impl Eq for DepthwisePlanes {}

/// The largest value of each window. Input: x, NCHW.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxPlanes {
    pub geometry: Geometry,
}

fn output_facts(geometry: &Geometry, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
    let [images, _, _, _] = inputs[0].shape.dims() else { bail!("x has four axes") };
    let [height, width] = geometry.output;
    let shape = [images.clone(), geometry.channels.to_dim(), height.to_dim(), width.to_dim()];
    Ok(tvec!(f32::datum_type().fact(&shape)))
}

/// `plane` completes the work of a channel.
fn run<'a>(
    geometry: &Geometry,
    x: &Tensor,
    padding: f32,
    plane: impl Fn(usize) -> (Option<(&'a [f32], f32)>, f32, f32),
) -> TractResult<TVec<TValue>> {
    ensure!(x.rank() == 4 && x.shape()[1] == geometry.channels, "x does not fit");
    ensure!(x.shape()[2..] == geometry.input, "x does not fit");
    let layout = Layout::new(geometry);
    let [height, width] = geometry.output;
    let mut copy = vec![padding; layout.len()];
    let mut computed = vec![0.0; layout.points.next_multiple_of(LANES)];
    let mut y = Tensor::zero::<f32>(&[x.shape()[0], geometry.channels, height, width])?;
    let planes = x.try_as_plain_ram()?.as_slice::<f32>()?.chunks_exact(geometry.input[0] * geometry.input[1]);
    let mut out = y.try_as_plain_ram_mut()?;
    let outputs = out.as_slice_mut::<f32>()?.chunks_exact_mut(height * width);
    for (index, (from, to)) in planes.zip(outputs).enumerate() {
        layout.fill(geometry, from, &mut copy);
        let (weights, low, high) = plane(index % geometry.channels);
        let work = Plane {
            copy: &copy,
            taps: &layout.taps,
            weights,
            low,
            high,
            columns: [layout.phase[1], width],
            points: layout.points,
        };
        slide(&work, &mut computed, to);
    }
    Ok(tvec!(y.into_tvalue()))
}

impl Op for DepthwisePlanes {
    fn name(&self) -> StaticName {
        "DepthwisePlanes".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?}", self.geometry)])
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl EvalOp for DepthwisePlanes {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (x, weights, bias) = args_3!(inputs);
        let taps = self.geometry.kernel[0] * self.geometry.kernel[1];
        let (weights, bias) = (weights.try_as_plain_ram()?, bias.try_as_plain_ram()?);
        let (weights, bias) = (weights.as_slice::<f32>()?, bias.as_slice::<f32>()?);
        ensure!(bias.len() == self.geometry.channels && weights.len() == bias.len() * taps, "weights do not fit");
        let plane = |channel: usize| (Some((&weights[channel * taps..][..taps], bias[channel])), self.low, self.high);
        run(&self.geometry, &x, 0.0, plane)
    }
}

impl TypedOp for DepthwisePlanes {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        output_facts(&self.geometry, inputs)
    }

    as_op!();
}

impl Op for MaxPlanes {
    fn name(&self) -> StaticName {
        "MaxPlanes".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?}", self.geometry)])
    }

    op_as_typed_op!();
}

impl EvalOp for MaxPlanes {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = args_1!(inputs);
        run(&self.geometry, &x, f32::NEG_INFINITY, |_| (None, f32::NEG_INFINITY, f32::INFINITY))
    }
}

impl TypedOp for MaxPlanes {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        output_facts(&self.geometry, inputs)
    }

    as_op!();
}
