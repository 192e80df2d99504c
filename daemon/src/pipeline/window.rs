//! Windows over samples: `length` of them at a time, each window `hop` samples after the one before.

use super::{
    draft::Draft,
    prepare::{Prepared, Step, prepare},
};
use picket_core::{job::Failure, limits};

use crate::{
    ports::TensorSpec,
    tensor::{Dtype, Tensor, elements},
};

/// A window over the first axis of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Samples of one window.
    pub length: usize,
    /// From the beginning of one to that of the next; more than `length` leaves samples out.
    pub hop: usize,
    /// So many zeros stand before the first sample; less than `length`.
    pub pad: usize,
    pub per: Per,
}

/// What a window's samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// The jobs of one stream, one after the other: what a job leaves over, the next one continues.
    Stream,
    /// One job: what it leaves over is dropped.
    Job,
}

impl Window {
    /// The input after it.
    ///
    /// # Errors
    /// Nothing says how much one sample is, or a window would be too large.
    pub fn shape(&self, spec: TensorSpec) -> Result<TensorSpec, String> {
        let Some((_, rest)) = spec.shape.split_first() else {
            return Err(format!("input `{}` is a scalar, and has no axis of samples", spec.name));
        };
        let dtype = windowed(spec.dtype);
        let Some(rest) = rest.iter().copied().collect::<Option<Vec<usize>>>() else {
            return Err(format!("of `{}`, which is {}, only the first axis may be free", spec.name, spec.kind()));
        };
        let shape: Vec<usize> = std::iter::once(self.length).chain(rest).collect();
        let bytes = elements(&shape).and_then(|n| n.checked_mul(dtype.size()));
        if bytes.is_none_or(|bytes| bytes > limits::WINDOW_BYTES) {
            return Err(format!("a window of {shape:?} {dtype} has more than {} bytes", limits::WINDOW_BYTES));
        }
        Ok(TensorSpec { dtype, shape: shape.into_iter().map(Some).collect(), ..spec })
    }
}

/// Bytes stay bytes, everything else is reckoned with as f32.
const fn windowed(dtype: Dtype) -> Dtype {
    match dtype {
        Dtype::Uint8 | Dtype::Int8 => dtype,
        _ => Dtype::Fp32,
    }
}

/// Samples that wait for their window.
#[derive(Clone, Debug)]
pub struct Tail {
    /// Bytes of one sample, more than 0.
    sample: usize,
    bytes: Vec<u8>,
    /// Samples at the front that are in no window any more.
    gone: usize,
    /// Samples still to come that no window wants.
    skip: usize,
}

impl Tail {
    /// The beginning of a stream.
    pub fn new(window: &Window, sample: usize) -> Self {
        Self { sample, bytes: vec![0; window.pad * sample], gone: 0, skip: 0 }
    }

    pub const fn have(&self) -> usize {
        self.bytes.len() / self.sample - self.gone
    }

    /// Samples until the next window.
    pub const fn need(&self, window: &Window) -> usize {
        (window.length + self.skip).saturating_sub(self.have())
    }

    /// Windows that so many more samples would complete.
    pub const fn completes(&self, window: &Window, samples: usize) -> usize {
        let have = (self.have() + samples).saturating_sub(self.skip);
        if have < window.length { 0 } else { (have - window.length) / window.hop + 1 }
    }

    /// `samples` are whole ones.
    pub fn push(&mut self, samples: &[u8]) {
        let skipped = self.skip.min(samples.len() / self.sample);
        self.skip -= skipped;
        self.bytes.extend_from_slice(&samples[skipped * self.sample..]);
    }

    /// The next window, if it is full.
    pub fn next(&mut self, window: &Window) -> Option<Vec<u8>> {
        if self.skip > 0 || self.have() < window.length {
            return None;
        }
        let start = self.gone * self.sample;
        let full = self.bytes[start..start + window.length * self.sample].to_vec();
        let left_out = window.hop.saturating_sub(self.have());
        self.gone += window.hop - left_out;
        self.skip = left_out;
        Some(full)
    }

    /// Keeps only what a later window may want.
    pub fn settle(&mut self) {
        self.bytes.drain(..self.gone * self.sample);
        self.bytes.shrink_to(self.bytes.len());
        self.gone = 0;
    }
}

/// A bundle's prepare steps around its window.
#[derive(Clone, Copy, Debug)]
pub struct Windowed<'a> {
    pub window: Window,
    /// Place of the input that is cut into windows.
    pub input: usize,
    before: &'a [Step],
    after: &'a [Step],
}

/// What a job brings, as far as it goes without a window.
#[derive(Clone, Debug)]
pub struct Chunk {
    prepared: Prepared,
    /// Shape of one sample.
    rest: Vec<usize>,
    dtype: Dtype,
    input: usize,
}

impl<'a> Windowed<'a> {
    /// `None`: there is no window among the steps. `inputs` are those of a job.
    pub fn of(steps: &'a [Step], inputs: &[TensorSpec]) -> Option<Self> {
        let at = steps.iter().position(|step| step.step.window().is_some())?;
        let window = steps[at].step.window()?;
        let input = inputs.iter().position(|input| steps[at].is_for(&input.name))?;
        Some(Self { window, input, before: &steps[..at], after: &steps[at + 1..] })
    }

    /// Of one window, before the steps behind it; `inputs` are those of a job. What has been made smaller until then
    /// counts as it came.
    pub fn bytes(&self, inputs: &[TensorSpec]) -> usize {
        let rest = inputs.get(self.input).map(|input| input.shape.iter().skip(1).flatten().product::<usize>());
        let widest = rest.unwrap_or(1).saturating_mul(size_of::<f32>());
        self.window.length.saturating_mul(widest)
    }

    /// The steps before the window.
    ///
    /// # Errors
    /// `input/…` when one does not fit what the job brought.
    pub fn chunk(&self, inputs: Vec<Tensor>) -> Result<Chunk, Failure> {
        let mut prepared = prepare(inputs, self.before)?;
        let misfit = |error: crate::tensor::SizeMismatch| Failure::new("input/shape-mismatch", error.to_string());
        let tensor = prepared.inputs[self.input].clone();
        let samples = Draft::new(tensor).into_tensor().map_err(misfit)?;
        let rest = samples.shape().get(1..).unwrap_or_default().to_vec();
        let dtype = samples.dtype();
        prepared.inputs[self.input] = samples;
        Ok(Chunk { prepared, rest, dtype, input: self.input })
    }

    /// The steps behind it, for one full window.
    ///
    /// # Errors
    /// `input/…` when one does not fit.
    pub fn run(&self, chunk: &Chunk, full: Vec<u8>) -> Result<Prepared, Failure> {
        let mut inputs = chunk.prepared.inputs.clone();
        let shape = std::iter::once(self.window.length).chain(chunk.rest.iter().copied()).collect();
        let name = inputs[self.input].name.clone();
        let tensor = Tensor::new(name, chunk.dtype, shape, full)
            .map_err(|error| Failure::new("input/shape-mismatch", error.to_string()))?;
        inputs[self.input] = tensor;
        Ok(Prepared { view: chunk.prepared.view, ..prepare(inputs, self.after)? })
    }
}

impl Chunk {
    /// Bytes of one sample.
    pub fn sample(&self) -> usize {
        self.rest.iter().product::<usize>() * self.dtype.size()
    }

    pub fn bytes(&self) -> &[u8] {
        self.prepared.inputs[self.input].data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(length: usize, hop: usize, pad: usize) -> Window {
        Window { length, hop, pad, per: Per::Stream }
    }

    /// Windows of the samples 1, 2, 3 … in chunks of these sizes; samples of two bytes.
    fn windows(window: Window, chunks: &[usize]) -> Vec<Vec<u8>> {
        let mut tail = Tail::new(&window, 2);
        let (mut next, mut found) = (1, Vec::new());
        for size in chunks {
            let samples: Vec<u8> = (next..next + size).flat_map(|n| [u8::try_from(n).unwrap(); 2]).collect();
            next += size;
            let promised = tail.completes(&window, *size);
            tail.push(&samples);
            let full: Vec<_> = std::iter::from_fn(|| tail.next(&window)).collect();
            assert_eq!(full.len(), promised, "{window:?} {chunks:?}");
            tail.settle();
            assert!(tail.have() < window.length && tail.need(&window) > 0, "{tail:?}");
            found.extend(full.iter().map(|bytes| bytes.iter().copied().step_by(2).collect()));
        }
        found
    }

    #[test]
    fn windows_overlap_touch_or_leave_samples_out() {
        assert_eq!(windows(window(4, 2, 0), &[8]), [[1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 7, 8]]);
        assert_eq!(windows(window(2, 2, 0), &[5]), [[1, 2], [3, 4]]);
        assert_eq!(windows(window(2, 5, 0), &[12]), [[1, 2], [6, 7], [11, 12]]);
    }

    #[test]
    fn zeros_stand_before_the_first_sample() {
        assert_eq!(windows(window(3, 2, 1), &[4]), [[0, 1, 2], [2, 3, 4]]);
    }

    #[test]
    fn it_does_not_matter_how_a_stream_is_cut_into_jobs() {
        for (length, hop, pad) in [(5, 3, 2), (1, 1, 0), (4, 9, 0), (6, 6, 5), (3, 7, 1)] {
            let whole = windows(window(length, hop, pad), &[60]);
            for chunks in [vec![1; 60], vec![7, 13, 1, 39], vec![30, 30], vec![59, 1], vec![10; 6]] {
                assert_eq!(windows(window(length, hop, pad), &chunks), whole, "{length} {hop} {pad} {chunks:?}");
            }
        }
    }

    #[test]
    fn only_the_first_axis_of_an_input_may_be_free() {
        let spec =
            |shape: &[Option<usize>]| TensorSpec { name: "x".into(), dtype: Dtype::Int16, shape: shape.to_vec() };
        assert_eq!(window(4, 2, 0).shape(spec(&[None, Some(8)])).unwrap().kind(), "4x8 FP32");
        assert!(window(4, 2, 0).shape(spec(&[])).unwrap_err().contains("scalar"));
        assert!(window(4, 2, 0).shape(spec(&[None, None])).unwrap_err().contains("first axis"));
        assert!(window(4 << 20, 2, 0).shape(spec(&[None])).unwrap_err().contains("bytes"));
    }
}
