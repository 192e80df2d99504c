//! Bundles of `models/templates/`, with the models and golden answers that lie beside the project.

use std::path::{Path, PathBuf};

use picket::{bundle::npz, tensor::Tensor};

use crate::{golden, root};

/// Puts a template, its model (a path under `shared`) and its golden vector together in `into`. Returns the bundle's folder.
pub fn assemble(template: &str, model: &str, shared: &Path, into: &Path) -> PathBuf {
    let bundle = into.join(template);
    std::fs::create_dir_all(bundle.join("golden")).unwrap();
    std::fs::copy(root().join("models/templates").join(template).join("bundle.toml"), bundle.join("bundle.toml"))
        .unwrap();
    std::fs::copy(shared.join(model), bundle.join("model.onnx")).unwrap();
    let entry = golden::entries(shared).into_iter().find(|entry| entry.model == model).expect(model);
    // What is constant is no input of the model that is proven.
    let jobs = entry.inputs.iter().filter(|input| input.value.is_none());
    let (inputs, outputs): (Vec<Tensor>, _) = (jobs.map(golden::Input::tensor).collect(), entry.outputs(shared));
    let named = |prefix: &str, tensors: &[Tensor]| -> Vec<(String, Tensor)> {
        tensors.iter().enumerate().map(|(at, tensor)| (format!("{prefix}{at}"), tensor.clone())).collect()
    };
    let arrays = [named("in", &inputs), named("out", &outputs)].concat();
    let arrays: Vec<(String, &Tensor)> = arrays.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
    std::fs::write(bundle.join("golden/0.npz"), npz::write(&arrays).unwrap()).unwrap();
    bundle
}

/// `hydraulic-stream`, of the bundle that the project has itself.
pub fn hydraulic_stream(into: &Path) -> PathBuf {
    let bundle = into.join("hydraulic-stream");
    let own = root().join("models/hydraulic-pump");
    std::fs::create_dir_all(bundle.join("golden")).unwrap();
    let template = root().join("models/templates/hydraulic-stream/bundle.toml");
    std::fs::copy(template, bundle.join("bundle.toml")).unwrap();
    for file in ["model.onnx", "golden/0.npz"] {
        std::fs::copy(own.join(file), bundle.join(file)).unwrap();
    }
    bundle
}
