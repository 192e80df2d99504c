//! Whole layers, as exporters write them: on codes they give what they give in floating point.
//!
//! All scales are powers of two, so that floating point is exact and no code may differ.

use tract_onnx::pb;

use crate::{
    inference::tract::{
        load,
        rewrites::{Rewrite, TABLE, testing::*},
    },
    tensor::{Dtype, Tensor},
};

/// Codes without a pattern.
fn codes(name: &str, dtype: Dtype, shape: &[usize]) -> Tensor {
    let data: Vec<u8> = (0..shape.iter().product::<usize>()).map(|at| (at * 7919 % 251) as u8).collect();
    bytes(name, dtype, &data, shape)
}

/// 32-bit codes of a bias.
fn bias(name: &str, count: usize) -> Tensor {
    let data: Vec<u8> = (0..count).flat_map(|at| (at as i32 * 977 % 3001 - 1500).to_le_bytes()).collect();
    Tensor::new(name, Dtype::Int32, vec![count], data).unwrap()
}

fn with_ints(mut node: pb::NodeProto, attributes: &[(&str, &[i64])]) -> pb::NodeProto {
    node.attribute.extend(attributes.iter().map(|(name, ints)| pb::AttributeProto {
        name: (*name).to_owned(),
        r#type: pb::attribute_proto::AttributeType::Ints as i32,
        ints: ints.to_vec(),
        ..Default::default()
    }));
    node
}

fn with_int(mut node: pb::NodeProto, name: &str, value: i64) -> pb::NodeProto {
    node.attribute.push(pb::AttributeProto {
        name: name.to_owned(),
        r#type: pb::attribute_proto::AttributeType::Int as i32,
        i: value,
        ..Default::default()
    });
    node
}

/// The operators of the plan.
fn operators(table: &[Rewrite], proto: &pb::ModelProto, inputs: &[Tensor]) -> Vec<String> {
    let shapes: Vec<Vec<usize>> = inputs.iter().map(|input| input.shape().to_vec()).collect();
    let plan = load::plan(table, proto.clone(), &shapes).unwrap();
    plan.model().nodes().iter().map(|node| node.op().name().into_owned()).collect()
}

/// With the row nothing is computed in floats any more, without it something is; both give the same codes.
fn proves(row: &str, operator: &str, proto: &pb::ModelProto, inputs: &[Tensor]) {
    let with = operators(TABLE, proto, inputs);
    assert!(with.iter().any(|name| name == operator), "no {operator} in {with:?}");
    assert!(!with.iter().any(|name| name.contains("Dequantize")), "floats in {with:?}");
    let rest = without(row);
    let floats = operators(&rest, proto, inputs);
    assert!(!floats.iter().any(|name| name == operator), "{operator} in {floats:?}");
    let (got, want) = (run(TABLE, proto, inputs).unwrap(), run(&rest, proto, inputs).unwrap());
    assert_eq!(got, want);
    let codes = want[0].data();
    assert!(codes.iter().any(|code| *code != codes[0]), "one code only proves nothing");
}

/// A layer's codes in, weights with one scale for each channel, a bias, codes out.
fn convolution(group: i64, channels: usize, clip: pb::NodeProto) -> pb::ModelProto {
    let (inputs, per_group) = (6, 6 / group as usize);
    let shape = [channels, per_group, 3, 3];
    let scales: Vec<f32> = (0..channels).map(|at| if at % 2 == 0 { 0.015_625 } else { 0.031_25 }).collect();
    let bias_scales: Vec<f32> = scales.iter().map(|scale| scale * 0.5).collect();
    let zeros = vec![0; channels];
    let graph = pb::GraphProto {
        input: vec![value("x", Dtype::Uint8, &[1, inputs, 9, 7])],
        output: vec![value("y", Dtype::Int8, &[1, channels as i64, 5, 4])],
        initializer: [
            floats("x_scale", &[], &[0.5]),
            bytes("x_zero", Dtype::Uint8, &[131], &[]),
            codes("w", Dtype::Int8, &shape),
            floats("w_scale", &[channels], &scales),
            bytes("w_zero", Dtype::Int8, &zeros, &[channels]),
            bias("b", channels),
            floats("b_scale", &[channels], &bias_scales),
            floats("y_scale", &[], &[8.0]),
            bytes("y_zero", Dtype::Int8, &[0xF0], &[]),
            floats("low", &[], &[-40.0]),
            floats("high", &[], &[400.0]),
        ]
        .iter()
        .map(constant)
        .collect(),
        node: vec![
            node("DequantizeLinear", &["x", "x_scale", "x_zero"], &["xf"]),
            with_int(node("DequantizeLinear", &["w", "w_scale", "w_zero"], &["wf"]), "axis", 0),
            with_int(node("DequantizeLinear", &["b", "b_scale"], &["bf"]), "axis", 0),
            with_int(
                with_ints(node("Conv", &["xf", "wf", "bf"], &["c"]), &[("pads", &[1, 1, 1, 1]), ("strides", &[2, 2])]),
                "group",
                group,
            ),
            clip,
            node("QuantizeLinear", &["r", "y_scale", "y_zero"], &["y"]),
        ],
        ..Default::default()
    };
    model(13, graph)
}

#[test]
fn a_convolution_computes_on_codes() {
    let proto = convolution(1, 19, node("Relu", &["c"], &["r"]));
    proves("quantised-conv", "QuantisedConv", &proto, &[codes("x", Dtype::Uint8, &[1, 6, 9, 7])]);
    let proto = convolution(1, 19, node("Clip", &["c", "low", "high"], &["r"]));
    proves("quantised-conv", "QuantisedConv", &proto, &[codes("x", Dtype::Uint8, &[1, 6, 9, 7])]);
}

#[test]
fn weights_are_known_as_codes_only_when_they_are_kept() {
    let proto = convolution(1, 19, node("Relu", &["c"], &["r"]));
    proves("kept-codes", "QuantisedConv", &proto, &[codes("x", Dtype::Uint8, &[1, 6, 9, 7])]);
}

#[test]
fn a_depthwise_convolution_computes_on_codes() {
    let proto = convolution(6, 6, node("Clip", &["c", "low", "high"], &["r"]));
    proves("quantised-conv", "QuantisedDepthwise", &proto, &[codes("x", Dtype::Uint8, &[1, 6, 9, 7])]);
}

#[test]
fn other_groups_stay_as_they_are_and_right() {
    let proto = convolution(2, 8, node("Relu", &["c"], &["r"]));
    let inputs = [codes("x", Dtype::Uint8, &[1, 6, 9, 7])];
    assert!(!operators(TABLE, &proto, &inputs).iter().any(|name| name.starts_with("Quantised")));
    assert_eq!(run(TABLE, &proto, &inputs).unwrap(), run(&[], &proto, &inputs).unwrap());
}

#[test]
fn a_dense_layer_computes_on_codes() {
    let graph = pb::GraphProto {
        input: vec![value("x", Dtype::Int8, &[3, 37])],
        output: vec![value("y", Dtype::Uint8, &[3, 21])],
        initializer: [
            floats("x_scale", &[], &[0.25]),
            bytes("x_zero", Dtype::Int8, &[5], &[]),
            codes("w", Dtype::Uint8, &[37, 21]),
            floats("w_scale", &[], &[0.015_625]),
            bytes("w_zero", Dtype::Uint8, &[140], &[]),
            bias("b", 21),
            floats("b_scale", &[], &[0.003_906_25]),
            floats("y_scale", &[], &[4.0]),
            bytes("y_zero", Dtype::Uint8, &[100], &[]),
        ]
        .iter()
        .map(constant)
        .collect(),
        node: vec![
            node("DequantizeLinear", &["x", "x_scale", "x_zero"], &["xf"]),
            node("DequantizeLinear", &["w", "w_scale", "w_zero"], &["wf"]),
            node("DequantizeLinear", &["b", "b_scale"], &["bf"]),
            node("MatMul", &["xf", "wf"], &["m"]),
            node("Add", &["m", "bf"], &["a"]),
            node("QuantizeLinear", &["a", "y_scale", "y_zero"], &["y"]),
        ],
        ..Default::default()
    };
    proves("quantised-matmul", "QuantisedConv", &model(13, graph), &[codes("x", Dtype::Int8, &[3, 37])]);
}

#[test]
fn a_sum_computes_on_codes() {
    let graph = pb::GraphProto {
        input: vec![value("a", Dtype::Int8, &[2, 50]), value("b", Dtype::Uint8, &[2, 50])],
        output: vec![value("y", Dtype::Int8, &[2, 50])],
        initializer: [
            floats("a_scale", &[], &[0.25]),
            bytes("a_zero", Dtype::Int8, &[5], &[]),
            floats("b_scale", &[], &[0.5]),
            bytes("b_zero", Dtype::Uint8, &[120], &[]),
            floats("y_scale", &[], &[0.5]),
            bytes("y_zero", Dtype::Int8, &[3], &[]),
        ]
        .iter()
        .map(constant)
        .collect(),
        node: vec![
            node("DequantizeLinear", &["a", "a_scale", "a_zero"], &["af"]),
            node("DequantizeLinear", &["b", "b_scale", "b_zero"], &["bf"]),
            node("Add", &["af", "bf"], &["s"]),
            node("Relu", &["s"], &["r"]),
            node("QuantizeLinear", &["r", "y_scale", "y_zero"], &["y"]),
        ],
        ..Default::default()
    };
    let inputs = [codes("a", Dtype::Int8, &[2, 50]), codes("b", Dtype::Uint8, &[2, 50])];
    proves("quantised-add", "QuantisedAdd", &model(13, graph), &inputs);
}
