//! Bundles made for one test.

use std::path::{Path, PathBuf};

use picket::tensor::Tensor;
use sha2::{Digest, Sha256};

/// Writes a bundle of task `tensor` around a model, with one golden vector, into `folder`. Returns its path.
pub fn write(folder: &Path, name: &str, model: &[u8], inputs: &[Tensor], outputs: &[Tensor], tolerance: f64) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.join("golden")).unwrap();
    std::fs::write(path.join("model.onnx"), model).unwrap();
    let named = |kind: &str, tensors: &[Tensor]| {
        let name = |(i, t): (usize, &Tensor)| (format!("{kind}{i}"), t.clone());
        tensors.iter().enumerate().map(name).collect::<Vec<_>>()
    };
    let arrays = [named("in", inputs), named("out", outputs)].concat();
    std::fs::write(path.join("golden/0.npz"), npz(&arrays)).unwrap();
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

/// Arrays as numpy writes them: a zip without compression of `.npy` files.
pub fn npz(arrays: &[(String, Tensor)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, tensor) in arrays {
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file(format!("{name}.npy"), options).unwrap();
        std::io::Write::write_all(&mut zip, &npy(tensor)).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The `.npy` format, version 1.0.
fn npy(tensor: &Tensor) -> Vec<u8> {
    use picket::tensor::Dtype;
    let descr = match tensor.dtype() {
        Dtype::Bool => "|b1",
        Dtype::Int8 => "|i1",
        Dtype::Uint8 => "|u1",
        Dtype::Int16 => "<i2",
        Dtype::Uint16 => "<u2",
        Dtype::Int32 => "<i4",
        Dtype::Uint32 => "<u4",
        Dtype::Int64 => "<i8",
        Dtype::Uint64 => "<u8",
        Dtype::Fp16 => "<f2",
        Dtype::Fp32 => "<f4",
        Dtype::Fp64 => "<f8",
    };
    let dims: String = tensor.shape().iter().map(|dim| format!("{dim},")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    // Magic, version and length are 10 bytes; all of it is a multiple of 64, and ends in a newline.
    let padding = 64 - (10 + header.len() + 1) % 64;
    header.push_str(&" ".repeat(padding % 64));
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&u16::try_from(header.len()).unwrap().to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(tensor.data());
    file
}
