//! `resize`: an image of bytes becomes `w` × `h` pixels.
//!
//! `fit = "stretch"` (the default) changes its proportions; `"fit"` keeps them and fills up with `pad` (a letterbox, on both sides or,
//! with `align = "corner"`, at the right and below); `"fill"` keeps them and cuts off what is too much on both sides.
//!
//! `filter = "bilinear"` (the default) is Pillow's: a triangle as wide as the image shrinks, so nothing is skipped. With
//! `antialias = false` it is OpenCV's INTER_LINEAR: four neighbours, however much it shrinks. `"area"` is Pillow's BOX, and OpenCV's
//! INTER_AREA where an image shrinks. Results may differ from theirs by one of 256. `"nearest"` is the pixel that holds the middle: Pillow's,
//! but for middles that fall on an edge.

use std::{num::NonZeroU32, sync::Arc};

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images::Image};
use picket_core::{job::Failure, limits};
use serde::Deserialize;

use super::{Prepare, PrepareKind};
use crate::{
    pipeline::{
        draft::{Draft, Values},
        keys::{StepFault, read},
        view::View,
    },
    ports::TensorSpec,
    tensor::Dtype,
};

pub const KIND: PrepareKind = PrepareKind { name: "resize", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resize {
    w: NonZeroU32,
    h: NonZeroU32,
    #[serde(default)]
    fit: Proportions,
    #[serde(default)]
    filter: Filter,
    #[serde(default = "yes")]
    antialias: bool,
    /// Red, green, blue of what is filled up; grey uses the first.
    #[serde(default)]
    pad: [u8; 3],
    #[serde(default)]
    align: Align,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Proportions {
    #[default]
    Stretch,
    Fit,
    Fill,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Filter {
    #[default]
    Bilinear,
    Area,
    Nearest,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Align {
    #[default]
    Centre,
    Corner,
}

const fn yes() -> bool {
    true
}

fn new(keys: toml::Table) -> Result<Arc<dyn Prepare>, StepFault> {
    let step: Resize = read(keys)?;
    if step.w.max(step.h).get() > limits::JOB_IMAGE_SIDE
        || u64::from(step.w.get()) * u64::from(step.h.get()) > limits::JOB_IMAGE_PIXELS
    {
        return Err(StepFault::invalid(format!("{} x {} pixels are more than any image may have", step.w, step.h)));
    }
    Ok(Arc::new(step))
}

/// The part of an image that is used, and the size that it gets.
struct Plan {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    to: (u32, u32),
}

impl Resize {
    fn plan(&self, width: u32, height: u32) -> Plan {
        let whole =
            Plan { left: 0.0, top: 0.0, width: width.into(), height: height.into(), to: (self.w.get(), self.h.get()) };
        let (w, h) = whole.to;
        // Of two fractions width / w and height / h, the larger.
        let wide = u64::from(width) * u64::from(h) >= u64::from(height) * u64::from(w);
        match self.fit {
            Proportions::Stretch => whole,
            Proportions::Fit if wide => Plan { to: (w, scaled(height, w, width)), ..whole },
            Proportions::Fit => Plan { to: (scaled(width, h, height), h), ..whole },
            Proportions::Fill if wide => {
                let used = f64::from(height) * f64::from(w) / f64::from(h);
                Plan { left: (whole.width - used) / 2.0, width: used, ..whole }
            }
            Proportions::Fill => {
                let used = f64::from(width) * f64::from(h) / f64::from(w);
                Plan { top: (whole.height - used) / 2.0, height: used, ..whole }
            }
        }
    }

    /// Of an image that is not empty and has `size`, as the plan says.
    fn resampled(&self, pixels: Vec<u8>, size: (u32, u32), channels: usize, plan: &Plan) -> Result<Vec<u8>, String> {
        let algorithm = match (self.filter, self.antialias) {
            (Filter::Nearest, _) => return Ok(nearest(&pixels, size, channels, plan)),
            (Filter::Area, _) => ResizeAlg::Convolution(FilterType::Box),
            (Filter::Bilinear, true) => ResizeAlg::Convolution(FilterType::Bilinear),
            (Filter::Bilinear, false) => ResizeAlg::Interpolation(FilterType::Bilinear),
        };
        let kind = if channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
        let source = Image::from_vec_u8(size.0, size.1, pixels, kind).map_err(|error| error.to_string())?;
        let mut target = Image::new(plan.to.0, plan.to.1, kind);
        let options = ResizeOptions::new()
            .resize_alg(algorithm)
            .crop(plan.left, plan.top, plan.width, plan.height)
            .use_alpha(false);
        Resizer::new().resize(&source, &mut target, &options).map_err(|error| error.to_string())?;
        Ok(target.into_vec())
    }

    /// The image within the border that fills it up, and how far the border moves it.
    fn padded(&self, image: &[u8], size: (u32, u32), channels: usize) -> (Vec<u8>, (u32, u32)) {
        let (w, h) = (self.w.get(), self.h.get());
        let border = (w - size.0, h - size.1);
        let (left, top) = if self.align == Align::Corner { (0, 0) } else { (border.0 / 2, border.1 / 2) };
        let (stride, from) = (w as usize * channels, left as usize * channels);
        let mut out = self.pad[..channels].repeat(w as usize * h as usize);
        let rows = image.chunks_exact(size.0 as usize * channels);
        for (row, pixels) in out.chunks_exact_mut(stride).skip(top as usize).zip(rows) {
            row[from..from + pixels.len()].copy_from_slice(pixels);
        }
        (out, (left, top))
    }
}

fn nearest(pixels: &[u8], size: (u32, u32), channels: usize, plan: &Plan) -> Vec<u8> {
    // The only division comes last, so that a whole number is one.
    let places = |start: f64, length: f64, to: u32, of: u32| {
        let middle = move |at: u32| start + f64::from(2 * at + 1) * length / f64::from(2 * to);
        (0..to).map(move |at| (middle(at) as usize).min(of as usize - 1))
    };
    let columns: Vec<usize> = places(plan.left, plan.width, plan.to.0, size.0).collect();
    let mut out = Vec::with_capacity(plan.to.0 as usize * plan.to.1 as usize * channels);
    for row in places(plan.top, plan.height, plan.to.1, size.1) {
        for column in &columns {
            let at = (row * size.0 as usize + column) * channels;
            out.extend_from_slice(&pixels[at..at + channels]);
        }
    }
    out
}

/// `length · by / of` to the nearest whole number, at least 1.
fn scaled(length: u32, by: u32, of: u32) -> u32 {
    let twice = 2 * u64::from(length) * u64::from(by) + u64::from(of);
    u32::try_from(twice / (2 * u64::from(of)).max(1)).unwrap_or(u32::MAX).max(1)
}

impl Prepare for Resize {
    fn shape(&self, spec: TensorSpec) -> Result<TensorSpec, String> {
        let [_, _, Some(channels @ (1 | 3))] = spec.shape[..] else {
            let (name, kind) = (&spec.name, spec.kind());
            return Err(format!("input `{name}` is {kind} here; `resize` is for height x width x 3, or x 1"));
        };
        if spec.dtype != Dtype::Uint8 {
            return Err(format!(
                "`resize` is for bytes, so it comes first; input `{}` is {} here",
                spec.name,
                spec.kind()
            ));
        }
        let shape = [self.h, self.w].map(|side| Some(side.get() as usize));
        Ok(TensorSpec { shape: [&shape[..], &[Some(channels)]].concat(), ..spec })
    }

    fn apply(&self, draft: Draft) -> Result<Draft, Failure> {
        let unfit = |why: String| Failure::new("input/shape-mismatch", format!("the image cannot be resized: {why}"));
        let (height, width, channels, Values::Unsigned(pixels)) = (match (&draft.shape[..], draft.values) {
            (&[height, width, channels @ (1 | 3)], values) if height > 0 && width > 0 => {
                (height, width, channels, values)
            }
            (shape, _) => return Err(unfit(format!("its shape is {shape:?}"))),
        }) else {
            return Err(unfit("it is not of bytes".to_owned()));
        };
        let side = |side: usize| u32::try_from(side).map_err(|error| unfit(error.to_string()));
        let from = (side(width)?, side(height)?);
        let plan = self.plan(from.0, from.1);
        let same = plan.to == from && self.fit != Proportions::Fill;
        let image = if same { pixels } else { self.resampled(pixels, from, channels, &plan).map_err(unfit)? };
        let view = seen_through(draft.view, &plan);
        let shape = vec![self.h.get() as usize, self.w.get() as usize, channels];
        if plan.to == (self.w.get(), self.h.get()) {
            return Ok(Draft { name: draft.name, shape, values: Values::Unsigned(image), view });
        }
        let (image, (left, top)) = self.padded(&image, plan.to, channels);
        let view = view.cut(-(left as f32), -(top as f32));
        Ok(Draft { name: draft.name, shape, values: Values::Unsigned(image), view })
    }

    fn identity(&self) -> String {
        let Self { w, h, fit, filter, antialias, pad, align } = self;
        format!("resize {w} {h} {fit:?} {filter:?} antialias {antialias} pad {pad:?} {align:?}")
    }
}

fn seen_through(view: View, plan: &Plan) -> View {
    let (across, down) = (f64::from(plan.to.0) / plan.width, f64::from(plan.to.1) / plan.height);
    view.cut(plan.left as f32, plan.top as f32).scaled(across as f32, down as f32)
}

#[cfg(test)]
#[path = "resize_tests.rs"]
mod tests;
