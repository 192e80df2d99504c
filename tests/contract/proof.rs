//! A model that answers wrong on this CPU is not served (promise 3).

use picket::{bundle::Bundle, inference::served::Served, tensor::Tensor};
use picket_tests::{bundles, golden, shared};

#[test]
fn an_int8_model_is_right_or_refused() {
    let Some(shared) = shared("golden").and(shared("")) else { return };
    let entries = golden::entries(&shared);
    let entry = entries.iter().find(|entry| entry.model.ends_with("mlperf-tiny/kws_int8.onnx")).unwrap();
    let model = std::fs::read(shared.join(&entry.model)).unwrap();
    let want = named(entry.outputs(&shared), "Identity");
    let folder = tempfile::tempdir().unwrap();
    let path = bundles::write(folder.path(), "kws", &model, &entry.tensors(), &want, 0.0);
    match Served::load(Bundle::read(&path).unwrap()) {
        Ok(served) => {
            assert!(served.proven);
            let got = served.runner().unwrap().run(entry.tensors()).unwrap();
            assert_eq!(got[0].data(), want[0].data(), "served, so it must be right");
        }
        Err(failure) => assert_eq!(failure.code, "model/unproven"),
    }
}

#[test]
fn a_tampered_golden_vector_refuses_the_bundle() {
    let Some(shared) = shared("golden").and(shared("")) else { return };
    let entries = golden::entries(&shared);
    let entry = entries.iter().find(|entry| entry.model.ends_with("ekuiper/mnist.onnx")).unwrap();
    let model = std::fs::read(shared.join(&entry.model)).unwrap();
    let folder = tempfile::tempdir().unwrap();

    let right = named(entry.outputs(&shared), "Plus214_Output_0");
    let path = bundles::write(folder.path(), "right", &model, &entry.tensors(), &right, 1e-4);
    assert!(Served::load(Bundle::read(&path).unwrap()).is_ok_and(|served| served.proven));

    let mut values = right[0].to_f32();
    values[3] += 1.0;
    let tampered = Tensor::from_f32("Plus214_Output_0", right[0].shape().to_vec(), &values).unwrap();
    let path = bundles::write(folder.path(), "tampered", &model, &entry.tensors(), &[tampered], 1e-4);
    let failure = Served::load(Bundle::read(&path).unwrap()).map(|_| ()).unwrap_err();
    assert_eq!(failure.code, "model/unproven");
    assert!(failure.message.contains("golden vector"), "{}", failure.message);
}

/// Golden arrays are numbered; a bundle declares its outputs by the model's own names.
fn named(mut outputs: Vec<Tensor>, name: &str) -> Vec<Tensor> {
    outputs[0].name = name.to_owned();
    outputs
}
