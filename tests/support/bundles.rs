//! Bundles made for one test.

use std::path::{Path, PathBuf};

use picket::{bundle::npz, tensor::Tensor};
use sha2::{Digest, Sha256};

/// Writes a bundle of task `tensor` around a model, with one golden vector, into `folder`. Returns its path.
pub fn write(
    folder: &Path,
    name: &str,
    model: &[u8],
    inputs: &[Tensor],
    outputs: &[Tensor],
    tolerance: f64,
) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.join("golden")).unwrap();
    std::fs::write(path.join("model.onnx"), model).unwrap();
    let names: Vec<(String, &Tensor)> = [("in", inputs), ("out", outputs)]
        .into_iter()
        .flat_map(|(kind, tensors)| tensors.iter().enumerate().map(move |(i, tensor)| (format!("{kind}{i}"), tensor)))
        .collect();
    std::fs::write(path.join("golden/0.npz"), npz::write(&names).unwrap()).unwrap();
    let spec = |section: &str, tensor: &Tensor| {
        let (name, dtype, shape) = (&tensor.name, tensor.dtype(), tensor.shape());
        format!("[[{section}]]\nname = {name:?}\ndtype = \"{dtype}\"\nshape = {shape:?}\n")
    };
    let sha256 = picket::answer::hex(&Sha256::digest(model));
    let mut manifest = format!(
        "format = \"picket-bundle/1\"\nname = \"{name}\"\nversion = 1\ntask = \"tensor\"\n\
         [model]\nfile = \"model.onnx\"\nsha256 = \"{sha256}\"\n"
    );
    inputs.iter().for_each(|tensor| manifest.push_str(&spec("input", tensor)));
    outputs.iter().for_each(|tensor| manifest.push_str(&spec("output", tensor)));
    manifest.push_str(&format!("[[golden]]\nfile = \"golden/0.npz\"\ntolerance = {tolerance:?}\n"));
    manifest.push_str(
        "[card]\nintended_use = \"a test\"\ntraining_data = \"see the model's own papers\"\ndata_licence = \"unknown\"\n\
         known_limits = \"a test\"\nmeasured = \"nothing\"\nrisk_class = \"minimal\"\nresponsible = \"the tests\"\n",
    );
    std::fs::write(path.join("bundle.toml"), manifest).unwrap();
    path
}
