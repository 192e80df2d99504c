//! Whole bundles, and the one line that each mistake gives.

mod detect;
mod states;

use std::{fs, path::Path};

use super::*;
use crate::tensor::Tensor;

const MODEL: &[u8] = b"not a model, but nobody runs it here";

const GOOD: &str = r#"format = "picket-bundle/1"
name = "digits"
version = 3
task = "classify"
labels = ["a", "b", "c"]
[model]
file = "model.onnx"
sha256 = "SHA"
[[input]]
name = "pixels"
dtype = "UINT8"
shape = [1, 2]
[[output]]
name = "logits"
dtype = "FP32"
shape = [-1, 3]
[[prepare]]
step = "scale"
factor = 0.5
[[prepare]]
step = "normalize"
axis = 1
mean = [0, 1.5]
std = [1, 2]
[[conclude]]
step = "softmax"
[[conclude]]
step = "argmax"
[decision]
temperature = 1.7
threshold = 0.93
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

/// Names with the values of an array of one row.
type Arrays<'a> = &'a [(&'a str, &'a [f32])];

fn npz(arrays: Arrays<'_>) -> Vec<u8> {
    let row = |values: &[f32]| Tensor::from_f32("x", vec![1, values.len()], values).unwrap();
    let tensors: Vec<(String, Tensor)> =
        arrays.iter().map(|(name, values)| ((*name).to_owned(), row(values))).collect();
    super::npz::write(&tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect::<Vec<_>>()).unwrap()
}

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new(manifest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self { folder };
        site.write(MANIFEST, manifest.replace("SHA", &files::sha256(MODEL)).as_bytes());
        site.write("model.onnx", MODEL);
        fs::create_dir(site.path("golden")).unwrap();
        site.write("golden/0.npz", &npz(&[("in0", &[1.0, 2.0]), ("out0", &[0.1, 0.2, 0.3])]));
        site
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.path(file), bytes).unwrap();
    }

    fn mistake(&self) -> String {
        let error = Bundle::read(self.folder.path()).expect_err("this bundle has a mistake");
        error.to_string().replace(&self.folder.path().display().to_string(), "SITE")
    }
}

/// The line that a good bundle gives after one change of its manifest.
fn mistake(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    Site::new(&GOOD.replacen(from, to, 1)).mistake()
}

#[test]
fn a_good_bundle_is_read_whole() {
    let bundle = Bundle::read(Site::new(GOOD).folder.path()).unwrap();
    assert_eq!((bundle.name.as_str(), bundle.version.as_str(), bundle.task), ("digits", "3", Task::Classify));
    assert_eq!(&bundle.labels[..], ["a", "b", "c"]);
    assert_eq!((bundle.inputs[0].kind().as_str(), bundle.outputs[0].kind().as_str()), ("1x2 UINT8", "?x3 FP32"));
    assert_eq!(bundle.prepared[0].kind(), "1x2 FP32", "what the model takes, behind the steps");
    let prepare: Vec<String> = bundle.prepare.iter().map(|step| step.identity()).collect();
    assert_eq!(prepare, ["scale 3f000000", "normalize 1 00000000,3fc00000 3f800000,40000000"]);
    let conclude: Vec<String> = bundle.conclude.iter().map(|step| step.identity()).collect();
    assert_eq!(conclude, ["softmax", "argmax"]);
    assert_eq!((bundle.temperature, bundle.threshold), (1.7, Some(0.93)));
    assert_eq!(bundle.card.unwrap().responsible, "nobody");
    assert_eq!(&bundle.model[..], MODEL);
    let golden = &bundle.golden[0];
    assert_eq!((golden.name.as_str(), golden.tolerance), ("golden/0.npz", 1e-4));
    assert_eq!((golden.inputs[0].name.as_str(), golden.inputs[0].to_f32()), ("pixels", vec![1.0, 2.0]));
    assert_eq!((golden.outputs[0].name.as_str(), golden.outputs[0].kind().as_str()), ("logits", "1x3 FP32"));
    assert!(bundle.warnings.is_empty());
}

#[test]
fn a_bare_model_is_a_bundle_with_a_warning() {
    let site = Site::new(GOOD);
    let bundle = Bundle::read(&site.path("model.onnx")).unwrap();
    assert_eq!((bundle.name.as_str(), bundle.version.as_str(), bundle.task), ("model", "0", Task::Tensor));
    assert!(bundle.inputs.is_empty() && bundle.golden.is_empty() && bundle.card.is_none());
    assert_eq!(bundle.warnings.len(), 1);
}

#[test]
fn a_changed_model_is_not_read() {
    let site = Site::new(GOOD);
    site.write("model.onnx", b"another");
    let line = site.mistake();
    assert!(line.starts_with("error[model/hash-mismatch]: SITE/model.onnx is not the file that bundle.toml"), "{line}");
    let upper = GOOD.replace("SHA", &files::sha256(MODEL).to_uppercase());
    assert!(Bundle::read(Site::new(&upper).folder.path()).is_ok(), "hex has no case");
}

#[test]
fn no_file_outside_of_the_folder_is_read() {
    for path in ["../model.onnx", "/etc/hostname", "golden/../../x", "", "."] {
        let line = mistake("\"model.onnx\"", &format!("\"{path}\""));
        assert_eq!(line, format!("error[bundle/path-escape]: SITE: `{path}` is not a path inside the bundle"));
    }
    assert!(mistake("golden/0.npz", "../0.npz").starts_with("error[bundle/path-escape]"));
    let site = Site::new(&GOOD.replace("model.onnx", "link.onnx"));
    std::os::unix::fs::symlink("/etc/hostname", site.path("link.onnx")).unwrap();
    assert!(site.mistake().starts_with("error[bundle/path-escape]"));
}

#[test]
fn a_model_may_lie_elsewhere_by_name_but_is_bound_by_its_digest() {
    let elsewhere = tempfile::tempdir().unwrap();
    let model = elsewhere.path().join("shared.onnx");
    fs::write(&model, MODEL).unwrap();
    let absolute = GOOD.replace("file = \"model.onnx\"", &format!("path = \"{}\"", model.display()));
    let site = Site::new(&absolute);
    assert_eq!(&Bundle::read(site.folder.path()).unwrap().model[..], MODEL);

    let name = elsewhere.path().file_name().unwrap().to_str().unwrap();
    let relative = GOOD.replace("file = \"model.onnx\"", &format!("path = \"../{name}/shared.onnx\""));
    let site = Site::new(&relative);
    assert_eq!(site.folder.path().parent(), elsewhere.path().parent(), "both are temporary folders");
    assert_eq!(&Bundle::read(site.folder.path()).unwrap().model[..], MODEL);

    fs::write(&model, b"another").unwrap();
    assert!(site.mistake().starts_with(&format!("error[model/hash-mismatch]: SITE/../{name}/shared.onnx is not")));
    assert_eq!(
        mistake("file = \"model.onnx\"", "file = \"model.onnx\"\npath = \"model.onnx\""),
        "error[bundle/invalid]: SITE/bundle.toml:8:8: `file` and `path` both name the model; keep one of them"
    );
    assert_eq!(
        mistake("file = \"model.onnx\"\n", ""),
        "error[bundle/invalid]: SITE/bundle.toml:7:10: [model] needs `file`, which is in the bundle's folder, or `path`, \
         which may be elsewhere"
    );
}

#[test]
fn a_missing_file_is_named() {
    let gone = "No such file or directory (os error 2)";
    assert_eq!(
        mistake("model.onnx", "m.onnx"),
        format!("error[bundle/unreadable]: SITE/m.onnx: cannot be read: {gone}")
    );
    assert_eq!(
        mistake("\"model.onnx\"", "\"golden\""),
        "error[bundle/unreadable]: SITE/golden: cannot be read: it is no regular file"
    );
    let error = Bundle::read(Path::new("/no/such/bundle")).unwrap_err();
    assert_eq!(error.to_string(), format!("error[bundle/unreadable]: /no/such/bundle: cannot be read: {gone}"));
}

#[test]
fn an_unknown_key_gets_the_nearest_right_one() {
    let place = "error[bundle/unknown-key]: SITE/bundle.toml";
    assert_eq!(mistake("labels", "label"), format!("{place}:5:1: unknown key `label`; did you mean `labels`?"));
    assert_eq!(mistake("factor", "facter"), format!("{place}:17:1: unknown key `facter`; did you mean `factor`?"));
    assert_eq!(
        mistake("\"argmax\"", "\"argmax\"\nk = 1"),
        format!("{place}:27:1: unknown key `k`; none is known here")
    );
}

#[test]
fn a_step_that_is_not_there_is_named() {
    let line = mistake("\"scale\"\nfactor = 0.5", "\"brighten\"");
    let says = "error[bundle/unsupported-step]: SITE/bundle.toml:17:1: unknown prepare step `brighten`; known: ";
    assert!(line.starts_with(says) && line.contains("scale, normalize"), "{line}");
    let line = mistake("softmax", "soft-max");
    let says = "error[bundle/unsupported-step]: SITE/bundle.toml:25:1: unknown conclude step `soft-max` (did you mean \
                `softmax`?); known: ";
    assert!(line.starts_with(says) && line.contains("argmax"), "{line}");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let cases = [
        ("[\"a\", \"b\", \"c\"]", "[\"a\", \"b\"]", "5:10: 2 labels, but output `logits` is ?x3 FP32"),
        ("[\"a\", \"b\", \"c\"]", "[\"a\", \"b\", \"a\"]", "5:21: label `a` is there twice"),
        ("labels = [\"a\", \"b\", \"c\"]\n", "", "4:8: task `classify` needs `labels`, one for each class"),
        ("shape = [-1, 3]", "shape = [1, -1]", "5:10: 3 labels, but output `logits` is 1x? FP32"),
        ("shape = [-1, 3]", "shape = [0, 3]", "16:9: 0 is no dimension; -1 is one that the job decides"),
        (
            "\"UINT8\"",
            "\"uint8\"",
            "11:9: unknown dtype `uint8`; known here: BOOL, INT8, INT16, INT32, INT64, UINT8, \
          UINT16, UINT32, UINT64, FP16, FP32, FP64",
        ),
        ("axis = 1", "axis = 0", "20:1: `mean` has 2 values along axis 0, but input `pixels` is 1x2 FP32"),
        ("std = [1, 2]", "std = [1]", "20:1: `mean` has 2 values, `std` has 1"),
        ("std = [1, 2]", "std = [1, 0]", "20:1: `mean` and `std` must be finite, and `std` not 0"),
        ("factor = 0.5\n", "", "17:1: missing key `factor`"),
        ("temperature = 1.7", "temperature = 0", "30:15: `temperature` is 0; it must be more than 0"),
        ("threshold = 0.93", "threshold = 93", "31:13: `threshold` is 93; it is a probability, 0 to 1"),
        ("tolerance = 1e-4", "tolerance = -1", "42:13: `tolerance` is -1; it is a number from 0 up"),
        ("\"SHA\"", "\"abc\"", "8:10: `sha256` is 64 hexadecimal digits"),
        ("version = 3", "version = \"3\"", "3:11: invalid type: string \"3\", expected a whole number from 0 up"),
        ("task = \"classify\"", "task = \"clasify\"", "4:8: unknown task `clasify`; did you mean `classify`?"),
        ("risk_class = \"minimal\"\n", "", "32:1: missing key `risk_class`"),
    ];
    for (from, to, line) in cases {
        assert_eq!(mistake(from, to), format!("error[bundle/invalid]: SITE/bundle.toml:{line}"));
    }
}

#[test]
fn what_is_not_there_yet_says_so() {
    assert_eq!(
        mistake("bundle/1\"", "bundle/2\"\nnovelty = 1"),
        "error[bundle/not-yet]: SITE/bundle.toml:1:10: the format is \"picket-bundle/2\"; this Picket reads \
         \"picket-bundle/1\""
    );
    assert_eq!(
        mistake("format = \"picket-bundle/1\"\n", ""),
        "error[bundle/invalid]: SITE/bundle.toml: the first key must be `format = \"picket-bundle/1\"`"
    );
    assert!(mistake("[card]", "[card").starts_with("error[bundle/syntax]: SITE/bundle.toml:32:6: "));
}

#[test]
fn without_card_or_golden_vectors_nothing_is_read() {
    let card = &GOOD[GOOD.find("[card]").unwrap()..GOOD.find("[[golden]]").unwrap()];
    assert!(mistake(card, "").starts_with("error[bundle/no-card]: SITE/bundle.toml: there is no [card]"));
    let golden = &GOOD[GOOD.find("[[golden]]").unwrap()..];
    assert_eq!(
        mistake(golden, ""),
        "error[bundle/no-golden]: SITE/bundle.toml: there is no [[golden]]; a model that has proven nothing is not served"
    );
}

#[test]
fn golden_vectors_fit_the_declaration() {
    let scores: &[f32] = &[0.1, 0.2, 0.3];
    let cases: [(Arrays<'_>, &str); 4] = [
        (&[("in0", &[1.0, 2.0])], "there is no array `out0`, which is `logits`"),
        (&[("in0", &[1.0]), ("out0", scores)], "array `in0` is 1x1 FP32, but `pixels` is 1x2 FP32"),
        (&[("in0", &[1.0, 2.0]), ("out0", &[0.0])], "array `out0` is 1x1 FP32, but `logits` is ?x3 FP32"),
        (&[("in0", &[1.0, 2.0]), ("out0", scores), ("out1", scores)], "array `out1` belongs to no input or output"),
    ];
    for (arrays, why) in cases {
        let site = Site::new(GOOD);
        site.write("golden/0.npz", &npz(arrays));
        assert_eq!(site.mistake(), format!("error[bundle/bad-golden]: SITE/golden/0.npz: {why}"));
    }
}

/// A bundle of a task without a list of scores: its `[decision]`, and the shape of its first output.
fn plain(task: &str, decision: &str, shape: &str) -> Site {
    let start = GOOD.find("[[conclude]]").unwrap();
    let end = GOOD.find("[card]").unwrap();
    let manifest = format!("{}{decision}{}", &GOOD[..start], &GOOD[end..]);
    let manifest = manifest.replace("labels = [\"a\", \"b\", \"c\"]\n", "").replace("[-1, 3]", shape);
    let more = "[[output]]\nname = \"spread\"\ndtype = \"FP32\"\nshape = [1, 1]\n[[prepare]]";
    let site = Site::new(&manifest.replace("classify", task).replacen("[[prepare]]", more, 1));
    let first = vec![0.5; if shape.contains('2') { 2 } else { 1 }];
    site.write("golden/0.npz", &npz(&[("in0", &[1.0, 2.0]), ("out0", &first), ("out1", &[0.1])]));
    site
}

#[test]
fn anomalies_have_an_operating_threshold_and_two_labels() {
    let shape = "[-1, 1]";
    let declared = |site: &Site| {
        let manifest = manifest::read(&Folder::open(site.folder.path()).unwrap()).unwrap();
        check::check(&manifest)
    };
    let good = declared(&plain("anomaly", "[decision]\nthreshold = 2.5\n", shape)).unwrap();
    assert_eq!((good.task, good.decision.measure), (Task::Anomaly, Measure::Anomaly { threshold: 2.5 }));
    assert_eq!(&good.labels[..], ["normal", "anomaly"]);
    for (decision, shape, says) in [
        ("", shape, "needs `threshold` in [decision]"),
        ("[decision]\nthreshold = inf\n", shape, "`threshold` must be finite"),
        ("[decision]\nthreshold = 1.0\ntolerance = 1.0\n", shape, "has no `tolerance`"),
        ("[decision]\nthreshold = 1.0\ntemperature = 1.0\n", shape, "has no `temperature`"),
        ("[decision]\nthreshold = 1.0\n", "[1, 2]", "needs a first output of one score; `logits` is 1x2 FP32"),
        ("[decision]\nthreshold = 1.0\n", "[1, -1]", "needs a first output of one score"),
        ("[[conclude]]\nstep = \"softmax\"\n[decision]\nthreshold = 1.0\n", shape, "`softmax` is for task `classify`"),
    ] {
        let error = declared(&plain("anomaly", decision, shape)).err().expect(says);
        assert!(error.code == "bundle/invalid" && error.message.contains(says), "{error}");
    }
}

#[test]
fn numbers_have_a_tolerance_and_maybe_a_sigma() {
    let declared = |decision: &str, shape: &str| {
        let site = plain("regress", decision, shape);
        let manifest = manifest::read(&Folder::open(site.folder.path()).unwrap()).unwrap();
        check::check(&manifest).map(|declared| declared.decision)
    };
    let tolerance = "[decision]\ntolerance = 0.5\n";
    let plain = declared(tolerance, "[1]").unwrap();
    assert_eq!((plain.measure, plain.sigma, plain.unit), (Measure::Value { tolerance: 0.5 }, None, None));
    let named = declared(&format!("{tolerance}unit = \"mm\"\nsigma = \"spread\"\n"), "[1, 1]").unwrap();
    assert_eq!((named.sigma, named.unit.as_deref()), (Some(1), Some("mm")));
    assert_eq!(declared(tolerance, "[-1, 2]").unwrap().sigma, None, "the second element");
    for (decision, shape, says) in [
        ("".to_owned(), "[1]", "needs `tolerance` in [decision]"),
        ("[decision]\ntolerance = 0.0\n".to_owned(), "[1]", "more than 0"),
        ("[decision]\ntolerance = nan\n".to_owned(), "[1]", "must be finite"),
        (format!("{tolerance}threshold = 0.5\n"), "[1]", "has no `threshold`"),
        (tolerance.to_owned(), "[3]", "of one number, or of two: value and sigma; `logits` is 3 FP32"),
        (format!("{tolerance}sigma = \"spread\"\n"), "[2]", "has a sigma already"),
        (format!("{tolerance}sigma = \"logits\"\n"), "[1]", "another output than the first"),
    ] {
        let error = declared(&decision, shape).err().expect(says);
        assert!(error.code == "bundle/invalid" && error.message.contains(says), "{error}");
    }
}

#[test]
fn outputs_are_read_by_the_task() {
    use picket_core::escalation::decide::Observation;

    let bundle = |task: &str, decision: &str, shape: &str| Bundle::read(plain(task, decision, shape).folder.path());
    let tensor = |values: &[f32]| Tensor::from_f32("y", vec![values.len()], values).unwrap();
    let conclude = |outputs: &[Tensor], bundle: &Bundle| {
        use crate::pipeline::conclude::{Ran, View, conclude};
        conclude(Ran { inputs: &[], outputs, view: View::WHOLE }, bundle)
    };
    let anomaly = bundle("anomaly", "[decision]\nthreshold = 2.5\n", "[-1, 1]").unwrap();
    assert_eq!(conclude(&[tensor(&[3.0])], &anomaly), Observation::Anomaly(3.0));
    for odd in [
        vec![],
        vec![tensor(&[])],
        vec![tensor(&[1.0, 2.0])],
        vec![tensor(&[f32::NAN])],
        vec![tensor(&[f32::INFINITY])],
    ] {
        assert!(matches!(conclude(&odd, &anomaly), Observation::Malformed(_)), "{odd:?}");
    }
    let tolerance = "[decision]\ntolerance = 0.5\n";
    let own = bundle("regress", &format!("{tolerance}sigma = \"spread\"\n"), "[1, 1]").unwrap();
    let second = bundle("regress", tolerance, "[1, 2]").unwrap();
    let says = |value, sigma| Observation::Value { value, sigma };
    assert_eq!(conclude(&[tensor(&[3.0]), tensor(&[0.5])], &own), says(3.0, Some(0.5)));
    assert_eq!(conclude(&[tensor(&[3.0, 0.5]), tensor(&[9.0])], &second), says(3.0, Some(0.5)));
    assert_eq!(conclude(&[tensor(&[3.0])], &second), says(3.0, None));
    for odd in [vec![tensor(&[3.0])], vec![tensor(&[3.0]), tensor(&[-0.5])], vec![tensor(&[3.0]), tensor(&[f32::NAN])]]
    {
        assert!(matches!(conclude(&odd, &own), Observation::Malformed(_)), "{odd:?}");
    }
    // Another threshold or tolerance is another measurement: no calibration survives it.
    let digest = |decision: &str| calibration::preprocess_sha256(&bundle("regress", decision, "[1, 2]").unwrap());
    assert_ne!(digest(tolerance), digest("[decision]\ntolerance = 0.25\n"));
}
