"""Writes golden vectors for a model: ONNX Runtime's answer to inputs that anybody can make again.

    pip install onnxruntime numpy
    python golden.py MODEL.onnx FOLDER/golden/0.npz

Element i of each input is u(i) = (i * 2654435761 mod 2^32) / 2^32, minus 0.5 for floats, floor(256 u) for UINT8, floor(256 u) - 128 for
INT8. The graph is run as it stands, without optimisations. Free dimensions are 1.
"""

import pathlib
import sys

import numpy
import onnxruntime


def values(kind, shape):
    count = int(numpy.prod(shape))
    u = (numpy.arange(count, dtype=numpy.uint64) * 2654435761 % 2**32) / 2**32
    made = {
        "tensor(float)": lambda: (u - 0.5).astype(numpy.float32),
        "tensor(uint8)": lambda: (256 * u).astype(numpy.uint8),
        "tensor(int8)": lambda: (numpy.floor(256 * u) - 128).astype(numpy.int8),
    }
    if kind not in made:
        sys.exit(f"no rule for inputs of type {kind}")
    return made[kind]().reshape(shape)


def main(model, out):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options)
    fixed = lambda shape: [dim if isinstance(dim, int) else 1 for dim in shape]
    inputs = {one.name: values(one.type, fixed(one.shape)) for one in session.get_inputs()}
    answers = session.run(None, inputs)
    pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
    named = {f"in{i}": value for i, value in enumerate(inputs.values())}
    named |= {f"out{i}": value for i, value in enumerate(answers)}
    numpy.savez_compressed(out, **named)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
