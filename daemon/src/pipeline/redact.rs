//! What is taken out of a job's inputs before they leave this device: pure functions on decoded tensors.
//!
//! Only tensors ever leave, so file names, EXIF and whatever else came around them are gone already; a redacted job also
//! goes under a random name. The steps take out more. [`Redaction::plan`] finds a step that cannot fit its model before
//! anything runs; at a job nothing is left that could go wrong but a shape that the plan has not seen.

mod pixels;

use std::fmt;

use picket_core::job::Failure;

use self::pixels::Frame;
use crate::{
    config::{
        ConfigError,
        redact::{Image, Redact, RedactStep, Region},
    },
    ports::{Signature, TensorSpec},
    tensor::Tensor,
};

/// The steps of one model, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Drop { input: String },
    Crop { input: String, frame: Frame, region: Region },
    Downscale { input: String, frame: Frame, factor: usize },
    Blur { input: String, frame: Frame, regions: Vec<Region>, radius: Option<usize> },
    FeaturesOnly { outputs: Vec<String> },
}

/// What is known of an input while a plan is made.
struct Known<'a> {
    spec: &'a TensorSpec,
    /// How it is seen since a step has said so.
    frame: Option<Frame>,
}

impl Redaction {
    /// Makes the written steps fit a model. `None`: there are none, so nothing leaves redacted.
    ///
    /// # Errors
    /// `config/redaction`: a step cannot fit, with its place and what would fit.
    pub fn plan(written: &[RedactStep], signature: &Signature) -> Result<Option<Self>, ConfigError> {
        let mut inputs: Vec<Known<'_>> = signature.inputs.iter().map(|spec| Known { spec, frame: None }).collect();
        let mut steps = Vec::with_capacity(written.len());
        for RedactStep { place, what } in written {
            let step = plan_step(what, &mut inputs, signature).map_err(|message| ConfigError {
                code: "config/redaction",
                place: place.clone(),
                message,
            })?;
            steps.push(step);
        }
        Ok((!steps.is_empty()).then_some(Self { steps }))
    }

    /// What leaves of a job: `inputs` as they were decoded, `outputs` those of the local model.
    ///
    /// # Errors
    /// `privacy/unredactable`: a tensor is not as the plan expects it. Then nothing may leave.
    pub fn apply(&self, inputs: Vec<Tensor>, outputs: &[Tensor]) -> Result<Vec<Tensor>, Failure> {
        self.steps.iter().try_fold(inputs, |tensors, step| step.apply(tensors, outputs))
    }

    /// The steps with their numbers, as the ledger has them.
    pub fn describe(&self) -> Vec<String> {
        self.steps.iter().map(Step::to_string).collect()
    }
}

fn plan_step(what: &Redact, inputs: &mut Vec<Known<'_>>, signature: &Signature) -> Result<Step, String> {
    match what {
        Redact::DropInput { name } => {
            let at = find(inputs, Some(name))?;
            inputs.remove(at);
            if inputs.is_empty() {
                return Err(format!("without `{name}` nothing is left that could be asked about"));
            }
            Ok(Step::Drop { input: name.clone() })
        }
        Redact::Crop { x, y, w, h, input, image } => {
            let (input, frame) = see(inputs, input.as_ref(), image.as_ref())?;
            let region = Region { x: *x, y: *y, w: *w, h: *h };
            frame.holds(&region)?;
            look_again(inputs, &input, frame.resized(region.w, region.h));
            Ok(Step::Crop { input, frame, region })
        }
        Redact::Downscale { factor, input, image } => {
            let (input, frame) = see(inputs, input.as_ref(), image.as_ref())?;
            if *factor > frame.width.max(frame.height) {
                return Err(format!("a factor of {factor} is more than the image has: {frame}"));
            }
            look_again(inputs, &input, frame.downscaled(*factor));
            Ok(Step::Downscale { input, frame, factor: *factor })
        }
        Redact::Blur { regions, radius, input, image } => {
            let (input, frame) = see(inputs, input.as_ref(), image.as_ref())?;
            regions.iter().try_for_each(|region| frame.holds(region))?;
            Ok(Step::Blur { input, frame, regions: regions.clone(), radius: *radius })
        }
        Redact::FeaturesOnly { outputs } => {
            for name in outputs {
                if !signature.outputs.iter().any(|spec| spec.name == *name) {
                    let known: Vec<&str> = signature.outputs.iter().map(|spec| spec.name.as_str()).collect();
                    return Err(format!("the model has no output `{name}`; it has: {}", known.join(", ")));
                }
            }
            Ok(Step::FeaturesOnly { outputs: outputs.clone() })
        }
    }
}

/// The input of this name; without one, the only input.
fn find(inputs: &[Known<'_>], name: Option<&String>) -> Result<usize, String> {
    let known: Vec<&str> = inputs.iter().map(|known| known.spec.name.as_str()).collect();
    match name {
        Some(name) => {
            let at = known.iter().position(|known| known == name);
            at.ok_or_else(|| format!("there is no input `{name}` here; there is: {}", known.join(", ")))
        }
        None if inputs.len() == 1 => Ok(0),
        None => Err(format!("`input` must say which one: {}", known.join(", "))),
    }
}

/// The input that a step is for, and how it is seen: as the step says, or as an earlier one has left it.
fn see(inputs: &mut [Known<'_>], name: Option<&String>, image: Option<&Image>) -> Result<(String, Frame), String> {
    let at = find(inputs, name)?;
    let Some(known) = inputs.get_mut(at) else { return Err("there is no input".to_owned()) };
    let name = known.spec.name.clone();
    let frame = match (image, known.frame) {
        (Some(_), Some(_)) => {
            return Err(format!("an earlier step has said already how `{name}` is to be seen; leave `image` out here"));
        }
        (Some(image), None) => {
            let frame = Frame::new(image)?;
            if frame.of_spec(&known.spec.shape).is_none() {
                return Err(format!("input `{name}` is {}, and that is no {frame}", known.spec.kind()));
            }
            frame
        }
        (None, Some(frame)) => frame,
        (None, None) => {
            return Err(format!(
                "`image = {{ width = …, height = …, channels = …, layout = \"hwc\" }}` must say how `{name}` ({}) is to be \
                 seen",
                known.spec.kind()
            ));
        }
    };
    known.frame = Some(frame);
    Ok((name, frame))
}

fn look_again(inputs: &mut [Known<'_>], name: &str, frame: Frame) {
    if let Some(known) = inputs.iter_mut().find(|known| known.spec.name == name) {
        known.frame = Some(frame);
    }
}

impl Step {
    fn apply(&self, mut tensors: Vec<Tensor>, outputs: &[Tensor]) -> Result<Vec<Tensor>, Failure> {
        match self {
            Self::Drop { input } => {
                let at = position(&tensors, input)?;
                tensors.remove(at);
            }
            Self::FeaturesOnly { outputs: names } => {
                let named = names.iter().map(|name| position(outputs, name).map(|at| outputs[at].clone()));
                return named.collect();
            }
            Self::Crop { input, frame, region } => {
                let at = position(&tensors, input)?;
                tensors[at] = frame.crop(&tensors[at], region).map_err(unredactable)?;
            }
            Self::Downscale { input, frame, factor } => {
                let at = position(&tensors, input)?;
                tensors[at] = frame.downscale(&tensors[at], *factor).map_err(unredactable)?;
            }
            Self::Blur { input, frame, regions, radius } => {
                let at = position(&tensors, input)?;
                tensors[at] = frame.blur(&tensors[at], regions, *radius).map_err(unredactable)?;
            }
        }
        Ok(tensors)
    }
}

fn position(tensors: &[Tensor], name: &str) -> Result<usize, Failure> {
    let at = tensors.iter().position(|tensor| tensor.name == name);
    at.ok_or_else(|| unredactable(format!("there is no tensor {name:?}")))
}

fn unredactable(why: String) -> Failure {
    Failure::new("privacy/unredactable", why)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |regions: &[Region]| regions.iter().map(text).collect::<Vec<_>>().join(" ");
        match self {
            Self::Drop { input } => write!(f, "drop-input {input}"),
            Self::Crop { input, region, .. } => write!(f, "crop {input} {}", text(region)),
            Self::Downscale { input, factor, .. } => write!(f, "downscale {input} {factor}"),
            Self::Blur { input, regions, radius: None, .. } => write!(f, "blur {input} {}", list(regions)),
            Self::Blur { input, regions, radius: Some(radius), .. } => {
                write!(f, "blur {input} {} radius {radius}", list(regions))
            }
            Self::FeaturesOnly { outputs } => write!(f, "features-only {}", outputs.join(" ")),
        }
    }
}

/// `16x8+4+0`: width, height, place.
fn text(region: &Region) -> String {
    format!("{}x{}+{}+{}", region.w, region.h, region.x, region.y)
}

#[cfg(test)]
mod tests;
