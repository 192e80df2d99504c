//! Golden vectors: inputs at the model's boundary with the outputs that a trusted runtime gave for them.

use picket_core::limits;

use super::{BundleError, check::Declared, files::Folder, manifest::Manifest, manifest::RawGolden, npz};
use crate::{
    ports::{Signature, TensorSpec},
    tensor::{Dtype, Tensor},
};

/// One golden vector.
#[derive(Clone, Debug)]
pub struct Golden {
    /// Its file in the bundle.
    pub name: String,
    /// What the model takes, after the prepare steps; in the bundle's order and by its names.
    pub inputs: Vec<Tensor>,
    /// What the model must give, in the bundle's order and by its names.
    pub outputs: Vec<Tensor>,
    /// Largest deviation, as a share of the range of the expected values.
    pub tolerance: f64,
}

/// # Errors
/// `bundle/no-golden`, `bundle/bad-golden`, or a file that cannot be read.
pub fn read_all(folder: &Folder, manifest: &Manifest, declared: &Declared) -> Result<Vec<Golden>, BundleError> {
    let golden = &manifest.raw.golden;
    if golden.is_empty() {
        let message = "there is no [[golden]]; a model that has proven nothing is not served";
        return Err(manifest.error("bundle/no-golden", None, message));
    }
    if golden.len() > limits::GOLDEN_VECTORS {
        let message = format!("{} golden vectors; at most {} are read", golden.len(), limits::GOLDEN_VECTORS);
        return Err(manifest.invalid(&golden[limits::GOLDEN_VECTORS].file, message));
    }
    golden.iter().map(|raw| read(folder, manifest, declared, raw)).collect()
}

/// What is wrong with each of the vectors. `declared`: what they have to fit, where that is known.
pub(super) fn faults(folder: &Folder, manifest: &Manifest, declared: Option<&Declared>) -> Vec<BundleError> {
    let fault = |raw: &RawGolden| match declared {
        Some(declared) => read(folder, manifest, declared, raw).err(),
        None => folder.read(raw.file.get_ref(), limits::MAX_GOLDEN_BYTES).err(),
    };
    manifest.raw.golden.iter().filter_map(fault).collect()
}

fn read(folder: &Folder, manifest: &Manifest, declared: &Declared, raw: &RawGolden) -> Result<Golden, BundleError> {
    let tolerance = *raw.tolerance.get_ref();
    if !(tolerance.is_finite() && tolerance >= 0.0) {
        return Err(manifest.invalid(&raw.tolerance, format!("`tolerance` is {tolerance}; it is a number from 0 up")));
    }
    let name = raw.file.get_ref();
    let bytes = folder.read(name, limits::MAX_GOLDEN_BYTES)?;
    let arrays = npz::read(&bytes).and_then(|arrays| {
        if declared.states.is_empty() { fit(arrays, &declared.prepared, &declared.outputs) } else { in_order(arrays) }
    });
    let (inputs, outputs) =
        arrays.map_err(|why| BundleError::new("bundle/bad-golden", format!("{}: {why}", folder.show(name))))?;
    Ok(Golden { name: name.clone(), inputs, outputs, tolerance })
}

/// `in0`, `in1` … and `out0`, `out1` … as these inputs and outputs.
fn fit(
    mut arrays: Vec<(String, Tensor)>,
    inputs: &[TensorSpec],
    outputs: &[TensorSpec],
) -> Result<(Vec<Tensor>, Vec<Tensor>), String> {
    let inputs = take(&mut arrays, "in", inputs)?;
    let outputs = take(&mut arrays, "out", outputs)?;
    match arrays.first() {
        Some((name, _)) => Err(format!("array `{name}` belongs to no input or output")),
        None => Ok((inputs, outputs)),
    }
}

/// By their numbers: what they are, only the model's own inputs and outputs say, of which states are some.
fn in_order(arrays: Vec<(String, Tensor)>) -> Result<(Vec<Tensor>, Vec<Tensor>), String> {
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for (name, tensor) in arrays {
        let number = |prefix: &str| name.strip_prefix(prefix)?.parse::<usize>().ok();
        match (number("in"), number("out")) {
            (Some(number), _) => inputs.push((number, tensor)),
            (_, Some(number)) => outputs.push((number, tensor)),
            _ => return Err(format!("array `{name}` belongs to no input or output")),
        }
    }
    let sorted = |mut arrays: Vec<(usize, Tensor)>| {
        arrays.sort_by_key(|(number, _)| *number);
        let named = |(number, mut tensor): (usize, Tensor)| {
            tensor.name = number.to_string();
            tensor
        };
        arrays.into_iter().map(named).collect()
    };
    Ok((sorted(inputs), sorted(outputs)))
}

impl Golden {
    /// The same vector by the names of the model's own inputs and outputs, in their order.
    ///
    /// # Errors
    /// It is none of this model.
    pub fn of_model(&self, model: &Signature) -> Result<Self, String> {
        let named = |tensors: &[Tensor], prefix: &str| {
            let name = |tensor: &Tensor| (format!("{prefix}{}", tensor.name), tensor.clone());
            tensors.iter().map(name).collect::<Vec<_>>()
        };
        let arrays = [named(&self.inputs, "in"), named(&self.outputs, "out")].concat();
        let (inputs, outputs) = fit(arrays, &model.inputs, &model.outputs)?;
        Ok(Self { inputs, outputs, ..self.clone() })
    }
}

fn take(arrays: &mut Vec<(String, Tensor)>, prefix: &str, specs: &[TensorSpec]) -> Result<Vec<Tensor>, String> {
    let mut tensors = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let wanted = format!("{prefix}{index}");
        let Some(at) = arrays.iter().position(|(name, _)| *name == wanted) else {
            return Err(format!("there is no array `{wanted}`, which is `{}`", spec.name));
        };
        let (_, mut tensor) = arrays.swap_remove(at);
        if tensor.dtype() != spec.dtype || !spec.accepts(tensor.shape()) {
            return Err(format!("array `{wanted}` is {}, but `{}` is {}", tensor.kind(), spec.name, spec.kind()));
        }
        tensor.name.clone_from(&spec.name);
        tensors.push(tensor);
    }
    Ok(tensors)
}

/// Did the model give what it should? Every element may be off by `tolerance` times the range (largest minus smallest) of
/// the expected values; where they are all the same, times the larger of their magnitude and 1. Integers that may be off
/// by less than 1 must be equal.
///
/// # Errors
/// Says which output and which element is wrong, with both values. A NaN is always wrong.
pub fn compare(want: &Tensor, got: &Tensor, tolerance: f64) -> Result<(), String> {
    let name = &want.name;
    if want.dtype() != got.dtype() || want.shape() != got.shape() {
        return Err(format!("output `{name}` is {}, want {}", got.kind(), want.kind()));
    }
    let (wanted, given) = (want.to_f64(), got.to_f64());
    let allowed = tolerance * scale(&wanted);
    let size = want.dtype().size();
    let exact = !want.dtype().is_float() && allowed < 1.0;
    let bytes = want.data().chunks_exact(size).zip(got.data().chunks_exact(size));
    let values = wanted.into_iter().zip(given);
    // Bytes beside values: f64 does not tell all 64-bit integers apart.
    let wrong = values.zip(bytes).position(|((a, b), (a_bytes, b_bytes))| {
        let near = if a.is_finite() && b.is_finite() { (a - b).abs() <= allowed } else { a == b };
        !near || (exact && a_bytes != b_bytes)
    });
    match wrong {
        None => Ok(()),
        Some(index) => {
            let (a, b) = (value(want, index), value(got, index));
            Err(format!("output `{name}`, element {index}: got {b}, want {a}, may be off by {allowed:e}"))
        }
    }
}

/// What a tolerance of 1 stands for.
fn scale(wanted: &[f64]) -> f64 {
    let finite = || wanted.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if high > low { high - low } else { finite().fold(1.0, |most, v| most.max(v.abs())) }
}

fn value(tensor: &Tensor, index: usize) -> String {
    let size = tensor.dtype().size();
    let bytes = &tensor.data()[index * size..(index + 1) * size];
    let fixed = |bytes: &[u8]| <[u8; 8]>::try_from(bytes).unwrap_or_default();
    match tensor.dtype() {
        Dtype::Int64 => i64::from_le_bytes(fixed(bytes)).to_string(),
        Dtype::Uint64 => u64::from_le_bytes(fixed(bytes)).to_string(),
        _ => tensor.to_f64().get(index).map_or_else(String::new, f64::to_string),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Tensor {
        Tensor::from_f32("y", vec![values.len()], values).unwrap()
    }

    fn ints(values: &[i64]) -> Tensor {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor::new("y", Dtype::Int64, vec![values.len()], data).unwrap()
    }

    #[test]
    fn the_tolerance_is_a_share_of_the_range() {
        let want = floats(&[0.0, 100.0]);
        assert_eq!(compare(&want, &floats(&[0.009, 99.991]), 1e-4), Ok(()));
        assert_eq!(
            compare(&want, &floats(&[0.0, 99.5]), 1e-4).unwrap_err(),
            "output `y`, element 1: got 99.5, want 100, may be off by 1e-2"
        );
    }

    #[test]
    fn without_a_range_the_magnitude_counts() {
        assert!(compare(&floats(&[200.0, 200.0]), &floats(&[200.01, 200.0]), 1e-4).is_ok());
        assert!(compare(&floats(&[0.0]), &floats(&[0.000_09]), 1e-4).is_ok());
        assert!(compare(&floats(&[0.0]), &floats(&[0.001]), 1e-4).is_err());
        assert!(compare(&floats(&[]), &floats(&[]), 0.0).is_ok());
    }

    #[test]
    fn a_nan_is_wrong_and_an_infinity_must_be_the_same() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert!(compare(&floats(&[1.0, 2.0]), &floats(&[1.0, nan]), 1e9).is_err());
        assert!(compare(&floats(&[1.0, nan]), &floats(&[1.0, nan]), 1e9).is_err());
        assert!(compare(&floats(&[1.0, inf]), &floats(&[1.0, inf]), 0.0).is_ok());
        assert!(compare(&floats(&[1.0, inf]), &floats(&[1.0, -inf]), 1e9).is_err());
        assert!(compare(&floats(&[1.0, inf]), &floats(&[9.0, inf]), 1e-4).is_err(), "no endless range");
    }

    #[test]
    fn integers_are_exact_unless_the_range_allows_more() {
        assert!(compare(&ints(&[0, 255]), &ints(&[1, 255]), 0.01).is_ok());
        assert!(compare(&ints(&[0, 255]), &ints(&[3, 255]), 0.01).is_err());
        assert!(compare(&ints(&[0, 9]), &ints(&[1, 9]), 0.01).is_err());
        let big = 1 << 60;
        assert_eq!(
            compare(&ints(&[big]), &ints(&[big + 1]), 0.0).unwrap_err(),
            "output `y`, element 0: got 1152921504606846977, want 1152921504606846976, may be off by 0e0"
        );
    }

    #[test]
    fn type_and_shape_must_be_the_same() {
        let line = compare(&floats(&[1.0]), &floats(&[1.0, 2.0]), 1.0).unwrap_err();
        assert_eq!(line, "output `y` is 2 FP32, want 1 FP32");
        assert!(compare(&floats(&[1.0, 2.0]), &ints(&[1, 2]), 1.0).is_err());
    }
}
