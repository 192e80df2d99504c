//! Which of a model's inputs come from the job and which from the stream's state; and where its outputs go.

use picket_core::job::Failure;

use crate::{
    bundle::{BoundState, Bundle},
    ports::{Signature, TensorSpec},
    tensor::{Dtype, Tensor, elements},
};

/// A bundle's inputs and states in the places of its model's; what is constant has no place there.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    inputs: Vec<From>,
    outputs: Vec<To>,
    /// As a stream begins.
    pub states: Vec<Tensor>,
}

/// Where an input comes from, by its place among those.
#[derive(Clone, Copy, Debug)]
enum From {
    Job(usize),
    State(usize),
}

/// Where an output goes.
#[derive(Clone, Copy, Debug)]
enum To {
    Job,
    State(usize),
}

impl Binding {
    /// Without states, inputs and outputs are matched by their order, whatever they are called. With them by
    /// name.
    ///
    /// # Errors
    /// `model/mismatch`: the names do not cover the model's exactly, or a value does not fit its input.
    pub fn new(bundle: &Bundle, model: &Signature) -> Result<Self, Failure> {
        if bundle.states.is_empty() {
            let inputs = (0..model.inputs.len()).map(From::Job).collect();
            return Ok(Self { inputs, outputs: vec![To::Job; model.outputs.len()], ..Self::default() });
        }
        let mut binding = Self::default();
        for state in &bundle.states {
            let spec = find(&model.inputs, &state.input, "input")?;
            find(&model.outputs, &state.output, "output")?;
            binding.states.push(initial(spec, state)?);
        }
        for input in &model.inputs {
            let named = |name: &str| *name == input.name;
            let from = bundle.prepared.iter().position(|spec| named(&spec.name)).map(From::Job);
            let state = || bundle.states.iter().position(|state| named(&state.input)).map(From::State);
            let unbound = || mismatch(format!("nothing in the bundle is the model's input {:?}", input.name));
            binding.inputs.push(from.or_else(state).ok_or_else(unbound)?);
        }
        for output in &model.outputs {
            let state = bundle.states.iter().position(|state| state.output == output.name);
            binding.outputs.push(state.map_or(To::Job, To::State));
        }
        for declared in &bundle.prepared {
            find(&model.inputs, &declared.name, "input")?;
        }
        Ok(binding)
    }

    /// The shapes of the model's inputs, in its order; `prepared` are those that jobs bring, behind the prepare steps.
    ///
    /// # Errors
    /// `model/mismatch`: an input has no fixed shape.
    pub fn shapes(&self, prepared: &[TensorSpec]) -> Result<Vec<Vec<usize>>, Failure> {
        let shape = |from: &From| match *from {
            From::Job(at) => {
                let spec = prepared.get(at).ok_or_else(|| mismatch("the model has more inputs than the bundle"))?;
                let fixed = spec.shape.iter().copied().collect::<Option<Vec<usize>>>();
                fixed.ok_or_else(|| mismatch(format!("input {:?} has no fixed shape", spec.name)))
            }
            From::State(at) => Ok(self.states[at].shape().to_vec()),
        };
        self.inputs.iter().map(shape).collect()
    }

    /// The outputs that are no states, in the model's order.
    pub fn job_outputs(&self, model: &Signature) -> Vec<TensorSpec> {
        let jobs = model.outputs.iter().zip(&self.outputs).filter(|(_, to)| matches!(to, To::Job));
        jobs.map(|(spec, _)| spec.clone()).collect()
    }

    /// The inputs that jobs bring, in the bundle's order.
    pub fn job_inputs<'m>(&self, model: &'m Signature) -> Vec<&'m TensorSpec> {
        let mut found: Vec<(usize, &TensorSpec)> = Vec::new();
        for (spec, from) in model.inputs.iter().zip(&self.inputs) {
            if let From::Job(at) = from {
                found.push((*at, spec));
            }
        }
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, spec)| spec).collect()
    }

    /// What the model gets. Every place is filled: that was checked when the model was loaded.
    pub fn inputs(&self, job: &[Tensor], states: &[Tensor]) -> Vec<Tensor> {
        let tensor = |from: &From| match *from {
            From::Job(at) => job.get(at).cloned(),
            From::State(at) => states.get(at).cloned(),
        };
        self.inputs.iter().filter_map(tensor).collect()
    }

    /// The job's outputs; the others become the next call's states.
    ///
    /// # Errors
    /// `model/invalid-output`: a state that no next call could begin with.
    pub fn outputs(&self, outputs: Vec<Tensor>, states: &mut [Tensor]) -> Result<Vec<Tensor>, Failure> {
        let mut job = Vec::with_capacity(outputs.len());
        for (at, output) in outputs.into_iter().enumerate() {
            let Some(To::State(state)) = self.outputs.get(at).copied() else {
                job.push(output);
                continue;
            };
            let was = &states[state];
            if output.dtype() != was.dtype() || output.shape() != was.shape() {
                let message = format!("state {:?} is {}, not {}", output.name, output.kind(), was.kind());
                return Err(Failure::new("model/invalid-output", message));
            }
            if let Some(at) = output.first_non_finite() {
                let message = format!("state {:?} is not finite at element {at}", output.name);
                return Err(Failure::new("model/invalid-output", message));
            }
            states[state] = output;
        }
        Ok(job)
    }
}

fn mismatch(message: impl Into<String>) -> Failure {
    Failure::new("model/mismatch", message)
}

fn find<'s>(specs: &'s [TensorSpec], name: &str, what: &str) -> Result<&'s TensorSpec, Failure> {
    specs.iter().find(|spec| spec.name == name).ok_or_else(|| {
        let known: Vec<&str> = specs.iter().map(|spec| &*spec.name).collect();
        mismatch(format!("the model has no {what} {name:?}; it has: {}", known.join(", ")))
    })
}

/// The state that a stream begins with.
fn initial(spec: &TensorSpec, state: &BoundState) -> Result<Tensor, Failure> {
    let own = || spec.shape.iter().copied().collect::<Option<Vec<usize>>>();
    let Some(shape) = state.shape.clone().or_else(own) else {
        return Err(mismatch(format!("`shape` must say how large state {:?} is: {}", spec.name, spec.kind())));
    };
    if !spec.accepts(&shape) {
        return Err(mismatch(format!("state {:?} is {}, not {shape:?}", spec.name, spec.kind())));
    }
    let Some(element) = bytes_of(spec.dtype, state.init) else {
        return Err(mismatch(format!("{} is no {}, which state {:?} is", state.init, spec.dtype, spec.name)));
    };
    let data = element.repeat(elements(&shape).unwrap_or(0));
    Tensor::new(spec.name.as_str(), spec.dtype, shape, data).map_err(|error| mismatch(error.to_string()))
}

/// Little-endian; `None`: the type has no such number.
fn bytes_of(dtype: Dtype, value: f64) -> Option<Vec<u8>> {
    fn whole<T: TryFrom<i64>>(value: f64) -> Option<T> {
        // Beyond 2^53 an f64 does not say which whole number is meant.
        let exact = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
        if exact { T::try_from(value as i64).ok() } else { None }
    }
    Some(match dtype {
        Dtype::Bool => vec![u8::from(value != 0.0)],
        Dtype::Int8 => whole::<i8>(value)?.to_le_bytes().to_vec(),
        Dtype::Uint8 => whole::<u8>(value)?.to_le_bytes().to_vec(),
        Dtype::Int16 => whole::<i16>(value)?.to_le_bytes().to_vec(),
        Dtype::Uint16 => whole::<u16>(value)?.to_le_bytes().to_vec(),
        Dtype::Int32 => whole::<i32>(value)?.to_le_bytes().to_vec(),
        Dtype::Uint32 => whole::<u32>(value)?.to_le_bytes().to_vec(),
        Dtype::Int64 => whole::<i64>(value)?.to_le_bytes().to_vec(),
        Dtype::Uint64 => whole::<u64>(value)?.to_le_bytes().to_vec(),
        Dtype::Fp16 => half::f16::from_f64(value).to_le_bytes().to_vec(),
        Dtype::Fp32 => (value as f32).to_le_bytes().to_vec(),
        Dtype::Fp64 => value.to_le_bytes().to_vec(),
    })
}
