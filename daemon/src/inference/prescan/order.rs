//! Is a graph one that can be run at all: every value made once, and none made of itself?

use std::collections::{HashMap, HashSet};

use super::{
    Refusal,
    graph::{Graph, Node, Operator},
};
use picket_core::limits;

/// # Errors
/// `model/broken`: two inputs, two initialisers or two results have one name, or nodes wait for one another.
pub(super) fn check(graph: &Graph<'_>) -> Result<(), Refusal> {
    unique("inputs", graph.inputs.iter().map(|input| input.name))?;
    unique("initialisers", graph.initializers.iter().map(|tensor| tensor.name))?;
    let makers = makers(graph)?;
    acyclic(&graph.nodes, &makers)
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a [u8]>) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Refusal::broken(format!("two {what} are named {:?}", show(name))));
        }
    }
    Ok(())
}

/// Which node makes each value.
fn makers<'a>(graph: &Graph<'a>) -> Result<HashMap<&'a [u8], usize>, Refusal> {
    let given = graph.inputs.iter().map(|input| input.name);
    let given: HashSet<&[u8]> = given.chain(graph.initializers.iter().map(|tensor| tensor.name)).collect();
    let mut makers = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        // A result without a name is one that nobody wants.
        for output in node.outputs.iter().filter(|output| !output.is_empty()) {
            if given.contains(output) || makers.insert(*output, index).is_some() {
                return Err(Refusal::broken(format!("the value {:?} is made twice", show(output))));
            }
        }
    }
    Ok(makers)
}

/// Takes away nodes that wait for nothing, until none is left (Kahn, 1962); those that are left wait for one another.
fn acyclic(nodes: &[Node<'_>], makers: &HashMap<&[u8], usize>) -> Result<(), Refusal> {
    let mut waits = vec![0_usize; nodes.len()];
    let mut heirs: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        for maker in node.inputs.iter().filter_map(|input| makers.get(input)) {
            waits[index] += 1;
            heirs[*maker].push(index);
        }
    }
    let mut free: Vec<usize> = (0..nodes.len()).filter(|index| waits[*index] == 0).collect();
    let mut taken = 0;
    while let Some(index) = free.pop() {
        taken += 1;
        for heir in &heirs[index] {
            waits[*heir] -= 1;
            if waits[*heir] == 0 {
                free.push(*heir);
            }
        }
    }
    match waits.iter().position(|waits| *waits > 0) {
        Some(stuck) if taken < nodes.len() => {
            Err(Refusal::broken(format!("node {} waits for its own result", nodes[stuck].show())))
        }
        _ => Ok(()),
    }
}

/// What a model's own functions come to when each call is replaced by the function's body.
///
/// # Errors
/// `model/broken` for a function that calls itself, `model/too-large` beyond [`limits::ONNX_NODES`].
pub(super) fn expanded<'a>(
    main: &HashMap<Operator<'a>, usize>,
    functions: &HashMap<Operator<'a>, HashMap<Operator<'a>, usize>>,
) -> Result<(), Refusal> {
    let mut sizes = HashMap::new();
    let nodes = size(main, functions, &mut sizes, 0)?;
    if nodes > limits::ONNX_NODES {
        return Err(Refusal::new("model/too-large", format!("its functions come to {nodes} nodes")));
    }
    Ok(())
}

fn size<'a>(
    calls: &HashMap<Operator<'a>, usize>,
    functions: &HashMap<Operator<'a>, HashMap<Operator<'a>, usize>>,
    sizes: &mut HashMap<Operator<'a>, usize>,
    depth: usize,
) -> Result<usize, Refusal> {
    if depth > limits::ONNX_DEPTH {
        return Err(Refusal::broken("its functions call one another without end, or nearly so".to_owned()));
    }
    let mut total = 0_usize;
    for (operator, count) in calls {
        let one = match (sizes.get(operator), functions.get(operator)) {
            (Some(known), _) => *known,
            (None, Some(body)) => {
                let found = size(body, functions, sizes, depth + 1)?;
                sizes.insert(*operator, found);
                found
            }
            (None, None) => 1,
        };
        total = total.saturating_add(one.saturating_mul(*count));
    }
    Ok(total)
}

fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(64)]).into_owned()
}
