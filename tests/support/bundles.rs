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
    write_golden(&path, inputs, outputs);
    std::fs::write(path.join("model.onnx"), model).unwrap();
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

/// The template of this name as a whole bundle in `folder`: its model is the one in `../shared`, its golden vector ONNX Runtime's answer
/// there. Returns its path.
pub fn template(folder: &Path, name: &str, shared: &Path) -> PathBuf {
    let path = folder.join(name);
    let manifest =
        std::fs::read_to_string(crate::root().join("models/templates").join(name).join("bundle.toml")).unwrap();
    let beside = "../../../../shared/";
    let (_, model) = manifest.split_once(beside).expect("the model lies beside the project");
    let model = model.lines().next().unwrap().trim_end_matches('"');
    let entries = crate::golden::entries(shared);
    let entry =
        entries.iter().find(|entry| entry.model == model).unwrap_or_else(|| panic!("no golden answer of {model}"));
    write_golden(&path, &entry.tensors(), &entry.outputs(shared));
    let shared = format!("{}/", shared.display());
    std::fs::write(path.join("bundle.toml"), manifest.replace(beside, &shared)).unwrap();
    path
}

fn write_golden(bundle: &Path, inputs: &[Tensor], outputs: &[Tensor]) {
    std::fs::create_dir_all(bundle.join("golden")).unwrap();
    let names: Vec<(String, &Tensor)> = [("in", inputs), ("out", outputs)]
        .into_iter()
        .flat_map(|(kind, tensors)| tensors.iter().enumerate().map(move |(i, tensor)| (format!("{kind}{i}"), tensor)))
        .collect();
    std::fs::write(bundle.join("golden/0.npz"), npz::write(&names).unwrap()).unwrap();
}
