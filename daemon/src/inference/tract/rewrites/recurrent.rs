//! RNN, GRU and LSTM that run backwards, which tract runs forwards.
//!
//! A layer with `direction = reverse` is the forward layer over the reversed sequence, its outputs reversed back; its last
//! states are the same. Sequences of different lengths, where that is not so, tract refuses.

use tract_onnx::pb;

use super::{
    Known,
    expand::{self, Expansion},
};
use crate::ports::BackendError;

pub(super) fn straighten(proto: &mut pb::ModelProto, _known: &Known<'_>) -> Result<(), BackendError> {
    if let Some(graph) = &mut proto.graph {
        expand::everywhere(graph, &expansion);
    }
    Ok(())
}

fn expansion(node: &pb::NodeProto) -> Option<Expansion<'_>> {
    let recurrent = matches!(node.op_type.as_str(), "RNN" | "GRU" | "LSTM");
    let x = node.input.first().filter(|_| recurrent)?;
    expand::attribute(node, "direction").filter(|direction| direction.s.eq_ignore_ascii_case(b"reverse"))?;
    let time = i64::from(expand::attribute(node, "layout").is_some_and(|layout| layout.i == 1));
    let mut found = Expansion::of(node);
    let bounds = bounds(&mut found, time);
    let mut inner = node.clone();
    inner.attribute.retain(|attribute| attribute.name != "direction");
    inner.input[0] = slice(&mut found, x, &bounds, None);
    let whole = node.output.first().filter(|output| !output.is_empty());
    if let Some(whole) = whole {
        inner.output[0] = format!("{whole}/reversed");
    }
    found.push(inner);
    if let Some(whole) = whole {
        slice(&mut found, &format!("{whole}/reversed"), &bounds, Some(whole));
    }
    Some(found)
}

/// From the last to the first element of the axis.
fn bounds(found: &mut Expansion<'_>, axis: i64) -> [String; 4] {
    [-1, i64::MIN + 1, axis, -1].map(|value| found.longs(&[1], &[value]))
}

fn slice(found: &mut Expansion<'_>, from: &str, bounds: &[String; 4], into: Option<&str>) -> String {
    let [starts, ends, axes, steps] = bounds;
    let inputs = [from, starts, ends, axes, steps];
    match into {
        Some(output) => {
            found.op_into("Slice", &inputs, output, Vec::new());
            output.to_owned()
        }
        None => found.op("Slice", &inputs, Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{TABLE, testing::*},
        *,
    };
    use crate::tensor::{Dtype, Tensor};

    /// A layer of one unit that adds half of the sum so far: h = tanh(x + h / 2).
    fn layer(attributes: Vec<pb::AttributeProto>) -> pb::ModelProto {
        let mut rnn = node("RNN", &["x", "w", "r"], &["y", "last"]);
        rnn.attribute = [attributes, vec![expand::int("hidden_size", 1)]].concat();
        let graph = pb::GraphProto {
            node: vec![rnn],
            initializer: vec![constant(&floats("w", &[1, 1, 1], &[1.0])), constant(&floats("r", &[1, 1, 1], &[0.5]))],
            input: vec![value("x", Dtype::Fp32, &[3, 1, 1])],
            output: vec![value("y", Dtype::Fp32, &[3, 1, 1, 1]), value("last", Dtype::Fp32, &[1, 1, 1])],
            ..<_>::default()
        };
        model(14, graph)
    }

    fn near(got: &Tensor, want: &[f32]) -> bool {
        got.to_f32().iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-5)
    }

    #[test]
    fn a_layer_that_runs_backwards_begins_at_the_end() {
        let proto = layer(vec![expand::text("direction", "reverse")]);
        let third = 0.3f32.tanh();
        let second = (0.2 + third / 2.0).tanh();
        let first = (0.1 + second / 2.0).tanh();
        let input = [floats("x", &[3, 1, 1], &[0.1, 0.2, 0.3])];
        let right = run(TABLE, &proto, &input).unwrap();
        assert!(near(&right[0], &[first, second, third]) && near(&right[1], &[first]), "{right:?}");
        let bare = run(&without("recurrent"), &proto, &input).unwrap();
        assert!(!near(&bare[0], &[first, second, third]), "tract has mended this: the row can go");
    }
}
