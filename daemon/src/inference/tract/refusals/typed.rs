//! Refusals that only tract's own model of the graph shows.

use tract_onnx::tract_core::{internal::*, ops::cnn::Deconv};

/// Refuses a ConvTranspose whose `output_shape` is smaller than what comes out: tract then takes a larger number from a
/// smaller one, which wraps around.
///
/// # Errors
/// `op X at node Y: …`.
pub(in crate::inference::tract) fn check_typed(model: &TypedModel) -> TractResult<()> {
    let wrapped = |op: &Deconv| op.adjustments.iter().any(|adjustment| *adjustment > usize::MAX / 2);
    let found = model.nodes().iter().find(|node| node.op_as::<Deconv>().is_some_and(wrapped));
    match found {
        Some(node) => {
            bail!("op ConvTranspose at node {:?}: output_shape cuts off more than the padding says", node.name)
        }
        None => Ok(()),
    }
}
