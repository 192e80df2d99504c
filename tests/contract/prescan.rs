//! The look at an ONNX file before anything decodes it: hostile ones are seen for what they are, real ones pass.

use picket::inference::prescan::{self, DimOutline, Outline, Refusal};
use picket_tests::{golden, hostile, onnx, root, shared};

#[test]
fn every_hostile_file_that_can_be_seen_is_seen() {
    for file in hostile::all() {
        let found = prescan::scan(&file.bytes).map_err(|refusal| refusal.code).err();
        assert_eq!(found, file.seen, "{}: {:?}", file.name, prescan::scan(&file.bytes));
    }
}

#[test]
fn a_good_file_is_outlined() {
    let Outline { producer, inputs, outputs, operators, parameters, opsets } = prescan::scan(&onnx::good()).unwrap();
    assert_eq!((producer.as_str(), parameters), ("picket-tests", 1));
    assert_eq!(opsets, [(String::new(), 17), ("own".to_owned(), 17)]);
    assert_eq!(operators.into_iter().collect::<Vec<_>>(), [("Add".to_owned(), 1)]);
    assert_eq!((inputs[0].name.as_str(), inputs[0].element), ("x", Some(1)));
    assert_eq!(outputs[0].shape, Some(vec![DimOutline::Fixed(2)]));
}

#[test]
fn a_sentence_says_where() {
    let files = hostile::all();
    let says = |name: &str| {
        let file = files.iter().find(|file| file.name == name).unwrap();
        let Refusal { message, .. } = prescan::scan(&file.bytes).unwrap_err();
        message
    };
    assert_eq!(says("raw-data-short"), "tensor \"w\" has 4 bytes, its dimensions say 8");
    assert_eq!(says("external-up"), "the data of tensor \"w\" lies in another file; put it into the model");
    assert_eq!(says("cycle"), "node Relu \"Relu-a\" waits for its own result");
    assert!(says("fill").starts_with("node ConstantOfShape \"ConstantOfShape-y\": the dimensions [1048576, 1048576]"));
}

#[test]
fn real_models_pass_and_no_cut_or_flip_ends_the_process() {
    let digits = std::fs::read(root().join("models/digits/model.onnx")).unwrap();
    assert!(prescan::scan(&digits).is_ok());
    for cut in hostile::cut(&digits) {
        assert!(prescan::scan(&cut).is_err());
    }
    let seed = rand::random();
    println!("seed {seed}");
    for flipped in hostile::flipped(&digits, seed, 2_000) {
        let _ = prescan::scan(&flipped);
    }
    let Some(shared) = shared("models").and(shared("")) else { return };
    let mut wrong = Vec::new();
    for entry in golden::entries(&shared) {
        let model = std::fs::read(shared.join(&entry.model)).unwrap();
        if let Err(refusal) = prescan::scan(&model) {
            wrong.push(format!("{}: {refusal}", entry.model));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
