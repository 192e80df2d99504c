//! Bundles made for one test.

use std::path::{Path, PathBuf};

use picket::{
    bundle::npz,
    tensor::{Dtype, Tensor},
};
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
    // What is constant is no input of the model that is proven.
    let inputs: Vec<Tensor> =
        entry.inputs.iter().filter(|input| input.value.is_none()).map(crate::golden::Input::tensor).collect();
    write_golden(&path, &inputs, &entry.outputs(shared));
    let shared = format!("{}/", shared.display());
    std::fs::write(path.join("bundle.toml"), manifest.replace(beside, &shared)).unwrap();
    path
}

/// The template `hydraulic-stream`, with model and golden vector of the bundle that the project has itself.
pub fn hydraulic_stream(folder: &Path) -> PathBuf {
    let (path, models) = (folder.join("hydraulic-stream"), crate::root().join("models"));
    std::fs::create_dir_all(path.join("golden")).unwrap();
    let manifest = std::fs::read_to_string(models.join("templates/hydraulic-stream/bundle.toml")).unwrap();
    std::fs::write(path.join("bundle.toml"), manifest.replace("../../", &format!("{}/", models.display()))).unwrap();
    std::fs::copy(models.join("hydraulic-pump/golden/0.npz"), path.join("golden/0.npz")).unwrap();
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

/// A bundle of task `tensor` whose model gives back the image that it gets, `[height, width]` behind a `resize` of these keys.
pub fn of_pixels(folder: &Path, name: &str, resize: &str, [height, width]: [usize; 2]) -> PathBuf {
    const UINT8: u64 = 2;
    let zeros = Tensor::new("x", Dtype::Uint8, vec![1, height, width, 3], vec![0; height * width * 3]).unwrap();
    let output = Tensor::new("y", Dtype::Uint8, zeros.shape().to_vec(), zeros.data().clone()).unwrap();
    let model = identity(UINT8, &[1, height as u64, width as u64, 3]);
    let path = write(folder, name, &model, &[zeros], &[output], 0.0);
    let manifest = std::fs::read_to_string(path.join("bundle.toml")).unwrap();
    let declared = format!("shape = [1, {height}, {width}, 3]\n");
    let steps = format!(
        "shape = [-1, -1, 3]\n[[prepare]]\nstep = \"resize\"\n{resize}\n[[prepare]]\nstep = \"layout\"\norder = \"NHWC\"\n"
    );
    std::fs::write(path.join("bundle.toml"), manifest.replacen(&declared, &steps, 1)).unwrap();
    path
}

/// An ONNX model `y = Identity(x)` of this element type and shape (fields as in onnx.proto3).
fn identity(element: u64, dims: &[u64]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| field(1, &number(1, *dim))).collect();
    let tensor = [number(1, element), field(2, &dims)].concat();
    let value = |name: &[u8]| [field(1, name), field(2, &field(1, &tensor))].concat();
    let node = [field(1, b"x"), field(2, b"y"), field(4, b"Identity")].concat();
    let graph = [field(1, &node), field(2, b"g"), field(11, &value(b"x")), field(12, &value(b"y"))].concat();
    [number(1, 8), field(7, &graph), field(8, &number(2, 13))].concat()
}

/// A field of a protobuf message whose payload is bytes …
fn field(tag: u64, payload: &[u8]) -> Vec<u8> {
    [varint(tag << 3 | 2), varint(payload.len() as u64), payload.to_vec()].concat()
}

/// … or a number.
fn number(tag: u64, value: u64) -> Vec<u8> {
    [varint(tag << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
