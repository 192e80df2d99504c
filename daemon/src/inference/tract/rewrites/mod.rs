//! The table of rewrites: what is done to a model so that tract answers it right, and fast.
//!
//! A rewrite keeps a model's inputs and outputs and what it computes. To add one: a file here with a function, its test
//! (which must fail when the row is left out), and its row.

mod alone;
mod apart;
mod celu;
mod choice;
mod cube;
mod division;
mod expand;
mod extremes;
mod fold_ifs;
mod half_as_single;
mod largest;
mod log_sum_exp;
mod negative_indices;
mod plain_integers;
mod planes;
mod quantise;
mod quantised;
mod recurrent;
mod resize;
mod sigmoid;
mod softmax;
mod upsample;

#[cfg(test)]
pub(super) mod testing;

use tract_onnx::{
    Onnx,
    model::ParsingContext,
    pb,
    prelude::{TractResult, TypedModel},
    tract_core::{internal::TypedNode, ops::scan::Scan},
    tract_hir::internal::InferenceOp,
};

use super::graph;
use crate::ports::BackendError;

/// One row of the table.
#[derive(Clone, Copy)]
pub(super) struct Rewrite {
    pub(super) name: &'static str,
    /// What it does, and why.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reader; a test walks the table"))]
    pub(super) what: &'static str,
    pub(super) apply: Apply,
}

/// Where a rewrite takes place.
#[derive(Clone, Copy)]
pub(super) enum Apply {
    /// On the ONNX graph, before tract sees it.
    Graph(fn(&mut pb::ModelProto, &Known<'_>) -> Result<(), BackendError>),
    /// An operator of our own in the place of tract's of this name.
    Operator(&'static str, Builder),
    /// On tract's typed model, before anything declutters it; see [`everywhere`].
    Typed(fn(&mut TypedModel) -> TractResult<()>),
    /// On the typed model after it is decluttered, which knows tract's own operators.
    Decluttered(fn(&mut TypedModel) -> TractResult<()>),
}

/// Makes an operator of an ONNX node, and says which values of the graphs around it are read inside of it.
type Builder = fn(&ParsingContext<'_>, &pb::NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// What is known of a model beside its file, when a plan is made of it.
pub(super) struct Known<'a> {
    /// Names and shapes of the inputs.
    inputs: Vec<(String, &'a [usize])>,
    /// Reads graphs as the model's will be read.
    reader: &'a Onnx,
}

impl<'a> Known<'a> {
    /// `shapes` of the inputs in the graph's order, without those that have initial values.
    pub(super) fn new(proto: &pb::ModelProto, shapes: &'a [Vec<usize>], reader: &'a Onnx) -> Self {
        let names = proto.graph.iter().flat_map(graph::inputs).map(|input| input.name.clone());
        Self { inputs: names.zip(shapes.iter().map(Vec::as_slice)).collect(), reader }
    }

    pub(super) fn shape_of(&self, input: &str) -> Option<&'a [usize]> {
        self.inputs.iter().find(|(name, _)| name == input).map(|(_, shape)| *shape)
    }
}

/// In the order in which they are applied; those on the graph all come before those on the typed model.
pub(super) static TABLE: &[Rewrite] = &[
    Rewrite {
        name: "half-as-single",
        what: "half precision is computed in single precision, which is faster and nearer to the truth",
        apply: Apply::Graph(half_as_single::widen),
    },
    Rewrite {
        name: "fold-ifs",
        what: "an If whose condition follows from constants and shapes becomes its branch: tract cannot type the node",
        apply: Apply::Graph(fold_ifs::fold),
    },
    Rewrite {
        name: "choice",
        what: "an If that jobs decide keeps both branches as plans; one that cannot work troubles only who takes it",
        apply: Apply::Operator("If", choice::build),
    },
    Rewrite {
        name: "celu",
        what: "Celu with an alpha as Elu, because tract forgets a factor below 0",
        apply: Apply::Graph(celu::as_elu),
    },
    Rewrite {
        name: "log-sum-exp",
        what: "ReduceLogSumExp relative to the largest value, because tract's overflows from 89 on",
        apply: Apply::Graph(log_sum_exp::shift),
    },
    Rewrite {
        name: "recurrent",
        what: "backward layers are forward layers over reversed sequences: tract ignores the direction",
        apply: Apply::Graph(recurrent::straighten),
    },
    Rewrite {
        name: "upsample-scales",
        what: "the scales of an Upsample before operator set 9 become an input",
        apply: Apply::Graph(upsample::give_scales),
    },
    Rewrite {
        name: "upsample",
        what: "Upsample, which tract does not have, is Resize by the floor of asymmetric coordinates",
        apply: Apply::Operator("Upsample", upsample::build),
    },
    Rewrite {
        name: "indices-from-start",
        what: "GatherND and ScatterND get no negative indices, at which tract panics",
        apply: Apply::Typed(negative_indices::count_from_start),
    },
    Rewrite {
        name: "exact-extremes",
        what: "ReduceMax and ReduceMin of infinities and of nothing, for which tract gives the largest finite number",
        apply: Apply::Typed(extremes::know_infinities),
    },
    Rewrite {
        name: "plain-integers",
        what: "CumSum and TopK of casts to INT64, which tract takes for dimensions and then gives up on",
        apply: Apply::Typed(plain_integers::plain),
    },
    Rewrite {
        name: "kept-codes",
        what: "constants stay codes until the rewrites of quantised layers have seen them",
        apply: Apply::Operator("DequantizeLinear", quantised::kept_codes),
    },
    Rewrite {
        name: "mixing-softmax",
        what: "Softmax declares that it mixes its axes, so that tract does not fold it into a table of single elements",
        apply: Apply::Typed(softmax::protect),
    },
    Rewrite {
        name: "exact-sigmoid",
        what: "a sigmoid that is right near 0 too, where tract's is off by as much as the value itself",
        apply: Apply::Typed(sigmoid::replace),
    },
    Rewrite {
        name: "cube",
        what: "a third power is two products, which takes a fiftieth of the time",
        apply: Apply::Typed(cube::multiply),
    },
    Rewrite {
        name: "quantised-conv",
        what: "a convolution between DequantizeLinear and QuantizeLinear computes on the codes, channels last",
        apply: Apply::Typed(quantised::conv),
    },
    Rewrite {
        name: "quantised-matmul",
        what: "a matrix product between DequantizeLinear and QuantizeLinear, with its bias, computes on the codes",
        apply: Apply::Typed(quantised::matmul),
    },
    Rewrite {
        name: "quantised-add",
        what: "a sum of two tensors between DequantizeLinear and QuantizeLinear computes on the codes",
        apply: Apply::Typed(quantised::add),
    },
    Rewrite {
        name: "depthwise-planes",
        what: "a depthwise convolution in floats slides over whole planes, with the clip behind it",
        apply: Apply::Typed(planes::depthwise),
    },
    Rewrite {
        name: "max-planes",
        what: "a largest-value pool slides over whole planes",
        apply: Apply::Typed(planes::max_pool),
    },
    Rewrite {
        name: "largest",
        what: "the index of the largest value along an axis is found without a view for every element",
        apply: Apply::Typed(largest::look),
    },
    Rewrite {
        name: "last-axis-first",
        what: "a picture is enlarged along its last axis first, where element by element is slow",
        apply: Apply::Decluttered(resize::last_axis_first),
    },
    Rewrite {
        name: "quantise-by-division",
        what: "quantisation divides, as ONNX says: with tract's reciprocals halves are rounded to the wrong side",
        apply: Apply::Typed(quantise::divide),
    },
    Rewrite {
        name: "quantise-apart",
        what: "a quantisation behind a dequantisation of another type keeps apart: tract makes a wrong table of both",
        apply: Apply::Typed(apart::keep),
    },
    Rewrite {
        name: "quotients",
        what: "a division that leads to a floor, a cast or a comparison divides: tract multiplies by a reciprocal",
        apply: Apply::Typed(division::keep),
    },
];

/// Applies the rows on the ONNX graph.
///
/// # Errors
/// A row cannot make sense of the graph.
pub(super) fn on_graph(table: &[Rewrite], proto: &mut pb::ModelProto, known: &Known<'_>) -> Result<(), BackendError> {
    for row in table {
        if let Apply::Graph(apply) = row.apply {
            tracing::trace!(rewrite = row.name, "on the graph");
            apply(proto, known)?;
        }
    }
    Ok(())
}

/// tract's reader of ONNX with the operators of the table.
pub(super) fn reader(table: &[Rewrite]) -> Onnx {
    let mut onnx = tract_onnx::onnx();
    for row in table {
        if let Apply::Operator(name, builder) = row.apply {
            onnx.op_register.insert(name, builder);
        }
    }
    onnx
}

/// Calls `change` for every node of a typed model, those in bodies of loops and in branches too.
fn everywhere(model: &mut TypedModel, change: &mut dyn FnMut(&mut TypedNode)) {
    model.nodes_mut().iter_mut().for_each(&mut *change);
    bodies(model).for_each(|body| everywhere(body, change));
}

/// The bodies of loops and the branches in a typed model.
fn bodies(model: &mut TypedModel) -> impl Iterator<Item = &mut TypedModel> {
    model.nodes_mut().iter_mut().flat_map(|node| {
        let bodies: Vec<&mut TypedModel> = if node.op_is::<Scan>() {
            node.op_as_mut::<Scan>().map(|scan| &mut scan.body).into_iter().collect()
        } else {
            node.op_as_mut::<choice::Choice>().map(|choice| choice.bodies_mut().collect()).unwrap_or_default()
        };
        bodies
    })
}

/// Applies the rows on the decluttered model.
///
/// # Errors
/// A row cannot make sense of the model.
pub(super) fn on_decluttered(table: &[Rewrite], model: &mut TypedModel) -> TractResult<()> {
    for row in table {
        if let Apply::Decluttered(apply) = row.apply {
            tracing::trace!(rewrite = row.name, "on the decluttered model");
            apply(model)?;
        }
    }
    Ok(())
}

/// Applies the rows on the typed model.
///
/// # Errors
/// A row cannot make sense of the model.
pub(super) fn on_typed(table: &[Rewrite], model: &mut TypedModel) -> TractResult<()> {
    for row in table {
        if let Apply::Typed(apply) = row.apply {
            tracing::trace!(rewrite = row.name, "on the typed model");
            apply(model)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_says_what_it_does() {
        let mut names: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        assert!(TABLE.iter().all(|row| row.what.len() > 20));
    }
}
