//! The bundle's `[[prepare]]` steps: from what a job brings to what the model takes.

mod colour;
mod crop;
mod layout;
mod normalize;
mod quantize;
mod reshape;
mod resize;
mod scale;
mod spectrum;
#[cfg(test)]
pub(crate) mod tests_support;
mod transpose;
mod window;

use std::{fmt, sync::Arc};

use picket_core::job::Failure;

use super::{draft::Draft, keys::StepFault, view::View, window::Window};
use crate::{ports::TensorSpec, tensor::Tensor};

/// The registration table: to add a step, add its file, its `mod` line and its line here.
pub static PREPARE: &[PrepareKind] = &[
    resize::KIND,
    crop::KIND,
    colour::TO_BGR,
    colour::TO_GRAY,
    scale::KIND,
    normalize::KIND,
    layout::KIND,
    quantize::KIND,
    reshape::KIND,
    transpose::KIND,
    window::KIND,
    spectrum::KIND,
];

/// One kind of step.
pub struct PrepareKind {
    /// What `step = "…"` says.
    pub name: &'static str,
    /// Reads the step's other keys.
    pub read: fn(toml::Table) -> Result<Arc<dyn Prepare>, StepFault>,
}

/// One step before the model.
pub trait Prepare: fmt::Debug + Send + Sync {
    /// What comes out for what goes in.
    ///
    /// # Errors
    /// Says why such an input does not fit.
    fn shape(&self, spec: TensorSpec) -> Result<TensorSpec, String>;

    /// # Errors
    /// `input/…`: this input does not fit, though others of its declared shape may.
    fn apply(&self, draft: Draft) -> Result<Draft, Failure>;

    /// Name and parameters to the last bit: a certificate holds for these steps and no others.
    fn identity(&self) -> String;

    /// It collects samples until there are enough for the steps behind it and the model.
    fn window(&self) -> Option<Window> {
        None
    }
}

/// A step and the input that it is for.
#[derive(Clone, Debug)]
pub struct Step {
    /// `None`: all of them.
    pub input: Option<String>,
    pub step: Arc<dyn Prepare>,
}

impl Step {
    pub fn is_for(&self, input: &str) -> bool {
        self.input.as_deref().is_none_or(|only| only == input)
    }

    pub fn identity(&self) -> String {
        let only = self.input.as_ref().map_or_else(String::new, |input| format!(" for {input:?}"));
        self.step.identity() + &only
    }
}

/// What the model gets, and what the conclude steps have to know of it.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub inputs: Vec<Tensor>,
    /// Of the first input.
    pub view: View,
}

/// Applies the steps in order to the inputs that they are for. An input that a step has touched is FP32, unless the step
/// says otherwise.
///
/// # Errors
/// `input/…` when a step does not fit what the job brought.
pub fn prepare(tensors: Vec<Tensor>, steps: &[Step]) -> Result<Prepared, Failure> {
    let mut view = View::WHOLE;
    let mut inputs = Vec::with_capacity(tensors.len());
    for (index, tensor) in tensors.into_iter().enumerate() {
        if index == 0 {
            view = View::of(&tensor);
        }
        if !steps.iter().any(|step| step.is_for(&tensor.name)) {
            inputs.push(tensor);
            continue;
        }
        let name = tensor.name.clone();
        let mut mine = steps.iter().filter(|step| step.is_for(&name));
        let draft = mine.try_fold(Draft::new(tensor), |draft, step| step.step.apply(draft))?;
        if index == 0 {
            view = draft.view;
        }
        let mismatch = |error: crate::tensor::SizeMismatch| Failure::new("input/shape-mismatch", error.to_string());
        inputs.push(draft.into_tensor().map_err(mismatch)?);
    }
    Ok(Prepared { inputs, view })
}

#[cfg(test)]
mod tests {
    use super::{tests_support::step, *};

    #[test]
    fn a_step_is_for_one_input_or_for_all() {
        let tensor = |name: &str| Tensor::from_f32(name, vec![1], &[2.0]).unwrap();
        let double = Step { input: Some("b".to_owned()), ..step("step = \"scale\"\nfactor = 2.0") };
        let out = prepare(vec![tensor("a"), tensor("b")], std::slice::from_ref(&double)).unwrap().inputs;
        assert_eq!((out[0].to_f32(), out[1].to_f32()), (vec![2.0], vec![4.0]));
        assert_eq!(double.identity(), "scale 40000000 for \"b\"");
    }
}
