//! The outputs of a job's runs.

use picket_core::{job::Failure, limits};

use crate::tensor::Tensor;

/// Outputs by run.
#[derive(Debug, Default)]
pub struct Gathered {
    runs: Vec<Vec<Tensor>>,
    bytes: usize,
}

impl Gathered {
    /// # Errors
    /// `input/too-large`: together they are more than one job may make.
    pub fn add(&mut self, outputs: Vec<Tensor>) -> Result<(), Failure> {
        self.bytes += outputs.iter().map(|output| output.data().len()).sum::<usize>();
        if !self.runs.is_empty() && self.bytes > limits::WINDOW_OUTPUT_BYTES {
            let message = format!("the outputs of its windows have more than {} bytes", limits::WINDOW_OUTPUT_BYTES);
            return Err(Failure::new("input/too-large", message));
        }
        self.runs.push(outputs);
        Ok(())
    }

    /// Of a model without a window, which has run once.
    pub fn single(self) -> Vec<Tensor> {
        self.runs.into_iter().next().unwrap_or_default()
    }

    /// Each output with a new first axis: the runs. None without a run.
    ///
    /// # Errors
    /// `model/invalid-output`: an output is of one shape in one run, and of another in the next.
    pub fn stacked(self) -> Result<Vec<Tensor>, Failure> {
        let Some(first) = self.runs.first() else { return Ok(Vec::new()) };
        let stack = |(at, one): (usize, &Tensor)| {
            let mut data = Vec::with_capacity(one.data().len() * self.runs.len());
            for other in self.runs.iter().filter_map(|run| run.get(at)) {
                data.extend_from_slice(other.data());
            }
            let shape = std::iter::once(self.runs.len()).chain(one.shape().iter().copied()).collect();
            Tensor::new(one.name.as_str(), one.dtype(), shape, data)
                .map_err(|error| Failure::new("model/invalid-output", error.to_string()))
        };
        first.iter().enumerate().map(stack).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_lie_along_a_new_first_axis() {
        let mut gathered = Gathered::default();
        for value in [1.0, 2.0, 3.0] {
            gathered.add(vec![Tensor::from_f32("y", vec![1, 2], &[value, -value]).unwrap()]).unwrap();
        }
        let stacked = gathered.stacked().unwrap();
        assert_eq!((stacked[0].kind(), stacked[0].name.as_str()), ("3x1x2 FP32".to_owned(), "y"));
        assert_eq!(stacked[0].to_f32(), [1.0, -1.0, 2.0, -2.0, 3.0, -3.0]);
        assert!(Gathered::default().stacked().unwrap().is_empty());
    }

    #[test]
    fn outputs_of_many_windows_are_bounded() {
        let mut gathered = Gathered::default();
        let large = Tensor::from_f32("y", vec![8 << 20], &vec![0.0; 8 << 20]).unwrap();
        assert!(gathered.add(vec![large.clone()]).is_ok());
        assert!(gathered.add(vec![large.clone()]).is_ok());
        assert_eq!(gathered.add(vec![large]).unwrap_err().code, "input/too-large");
    }
}
