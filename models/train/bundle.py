"""Write a model bundle: the ONNX graph, its golden vectors and `bundle.toml`.

Everything here is a pure function of its arguments, so that a second run of a
training script gives the same bytes and a reviewer can tell a changed model
from a rebuilt one.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSET = 13
IR_VERSION = 8
# Largest absolute error of another engine, relative to the range of the output.
GOLDEN_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Tensor:
    """A named FP32 tensor with a fixed shape."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Bundle:
    """What a bundle says about its model; `card` keeps the order of its keys."""

    name: str
    version: int
    labels: list[str]
    job_input: Tensor
    output: Tensor
    prepare: list[dict]
    temperature: float
    threshold: float
    card: dict[str, str]


def graph_model(name, nodes, weights, graph_input, graph_output):
    """Build the ONNX model from `(op, inputs, outputs, attributes)` tuples and named arrays.

    `weights` become FP32 initializers, but integers stay INT64: ONNX wants axes so.
    """
    initializers = []
    for weight_name, array in weights.items():
        array = np.asarray(array)
        kind = np.int64 if np.issubdtype(array.dtype, np.integer) else np.float32
        initializers.append(numpy_helper.from_array(array.astype(kind), weight_name))
    graph = helper.make_graph(
        [helper.make_node(op, i, o, name=o[0], **attributes) for op, i, o, attributes in nodes],
        name,
        [helper.make_tensor_value_info(graph_input.name, TensorProto.FLOAT, graph_input.shape)],
        [helper.make_tensor_value_info(graph_output.name, TensorProto.FLOAT, graph_output.shape)],
        initializers,
    )
    model = helper.make_model(
        graph,
        producer_name="picket models/train",
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def apply_prepare(steps, job):
    """Apply the `[[prepare]]` steps to one job, in FP32 like the daemon."""
    tensor = np.asarray(job, np.float32)
    for step in steps:
        if step["step"] == "scale":
            tensor = tensor * np.float32(step["factor"])
        elif step["step"] == "normalize":
            along = [1] * tensor.ndim
            along[step["axis"]] = -1
            mean = np.array(step["mean"], np.float32).reshape(along)
            std = np.array(step["std"], np.float32).reshape(along)
            tensor = (tensor - mean) / std
        else:
            raise ValueError(f"no such prepare step here: {step['step']}")
    return tensor


def session(model_bytes):
    """Open the model in ONNX Runtime with one thread: sums then keep their order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model_bytes, options, providers=["CPUExecutionProvider"]
    )


def run_jobs(model_bytes, prepare, jobs):
    """Answer jobs one by one, as the daemon does: prepare, then the graph. Returns [jobs, classes]."""
    runtime = session(model_bytes)
    name = runtime.get_inputs()[0].name
    return np.concatenate(
        [runtime.run(None, {name: apply_prepare(prepare, job[None])})[0] for job in jobs]
    )


def write_bundle(folder, bundle, model_bytes, golden_jobs):
    """Write the whole bundle folder; `golden_jobs` are raw jobs, without the batch axis."""
    folder = Path(folder)
    (folder / "golden").mkdir(parents=True, exist_ok=True)
    for stale in (folder / "golden").glob("*.npz"):
        stale.unlink()
    (folder / "model.onnx").write_bytes(model_bytes)

    runtime = session(model_bytes)
    name = runtime.get_inputs()[0].name
    golden_files = []
    for number, job in enumerate(golden_jobs):
        prepared = apply_prepare(bundle.prepare, job[None])
        arrays = {"in0": prepared, "out0": runtime.run(None, {name: prepared})[0]}
        golden_files.append(f"golden/{number}.npz")
        (folder / golden_files[-1]).write_bytes(_npz(arrays))

    text = _bundle_toml(bundle, hashlib.sha256(model_bytes).hexdigest(), golden_files)
    (folder / "bundle.toml").write_text(text, encoding="utf-8")


def _npz(arrays):
    """Pack arrays like `np.savez`, but with every zip field pinned, so that the bytes repeat."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            archive.writestr(info, member.getvalue())
    return packed.getvalue()


def _toml_value(value):
    """A JSON string, number or list of them is also TOML, if no null is in it."""
    return json.dumps(value, ensure_ascii=False)


def _toml_table(header, entries):
    return "\n".join([header, *(f"{key} = {_toml_value(value)}" for key, value in entries.items())])


def _bundle_toml(bundle, model_sha256, golden_files):
    def tensor(header, described):
        entries = {"name": described.name, "dtype": "FP32", "shape": list(described.shape)}
        return _toml_table(header, entries)

    head = {
        "format": "picket-bundle/1",
        "name": bundle.name,
        "version": bundle.version,
        "task": "classify",
        "labels": bundle.labels,
    }
    tables = [
        _toml_table("# Written by models/train; edit the script, not this file.", head),
        _toml_table("[model]", {"file": "model.onnx", "sha256": model_sha256}),
        tensor("[[input]]", bundle.job_input),
        tensor("[[output]]", bundle.output),
        *(_toml_table("[[prepare]]", step) for step in bundle.prepare),
        *(_toml_table("[[conclude]]", {"step": step}) for step in ("softmax", "argmax")),
        _toml_table(
            "[decision]", {"temperature": bundle.temperature, "threshold": bundle.threshold}
        ),
        _toml_table("[card]", bundle.card),
        *(
            _toml_table("[[golden]]", {"file": file, "tolerance": GOLDEN_TOLERANCE})
            for file in golden_files
        ),
    ]
    return "\n\n".join(tables) + "\n"
