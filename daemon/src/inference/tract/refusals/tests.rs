use super::{
    super::rewrites::testing::{constant, floats, longs, model, node, value},
    *,
};
use crate::tensor::{Dtype, Tensor};

fn with_text(mut node: pb::NodeProto, name: &str, text: &str) -> pb::NodeProto {
    node.attribute.push(pb::AttributeProto { name: name.to_owned(), s: text.as_bytes().to_vec(), ..<_>::default() });
    node
}

fn with_int(mut node: pb::NodeProto, name: &str, i: i64) -> pb::NodeProto {
    node.attribute.push(pb::AttributeProto { name: name.to_owned(), i, ..<_>::default() });
    node
}

fn with_texts(mut node: pb::NodeProto, name: &str, texts: &[&str]) -> pb::NodeProto {
    let strings = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    node.attribute.push(pb::AttributeProto { name: name.to_owned(), strings, ..<_>::default() });
    node
}

fn verdict_with(opset: i64, node: pb::NodeProto, constants: &[Tensor]) -> Result<(), String> {
    let graph = pb::GraphProto {
        node: vec![node],
        initializer: constants.iter().map(constant).collect(),
        input: vec![value("x", Dtype::Fp32, &[2, 3])],
        output: vec![value("y", Dtype::Fp32, &[2, 3])],
        ..<_>::default()
    };
    check(&model(opset, graph), &[]).map_err(|error| error.to_string())
}

fn verdict(node: pb::NodeProto) -> Result<(), String> {
    verdict_with(17, node, &[])
}

#[test]
fn a_refusal_names_operator_node_and_reason() {
    let refused = verdict(with_int(node("LSTM", &["x", "w", "r"], &["y"]), "input_forget", 1));
    assert_eq!(refused.unwrap_err(), "op LSTM at node \"LSTM_y\": input_forget is ignored");
}

#[test]
fn defaults_that_are_spelled_out_are_no_reason() {
    let lstm = || node("LSTM", &["x", "w", "r"], &["y"]);
    assert!(verdict(with_int(lstm(), "input_forget", 0)).is_ok());
    assert!(
        verdict(with_texts(lstm(), "activations", &["Sigmoid", "Tanh", "Tanh", "sigmoid", "tanh", "tanh"])).is_ok()
    );
    assert!(verdict(with_texts(lstm(), "activations", &["Sigmoid", "Tanh", "Relu"])).is_err());
    assert!(verdict(with_int(node("Swish", &["x"], &["y"]), "beta", 2)).is_ok());
}

#[test]
fn a_constant_decides_where_there_is_one() {
    let suppression = || node("NonMaxSuppression", &["x", "s", "most"], &["y"]);
    assert!(verdict_with(17, suppression(), &[longs("most", &[1], &[5])]).is_ok());
    assert!(verdict_with(17, suppression(), &[longs("most", &[1], &[0])]).is_err());
    let resize = || with_text(node("Resize", &["x", "scales"], &["y"]), "mode", "nearest");
    assert!(verdict_with(10, resize(), &[floats("scales", &[2], &[2.0, 3.0])]).is_ok());
    assert!(verdict_with(10, resize(), &[floats("scales", &[2], &[2.0, 1.5])]).is_err());
    assert!(verdict_with(11, resize(), &[floats("scales", &[2], &[2.0, 1.5])]).is_ok());
}

#[test]
fn operators_of_other_domains_are_not_taken_for_onnx_s_own() {
    let of = |op: &str, domain: &str| verdict(pb::NodeProto { domain: domain.to_owned(), ..node(op, &["x"], &["y"]) });
    assert!(of("Gelu", "com.microsoft").is_ok());
    assert!(of("Attention", "com.microsoft").unwrap_err().starts_with("op com.microsoft::Attention at node"));
    assert!(of("Attention", "").is_ok());
}

#[test]
fn inner_graphs_are_looked_through() {
    let inner = pb::GraphProto { node: vec![node("GlobalLpPool", &["x"], &["z"])], ..<_>::default() };
    let mut outer = node("If", &["c"], &["y"]);
    outer.attribute.push(pb::AttributeProto { name: "then_branch".to_owned(), g: Some(inner), ..<_>::default() });
    assert!(verdict(outer).unwrap_err().starts_with("op GlobalLpPool at node \"GlobalLpPool_z\""));
}

#[test]
fn an_operator_set_from_the_future_is_refused() {
    assert!(verdict_with(NEWEST_OPSET, node("Relu", &["x"], &["y"]), &[]).is_ok());
    assert!(verdict_with(NEWEST_OPSET + 1, node("Relu", &["x"], &["y"]), &[]).is_err());
}

/// In a debug build the subtraction that wraps panics, which `Served` catches.
#[test]
fn a_deconvolution_whose_output_shape_cuts_is_not_served() {
    use super::super::{load, rewrites};
    let mut deconvolution = node("ConvTranspose", &["x", "w"], &["y"]);
    let shape = |name: &str, ints: &[i64]| pb::AttributeProto {
        name: name.to_owned(),
        ints: ints.to_vec(),
        r#type: pb::attribute_proto::AttributeType::Ints as i32,
        ..<_>::default()
    };
    let planned = |size: i64| {
        deconvolution.attribute = vec![shape("strides", &[2]), shape("output_shape", &[size])];
        let graph = pb::GraphProto {
            node: vec![deconvolution.clone()],
            initializer: vec![constant(&floats("w", &[1, 1, 3], &[1.0; 3]))],
            input: vec![value("x", Dtype::Fp32, &[1, 1, 4])],
            output: vec![value("y", Dtype::Fp32, &[1, 1, size])],
            ..<_>::default()
        };
        load::plan(rewrites::TABLE, model(13, graph), &[vec![1, 1, 4]])
    };
    let mut planned = std::panic::AssertUnwindSafe(planned);
    assert!(planned(10).is_ok());
    let cut = std::panic::catch_unwind(move || planned(8).map(|_| ()).map_err(|error| error.to_string()));
    assert!(cut.is_err() || cut.is_ok_and(|plan| plan.is_err_and(|why| why.contains("op ConvTranspose at node"))));
}

#[test]
fn rows_stand_by_operator_and_say_why() {
    assert!(TABLE.is_sorted_by_key(|row| row.op));
    assert!(TABLE.iter().all(|row| row.why.len() > 10));
    let known = tract_onnx::onnx().op_register.0;
    assert!(TABLE.iter().all(|row| known.contains_key(row.op)), "what tract does not have needs no row");
}
