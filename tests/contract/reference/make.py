"""Writes reference.npz: what ONNX Runtime answers where ../../../../shared/golden has nothing (run with tests/requirements.txt).

For every model `name`: name.in0, name.in1 … and name.out0, name.out1 …, in the order of the graph.
For MoveNet, which in ONNX Runtime itself moves key points by up to 12 pixels when one bit of the picture changes: the mean of
its answers (y, x, score) to 7 pictures that differ in one bit, and the largest distance of one of them from it, in pixels.
"""

import pathlib

import numpy as np
import onnxruntime as ort
from PIL import Image

HERE = pathlib.Path(__file__).parent
SHARED = HERE.parents[3] / "shared"
SIDE, PICTURES = 192, 7


def session(path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options)


def formula(shape, dtype):
    """The golden files' formula (golden/PROVENANCE.txt)."""
    count = int(np.prod(shape))
    u = ((np.arange(count, dtype=np.uint64) * np.uint64(2654435761)) % np.uint64(2**32)).astype(np.float64) / 2**32
    values = u - 0.5 if np.issubdtype(dtype, np.floating) else np.floor(100 * u)
    return values.astype(dtype).reshape(shape)


TYPES = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(uint64)": np.uint64, "tensor(uint8)": np.uint8}


def case(name, path, recorded=None):
    model = session(path)
    inputs = {}
    for node in model.get_inputs():
        shape = [dim if isinstance(dim, int) else 3 for dim in node.shape]
        inputs[node.name] = recorded[node.name] if recorded else formula(shape, TYPES[node.type])
    outputs = model.run(None, inputs)
    arrays = {f"{name}.in{i}": array for i, array in enumerate(inputs.values())}
    return arrays | {f"{name}.out{i}": array for i, array in enumerate(outputs)}


def pictures():
    """squat.bmp by the nearest pixel, and 7 times with the lowest bit of another byte turned."""
    photo = np.asarray(Image.open(SHARED / "data/img-photos-coral/squat.bmp").convert("RGB"))
    nearest = lambda size: (2 * np.arange(SIDE) + 1) * size // (2 * SIDE)
    picture = photo[nearest(photo.shape[0])][:, nearest(photo.shape[1])]
    for k in range(PICTURES):
        turned = picture.copy().reshape(-1)
        turned[k * 2654435761 % turned.size] ^= 1
        yield turned.reshape(1, SIDE, SIDE, 3)


def movenet():
    model = session(SHARED / "models/coral-quant/movenet_lightning_qdq.onnx")
    name = model.get_inputs()[0].name
    points = np.stack([model.run(None, {name: picture})[0][0, 0] for picture in pictures()])
    mean = points.mean(axis=0)
    spread = np.abs(points - mean)[:, :, :2].max() * SIDE
    return {"movenet.points": mean.astype(np.float32), "movenet.spread": np.float32([spread])}


def main():
    arrays = movenet()
    for folder in sorted((SHARED / "models/tract-cases").iterdir()):
        for path in folder.glob("*.onnx") if folder.is_dir() else []:
            recorded = folder / "io.npz"
            arrays |= case(folder.name, path, np.load(recorded) if recorded.exists() else None)
    repository = SHARED / "models/triton-model-repository/model_repository"
    arrays |= case("simple_dyna_sequence", repository / "simple_dyna_sequence/1/model.onnx")
    np.savez_compressed(HERE / "reference.npz", **arrays)
    print(f"{len(arrays)} arrays; one MoveNet key point is off its mean by {arrays['movenet.spread'][0]:.1f} pixels")


main()
