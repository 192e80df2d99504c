//! Convolutions over two spatial axes: without groups, or with one for each channel.

use tract_onnx::tract_core::{
    internal::*,
    ops::cnn::{Conv, KernelFormat},
};

use super::{Quantised, floats, input, rewrite, weights};
use picket_kernels::int8::{
    CHANNELS, Geometry, LANES, MOST_TERMS, MOST_TERMS_OF_I32, Packed, QuantisedConv, QuantisedDepthwise, lanes,
};

/// See the table.
pub(in crate::inference::tract) fn conv(model: &mut TypedModel) -> TractResult<()> {
    rewrite(model, layer)
}

fn layer(model: &TypedModel, end: &Quantised) -> TractResult<Option<TypedModelPatch>> {
    let node = model.node(end.value.node);
    let Some(op) = node.op_as::<Conv>() else { return Ok(None) };
    let Some(x) = input(model, node.inputs[0])? else { return Ok(None) };
    let Some(w) = weights(model, node.inputs[1], 0)? else { return Ok(None) };
    let Some((geometry, shape)) = geometry(op, model.outlet_fact(x.source)?) else { return Ok(None) };
    let channels = op.output_channels();
    let Some(bias) = floats(model, node.inputs[2], channels)? else { return Ok(None) };
    let [rows, columns] = geometry.kernel;
    let depthwise = op.group == geometry.channels && op.group == channels && op.group > 1;
    let terms = rows * columns * if depthwise { 1 } else { geometry.channels };
    if !depthwise && op.group != 1 || terms > if depthwise { MOST_TERMS } else { MOST_TERMS_OF_I32 } {
        return Ok(None);
    }
    if *w.shape != [channels, geometry.channels / op.group, rows, columns] {
        return Ok(None);
    }

    let name = &model.node(end.node).name;
    let mut patch = TypedModelPatch::new("a convolution of codes");
    let source = patch.tap_model(model, x.source)?;
    let last = patch.wire_node(format!("{name}.channels_last"), AxisOp::Move(1, 3), &[source])?[0];
    let factors: Vec<f32> = (0..channels).map(|channel| x.scale * w.scale(channel)).collect();
    let out = if depthwise {
        let weight = |channel, row, column| w.values[(channel * rows + row) * columns + column];
        let weights = patch.add_const(format!("{name}.weights"), QuantisedDepthwise::weights(&geometry, weight)?)?;
        let factors = patch.add_const(format!("{name}.factors"), lanes::<LANES>(&factors)?)?;
        let offsets = patch.add_const(format!("{name}.offsets"), lanes::<LANES>(&bias)?)?;
        let op = QuantisedDepthwise { geometry, x: x.codes, y: end.codes, recip: end.recip, shape };
        patch.wire_node(format!("{name}.codes"), op, &[last, weights, factors, offsets])?[0]
    } else {
        let inputs = geometry.channels;
        let weight = |output, input, row, column| w.values[((output * inputs + input) * rows + row) * columns + column];
        let Packed { narrow, weights, begins } = Packed::new(&geometry, x.codes, channels, weight)?;
        let weights = patch.add_const(format!("{name}.weights"), weights)?;
        let begins = patch.add_const(format!("{name}.begins"), begins)?;
        let factors = patch.add_const(format!("{name}.factors"), lanes::<CHANNELS>(&factors)?)?;
        let offsets = patch.add_const(format!("{name}.offsets"), lanes::<CHANNELS>(&bias)?)?;
        let op = QuantisedConv { geometry, x: x.codes, y: end.codes, recip: end.recip, channels, shape, narrow };
        patch.wire_node(format!("{name}.codes"), op, &[last, weights, begins, factors, offsets])?[0]
    };
    let first = patch.wire_node(name, AxisOp::Move(3, 1), &[out])?[0];
    patch.shunt_outside(model, end.node.into(), first)?;
    Ok(Some(patch))
}

/// The convolution's, and the shape of its output with channels last.
fn geometry(op: &Conv, x: &TypedFact) -> Option<(Geometry, TVec<usize>)> {
    if op.kernel_fmt != KernelFormat::OIHW || op.q_params.is_some() {
        return None;
    }
    let geometry = Geometry::of(&op.pool_spec, x)?;
    let images = x.shape.as_concrete()?[0];
    let shape = tvec!(images, geometry.output[0], geometry.output[1], op.pool_spec.output_channels);
    Some((geometry, shape))
}
