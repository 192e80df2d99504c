//! Detectors that take images.

use super::*;
use crate::tensor::{Dtype, Tensor};

const GOOD: &str = r#"format = "picket-bundle/1"
name = "parts"
version = 1
task = "detect"
labels = ["scratch", "dent"]
[model]
file = "model.onnx"
sha256 = "SHA"
[[input]]
name = "image"
dtype = "UINT8"
shape = [-1, -1, 3]
[[output]]
name = "scores"
dtype = "FP32"
shape = [1, 2, 3]
[[output]]
name = "boxes"
dtype = "FP32"
shape = [1, 2, 4]
[[prepare]]
step = "resize"
w = 4
h = 2
[[prepare]]
step = "quantize"
scale = 1.0
zero_point = -128
dtype = "INT8"
[[prepare]]
step = "layout"
order = "NCHW"
[[conclude]]
step = "ssd"
scores = "scores"
boxes = "boxes"
[[conclude]]
step = "threshold"
score = 0.5
[decision]
iou = 0.75
listed = ["dent"]
[card]
intended_use = "tests"
training_data = "none"
data_licence = "none"
known_limits = "all"
measured = "nothing"
risk_class = "minimal"
responsible = "nobody"
[[golden]]
file = "golden/0.npz"
tolerance = 1e-4
"#;

fn site(manifest: &str) -> Site {
    let site = Site::new(manifest);
    let input = Tensor::new("in0", Dtype::Int8, vec![1, 3, 2, 4], vec![0; 24]).unwrap();
    let scores = Tensor::from_f32("out0", vec![1, 2, 3], &[0.0; 6]).unwrap();
    let boxes = Tensor::from_f32("out1", vec![1, 2, 4], &[0.0; 8]).unwrap();
    let named: Vec<(String, &Tensor)> = [&input, &scores, &boxes].map(|tensor| (tensor.name.clone(), tensor)).to_vec();
    site.write("golden/0.npz", &npz::write(&named).unwrap());
    site
}

#[test]
fn a_detector_of_images_says_what_its_model_takes_and_what_makes_boxes_right() {
    let bundle = Bundle::read(site(GOOD).folder.path()).unwrap();
    assert_eq!((bundle.task, &bundle.labels[..]), (Task::Detect, &["scratch".to_owned(), "dent".to_owned()][..]));
    assert_eq!((bundle.inputs[0].kind(), bundle.prepared[0].kind()), ("?x?x3 UINT8".into(), "1x3x2x4 INT8".into()));
    let listed = picket_core::boxes::Listed::of([1]);
    assert_eq!(bundle.measure, Measure::Boxes { iou: 0.75, listed });
    let plain = Bundle::read(site(&GOOD.replace("iou = 0.75\nlisted = [\"dent\"]\n", "")).folder.path()).unwrap();
    assert_eq!(plain.measure, Measure::Boxes { iou: 0.5, listed: picket_core::boxes::Listed::ALL });
}

#[test]
fn each_mistake_of_a_detector_is_one_line_with_its_place() {
    let cases = [
        ("labels = [\"scratch\", \"dent\"]\n", "", "4:8: task `detect` needs `labels`, one for each class"),
        (
            "labels = [\"scratch\", \"dent\"]",
            "labels = [\"dent\"]",
            "33:1: output `scores` is 1x2x3 FP32, not 1 x N x 2: a score for each label",
        ),
        ("boxes = \"boxes\"", "boxes = \"box\"", "33:1: there is no output `box`; there is: scores, boxes"),
        (
            "step = \"ssd\"\nscores = \"scores\"\nboxes = \"boxes\"",
            "step = \"nms\"\niou = 0.5",
            "4:8: the first [[conclude]] step of task `detect`, and no other, makes boxes: `ssd`, `yunet` or `fastestdet`",
        ),
        (
            "step = \"threshold\"\nscore = 0.5",
            "step = \"nms\"\niou = 0.5",
            "4:8: task `detect` needs a [[conclude]] step `threshold`: from which score on boxes are shown",
        ),
        ("step = \"threshold\"\nscore = 0.5", "step = \"softmax\"", "37:1: `softmax` is for task `classify`"),
        ("score = 0.5", "score = 50", "37:1: `score` and `grey` lie between 0 and 1"),
        ("iou = 0.75", "iou = 0", "41:7: `iou` is 0; it is more than 0, and at most 1"),
        ("[\"dent\"]", "[\"dust\"]", "42:11: `dust` is none of the labels"),
        ("listed = [\"dent\"]", "threshold = 0.5", "42:13: task `detect` has no `threshold`"),
        ("w = 4", "w = 0", "21:1: invalid value: integer `0`, expected a nonzero u32"),
        ("w = 4", "w = 99999", "21:1: 99999 x 2 pixels are more than any image may have"),
        ("zero_point = -128", "zero_point = 128", "25:1: `zero_point` is 128; it lies between -128 and 127"),
    ];
    for (from, to, line) in cases {
        assert!(GOOD.contains(from), "{from}");
        assert_eq!(
            site(&GOOD.replacen(from, to, 1)).mistake(),
            format!("error[bundle/invalid]: SITE/bundle.toml:{line}")
        );
    }
}
