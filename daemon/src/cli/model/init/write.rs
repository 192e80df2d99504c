//! The text of a first `bundle.toml`, and of the script that makes its golden vector.

use std::fmt::Write as _;

use super::{
    Place,
    guess::{Guess, TensorGuess},
};
use crate::{bundle::PLACEHOLDER, inference::prescan::Outline, tensor::Dtype};

/// What is known.
pub(super) struct Facts<'f> {
    pub name: &'f str,
    pub place: &'f Place,
    pub sha256: &'f str,
    pub outline: &'f Outline,
    pub guess: &'f Guess,
    /// Why this Picket cannot run the model.
    pub trouble: Option<String>,
}

/// The manifest. Writing to a String cannot fail.
pub(super) fn manifest(facts: &Facts<'_>) -> String {
    let Facts { name, place, sha256, guess, .. } = facts;
    let mut text = head(facts);
    let _ = writeln!(text, "format = \"picket-bundle/1\"\nname = {}\nversion = 1", quoted(name));
    let _ = writeln!(text, "task = \"{}\"   # {}", guess.task, guess.why);
    if guess.task == "classify" {
        let labels: Vec<String> = (0..guess.classes).map(|index| quoted(&index.to_string())).collect();
        let _ = writeln!(text, "# The names of the classes, in the order of the scores; these are their numbers only.");
        let _ = writeln!(text, "labels = [{}]", labels.join(", "));
    }
    let key = if matches!(place, Place::Copy) { "file" } else { "path" };
    let _ = writeln!(text, "\n[model]\n{key} = {}\nsha256 = \"{sha256}\"", quoted(place.name()));
    guess.inputs.iter().for_each(|input| text.push_str(&tensor("input", input)));
    guess.outputs.iter().for_each(|output| text.push_str(&tensor("output", output)));
    text.push_str(PREPARE);
    text.push_str(&decision(guess));
    text.push_str(&card());
    text.push_str(GOLDEN);
    text
}

fn head(facts: &Facts<'_>) -> String {
    let Outline { producer, opsets, operators, parameters, .. } = facts.outline;
    let opset = opsets.iter().find(|(domain, _)| domain.is_empty()).map_or(0, |(_, version)| *version);
    let mut text = format!(
        "# Written by `picket model init`; from here on it is yours. `picket model check` says what is still missing.\n\
         # The file: {parameters} parameters, opset {opset}, {} operators, written by {}.\n",
        operators.values().sum::<usize>(),
        plain(producer)
    );
    if let Some(trouble) = &facts.trouble {
        let _ = writeln!(text, "# This Picket cannot run it: {}", plain(trouble));
    }
    text
}

fn tensor(section: &str, tensor: &TensorGuess) -> String {
    let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "\n[[{section}]]\nname = {}\ndtype = \"{}\"\nshape = [{}]",
        quoted(&tensor.name),
        tensor.dtype,
        shape.join(", ")
    );
    if !tensor.open.is_empty() {
        let open = tensor.open.iter().map(|(index, name)| format!("dimension {index} ({})", plain(name)));
        let open = open.collect::<Vec<_>>().join(", ");
        let meaning = if section == "input" { "1 is a guess: a bundle fixes it" } else { "-1: whatever comes out" };
        let _ = write!(text, "   # the file leaves {open} open; {meaning}");
    }
    text.push('\n');
    text
}

const PREPARE: &str = "
# What a job brings may be prepared: here what the model learned with belongs, such as
# [[prepare]]
# step = \"scale\"
# factor = 0.00392156862745098
";

fn decision(guess: &Guess) -> String {
    match guess.task {
        "classify" if guess.softmax => "
# No Softmax in the file, so its scores are taken for logits.
[[conclude]]
step = \"softmax\"

[[conclude]]
step = \"argmax\"
"
        .to_owned(),
        "classify" => "
# There is a Softmax in the file, so its scores are taken for probabilities.
[[conclude]]
step = \"argmax\"
"
        .to_owned(),
        "regress" => format!(
            "\n[decision]\ntolerance = 0.0   # {PLACEHOLDER}: a number that is off by more is wrong\n# unit = \"mm\"\n"
        ),
        "anomaly" => {
            format!("\n[decision]\nthreshold = nan   # {PLACEHOLDER}: scores from there on are anomalies\n")
        }
        _ => String::new(),
    }
}

fn card() -> String {
    let rows = [
        ("intended_use", "what the model is for, and what not"),
        ("training_data", "what it learned from"),
        ("data_licence", "the licence of that data"),
        ("known_limits", "where it is known to be wrong"),
        ("measured", "how well it did, on what"),
        ("risk_class", "minimal, limited or high"),
        ("responsible", "who answers for it"),
    ];
    let rows: String = rows.iter().map(|(key, what)| format!("{key} = \"{PLACEHOLDER}: {what}\"\n")).collect();
    format!("\n[card]\n{rows}")
}

const GOLDEN: &str = "
# What ONNX Runtime answers: run golden.py. A share of the range of each output; integers that may be off by less than 1
# must be equal. Models that compute in fp16 need about 0.01.
[[golden]]
file = \"golden/0.npz\"
tolerance = 0.0001
";

/// A script that asks ONNX Runtime what the model answers: arrays in0, in1 … and out0, out1 … as a bundle's golden vectors
/// are read.
pub(super) fn script(guess: &Guess, model: &str) -> String {
    let row = |input: &TensorGuess| {
        let shape: String = input.shape.iter().map(|dim| format!("{dim}, ")).collect();
        format!("    ({}, ({shape}), \"{}\"),\n", quoted(&input.name), numpy(input.dtype))
    };
    let rows: String = guess.inputs.iter().map(row).collect();
    format!(
        r#"# Makes golden/0.npz: what ONNX Runtime answers to one input. Better than noise is an input of the real world, prepared as
# the model learned it.      pip install onnxruntime numpy; python3 golden.py
import pathlib

import numpy
import onnxruntime

HERE = pathlib.Path(__file__).resolve().parent
INPUTS = [  # name, shape, type, as bundle.toml has them
{rows}]

chance = numpy.random.default_rng(1)


def sample(shape, kind):
    if numpy.dtype(kind).kind == "f":
        return chance.random(shape).astype(kind)
    return chance.integers(0, 2, shape).astype(kind)


session = onnxruntime.InferenceSession(str(HERE / {model}), providers=["CPUExecutionProvider"])
feeds = {{name: sample(shape, kind) for name, shape, kind in INPUTS}}
answers = session.run(None, feeds)
arrays = {{f"in{{i}}": value for i, value in enumerate(feeds.values())}}
arrays |= {{f"out{{i}}": value for i, value in enumerate(answers)}}
(HERE / "golden").mkdir(exist_ok=True)
numpy.savez(HERE / "golden" / "0.npz", **arrays)
"#,
        model = quoted(model)
    )
}

const fn numpy(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::Bool => "bool",
        Dtype::Int8 => "int8",
        Dtype::Int16 => "int16",
        Dtype::Int32 => "int32",
        Dtype::Int64 => "int64",
        Dtype::Uint8 => "uint8",
        Dtype::Uint16 => "uint16",
        Dtype::Uint32 => "uint32",
        Dtype::Uint64 => "uint64",
        Dtype::Fp16 => "float16",
        Dtype::Fp32 => "float32",
        Dtype::Fp64 => "float64",
    }
}

/// A basic string: the same in TOML, JSON and Python.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// One line of a comment.
fn plain(text: &str) -> String {
    const SHOWN: usize = 200;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect()
}
