//! The real models of `../shared` agree with ONNX Runtime through every backend, or are refused by the operator's name.

use std::{collections::HashMap, path::Path};

use picket::{
    bundle::npz,
    inference::BACKENDS,
    ports::{Backend, BackendError, Constant, Fixed},
    tensor::Tensor,
};
use picket_tests::{golden, judge::Judge, root, shared};

/// Models that are not served: the beginning of the reason.
const REFUSED: &[(&str, &str)] = &[
    ("pcb-aoi-legacy/pcb-aoi.onnx", "op ImageScaler at node \"ImageScaler\": "),
    (
        "superres/superresolution_prepost_op18.onnx",
        "op com.microsoft.extensions::DecodeImage at node \"pre_process_0\": ",
    ),
    (GPT2, "op com.microsoft::EmbedLayerNormalization at node \"EmbedLayerNormalization_0\": "),
    ("triton-model-repository/model_repository/simple_string/1/model.onnx", "input \"INPUT0\" is of STRING"),
    (
        "tract-cases/xgboost_regressor_tree/model.onnx",
        "op ai.onnx.ml::TreeEnsembleRegressor at node \"TreeEnsembleRegressor\": ",
    ),
];
/// The only model with a golden answer among them.
const GPT2: &str = "tiny-transformer-random/tiny-random-gpt2-fp32.onnx";

#[test]
fn every_model_with_a_golden_answer_agrees_with_onnx_runtime() {
    let Some(shared) = shared("golden").and(shared("")) else { return };
    for backend in BACKENDS {
        let entries = golden::entries(&shared);
        let mut judged = 0;
        let mut wrong = Vec::new();
        for entry in entries.iter().filter(|entry| entry.golden.is_some() && !entry.model.ends_with(GPT2)) {
            let judge = Judge::of(&entry.model);
            let verdict = answer(*backend, &shared.join(&entry.model), &entry.shapes(), &[], entry.tensors())
                .and_then(|got| judge.says(&entry.outputs(&shared), &got));
            judged += 1;
            println!(
                "{:75} {}",
                entry.model,
                verdict.as_ref().map_or_else(|why| format!("WRONG: {why}"), Clone::clone)
            );
            wrong.extend(verdict.err().map(|why| format!("{}: {why}", entry.model)));
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
        assert_eq!(judged, 41, "of 42 models with a golden answer");
    }
}

#[test]
fn what_cannot_be_served_is_refused_by_operator_name() {
    let Some(models) = shared("models") else { return };
    for backend in BACKENDS {
        for (model, reason) in REFUSED {
            let Err(error) = backend.load(&std::fs::read(models.join(model)).unwrap(), None) else {
                panic!("{model} is served now: it belongs to those that are compared");
            };
            println!("{model:75} {error}");
            assert!(matches!(&error, BackendError::Unsupported(why) if why.starts_with(reason)), "{model}: {error}");
        }
    }
}

#[test]
fn an_input_that_is_bound_to_a_constant_decides_which_branch_is_loaded() {
    let Some(shared) = shared("golden").and(shared("")) else { return };
    for backend in BACKENDS {
        let entries = golden::entries(&shared);
        let rated = entries.iter().filter(|entry| entry.inputs.iter().any(|input| input.name == "sr"));
        let mut models = 0;
        for entry in rated {
            let constants = [Constant { input: "sr".to_owned(), values: vec![16_000.0] }];
            let inputs: Vec<Tensor> = entry.tensors().into_iter().filter(|tensor| tensor.name != "sr").collect();
            let shapes: Vec<Vec<usize>> = inputs.iter().map(|tensor| tensor.shape().to_vec()).collect();
            let got = answer(*backend, &shared.join(&entry.model), &shapes, &constants, inputs);
            let verdict = got.and_then(|got| Judge::Close.says(&entry.outputs(&shared), &got));
            println!("{:75} {verdict:?}", entry.model);
            assert!(verdict.is_ok(), "{}: {verdict:?}", entry.model);
            models += 1;
        }
        assert_eq!(models, 3);
    }
}

/// tract's own cases, and Triton's model with an input of unsigned 64-bit integers.
#[test]
fn models_without_a_golden_answer_agree_with_what_onnx_runtime_answered() {
    let Some(models) = shared("models") else { return };
    let reference = reference();
    let names = reference.keys().filter_map(|name| name.strip_suffix(".in0"));
    let mut names: Vec<&str> = names.filter(|name| *name != "xgboost_regressor_tree").collect();
    names.sort_unstable();
    assert_eq!(names.len(), 18);
    for (backend, name) in BACKENDS.iter().flat_map(|backend| names.iter().map(move |name| (backend, *name))) {
        let all = |what: &str| -> Vec<Tensor> {
            (0..).map_while(|i| reference.get(&format!("{name}.{what}{i}")).cloned()).collect()
        };
        let path = match name {
            "simple_dyna_sequence" => format!("triton-model-repository/model_repository/{name}/1/model.onnx"),
            "keras-tf2" => format!("tract-cases/{name}/example.onnx"),
            _ => format!("tract-cases/{name}/model.onnx"),
        };
        let shapes: Vec<Vec<usize>> = all("in").iter().map(|tensor| tensor.shape().to_vec()).collect();
        let got = answer(*backend, &models.join(path), &shapes, &[], all("in"));
        let verdict = got.and_then(|got| Judge::Close.says(&all("out"), &got));
        println!("{name:75} {verdict:?}");
        assert!(verdict.is_ok(), "{name}: {verdict:?}");
    }
}

/// MoveNet moves single key points by up to 12 pixels of its 192 when one bit of the picture changes, in ONNX Runtime too; so
/// what is compared is the mean of its answers to 7 pictures that differ in one bit.
#[test]
fn the_key_points_of_a_person_are_where_onnx_runtime_sees_them() {
    const SIDE: usize = 192;
    const PICTURES: usize = 7;
    const PIXELS: f64 = 3.0;
    let Some(shared) = shared("data/img-photos-coral/squat.bmp").and(shared("")) else { return };
    let picture = nearest(&std::fs::read(shared.join("data/img-photos-coral/squat.bmp")).unwrap(), SIDE);
    let want = reference().remove("movenet.points").unwrap().to_f64();
    for backend in BACKENDS {
        let model = std::fs::read(shared.join("models/coral-quant/movenet_lightning_qdq.onnx")).unwrap();
        let mut runner = backend.load(&model, None).unwrap().runner().unwrap();
        let mut mean = vec![0.0; want.len()];
        for k in 0..PICTURES {
            let mut turned = picture.clone();
            let at = k * 2_654_435_761 % turned.len();
            turned[at] ^= 1;
            let input = Tensor::new("picture", picket::tensor::Dtype::Uint8, vec![1, SIDE, SIDE, 3], turned).unwrap();
            let got = runner.run(vec![input]).unwrap();
            mean.iter_mut().zip(got[0].to_f64()).for_each(|(mean, value)| *mean += value / PICTURES as f64);
        }
        let off: Vec<f64> = want
            .chunks(3)
            .zip(mean.chunks(3))
            .flat_map(|(want, got)| [want[0] - got[0], want[1] - got[1]].map(|off| off.abs() * SIDE as f64))
            .collect();
        let most = off.iter().copied().fold(0.0, f64::max);
        println!("17 key points, of the mean of {PICTURES} answers: off by at most {most:.2} pixels");
        assert_eq!(off.len(), 34);
        assert!(most <= PIXELS, "{off:.2?}");
    }
}

fn answer(
    backend: &dyn Backend,
    model: &Path,
    shapes: &[Vec<usize>],
    constants: &[Constant],
    inputs: Vec<Tensor>,
) -> Result<Vec<Tensor>, String> {
    let model = std::fs::read(model).map_err(|error| error.to_string())?;
    let model = backend.load_fixed(&model, &Fixed { shapes: Some(shapes), constants });
    let model = model.map_err(|error| format!("does not load: {error}"))?;
    let mut runner = model.runner().map_err(|error| error.to_string())?;
    runner.run(inputs).map_err(|error| format!("does not run: {error}"))
}

/// Made by `reference/make.py`.
fn reference() -> HashMap<String, Tensor> {
    let bytes = std::fs::read(root().join("tests/contract/reference/reference.npz")).unwrap();
    npz::read(&bytes).unwrap().into_iter().collect()
}

/// A 24-bit BMP, red first, resized to a square by taking the nearest pixel.
fn nearest(bmp: &[u8], side: usize) -> Vec<u8> {
    let number = |at: usize| u32::from_le_bytes(bmp[at..at + 4].try_into().unwrap()) as usize;
    let (data, width, height) = (number(10), number(18), number(22));
    assert_eq!((&bmp[..2], bmp[28]), (b"BM".as_slice(), 24));
    let row_bytes = (width * 3).next_multiple_of(4);
    let source = |at: usize, size: usize| (2 * at + 1) * size / (2 * side);
    let pixel = |y: usize, x: usize| {
        // The lowest row comes first.
        let at = data + (height - 1 - source(y, height)) * row_bytes + source(x, width) * 3;
        [bmp[at + 2], bmp[at + 1], bmp[at]]
    };
    (0..side).flat_map(|y| (0..side).flat_map(move |x| pixel(y, x))).collect()
}
