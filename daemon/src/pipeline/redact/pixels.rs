//! Tensors as images: where a pixel is, and what can be done to it.

use std::fmt;

use crate::{
    config::redact::{Image, Layout, Region},
    tensor::{Dtype, Tensor},
};

/// How the last dimensions of a tensor are seen; what comes before them counts images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub width: usize,
    pub height: usize,
    channels: usize,
    layout: Layout,
}

/// Which of a tensor's dimensions make up one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// All three, in the order of the layout.
    Solid,
    /// Height and width of one channel.
    Plane,
    /// One dimension with all elements.
    Flat,
}

impl Frame {
    pub fn new(image: &Image) -> Result<Self, String> {
        let Image { width, height, channels, layout } = *image;
        let frame = Self { width, height, channels, layout };
        let elements = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(channels));
        elements.filter(|elements| *elements > 0).map(|_| frame).ok_or_else(|| format!("there is no {frame}"))
    }

    pub const fn resized(self, width: usize, height: usize) -> Self {
        Self { width, height, ..self }
    }

    /// Squares at the right and lower edge may be smaller.
    pub const fn downscaled(self, factor: usize) -> Self {
        self.resized(self.width.div_ceil(factor), self.height.div_ceil(factor))
    }

    /// Is the region within the image, and not empty?
    pub fn holds(&self, region: &Region) -> Result<(), String> {
        let within = |start: usize, length: usize, whole| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= whole)
        };
        if within(region.x, region.w, self.width) && within(region.y, region.h, self.height) {
            return Ok(());
        }
        let Region { x, y, w, h } = region;
        Err(format!("the region x {x}, y {y}, w {w}, h {h} is not within the {self}"))
    }

    /// Does a tensor of this shape consist of such images? Free dimensions may only count them.
    pub fn of_spec(&self, shape: &[Option<usize>]) -> Option<usize> {
        let form = self.form(shape)?;
        Some(shape.len() - self.dims(form).len())
    }

    fn form(&self, shape: &[Option<usize>]) -> Option<Form> {
        [Form::Solid, Form::Plane, Form::Flat].into_iter().find(|form| {
            let dims: Vec<Option<usize>> = self.dims(*form).into_iter().map(Some).collect();
            (*form != Form::Plane || self.channels == 1) && shape.ends_with(&dims)
        })
    }

    fn dims(&self, form: Form) -> Vec<usize> {
        let Self { width, height, channels, layout } = *self;
        match (form, layout) {
            (Form::Solid, Layout::Hwc) => vec![height, width, channels],
            (Form::Solid, Layout::Chw) => vec![channels, height, width],
            (Form::Plane, _) => vec![height, width],
            (Form::Flat, _) => vec![self.elements()],
        }
    }

    const fn elements(&self) -> usize {
        self.width * self.height * self.channels
    }

    /// Index of an element within its image.
    const fn index(&self, x: usize, y: usize, channel: usize) -> usize {
        match self.layout {
            Layout::Hwc => (y * self.width + x) * self.channels + channel,
            Layout::Chw => (channel * self.height + y) * self.width + x,
        }
    }

    /// Column, row and channel of every element, in the order in which they lie.
    fn places(self) -> impl Iterator<Item = (usize, usize, usize)> {
        let Self { width, height, channels, layout } = self;
        (0..self.elements()).map(move |at| match layout {
            Layout::Hwc => (at / channels % width, at / channels / width, at % channels),
            Layout::Chw => (at % width, at / width % height, at / width / height),
        })
    }

    /// The tensor's images become others of another size.
    fn rebuild(
        &self,
        tensor: &Tensor,
        new: Self,
        mut image: impl FnMut(&[u8], &mut Vec<u8>),
    ) -> Result<Tensor, String> {
        let shape: Vec<Option<usize>> = tensor.shape().iter().copied().map(Some).collect();
        let not_one = || format!("{tensor:?} does not consist of {self} images");
        let form = self.form(&shape).ok_or_else(not_one)?;
        let prefix = shape.len() - self.dims(form).len();
        let mut dims = tensor.shape()[..prefix].to_vec();
        dims.extend(new.dims(form));
        let mut data = Vec::with_capacity(tensor.data().len());
        for one in tensor.data().chunks_exact(self.elements() * tensor.dtype().size()) {
            image(one, &mut data);
        }
        Tensor::new(tensor.name.as_str(), tensor.dtype(), dims, data).map_err(|error| error.to_string())
    }

    pub fn crop(&self, tensor: &Tensor, region: &Region) -> Result<Tensor, String> {
        let (size, new) = (tensor.dtype().size(), self.resized(region.w, region.h));
        self.rebuild(tensor, new, |image, out| {
            for (x, y, channel) in new.places() {
                let at = self.index(region.x + x, region.y + y, channel) * size;
                out.extend_from_slice(&image[at..at + size]);
            }
        })
    }

    pub fn downscale(&self, tensor: &Tensor, factor: usize) -> Result<Tensor, String> {
        let new = self.downscaled(factor);
        self.rebuild(tensor, new, |image, out| {
            let values = numbers(tensor.dtype(), image);
            for (x, y, channel) in new.places() {
                let (left, top) = (x * factor, y * factor);
                let square =
                    Region { x: left, y: top, w: factor.min(self.width - left), h: factor.min(self.height - top) };
                write_number(tensor.dtype(), self.mean(&values, &square, channel), out);
            }
        })
    }

    pub fn blur(&self, tensor: &Tensor, regions: &[Region], radius: Option<usize>) -> Result<Tensor, String> {
        let size = tensor.dtype().size();
        self.rebuild(tensor, *self, |image, out| {
            let start = out.len();
            out.extend_from_slice(image);
            let mut encoded = Vec::with_capacity(size);
            for region in regions {
                // What an earlier region has left is what the next one sees.
                let values = numbers(tensor.dtype(), &out[start..]);
                for channel in 0..self.channels {
                    let blurred = match radius {
                        None => vec![self.mean(&values, region, channel); region.w * region.h],
                        Some(radius) => self.box_blur(&values, region, channel, radius),
                    };
                    for (at, value) in blurred.into_iter().enumerate() {
                        let place =
                            start + size * self.index(region.x + at % region.w, region.y + at / region.w, channel);
                        encoded.clear();
                        write_number(tensor.dtype(), value, &mut encoded);
                        out[place..place + size].copy_from_slice(&encoded);
                    }
                }
            }
        })
    }

    fn mean(&self, values: &[f64], region: &Region, channel: usize) -> f64 {
        let mut sum = 0.0;
        for y in region.y..region.y + region.h {
            sum += (region.x..region.x + region.w).map(|x| values[self.index(x, y, channel)]).sum::<f64>();
        }
        sum / (region.w * region.h) as f64
    }

    /// Row after row, then column after column: each value becomes the mean of those up to `radius` away, within the
    /// region. Together that is the mean of the square around it.
    fn box_blur(&self, values: &[f64], region: &Region, channel: usize, radius: usize) -> Vec<f64> {
        let (w, h) = (region.w, region.h);
        let mut rows = Vec::with_capacity(w * h);
        for y in 0..h {
            let row: Vec<f64> = (0..w).map(|x| values[self.index(region.x + x, region.y + y, channel)]).collect();
            rows.extend(running_mean(&row, radius));
        }
        let mut blurred = vec![0.0; w * h];
        for x in 0..w {
            let column: Vec<f64> = (0..h).map(|y| rows[y * w + x]).collect();
            for (y, value) in running_mean(&column, radius).enumerate() {
                blurred[y * w + x] = value;
            }
        }
        blurred
    }
}

fn running_mean(line: &[f64], radius: usize) -> impl Iterator<Item = f64> {
    let mut sums = Vec::with_capacity(line.len() + 1);
    sums.push(0.0);
    for value in line {
        sums.push(sums.last().copied().unwrap_or_default() + value);
    }
    (0..line.len()).map(move |at| {
        let (from, to) = (at.saturating_sub(radius), (at.saturating_add(radius).saturating_add(1)).min(sums.len() - 1));
        (sums[to] - sums[from]) / (to - from) as f64
    })
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = match self.layout {
            Layout::Hwc => "hwc",
            Layout::Chw => "chw",
        };
        write!(f, "image of {}x{} pixels with {} channels ({layout})", self.width, self.height, self.channels)
    }
}

fn numbers(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    let tensor = Tensor::new("", dtype, vec![bytes.len() / dtype.size()], bytes.to_vec());
    // One dimension with as many elements as there are: it always fits.
    tensor.map(|tensor| tensor.to_f64()).unwrap_or_default()
}

/// The nearest value of the type.
fn write_number(dtype: Dtype, value: f64, out: &mut Vec<u8>) {
    let whole = value.round();
    match dtype {
        Dtype::Bool => out.push(u8::from(value >= 0.5)),
        Dtype::Uint8 => out.push(whole as u8),
        Dtype::Int8 => out.extend((whole as i8).to_le_bytes()),
        Dtype::Int16 => out.extend((whole as i16).to_le_bytes()),
        Dtype::Uint16 => out.extend((whole as u16).to_le_bytes()),
        Dtype::Int32 => out.extend((whole as i32).to_le_bytes()),
        Dtype::Uint32 => out.extend((whole as u32).to_le_bytes()),
        Dtype::Int64 => out.extend((whole as i64).to_le_bytes()),
        Dtype::Uint64 => out.extend((whole as u64).to_le_bytes()),
        Dtype::Fp16 => out.extend(half::f16::from_f64(value).to_le_bytes()),
        Dtype::Fp32 => out.extend((value as f32).to_le_bytes()),
        Dtype::Fp64 => out.extend(value.to_le_bytes()),
    }
}
