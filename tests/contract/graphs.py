"""Random graphs with what ONNX Runtime answers: graphs.py FOLDER FIRST COUNT (two of each seed, one of floats and one of codes).

Writes NAME.onnx and NAME.npz (in0, out0). The graphs have what the rewrites of models are about: If on shapes, on constants and
on values, nested; half precision; sigmoids, softmax; divisions that lead to steps; layers between DequantizeLinear and
QuantizeLinear. What ONNX Runtime does not take, and what is not finite, is left out. A seed always gives the same graph.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper, numpy_helper

ort.set_default_logger_severity(4)
MOST_ELEMENTS = 4000


class Graph:
    def __init__(self, seed, opsets):
        self.rng = np.random.default_rng(seed)
        self.opset = int(self.rng.choice(opsets))
        self.names, self.scopes, self.constants = 0, [[]], {}

    def name(self):
        self.names += 1
        return f"v{self.names}"

    def node(self, op, *inputs, **attributes):
        output = self.name()
        name = self.name() if self.rng.random() < 0.8 else ""
        self.scopes[-1].append(helper.make_node(op, list(inputs), [output], name=name, **attributes))
        return output

    def constant(self, value, inline=None):
        name, value = self.name(), np.asarray(value)
        if self.rng.random() < 0.5 if inline is None else inline:
            self.scopes[-1].append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name)))
        else:
            self.constants[name] = value
        return name

    def axes(self, op, x, axes):
        if self.opset < 13:
            return self.node(op, x, axes=axes)
        return self.node(op, x, self.constant(np.int64(axes)))

    def branch(self, make):
        self.scopes.append([])
        output = make()
        if all(output not in node.output for node in self.scopes[-1]):
            output = self.node("Identity", output)
        return helper.make_graph(self.scopes.pop(), self.name(), [], [onnx.ValueInfoProto(name=output)])

    def choice(self, condition, then, otherwise):
        return self.node("If", condition, then_branch=self.branch(then), else_branch=self.branch(otherwise))

    def model(self, inputs, outputs):
        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        graph = helper.make_graph(self.scopes[0], "random", inputs, outputs, constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


class Floats(Graph):
    def __init__(self, seed):
        super().__init__(seed, [11, 13, 15, 17])
        self.type = np.float16 if self.rng.random() < 0.25 else np.float32
        self.rough = self.type == np.float16

    def uniform(self, *shape):
        return self.constant(self.rng.uniform(-1, 1, shape).astype(self.type))

    def chain(self, x, shape, depth, most, same=False):
        y, now = x, shape
        for _ in range(int(self.rng.integers(1, most + 1))):
            for _ in range(8):
                written = len(self.scopes[-1])
                then, after = self.step(y, now, depth)
                if np.prod(after) <= MOST_ELEMENTS and (not same or after == shape):
                    y, now = then, after
                    break
                del self.scopes[-1][written:]
        return (y, now) if y != x else (self.node("Neg", x), shape)

    def step(self, x, shape, depth):
        rng, rank = self.rng, len(shape)
        axis = int(rng.integers(rank))
        without, doubled = shape[:axis] + shape[axis + 1 :], shape[:axis] + (shape[axis] * 2,) + shape[axis + 1 :]
        match int(rng.integers(20)):
            case 0 | 1:
                return self.node(str(rng.choice(["Relu", "Sigmoid", "Tanh", "Abs"])), x), shape
            case 2:
                return self.node("Softmax", x, axis=axis if self.opset >= 13 else rank - 1), shape
            case 3:
                other = tuple(dim if rng.random() < 0.6 else 1 for dim in shape)[int(rng.integers(rank + 1)) :]
                return self.node(str(rng.choice(["Add", "Mul", "Sub"])), x, self.uniform(*other)), shape
            case 4 if rank > 1:
                order = [int(index) for index in rng.permutation(rank)]
                return self.node("Transpose", x, perm=order), tuple(shape[index] for index in order)
            case 5:
                first = self.node("Gather", self.node("Shape", x), self.constant(np.int64([0])), axis=0)
                flat = self.node("Concat", first, self.constant(np.int64([-1])), axis=0)
                return self.node("Reshape", x, flat), (shape[0], int(np.prod(shape)) // shape[0])
            case 6 if rank < 5:
                return self.axes("Unsqueeze", x, [axis]), shape[:axis] + (1,) + shape[axis:]
            case 7:
                return self.node("Concat", x, x, axis=axis), doubled
            case 8 if rank > 1:
                return self.node("ReduceMean", x, axes=[axis], keepdims=1), shape[:axis] + (1,) + shape[axis + 1 :]
            case 9 if rank > 1:
                size = int(rng.integers(1, 6))
                return self.node("MatMul", x, self.uniform(shape[-1], size)), shape[:-1] + (size,)
            case 10:
                self.rough |= self.type == np.float32
                there, back = (T.FLOAT, T.FLOAT16) if self.type == np.float16 else (T.FLOAT16, T.FLOAT)
                return self.node("Cast", self.node("Cast", x, to=there), to=back), shape
            case 11:
                return self.node("Mul", x, self.node("Sigmoid", x)), shape
            case 12 | 13 if depth < 2 and rank > 1:
                size = self.node("Gather", self.node("Shape", x), self.constant(np.int64(axis)), axis=0)
                one, found = self.node("Equal", size, self.constant(np.int64(1))), {}

                def otherwise():
                    y, found["shape"] = self.chain(x, shape, depth + 1, 3)
                    return y

                y = self.choice(one, lambda: self.axes("Squeeze", x, [axis]), otherwise)
                return y, without if shape[axis] == 1 else found["shape"]
            case 14 | 15 if depth < 2:
                total = self.node("ReduceSum", x, keepdims=0)
                condition = self.node("Greater", total, self.constant(self.type(0)))
                branch = lambda: self.chain(x, shape, depth + 1, 2, same=True)[0]
                return self.choice(condition, branch, branch), shape
            case 16 if depth < 2:
                truth, found = bool(rng.random() < 0.5), {}

                def live():
                    y, found["shape"] = self.chain(x, shape, depth + 1, 3)
                    return y

                dead = lambda: self.chain(x, shape, depth + 1, 2)[0]
                y = self.choice(self.constant(np.bool_(truth)), *((live, dead) if truth else (dead, live)))
                return y, found["shape"]
            case 17 if self.type == np.float32:
                # Multiples that become numbers of rows.
                width = self.constant(np.float32(rng.integers(2, 200)))
                rows = self.node("Mul", self.node("Round", self.node("Mul", x, self.constant(np.float32(9)))), width)
                return self.node("Floor", self.node("Div", rows, width)), shape
            case 18 if rank == 4 and min(shape[2:]) >= 2:
                size = int(rng.integers(1, 5))
                weights = [self.uniform(size, shape[1], 3, 3), self.uniform(size)]
                return self.node("Conv", x, *weights, pads=[1] * 4, kernel_shape=[3, 3]), (shape[0], size) + shape[2:]
            case 19:
                above = self.node("Greater", x, self.constant(self.type(0.1)))
                return self.node("Where", above, x, self.uniform(1)), shape
        return self.node("Identity", x), shape

    def build(self):
        shape = tuple(int(dim) for dim in self.rng.choice([1, 1, 2, 3, 4, 5], size=int(self.rng.integers(2, 5))))
        output, _ = self.chain("x", shape, 0, 14)
        kind = T.FLOAT16 if self.type == np.float16 else T.FLOAT
        free = self.rng.random() < 0.3
        dims = [f"d{index}" if free else dim for index, dim in enumerate(shape)]
        values = [helper.make_tensor_value_info(name, kind, dims) for name, dims in (("x", dims), (output, None))]
        return self.model(values[:1], values[1:]), self.rng.uniform(-2, 2, shape).astype(self.type)


class Codes(Graph):
    def __init__(self, seed):
        super().__init__(seed, [13, 17])
        self.type = np.uint8 if self.rng.random() < 0.5 else np.int8

    def parameters(self, spread):
        zero = self.rng.choice([0, 100, 128, 150]) if self.type == np.uint8 else self.rng.choice([-128, -20, 0, 20])
        return self.constant(np.float32(spread / 127), False), self.constant(self.type(zero), False)

    def weights(self, shape, axis, scale):
        codes, zero = self.rng.integers(-127, 128, shape).astype(np.int8), np.int8(self.rng.choice([0, 0, 0, 3]))
        if self.rng.random() < 0.5:
            scale = (self.rng.uniform(0.5, 1.5, shape[axis]) * scale).astype(np.float32)
            zero = np.zeros(shape[axis], np.int8)
        constants = [self.constant(value, False) for value in (codes, np.float32(scale), zero)]
        return self.node("DequantizeLinear", *constants, axis=axis)

    def layer(self, x, shape):
        """The layer's values, and their shape and spread."""
        rng, channels = self.rng, shape[1]
        match int(rng.integers(7)) if len(shape) == 4 else int(rng.choice([4, 6])):
            case 0 | 1 | 2:
                deep = rng.random() < 0.3
                groups, outputs = (channels, channels) if deep else (1, int(rng.integers(1, 17)))
                kernel, stride = [int(size) for size in rng.choice([1, 2, 3], 2)], [int(rng.choice([1, 2]))] * 2
                pads = [int(pad) for pad in rng.integers(0, 3, 4)]
                size = [(shape[2 + i] + pads[i] + pads[2 + i] - kernel[i]) // stride[i] + 1 for i in (0, 1)]
                if min(size) < 1:
                    return self.node("Relu", x), shape, 2.0
                fan = channels // groups * kernel[0] * kernel[1]
                weights = self.weights([outputs, channels // groups, *kernel], 0, 1 / (73 * np.sqrt(fan)))
                bias = self.constant(rng.uniform(-0.3, 0.3, outputs).astype(np.float32))
                y = self.node("Conv", x, weights, bias, kernel_shape=kernel, strides=stride, pads=pads, group=groups)
                return y, [shape[0], outputs, *size], 2.0
            case 3:
                return self.node("GlobalAveragePool", x), [*shape[:2], 1, 1], 1.0
            case 4:
                return self.node("Add", x, x), shape, 3.0
            case 5:
                return self.node("Sigmoid", x), shape, 1.0
        size, inputs = int(rng.integers(1, 33)), int(np.prod(shape[1:]))
        flat = self.node("Reshape", x, self.constant(np.int64([shape[0], inputs])))
        weights = self.weights([inputs, size], 1, 1 / (73 * np.sqrt(inputs)))
        bias = self.constant(rng.uniform(-0.5, 0.5, size).astype(np.float32))
        return self.node("Add", self.node("MatMul", flat, weights), bias), [shape[0], size], 2.0

    def build(self):
        rng = self.rng
        first = shape = [int(rng.choice([1, 1, 2])), *(int(dim) for dim in rng.integers([1, 4, 4], [9, 13, 13]))]
        x, parameters = "x", self.parameters(2.0)
        for _ in range(int(rng.integers(2, 7))):
            y, shape, spread = self.layer(self.node("DequantizeLinear", x, *parameters), shape)
            if rng.random() < 0.4:
                bounds = [self.constant(np.float32(bound)) for bound in (0, 6)]
                y = self.node("Relu", y) if rng.random() < 0.5 else self.node("Clip", y, *bounds)
            parameters = self.parameters(spread)
            x = self.node("QuantizeLinear", y, *parameters)
        kind, limits = (T.UINT8 if self.type == np.uint8 else T.INT8), np.iinfo(self.type)
        values = [helper.make_tensor_value_info(name, kind, dims) for name, dims in (("x", first), (x, None))]
        return self.model(values[:1], values[1:]), rng.integers(limits.min, limits.max + 1, first).astype(self.type)


def main(folder, first, count):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    for seed in range(first, first + count):
        for kind in (Floats, Codes):
            graph = kind(seed)
            model, x = graph.build()
            try:
                y = ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]
            except Exception:  # whatever ONNX Runtime says of a graph that it does not take
                continue
            if y.size and np.all(np.isfinite(y.astype(np.float64))):
                rough = "half" if getattr(graph, "rough", False) else kind.__name__.lower()
                path = pathlib.Path(folder) / f"{seed}-{rough}"
                path.with_suffix(".onnx").write_bytes(model.SerializeToString())
                np.savez(path.with_suffix(".npz"), in0=x, out0=y)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
