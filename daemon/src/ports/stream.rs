//! The stream that a job belongs to, and what comes of the job there.

use std::sync::Arc;

use picket_core::escalation::decide::Observation;

use crate::tensor::Tensor;

/// Where a job belongs, for models that keep windows or states between jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InStream {
    pub key: Option<Arc<str>>,
    /// One more than the last job's, or the stream begins anew.
    pub seq: Option<u64>,
}

/// What an inference thread made of a job.
#[derive(Clone, Debug)]
pub struct Inferred {
    pub observation: Observation,
    /// Of a model with a window: of all windows, one after the other along a new first axis.
    pub outputs: Vec<Tensor>,
    /// Of models with windows or states.
    pub stream: Option<StreamNote>,
}

/// How a job found its stream and left it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamNote {
    /// `None`: nothing is kept between jobs.
    pub key: Option<Arc<str>>,
    /// The stream began anew with this job.
    pub begun: Option<Begun>,
    /// Windows that this job completed, for models with a window.
    pub windows: Option<usize>,
    /// Samples that are kept for the next window …
    pub have: Option<usize>,
    /// … and those that it lacks.
    pub need: Option<usize>,
    /// Other streams that had to go for this one.
    pub evicted: usize,
}

/// Why a stream began anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing was kept of it: there was nothing, a failure or the limit has ended it, or the process is another one.
    New,
    /// The job's `seq` does not follow the last one.
    Gap,
    /// It was silent for too long.
    Age,
}

impl Begun {
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Gap => "gap",
            Self::Age => "age",
        }
    }
}
