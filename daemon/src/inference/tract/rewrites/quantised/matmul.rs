//! Products of a matrix of codes with constant weights, as dense layers have them, with or without a bias.

use tract_onnx::tract_core::{
    internal::*,
    ops::{einsum::EinSum, math::Add},
};

use super::{Quantised, floats, input, operand, rewrite, weights};
use picket_kernels::int8::{CHANNELS, Geometry, MOST_TERMS_OF_I32, Packed, QuantisedConv, lanes};

/// See the table.
pub(in crate::inference::tract) fn matmul(model: &mut TypedModel) -> TractResult<()> {
    rewrite(model, layer)
}

fn layer(model: &TypedModel, end: &Quantised) -> TractResult<Option<TypedModelPatch>> {
    let product = operand::<Add>(model, end.value).unwrap_or(end.value);
    let node = model.node(product.node);
    let Some(op) = node.op_as::<EinSum>() else { return Ok(None) };
    if op.q_params.is_some() || node.inputs.len() != 2 || op.axes != "mk,kn->mn".parse()? {
        return Ok(None);
    }
    let Some(x) = input(model, node.inputs[0])? else { return Ok(None) };
    let Some(w) = weights(model, node.inputs[1], 1)? else { return Ok(None) };
    let Some([rows, terms]) =
        model.outlet_fact(x.source)?.shape.as_concrete().and_then(|s| <[usize; 2]>::try_from(s).ok())
    else {
        return Ok(None);
    };
    let Some(columns) = w.shape.get(1).copied().filter(|n| *w.shape == [terms, *n]) else { return Ok(None) };
    if rows * terms * columns == 0 || terms > MOST_TERMS_OF_I32 {
        return Ok(None);
    }
    let bias = if product == end.value {
        vec![0.0; columns]
    } else {
        let Some(bias) = floats(model, model.node(end.value.node).inputs[1], columns)? else { return Ok(None) };
        bias
    };
    let geometry = Geometry {
        input: [rows, 1],
        output: [rows, 1],
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        before: [0, 0],
        channels: terms,
    };

    let name = &model.node(end.node).name;
    let mut patch = TypedModelPatch::new("a matrix product of codes");
    let source = patch.tap_model(model, x.source)?;
    let factors: Vec<f32> = (0..columns).map(|channel| x.scale * w.scale(channel)).collect();
    let weight = |output, input, _, _| w.values[input * columns + output];
    let Packed { narrow, weights, begins } = Packed::new(&geometry, x.codes, columns, weight)?;
    let weights = patch.add_const(format!("{name}.weights"), weights)?;
    let begins = patch.add_const(format!("{name}.begins"), begins)?;
    let factors = patch.add_const(format!("{name}.factors"), lanes::<CHANNELS>(&factors)?)?;
    let offsets = patch.add_const(format!("{name}.offsets"), lanes::<CHANNELS>(&bias)?)?;
    let op = QuantisedConv {
        geometry,
        x: x.codes,
        y: end.codes,
        recip: end.recip,
        channels: columns,
        shape: tvec!(rows, columns),
        narrow,
    };
    let out = patch.wire_node(name, op, &[source, weights, begins, factors, offsets])?[0];
    patch.shunt_outside(model, end.node.into(), out)?;
    Ok(Some(patch))
}
