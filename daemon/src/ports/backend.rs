//! The inference port: bytes become a model, a model becomes runners, a runner answers.

use std::sync::Arc;

use super::Signature;
use crate::tensor::Tensor;

/// Why a model does not load or does not run.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackendError {
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    Broken(String),
    #[error("{0}")]
    Run(String),
}

/// An input that is the same in every job, and so none that a job brings.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// The model's name of the input.
    pub input: String,
    /// One value for all elements, or one for each of them in C order; `true` is 1.
    pub values: Vec<f64>,
}

/// What is fixed of a model's inputs beside what its file says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fixed<'a> {
    /// Shapes of the inputs that jobs bring, where the model leaves them open; `None`: as it says.
    pub shapes: Option<&'a [Vec<usize>]>,
    pub constants: &'a [Constant],
}

/// Makes runnable models of bytes.
pub trait Backend: Sync {
    /// The backend's name in a bundle.
    fn name(&self) -> &'static str;

    /// What the bytes say of the inputs that are not bound to `constants`, and of the outputs.
    ///
    /// # Errors
    /// As [`Backend::load_fixed`].
    fn signature(&self, model: &[u8], constants: &[Constant]) -> Result<Signature, BackendError> {
        self.load_fixed(model, &Fixed { shapes: None, constants }).map(|model| model.signature().clone())
    }

    /// Parses and optimises. The signature has the inputs that jobs bring, which those with constants are not.
    ///
    /// # Errors
    /// The bytes are no model, use something that this backend cannot do right, or have other inputs.
    fn load_fixed(&self, model: &[u8], fixed: &Fixed<'_>) -> Result<Arc<dyn Model>, BackendError>;

    /// [`Backend::load_fixed`] of a model all of whose inputs jobs bring.
    ///
    /// # Errors
    /// As [`Backend::load_fixed`].
    fn load(&self, model: &[u8], shapes: Option<&[Vec<usize>]>) -> Result<Arc<dyn Model>, BackendError> {
        self.load_fixed(model, &Fixed { shapes, constants: &[] })
    }
}

/// A loaded model, shared by its threads.
pub trait Model: Send + Sync {
    fn signature(&self) -> &Signature;

    /// A runner for one thread.
    ///
    /// # Errors
    /// The model cannot be instantiated.
    fn runner(self: Arc<Self>) -> Result<Box<dyn Runner>, BackendError>;
}

/// A model in the hands of one thread.
pub trait Runner {
    /// `inputs` in the signature's order, checked against it. Outputs come in the signature's order.
    ///
    /// # Errors
    /// The backend failed; the runner stays usable.
    fn run(&mut self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, BackendError>;
}
