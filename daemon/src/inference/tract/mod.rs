//! The tract backend. The only folder that names tract (I7).

mod bind;
mod convert;
mod graph;
mod load;
mod operators;
#[cfg(test)]
mod processor_tests;
mod refusals;
mod rewrites;

use std::sync::{Arc, Mutex, PoisonError};

use picket_core::limits;
use tract_onnx::prelude::{TValue, TVec, TypedRunnableModel, TypedSimpleState};

use crate::{
    ports::{Backend, BackendError, Constant, Fixed, Model, Runner, Signature},
    tensor::Tensor,
};

/// ONNX models through tract-onnx.
pub struct Tract;

impl Backend for Tract {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn signature(&self, model: &[u8], constants: &[Constant]) -> Result<Signature, BackendError> {
        let mut parsed = load::parse(model)?;
        bind::bind(&mut parsed, constants)?;
        load::signature(&parsed, None)
    }

    fn load_fixed(&self, model: &[u8], fixed: &Fixed<'_>) -> Result<Arc<dyn Model>, BackendError> {
        let mut parsed = load::parse(model)?;
        bind::bind(&mut parsed, fixed.constants)?;
        let signature = load::signature(&parsed, fixed.shapes)?;
        let default = fixed.shapes.map_or_else(|| load::default_shapes(&signature), <[_]>::to_vec);
        let plan = load::plan(rewrites::TABLE, parsed, &default)
            .map_err(|error| load::with_assumption(error, &signature, &default))?;
        let free = signature.inputs.iter().any(|input| input.shape.contains(&None));
        let signature = load::with_output_facts(signature, &plan, free);
        Ok(Arc::new(TractModel {
            signature,
            // A model whose shapes are all fixed never needs its source again.
            source: free.then(|| Source { model: model.to_vec(), constants: fixed.constants.to_vec() }),
            plans: Mutex::new(vec![(default, plan)]),
        }))
    }
}

/// What another plan is made of.
struct Source {
    model: Vec<u8>,
    constants: Vec<Constant>,
}

type Shapes = Vec<Vec<usize>>;
type Plan = Arc<TypedRunnableModel>;

struct TractModel {
    signature: Signature,
    source: Option<Source>,
    /// Compiled plans by input shapes, most recently used last.
    plans: Mutex<Vec<(Shapes, Plan)>>,
}

impl TractModel {
    /// The plan for these input shapes, compiled now if it has to be.
    fn plan_for(&self, shapes: &Shapes) -> Result<Plan, BackendError> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = plans.iter().position(|(known, _)| known == shapes) {
            let entry = plans.remove(at);
            let plan = entry.1.clone();
            plans.push(entry);
            return Ok(plan);
        }
        let Some(source) = &self.source else {
            return Err(BackendError::Run("this model has fixed input shapes".to_owned()));
        };
        let mut parsed = load::parse(&source.model)?;
        bind::bind(&mut parsed, &source.constants)?;
        let plan = load::plan(rewrites::TABLE, parsed, shapes)?;
        if plans.len() >= limits::PLANS_PER_MODEL {
            plans.remove(0);
        }
        plans.push((shapes.clone(), plan.clone()));
        Ok(plan)
    }
}

impl Model for TractModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn runner(self: Arc<Self>) -> Result<Box<dyn Runner>, BackendError> {
        Ok(Box::new(TractRunner { model: self, state: None }))
    }
}

struct TractRunner {
    model: Arc<TractModel>,
    /// The plan in use, with this thread's state of it.
    state: Option<(Shapes, TypedSimpleState)>,
}

impl Runner for TractRunner {
    fn run(&mut self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, BackendError> {
        let fits = self.state.as_ref().is_some_and(|(shapes, _)| {
            shapes.len() == inputs.len() && shapes.iter().zip(&inputs).all(|(shape, input)| shape == input.shape())
        });
        if !fits {
            let shapes: Shapes = inputs.iter().map(|input| input.shape().to_vec()).collect();
            let state = self.model.plan_for(&shapes)?.spawn().map_err(run_error)?;
            self.state = Some((shapes, state));
        }
        let Some((_, state)) = &mut self.state else {
            return Err(BackendError::Run("no plan".to_owned()));
        };
        let inputs = inputs.iter().map(convert::to_tract).collect::<Result<TVec<TValue>, _>>()?;
        let outputs = state.run(inputs).map_err(run_error)?;
        let names = self.model.signature.outputs.iter().map(|output| output.name.as_str());
        outputs.into_iter().zip(names).map(|(value, name)| convert::from_tract(name, &value)).collect()
    }
}

fn run_error(error: tract_onnx::prelude::TractError) -> BackendError {
    BackendError::Run(format!("{error:#}"))
}
