//! RNN, GRU and LSTM that run backwards, which tract runs forwards; and the initial states of an LSTM, which tract makes for a
//! batch of one.
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
    let direction = expand::attribute(node, "direction").map_or(&b"forward"[..], |direction| &direction.s);
    let reverse = direction.eq_ignore_ascii_case(b"reverse");
    let both = direction.eq_ignore_ascii_case(b"bidirectional");
    let is_given = |index: usize| node.input.get(index).is_some_and(|name| !name.is_empty());
    let stateless = node.op_type == "LSTM" && !(is_given(5) && is_given(6));
    let hidden = expand::attribute(node, "hidden_size").filter(|_| stateless).map(|size| size.i);
    if !reverse && hidden.is_none() {
        return None;
    }
    let batch_first = expand::attribute(node, "layout").is_some_and(|layout| layout.i == 1);
    let mut found = Expansion::of(node);
    let mut inner = node.clone();
    if let Some(hidden) = hidden {
        inner.input.resize(inner.input.len().max(7), String::new());
        let zeros = states(&mut found, x, if both { 2 } else { 1 }, hidden, batch_first);
        inner.input.iter_mut().skip(5).take(2).filter(|name| name.is_empty()).for_each(|name| name.clone_from(&zeros));
    }
    let time = i64::from(batch_first);
    let whole = node.output.first().filter(|output| reverse && !output.is_empty());
    if reverse {
        inner.attribute.retain(|attribute| attribute.name != "direction");
        let bounds = bounds(&mut found, time);
        inner.input[0] = slice(&mut found, x, &bounds, None);
        if let Some(whole) = whole {
            inner.output[0] = format!("{whole}/reversed");
            found.push(inner.clone());
            slice(&mut found, &inner.output[0], &bounds, Some(whole));
            return Some(found);
        }
    }
    found.push(inner);
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

/// Zeros of the shape `[directions, batch, hidden]`, or with the batch first.
fn states(found: &mut Expansion<'_>, x: &str, directions: i64, hidden: i64, batch_first: bool) -> String {
    let shape = found.op("Shape", &[x], Vec::new());
    let at = found.longs(&[1], &[i64::from(!batch_first)]);
    let batch = found.op("Gather", &[&shape, &at], vec![expand::int("axis", 0)]);
    let (directions, hidden) = (found.longs(&[1], &[directions]), found.longs(&[1], &[hidden]));
    let parts = if batch_first { [&batch, &directions, &hidden] } else { [&directions, &batch, &hidden] };
    let shape = found.op("Concat", &parts.map(String::as_str), vec![expand::int("axis", 0)]);
    let zero = found.floats(&[], &[0.0]);
    found.op("Expand", &[&zero, &shape], Vec::new())
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

    #[test]
    fn an_lstm_without_initial_states_takes_any_batch() {
        let mut lstm = node("LSTM", &["x", "w", "r"], &["y"]);
        lstm.attribute = vec![expand::int("hidden_size", 2)];
        let graph = pb::GraphProto {
            node: vec![lstm],
            initializer: vec![
                constant(&floats("w", &[1, 8, 1], &[1.0; 8])),
                constant(&floats("r", &[1, 8, 2], &[0.0; 16])),
            ],
            input: vec![value("x", Dtype::Fp32, &[2, 3, 1])],
            output: vec![value("y", Dtype::Fp32, &[2, 1, 3, 2])],
            ..<_>::default()
        };
        let input = [floats("x", &[2, 3, 1], &[0.0, 0.5, 1.0, 0.0, 0.5, 1.0])];
        let answer = run(TABLE, &model(14, graph.clone()), &input).unwrap();
        // One step: c = σ(x) tanh(x), h = σ(x) tanh(c).
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let first = [0.0f32, 0.5, 1.0].map(|x| sigmoid(x) * (sigmoid(x) * x.tanh()).tanh());
        let twice: Vec<f32> = first.iter().flat_map(|h| [*h, *h]).collect();
        assert!(near(&answer[0], &twice), "{answer:?}");
        assert!(run(&without("recurrent"), &model(14, graph), &input).is_err(), "tract has mended this");
    }
}
