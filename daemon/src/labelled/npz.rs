//! NumPy arrays: one case along the first axis.

use std::path::Path;

use picket_core::{limits, said::Said};

use super::{BadData, Case, Input, file::of_tensors};
use crate::{bundle::npz, ports::TensorSpec, tensor::Tensor};

pub(super) fn read(path: &Path, bytes: &[u8], labels: &[String], inputs: &[TensorSpec]) -> Result<Vec<Case>, BadData> {
    let file = path.display();
    let bad = |why: String| BadData(format!("{file}: {why}"));
    let arrays = npz::read_within(bytes, limits::MAX_LABELLED_BYTES).map_err(bad)?;
    let array = |name: &str| arrays.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor);
    let label = array("label").ok_or_else(|| bad("there is no array `label`".to_owned()))?;
    let label = right(label, labels).map_err(bad)?;
    let count = label.len();
    if count > limits::LABELLED_CASES {
        return Err(bad(format!("more than {} cases", limits::LABELLED_CASES)));
    }
    let group = array("group").map(|tensor| whole("group", tensor)).transpose().map_err(bad)?;
    if let Some(group) = group.as_ref().filter(|group| group.len() != count) {
        return Err(bad(format!("{} groups for {count} labels", group.len())));
    }
    let mut columns = Vec::new();
    for input in inputs {
        let tensor =
            array(&input.name).ok_or_else(|| bad(format!("there is no array `{}`, which is an input", input.name)))?;
        columns.push(Column::of(input, tensor, count).map_err(bad)?);
    }
    let case = |at: usize| {
        let place = format!("{file}[{at}]");
        let label = label[at].clone().map_err(|odd| BadData(format!("{place}: {odd}")))?;
        let tensors: Option<Vec<Tensor>> = columns.iter().map(|column| column.case(at)).collect();
        let tensors = tensors.ok_or_else(|| BadData(format!("{place}: its data are not all there")))?;
        let group = group.as_ref().map(|group| group[at].to_string());
        Ok(Case { label, group, place, input: Input::Ready(of_tensors(&tensors)) })
    };
    (0..count).map(case).collect()
}

/// What is right in each case, or why that is nothing.
type Rights = Vec<Result<Said, String>>;

fn right(label: &Tensor, labels: &[String]) -> Result<Rights, String> {
    if labels.is_empty() {
        if label.shape().len() != 1 {
            return Err(format!("`label` is {}; numbers along one axis are wanted", label.kind()));
        }
        let number =
            |x: f64| x.is_finite().then_some(Said::Value(x)).ok_or_else(|| format!("the label {x} is no number"));
        return Ok(label.to_f64().into_iter().map(number).collect());
    }
    let class = |label: i64| {
        let index = usize::try_from(label).ok().filter(|index| *index < labels.len());
        index.map(Said::Class).ok_or_else(|| format!("label {label} of {}", labels.len()))
    };
    Ok(whole("label", label)?.into_iter().map(class).collect())
}

/// Whole numbers along one axis.
fn whole(name: &str, tensor: &Tensor) -> Result<Vec<i64>, String> {
    if tensor.shape().len() != 1 || tensor.dtype().is_float() {
        return Err(format!("`{name}` is {}; whole numbers along one axis are wanted", tensor.kind()));
    }
    Ok(tensor.to_f64().into_iter().map(|number| number as i64).collect())
}

/// One input's values of all cases.
struct Column<'a> {
    input: &'a TensorSpec,
    tensor: &'a Tensor,
    shape: Vec<usize>,
}

impl<'a> Column<'a> {
    fn of(input: &'a TensorSpec, tensor: &'a Tensor, count: usize) -> Result<Self, String> {
        let shape = tensor.shape();
        let within = shape.get(1..).unwrap_or_default();
        let one = [&[1], within].concat();
        // [N, …] of an input that is [1, …], or [N] + its shape.
        let own = [one.as_slice(), within].into_iter().find(|own| input.accepts(own));
        match own {
            Some(own) if shape.first() == Some(&count) => Ok(Self { input, tensor, shape: own.to_vec() }),
            _ => Err(format!("array `{}` is {}; {count} times {} are wanted", input.name, tensor.kind(), input.kind())),
        }
    }

    fn case(&self, at: usize) -> Option<Tensor> {
        let bytes = self.shape.iter().product::<usize>() * self.tensor.dtype().size();
        let data = (bytes * (at + 1) <= self.tensor.data().len())
            .then(|| self.tensor.data().slice(bytes * at..bytes * (at + 1)))?;
        Tensor::new(self.input.name.as_str(), self.tensor.dtype(), self.shape.clone(), data).ok()
    }
}
