//! Operators that make much of little, where their constants stand in the file: a shape of a few bytes becomes gigabytes.
//!
//! Only what is visible without computing is seen. What is computed first is stopped by the memory of the process that proves
//! the model.

use std::collections::HashMap;

use super::{
    Refusal,
    budget::Budget,
    graph::{Graph, Node},
    tensor,
};

/// Values whose numbers, or at least whose size, the file says.
#[derive(Clone, Copy, Default)]
struct Known<'g> {
    numbers: Option<&'g [i64]>,
    elements: usize,
}

/// # Errors
/// `model/too-large`: a constant asks for more elements than any tensor may have.
pub(super) fn check(graph: &Graph<'_>, budget: &mut Budget) -> Result<(), Refusal> {
    let mut known: HashMap<&[u8], Known<'_>> = HashMap::new();
    for tensor in &graph.initializers {
        known.insert(tensor.name, Known { numbers: tensor.numbers.as_deref(), elements: tensor.elements });
    }
    for node in graph.nodes.iter().filter(|node| node.op == b"Constant") {
        if let (Some(output), Some(constant)) = (node.outputs.first(), node.constants.first()) {
            let known_constant = Known { numbers: Some(&constant.numbers), elements: constant.elements };
            known.insert(output, known_constant);
        }
    }
    for node in &graph.nodes {
        let made = made(node, &known).map_err(|why| why.within(&format!("node {}", node.show())))?;
        budget.made(made)?;
    }
    Ok(())
}

/// Elements that come out at least; 0 where nobody knows.
fn made(node: &Node<'_>, known: &HashMap<&[u8], Known<'_>>) -> Result<usize, Refusal> {
    let input = |index: usize| node.inputs.get(index).and_then(|name| known.get(name)).copied().unwrap_or_default();
    let attribute = |name: &[u8]| node.constant(name).map(|constant| constant.numbers.as_slice());
    match node.op {
        b"ConstantOfShape" => input(0).numbers.map_or(Ok(0), tensor::elements),
        b"RandomNormal" | b"RandomUniform" => attribute(b"shape").map_or(Ok(0), tensor::elements),
        // A dimension of 1 takes that of the data, so the shape is the least that comes out.
        b"Expand" => input(1).numbers.map_or(Ok(0), tensor::elements),
        // 0 and -1 stand for what the data has.
        b"Reshape" => input(1).numbers.map_or(Ok(0), |shape| {
            let least: Vec<i64> = shape.iter().map(|dim| (*dim).max(1)).collect();
            // The data has them already, so nothing is made.
            tensor::elements(&least).map(|_| 0)
        }),
        b"Tile" => {
            let repeats = input(1).numbers.map_or(Ok(0), tensor::elements)?;
            times(repeats, input(0).elements.max(1))
        }
        b"OneHot" => match input(1).numbers {
            Some([depth]) => times(tensor::elements(&[*depth])?, input(0).elements.max(1)),
            _ => Ok(0),
        },
        b"Range" => match (input(0).numbers, input(1).numbers, input(2).numbers) {
            (Some([start]), Some([limit]), Some([delta])) => range(*start, *limit, *delta),
            _ => Ok(0),
        },
        b"Resize" | b"Upsample" => input(3).numbers.filter(|sizes| !sizes.is_empty()).map_or(Ok(0), tensor::elements),
        _ => match attribute(b"pads").or(if node.op == b"Pad" { input(1).numbers } else { None }) {
            Some(pads) => padded(pads),
            None => Ok(0),
        },
    }
}

fn times(one: usize, other: usize) -> Result<usize, Refusal> {
    let signed = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
    tensor::elements(&[signed(one), signed(other)])
}

/// Numbers from `start` to `limit`, in steps of `delta`.
fn range(start: i64, limit: i64, delta: i64) -> Result<usize, Refusal> {
    let (start, limit, delta) = (i128::from(start), i128::from(limit), i128::from(delta));
    if delta == 0 {
        return Err(Refusal::broken("a range in steps of 0".to_owned()));
    }
    let count = ((limit - start) / delta).max(0);
    tensor::elements(&[i64::try_from(count).unwrap_or(i64::MAX)])
}

/// Pads before and behind each axis, of which every axis then has at least as many elements. Negative ones cut.
fn padded(pads: &[i64]) -> Result<usize, Refusal> {
    let half = pads.len() / 2;
    let sides = pads[..half].iter().zip(&pads[half..]);
    let dims: Vec<i64> = sides.map(|(before, behind)| before.saturating_add(*behind).max(1)).collect();
    tensor::elements(&dims)
}
