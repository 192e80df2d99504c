"""Writes golden vectors for a model: ONNX Runtime's answer to inputs that anybody can make again.

    pip install onnxruntime numpy
    python golden.py MODEL.onnx FOLDER/golden/0.npz [--shape INPUT=1x576] [--constant INPUT=16000]

Element i of each input is u(i) = (i * 2654435761 mod 2^32) / 2^32, minus 0.5 for floats, floor(256 u) for UINT8, floor(256 u) - 128 for
INT8. The graph is run as it stands, without optimisations. Free dimensions are 1, unless --shape says otherwise; an input with
--constant has that value, and is not written: for Picket it is none.
"""

import argparse
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


def main(model, out, shapes, constants):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options)
    fixed = lambda shape: [dim if isinstance(dim, int) else 1 for dim in shape]
    inputs, bound = {}, {}
    for one in session.get_inputs():
        shape = shapes.get(one.name, fixed(one.shape))
        if one.name in constants:
            kind = {"tensor(int64)": numpy.int64, "tensor(int32)": numpy.int32}.get(one.type, numpy.float32)
            bound[one.name] = numpy.full(shape, constants[one.name], kind)
        else:
            inputs[one.name] = values(one.type, shape)
    answers = session.run(None, inputs | bound)
    pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
    named = {f"in{i}": value for i, value in enumerate(inputs.values())}
    named |= {f"out{i}": value for i, value in enumerate(answers)}
    numpy.savez_compressed(out, **named)


def pair(read):
    def parse(text):
        name, _, value = text.partition("=")
        return name, read(value)

    return parse


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    dims = pair(lambda text: [int(dim) for dim in text.split("x")])
    parser.add_argument("--shape", type=dims, action="append", default=[])
    parser.add_argument("--constant", type=pair(float), action="append", default=[])
    given = parser.parse_args()
    main(given.model, given.out, dict(given.shape), dict(given.constant))
