"""Operator cases beyond ONNX's own, answered by ONNX Runtime: tests/conformance/run --more makes and runs them.

ONNX's cases show every operator at its newest version, and mostly one attribute at a time. These here are what they leave out:
older operator sets, groups, directions, lengths, per-channel scales, half precision, and shape-preserving operators between
DequantizeLinear and QuantizeLinear, where engines fold tables. What ONNX Runtime itself does not take is left out, and said.

  more.py ARCHIVE      writes node/NAME/{model.onnx,test_data_set_0/…} as ONNX's archive has it
"""
import io, sys, tarfile, warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(5)
onnxruntime.set_default_logger_severity(4)
warnings.simplefilter("ignore")
F, H, D, I8, U8, I16, I32, I64, B = "float32", "float16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"


def rnd(*shape, dtype=F, low=-2.0, high=2.0):
    """Floats between low and high; integers of a third of their type's range, at most 50."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return RNG.uniform(low, high, shape).astype(kind)
    if kind.kind == "b":
        return RNG.integers(0, 2, shape).astype(kind)
    info = np.iinfo(kind)
    return RNG.integers(max(info.min // 3, -50), min(info.max // 3, 50), shape).astype(kind)


def arr(values, dtype=F):
    return np.array(values, dtype=dtype)


CASES = {}


def case(name, op, inputs, opset=17, outputs=1, domain="", **attributes):
    """One node; `None` is an input that is not given. The answer is ONNX Runtime's."""
    names = [f"x{index}" if value is not None else "" for index, value in enumerate(inputs)]
    outs = [f"y{index}" for index in range(outputs)] if isinstance(outputs, int) else outputs
    node = helper.make_node(op, names, outs, name=f"{op}_1", domain=domain, **attributes)
    graph(name, [node], {n: v for n, v in zip(names, inputs) if n}, [out for out in outs if out], opset)


def graph(name, nodes, inputs, outputs, opset=17, initializers=None):
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in inputs.items()]
    constants = [numpy_helper.from_array(v, n) for n, v in (initializers or {}).items()]
    body = helper.make_graph(nodes, name, infos, [onnx.ValueInfoProto(name=n) for n in outputs], constants)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("com.microsoft", 1)]
    used = {node.domain for node in nodes} | {""}
    model = helper.make_model(body, opset_imports=[i for i in imports if i.domain in used], ir_version=8)
    assert name not in CASES, name
    CASES[name] = (model, inputs)


# === The operators ===

def convolutions():
    x, w = rnd(1, 4, 7, 6), rnd(6, 2, 3, 3)
    for opset in (1, 11):
        case(f"conv_group_o{opset}", "Conv", [x, w], opset=max(opset, 7), group=2)
    case("conv_bias_dilation", "Conv", [x, rnd(3, 4, 3, 2), rnd(3)], dilations=[2, 1], pads=[2, 0, 1, 1])
    case("conv_depthwise", "Conv", [x, rnd(8, 1, 3, 3), rnd(8)], group=4, strides=[2, 2], pads=[1, 1, 1, 1])
    for pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        for stride in (1, 2, 3):
            case(f"conv_{pad.lower()}_{stride}", "Conv", [x, rnd(3, 4, 2, 3)], auto_pad=pad, strides=[stride, stride])
            case(f"conv_dilated_{pad.lower()}_{stride}", "Conv", [x, rnd(3, 4, 2, 3)], auto_pad=pad, strides=[stride, stride], dilations=[2, 1])
    case("conv_1d", "Conv", [rnd(2, 3, 9), rnd(4, 3, 3), rnd(4)], strides=[2], pads=[1, 2])
    case("conv_3d", "Conv", [rnd(1, 2, 4, 5, 3), rnd(3, 2, 2, 3, 2)], pads=[1, 1, 0, 0, 1, 1])
    case("conv_f16", "Conv", [rnd(1, 2, 5, 5, dtype=H), rnd(3, 2, 3, 3, dtype=H)], pads=[1, 1, 1, 1])
    case("conv_f64", "Conv", [rnd(1, 2, 5, 5, dtype=D), rnd(3, 2, 3, 3, dtype=D)])
    t = rnd(1, 4, 4, 3)
    case("convtranspose_group", "ConvTranspose", [t, rnd(4, 3, 3, 3), rnd(6)], group=2, strides=[2, 2])
    case("convtranspose_all", "ConvTranspose", [t, rnd(4, 3, 2, 3), rnd(3)], strides=[3, 2], dilations=[2, 1], pads=[1, 0, 1, 1], output_padding=[1, 1])
    for pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        case(f"convtranspose_{pad.lower()}", "ConvTranspose", [t, rnd(4, 2, 3, 3)], auto_pad=pad, strides=[2, 2])
    case("convtranspose_output_shape", "ConvTranspose", [t, rnd(4, 2, 3, 3)], strides=[2, 3], output_shape=[8, 9])
    case("convtranspose_output_shape_lower", "ConvTranspose", [t, rnd(4, 2, 3, 3)], strides=[2, 3], output_shape=[10, 8], auto_pad="SAME_LOWER")
    case("convtranspose_1d", "ConvTranspose", [rnd(1, 3, 5), rnd(3, 2, 4), rnd(2)], strides=[2], pads=[1, 1])


def quantised():
    for dtype in (U8, I8):
        x, w = rnd(1, 4, 6, 5, dtype=dtype), rnd(6, 4, 3, 3, dtype=I8)
        zero = arr(7, dtype)
        case(f"convinteger_pads_{dtype}", "ConvInteger", [rnd(1, 4, 6, 5, dtype=U8), rnd(6, 4, 3, 3, dtype=dtype), arr(9, U8), zero], pads=[1, 1, 1, 1], strides=[2, 1])
        for pads in ([0, 0, 0, 0], [1, 0, 1, 1]):
            args = [x, arr(0.02), zero, w, arr(0.03), arr(0, I8), arr(0.2), arr(5, dtype)]
            case(f"qlinearconv_{dtype}_{sum(pads)}", "QLinearConv", args, pads=pads)
            case(f"qlinearconv_bias_{dtype}_{sum(pads)}", "QLinearConv", [*args, rnd(6, dtype=I32)], pads=pads, strides=[2, 2])
            each = [x, arr(0.02), zero, w, rnd(6, low=0.01, high=0.05), np.zeros(6, I8), arr(0.2), arr(5, dtype), rnd(6, dtype=I32)]
            case(f"qlinearconv_channels_{dtype}_{sum(pads)}", "QLinearConv", each, pads=pads)
        case(f"qlinearconv_weights_zero_{dtype}", "QLinearConv", [x, arr(0.02), zero, rnd(6, 4, 3, 3, dtype=dtype), arr(0.03), arr(3, dtype), arr(0.2), arr(5, dtype)], pads=[1, 1, 1, 1])
        case(f"qlinearconv_depthwise_{dtype}", "QLinearConv", [x, arr(0.02), zero, rnd(4, 1, 3, 3, dtype=I8), rnd(4, low=0.01, high=0.05), np.zeros(4, I8), arr(0.2), arr(5, dtype), rnd(4, dtype=I32)], group=4, pads=[1, 1, 1, 1])
        case(f"qlinearconv_group_{dtype}", "QLinearConv", [x, arr(0.02), zero, rnd(6, 2, 3, 3, dtype=I8), arr(0.03), arr(0, I8), arr(0.2), arr(5, dtype)], group=2, dilations=[2, 1])
        case(f"qlinearconv_same_{dtype}", "QLinearConv", [x, arr(0.02), zero, w, arr(0.03), arr(0, I8), arr(0.2), arr(5, dtype)], auto_pad="SAME_UPPER", strides=[2, 2])
        case(f"qlinearconv_1d_{dtype}", "QLinearConv", [rnd(1, 4, 9, dtype=dtype), arr(0.02), zero, rnd(3, 4, 3, dtype=I8), arr(0.03), arr(0, I8), arr(0.2), arr(5, dtype)], pads=[1, 1])
        a, b = rnd(3, 5, dtype=dtype), rnd(5, 4, dtype=I8)
        case(f"qlinearmatmul_{dtype}", "QLinearMatMul", [a, arr(0.1), zero, b, arr(0.05), arr(-3, I8), arr(0.3), arr(11, dtype)])
        case(f"qlinearmatmul_columns_{dtype}", "QLinearMatMul", [a, arr(0.1), zero, b, rnd(4, low=0.02, high=0.1), rnd(4, dtype=I8), arr(0.3), arr(11, dtype)])
        case(f"qlinearmatmul_batch_{dtype}", "QLinearMatMul", [rnd(2, 3, 5, dtype=dtype), arr(0.1), zero, rnd(2, 5, 4, dtype=I8), arr(0.05), arr(-3, I8), arr(0.3), arr(11, dtype)])
        case(f"qlinearmatmul_broadcast_{dtype}", "QLinearMatMul", [rnd(2, 3, 5, dtype=dtype), arr(0.1), zero, b, arr(0.05), arr(-3, I8), arr(0.3), arr(11, dtype)])
        case(f"matmulinteger_{dtype}", "MatMulInteger", [rnd(3, 5, dtype=U8), rnd(5, 4, dtype=dtype)])
        case(f"matmulinteger_zeros_{dtype}", "MatMulInteger", [rnd(3, 5, dtype=U8), rnd(5, 4, dtype=dtype), arr(7, U8), zero])
        case(f"matmulinteger_columns_{dtype}", "MatMulInteger", [rnd(3, 5, dtype=U8), rnd(5, 4, dtype=dtype), arr(7, U8), rnd(4, dtype=dtype)])
        case(f"matmulinteger_b_only_{dtype}", "MatMulInteger", [rnd(2, 3, 5, dtype=U8), rnd(5, 4, dtype=dtype), None, zero])
        y = rnd(2, 3, 4, low=-60, high=60)
        for opset in (10, 13, 19, 21):
            case(f"quantize_{dtype}_o{opset}", "QuantizeLinear", [y, arr(0.25), zero], opset=opset)
            case(f"dequantize_{dtype}_o{opset}", "DequantizeLinear", [x, arr(0.25), zero], opset=opset)
        for axis in (0, 1, -1):
            n = y.shape[axis]
            case(f"quantize_axis{axis}_{dtype}", "QuantizeLinear", [y, rnd(n, low=0.2, high=1), rnd(n, dtype=dtype)], axis=axis)
            case(f"dequantize_axis{axis}_{dtype}", "DequantizeLinear", [rnd(2, 3, 4, dtype=dtype), rnd(n, low=0.2, high=1), rnd(n, dtype=dtype)], axis=axis)
            case(f"dequantize_axis{axis}_no_zero_{dtype}", "DequantizeLinear", [rnd(2, 3, 4, dtype=dtype), rnd(n, low=0.2, high=1)], axis=axis)
        case(f"quantize_halves_{dtype}", "QuantizeLinear", [arr([0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9]), arr(1.0), arr(0, dtype)])
        case(f"quantize_f16_{dtype}", "QuantizeLinear", [rnd(2, 3, dtype=H), arr(0.25, H), zero], opset=19)
        case(f"dequantize_f16_{dtype}", "DequantizeLinear", [rnd(2, 3, dtype=dtype), arr(0.25, H), zero], opset=19)
    case("quantize_no_zero", "QuantizeLinear", [rnd(2, 3, low=0, high=90), arr(0.5)])
    case("dequantize_int32", "DequantizeLinear", [rnd(2, 3, dtype=I32), arr(0.5)])
    case("dequantize_int32_channels", "DequantizeLinear", [rnd(2, 3, dtype=I32), rnd(3, low=0.1, high=1), np.zeros(3, I32)], axis=1)
    # Nothing but zeros is left out: ONNX Runtime makes their scale 1, by ONNX's text it is 0.
    for low, high in ((-3, 5), (1, 5), (-5, -1)):
        case(f"dynamic_quantize_{low}_{high}", "DynamicQuantizeLinear", [rnd(3, 7, low=low, high=high)], outputs=3)
    case("dynamic_quantize_halves", "DynamicQuantizeLinear", [arr([0, 0.5, 1.5, 2.5, 255])], outputs=3)


def between_quantisers():
    """x → DequantizeLinear → op → QuantizeLinear, with every code as x. No scale is a multiple of another, and no operator gives
    NaN: a tie may be rounded either way after a division that is a multiplication, and the code of a NaN is nobody's."""
    ops = {
        "Softmax": {}, "LogSoftmax": {}, "Hardmax": {}, "CumSum": 1, "LpNormalization": {}, "MeanVarianceNormalization": {}, "LRN": {"size": 3},
        "Relu": {}, "LeakyRelu": {}, "Sigmoid": {}, "Tanh": {}, "HardSigmoid": {}, "HardSwish": {}, "Elu": {}, "Abs": {}, "Neg": {}, "Exp": {},
        "Erf": {}, "Floor": {}, "Round": {}, "Sign": {}, "Selu": {}, "Softplus": {}, "Softsign": {}, "Identity": {},
        "Trilu": {}, "Transpose": {"perm": [0, 2, 1, 3]}, "Dropout": {}, "Mish": {}, "Gelu": {}, "ThresholdedRelu": {}, "Shrink": {}, "Ceil": {},
        "GlobalAveragePool": {}, "GlobalMaxPool": {}, "ReduceMean": {}, "Flatten": {},
        "MaxPool": {"kernel_shape": [2, 2]}, "AveragePool": {"kernel_shape": [2, 2]}, "DepthToSpace": {"blocksize": 2},
    }
    for op, attributes in ops.items():
        inputs, more = ["d"], {}
        if op == "CumSum":
            inputs, attributes, more = ["d", "axis"], {}, {"axis": arr(1, I64)}
        opset = 20 if op == "Gelu" else 18
        for dtype in (U8, I8):
            x = np.arange(256).astype(U8).view(dtype).reshape(1, 4, 8, 8)
            consts = {"s": arr(0.05), "z": arr(100 if dtype == U8 else -20, dtype), "t": arr(0.0217), "o": arr(20 if dtype == U8 else -100, dtype), **more}
            nodes = [helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]), helper.make_node(op, inputs, ["e"], **attributes),
                     helper.make_node("QuantizeLinear", ["e", "t", "o"], ["y"])]
            graph(f"qdq_{op.lower()}_{dtype}", nodes, {"x": x}, ["y"], opset, consts)
    for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu"):
        for shape in ((), (8,), (4, 1, 1)):
            x = np.arange(256).astype(U8).reshape(1, 4, 8, 8)
            consts = {"s": arr(0.05), "z": arr(0, U8), "t": arr(0.1), "o": arr(20, U8), "c": rnd(*shape, low=0.5, high=3)}
            nodes = [helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]), helper.make_node(op, ["d", "c"], ["e"]), helper.make_node("QuantizeLinear", ["e", "t", "o"], ["y"])]
            graph(f"qdq_{op.lower()}_{len(shape)}d", nodes, {"x": x}, ["y"], 17, consts)
    x = rnd(1, 3, 8, 8, dtype=U8)
    axis_consts = {"s": arr([0.05, 0.1, 0.2]), "z": arr([0, 3, 5], U8), "t": arr(0.1), "o": arr(20, U8)}
    for op in ("Relu", "Sigmoid", "Softmax", "Transpose", "GlobalAveragePool"):
        nodes = [helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"], axis=1), helper.make_node(op, ["d"], ["e"]), helper.make_node("QuantizeLinear", ["e", "t", "o"], ["y"])]
        graph(f"qdq_channels_{op.lower()}", nodes, {"x": x}, ["y"], 17, axis_consts)
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    graph("fake_quant", nodes, {"x": rnd(3, 9, low=-20, high=20)}, ["y"], 17, {"s": arr(0.05), "z": arr(100, U8)})
    nodes = [helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]), helper.make_node("QuantizeLinear", ["d", "t", "o"], ["y"])]
    graph("requantise", nodes, {"x": rnd(3, 9, dtype=U8)}, ["y"], 17, {"s": arr(0.05), "z": arr(100, U8), "t": arr(0.031), "o": arr(3, I8)})
    for op, w in (("MatMul", (16, 5)), ("Gemm", (16, 5)), ("Conv", (6, 4, 3, 3))):
        data = rnd(2, 16, dtype=U8) if op != "Conv" else rnd(1, 4, 6, 6, dtype=U8)
        consts = {"s": arr(0.05), "z": arr(10, U8), "w": rnd(*w, dtype=I8), "ws": arr(0.02), "wz": arr(0, I8), "t": arr(0.0983), "o": arr(60, U8)}
        nodes = [helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]), helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["v"]),
                 helper.make_node(op, ["d", "v"], ["e"]), helper.make_node("QuantizeLinear", ["e", "t", "o"], ["y"])]
        graph(f"qdq_{op.lower()}", nodes, {"x": data}, ["y"], 17, consts)


def recurrent():
    for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        seq, batch, size, hidden = 5, 3, 4, 2
        outs = 3 if op == "LSTM" else 2
        def args(dirs, lens=None, init=False, bias=True, peep=False, batch=batch):
            x = rnd(seq, batch, size)
            w, r = rnd(dirs, gates * hidden, size, low=-1, high=1), rnd(dirs, gates * hidden, hidden, low=-1, high=1)
            found = [x, w, r, rnd(dirs, 2 * gates * hidden, low=-1, high=1) if bias else None, None if lens is None else arr(lens, I32),
                     rnd(dirs, batch, hidden) if init else None]
            if op == "LSTM":
                found += [rnd(dirs, batch, hidden) if init else None, rnd(dirs, 3 * hidden) if peep else None]
            while found[-1] is None:
                found.pop()
            return found
        name = op.lower()
        for direction, dirs in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
            case(f"{name}_{direction}", op, args(dirs), outputs=outs, hidden_size=hidden, direction=direction)
            case(f"{name}_{direction}_init", op, args(dirs, init=True), outputs=outs, hidden_size=hidden, direction=direction)
            case(f"{name}_{direction}_lens", op, args(dirs, lens=[5, 2, 3]), outputs=outs, hidden_size=hidden, direction=direction)
            case(f"{name}_{direction}_full_lens", op, args(dirs, lens=[5, 5, 5]), outputs=outs, hidden_size=hidden, direction=direction)
            case(f"{name}_{direction}_no_bias", op, args(dirs, bias=False), outputs=outs, hidden_size=hidden, direction=direction)
        case(f"{name}_no_hidden_size", op, args(1), outputs=outs)
        case(f"{name}_clip", op, args(1), outputs=outs, hidden_size=hidden, clip=0.3)
        case(f"{name}_only_last", op, args(1), outputs=["", "h"], hidden_size=hidden)
        case(f"{name}_only_all", op, args(1), outputs=1, hidden_size=hidden)
        case(f"{name}_one_step", op, [rnd(1, 1, size), *args(1)[1:4]], outputs=outs, hidden_size=hidden)
        case(f"{name}_o7", op, args(1, init=True), outputs=outs, hidden_size=hidden, opset=7)
        many = {"RNN": ["Relu"], "GRU": ["HardSigmoid", "Relu"], "LSTM": ["HardSigmoid", "Relu", "Softsign"]}[op]
        case(f"{name}_activations", op, args(1), outputs=outs, hidden_size=hidden, activations=many)
        other = {"RNN": ["Affine"], "GRU": ["Sigmoid", "LeakyRelu"], "LSTM": ["Sigmoid", "Tanh", "Elu"]}[op]
        case(f"{name}_alpha", op, args(1), outputs=outs, hidden_size=hidden, activations=other, activation_alpha=[0.3], activation_beta=[0.2])
        one = args(1, batch=1)
        case(f"{name}_batch_1", op, one, outputs=outs, hidden_size=hidden)
        case(f"{name}_batch_1_clip", op, one, outputs=outs, hidden_size=hidden, clip=0.3)
        case(f"{name}_batch_1_reverse", op, one, outputs=outs, hidden_size=hidden, direction="reverse")
        case(f"{name}_batch_1_activations", op, one, outputs=outs, hidden_size=hidden, activations=many)
        both = {"RNN": ["Tanh", "Relu"], "GRU": ["Sigmoid", "Tanh", "Sigmoid", "Relu"], "LSTM": ["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Relu", "Tanh"]}[op]
        case(f"{name}_activations_both", op, args(2), outputs=outs, hidden_size=hidden, activations=both, direction="bidirectional")
        if op == "GRU":
            for direction, dirs in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
                case(f"gru_linear_{direction}", op, args(dirs, init=True), outputs=outs, hidden_size=hidden, linear_before_reset=1, direction=direction)
        if op == "LSTM":
            case("lstm_peepholes", op, args(1, init=True, peep=True), outputs=outs, hidden_size=hidden)
            case("lstm_peepholes_both", op, args(2, init=True, peep=True), outputs=outs, hidden_size=hidden, direction="bidirectional")
            case("lstm_input_forget", op, args(1, init=True), outputs=outs, hidden_size=hidden, input_forget=1)
            case("lstm_only_cell", op, args(1), outputs=["", "", "c"], hidden_size=hidden)


def norms():
    x = rnd(2, 6, 3, 4)
    ch = lambda: rnd(6)
    for opset in (7, 9, 14, 15):
        case(f"batchnorm_o{opset}", "BatchNormalization", [x, ch(), ch(), ch(), rnd(6, low=0.1, high=2)], opset=opset, epsilon=0.01)
    case("batchnorm_2d", "BatchNormalization", [rnd(3, 6), ch(), ch(), ch(), rnd(6, low=0.1, high=2)])
    case("batchnorm_f16", "BatchNormalization", [rnd(2, 6, 3, dtype=H), *(rnd(6, dtype=H) for _ in range(3)), rnd(6, dtype=H, low=0.1)], opset=15)
    for groups in (2, 3):
        case(f"groupnorm_o18_{groups}", "GroupNormalization", [x, rnd(groups), rnd(groups)], opset=18, num_groups=groups)
        case(f"groupnorm_o21_{groups}", "GroupNormalization", [x, ch(), ch()], opset=21, num_groups=groups, epsilon=0.1)
    case("instancenorm", "InstanceNormalization", [x, ch(), ch()], epsilon=0.1)
    for axis in (1, 2, -1):
        shape = x.shape[axis:]
        case(f"layernorm_{axis}", "LayerNormalization", [x, rnd(*shape), rnd(*shape)], axis=axis, epsilon=0.1)
        case(f"layernorm_no_bias_{axis}", "LayerNormalization", [x, rnd(*shape)], axis=axis)
    case("layernorm_f16", "LayerNormalization", [rnd(2, 8, dtype=H), rnd(8, dtype=H), rnd(8, dtype=H)])
    case("layernorm_large_f16", "LayerNormalization", [rnd(2, 64, dtype=H, low=-500, high=500), rnd(64, dtype=H), rnd(64, dtype=H)])
    case("layernorm_3_outputs", "LayerNormalization", [x, rnd(4), rnd(4)], outputs=3)
    for p in (1, 2):
        for axis in (0, -1):
            case(f"lpnorm_{p}_{axis}", "LpNormalization", [x], p=p, axis=axis)
    for p in (1, 2, 3):
        case(f"globallppool_{p}", "GlobalLpPool", [x], p=p)
        case(f"lppool_{p}", "LpPool", [x], p=p, kernel_shape=[2, 3], strides=[1, 2], pads=[1, 0, 1, 1], opset=18)
    case("mvn_axes", "MeanVarianceNormalization", [x], axes=[1, 2])
    case("mvn_negative_axes", "MeanVarianceNormalization", [x], axes=[-1])
    for size in (1, 2, 3, 4, 5):
        case(f"lrn_{size}", "LRN", [x], size=size, alpha=0.5, beta=0.6, bias=1.5)
    for opset in (7, 11, 13):
        for op in ("Softmax", "LogSoftmax", "Hardmax"):
            case(f"{op.lower()}_default_o{opset}", op, [x], opset=opset)
            for axis in (0, 2, 3):
                case(f"{op.lower()}_{axis}_o{opset}", op, [x], opset=opset, axis=axis)
            if opset >= 11:
                case(f"{op.lower()}_minus_2_o{opset}", op, [x], opset=opset, axis=-2)
    case("softmax_f16", "Softmax", [rnd(3, 20, dtype=H, low=-9, high=9)])
    case("softmax_f64", "Softmax", [rnd(3, 20, dtype=D)])
    case("softmax_large", "Softmax", [rnd(3, 20, low=-900, high=900)])
    case("softmax_minus_infinity", "Softmax", [arr([[1, -np.inf, 2, -np.inf]])])
    case("hardmax_ties", "Hardmax", [arr([[1, 3, 3, 2], [0, 0, 0, 0]])])


def reductions():
    x = rnd(2, 3, 4, low=0.1, high=2)
    for op in ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"):
        name = op.lower()
        old = 11 if op == "ReduceSum" else 17
        new = 13 if op == "ReduceSum" else 18
        for keep in (0, 1):
            for axes in ([0], [1, 2], [-1], [0, 2]):
                case(f"{name}_attribute_{keep}_{'_'.join(map(str, axes))}", op, [x], opset=old, axes=axes, keepdims=keep)
            case(f"{name}_attribute_{keep}_all", op, [x], opset=7, keepdims=keep)
            case(f"{name}_input_{keep}", op, [x, arr([1, -1], I64)], opset=new, keepdims=keep)
            case(f"{name}_empty_{keep}", op, [x, np.zeros(0, I64)], opset=new, keepdims=keep)
            case(f"{name}_noop_{keep}", op, [x, np.zeros(0, I64)], opset=new, keepdims=keep, noop_with_empty_axes=1)
            case(f"{name}_absent_noop_{keep}", op, [x], opset=new, keepdims=keep, noop_with_empty_axes=1)
        for dtype in (H, D, I32, I64, I8, U8):
            case(f"{name}_{dtype}", op, [rnd(3, 4, dtype=dtype, low=0.1)], opset=old, axes=[1])
    case("reducesum_f16_long", "ReduceSum", [rnd(2, 4000, dtype=H, low=0, high=1)], opset=11, axes=[1])
    case("reducemean_f16_long", "ReduceMean", [rnd(2, 4000, dtype=H, low=30, high=50)], opset=13, axes=[1])
    case("reducemean_int_negative", "ReduceMean", [arr([[-7, -2, 1], [5, 4, 2]], I32)], opset=13, axes=[1])
    case("reducelogsumexp_large", "ReduceLogSumExp", [rnd(2, 5, low=80, high=100)], opset=13, axes=[1])
    case("reducemax_nan", "ReduceMax", [arr([[1, np.nan, 2], [-np.inf, -np.inf, -np.inf]])], opset=13, axes=[1])
    for op in ("ReduceMax", "ReduceMin"):
        infinite = arr([[-np.inf, -np.inf], [np.inf, np.inf], [1, -np.inf]])
        for axes in ([0], [1], [0, 1]):
            case(f"{op.lower()}_infinities_{len(axes)}{axes[0]}", op, [infinite], opset=13, axes=axes)
            case(f"{op.lower()}_infinities_f64_{len(axes)}{axes[0]}", op, [infinite.astype(D)], opset=13, axes=axes)
    case("maxpool_infinities", "MaxPool", [np.full((1, 2, 3, 3), -np.inf, F)], kernel_shape=[2, 2])
    for op in ("Max", "Min", "Relu", "Sigmoid", "Tanh", "Exp", "Erf", "Softplus", "Abs", "Floor", "HardSwish", "Gelu", "Elu", "Sqrt", "Log"):
        inputs = [arr([np.inf, -np.inf, 3.5])] if op not in ("Sqrt", "Log") else [arr([np.inf, 0.0, 3.5])]
        case(f"infinite_{op.lower()}", op, inputs + [arr([1, 2, 3])] * (op in ("Max", "Min")), opset=20)
    for op in ("ArgMax", "ArgMin"):
        ties = arr([[3, 1, 3, 1], [2, 2, 1, 1]])
        for opset in (7, 11, 12, 13):
            case(f"{op.lower()}_o{opset}", op, [ties], opset=opset, axis=1, keepdims=0)
        case(f"{op.lower()}_last", op, [ties], axis=1, select_last_index=1)
        for dtype in (I8, U8, I32, D, H):
            case(f"{op.lower()}_{dtype}", op, [rnd(3, 7, dtype=dtype)], axis=-1)
    values = arr([[3, 1, 3, 1, 9], [2, 2, 1, 1, -5]])
    for opset in (10, 11):
        case(f"topk_o{opset}", "TopK", [values, arr([3], I64)], opset=opset, outputs=2)
    case("topk_smallest", "TopK", [values, arr([3], I64)], outputs=2, largest=0, axis=1)
    case("topk_axis0", "TopK", [rnd(5, 3), arr([2], I64)], outputs=2, axis=0)
    for dtype in (I64, I32, D, H, U8):
        case(f"topk_{dtype}", "TopK", [RNG.permutation(40).reshape(4, 10).astype(dtype), arr([4], I64)], outputs=2)
    for exclusive in (0, 1):
        for reverse in (0, 1):
            case(f"cumsum_{exclusive}{reverse}", "CumSum", [rnd(2, 3, 4), arr(-2, I64)], exclusive=exclusive, reverse=reverse)
            case(f"cumsum_i32_{exclusive}{reverse}", "CumSum", [rnd(2, 3, dtype=I32), arr(1, I32)], exclusive=exclusive, reverse=reverse)


def pools():
    x = rnd(1, 3, 7, 8)
    for op in ("MaxPool", "AveragePool"):
        name = op.lower()
        for ceil in (0, 1):
            for pads in ([0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 1]):
                for stride in ([1, 1], [2, 3], [3, 2]):
                    label = f"{ceil}_{''.join(map(str, pads))}_{''.join(map(str, stride))}"
                    case(f"{name}_{label}", op, [x], kernel_shape=[3, 2], pads=pads, strides=stride, ceil_mode=ceil)
                    if op == "AveragePool":
                        case(f"{name}_include_{label}", op, [x], kernel_shape=[3, 2], pads=pads, strides=stride, ceil_mode=ceil, count_include_pad=1)
        for pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
            for stride in ([2, 2], [3, 1]):
                case(f"{name}_{pad.lower()}_{stride[0]}", op, [x], kernel_shape=[3, 2], auto_pad=pad, strides=stride)
        case(f"{name}_1d", op, [rnd(2, 3, 9)], kernel_shape=[3], strides=[2], pads=[1, 1])
        case(f"{name}_3d", op, [rnd(1, 2, 4, 5, 4)], kernel_shape=[2, 3, 2], strides=[2, 1, 2])
        case(f"{name}_f16", op, [rnd(1, 2, 5, 5, dtype=H)], kernel_shape=[2, 2])
        case(f"{name}_o7", op, [x], kernel_shape=[2, 2], opset=7)
    case("averagepool_include_same", "AveragePool", [x], kernel_shape=[3, 2], auto_pad="SAME_UPPER", strides=[2, 2], count_include_pad=1)
    case("averagepool_dilated", "AveragePool", [x], kernel_shape=[2, 2], dilations=[2, 3], opset=19)
    case("averagepool_dilated_pads", "AveragePool", [x], kernel_shape=[2, 2], dilations=[2, 2], pads=[1, 1, 1, 1], opset=19)
    case("maxpool_dilated", "MaxPool", [x], kernel_shape=[2, 2], dilations=[2, 3], strides=[2, 1])
    case("maxpool_dilated_pads_ceil", "MaxPool", [x], kernel_shape=[2, 2], dilations=[2, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    for dtype in (U8, I8):
        case(f"maxpool_{dtype}", "MaxPool", [rnd(1, 2, 5, 5, dtype=dtype)], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    for order in (0, 1):
        case(f"maxpool_indices_{order}", "MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2], outputs=2, storage_order=order)
        case(f"maxpool_indices_batch_{order}", "MaxPool", [rnd(2, 3, 4, 5)], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 1, 1, 0], outputs=2, storage_order=order)
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        case(f"{op.lower()}_1d", op, [rnd(2, 3, 5)])
        case(f"{op.lower()}_3d", op, [rnd(2, 3, 2, 3, 2)])
        case(f"{op.lower()}_f16", op, [rnd(2, 3, 5, 5, dtype=H)])


def signals():
    x = rnd(1, 16, 1)
    for onesided in (0, 1):
        case(f"dft_{onesided}_o17", "DFT", [x], opset=17, onesided=onesided)
        case(f"dft_{onesided}_o20", "DFT", [x, None, arr(1, I64)], opset=20, onesided=onesided)
        case(f"dft_length_{onesided}", "DFT", [x, arr(12, I64)], opset=17, onesided=onesided)
        case(f"dft_long_{onesided}", "DFT", [x, arr(20, I64)], opset=17, onesided=onesided)
        case(f"dft_long_o20_{onesided}", "DFT", [x, arr(20, I64), arr(1, I64)], opset=20, onesided=onesided)
        case(f"stft_{onesided}", "STFT", [rnd(1, 32, 1), arr(4, I64), rnd(8)], opset=17, onesided=onesided)
        case(f"stft_length_{onesided}", "STFT", [rnd(1, 32, 1), arr(4, I64), None, arr(8, I64)], opset=17, onesided=onesided)
    case("dft_inverse", "DFT", [rnd(1, 16, 2)], opset=17, inverse=1)
    case("dft_axis", "DFT", [rnd(2, 6, 8, 1)], opset=17, axis=2)
    for op in ("HannWindow", "HammingWindow", "BlackmanWindow"):
        for periodic in (0, 1):
            nodes = [helper.make_node(op, ["n"], ["w"], periodic=periodic), helper.make_node("Mul", ["x", "w"], ["y"])]
            graph(f"{op.lower()}_{periodic}", nodes, {"x": rnd(10)}, ["y"], 17, {"n": arr(10, I64)})
    consts = {"bins": arr(4, I64), "length": arr(16, I64), "rate": arr(8000, I64), "low": arr(0.0), "high": arr(4000.0)}
    nodes = [helper.make_node("MelWeightMatrix", list(consts), ["m"]), helper.make_node("MatMul", ["x", "m"], ["y"])]
    graph("melweightmatrix", nodes, {"x": rnd(2, 9)}, ["y"], 17, consts)


def shapes():
    x = rnd(2, 3, 4)
    case("pad_o2", "Pad", [x], opset=7, pads=[0, 1, 0, 1, 0, 2], mode="constant", value=1.5)
    for mode in ("constant", "edge", "reflect", "wrap"):
        case(f"pad_{mode}", "Pad", [x, arr([0, 1, 2, 1, 0, 1], I64)], opset=19, mode=mode)
    case("pad_value", "Pad", [x, arr([0, 1, 2, 1, 0, 1], I64), arr(-3.0)], opset=13)
    case("pad_negative", "Pad", [x, arr([0, -1, 0, 0, 1, -1], I64)], opset=13)
    case("pad_axes", "Pad", [x, arr([1, 2], I64), arr(2.0), arr([-1], I64)], opset=18)
    case("pad_bool", "Pad", [rnd(2, 3, dtype=B), arr([0, 1, 1, 0], I64)], opset=13)
    case("pad_i64", "Pad", [rnd(2, 3, dtype=I64), arr([0, 1, 1, 0], I64), arr(5, I64)], opset=13)
    case("slice_o1", "Slice", [x], opset=7, starts=[0, -3], ends=[2, 100], axes=[1, 2])
    case("slice_o1_no_axes", "Slice", [x], opset=7, starts=[0, 1], ends=[2, -1])
    for steps in ([-1, 2], [-2, -3], [2, 3]):
        bounds = (arr([-1 if s < 0 else 0 for s in steps], I64), arr([-100 if s < 0 else 100 for s in steps], I64))
        case(f"slice_steps_{steps[0]}_{steps[1]}", "Slice", [rnd(2, 7, 8), *bounds, arr([1, 2], I64), arr(steps, I64)], opset=13)
    case("slice_i32", "Slice", [x, arr([1], I32), arr([3], I32), arr([-1], I32)], opset=13)
    case("slice_past_end", "Slice", [x, arr([5], I64), arr([9], I64), arr([2], I64)], opset=13)
    case("slice_max", "Slice", [x, arr([0], I64), arr([2**63 - 1], I64), arr([1], I64), arr([2], I64)], opset=13)
    case("split_o2", "Split", [rnd(2, 6)], opset=7, outputs=2, axis=1, split=[4, 2])
    case("split_o2_equal", "Split", [rnd(2, 6)], opset=7, outputs=3, axis=-1 + 2)
    case("split_o13", "Split", [rnd(2, 6), arr([1, 5], I64)], opset=13, outputs=2, axis=-1)
    case("split_o18_uneven", "Split", [rnd(7, 2)], opset=18, outputs=3, num_outputs=3)
    case("squeeze_o1", "Squeeze", [rnd(1, 3, 1, 2)], opset=7, axes=[0, 2])
    case("squeeze_all", "Squeeze", [rnd(1, 3, 1, 2)], opset=13)
    case("squeeze_negative", "Squeeze", [rnd(1, 3, 1, 2), arr([-2], I64)], opset=13)
    case("unsqueeze_o1", "Unsqueeze", [x], opset=7, axes=[0, 4])
    case("unsqueeze_unsorted", "Unsqueeze", [x, arr([4, 0, 2], I64)], opset=13)
    case("unsqueeze_negative", "Unsqueeze", [x, arr([-1, -3], I64)], opset=13)
    for axis in (0, 1, -1, 3):
        case(f"flatten_{axis}", "Flatten", [x], axis=axis)
    case("reshape_zero", "Reshape", [x, arr([0, -1], I64)])
    case("reshape_zeros", "Reshape", [x, arr([4, 0, -1], I64)])
    case("transpose_default", "Transpose", [x])
    for start, end in ((1, 3), (-2, 9), (0, -1)):
        case(f"shape_{start}_{end}", "Shape", [x], start=start, end=end)
    case("shape_o1", "Shape", [x], opset=7)
    case("size", "Size", [x])
    case("expand", "Expand", [rnd(3, 1), arr([2, 1, 4], I64)])
    case("tile", "Tile", [rnd(2, 3), arr([2, 3], I64)])
    case("depthtospace_crd", "DepthToSpace", [rnd(1, 8, 2, 3)], blocksize=2, mode="CRD")
    case("spacetodepth", "SpaceToDepth", [rnd(1, 2, 4, 6)], blocksize=2)
    case("concat_negative", "Concat", [rnd(2, 3), rnd(2, 1)], axis=-1)
    for start, limit, delta in ((1.0, 7.0, 1.5), (9.0, 2.0, -2.0)):
        case(f"range_{start}", "Range", [arr(start), arr(limit), arr(delta)])
    case("range_int", "Range", [arr(10, I64), arr(-5, I64), arr(-4, I64)])
    case("eyelike", "EyeLike", [rnd(3, 4)], k=1, dtype=TensorProto.INT32)
    for upper in (0, 1):
        for k in (-1, 0, 2):
            case(f"trilu_{upper}_{k}", "Trilu", [rnd(2, 4, 5), arr(k, I64)], upper=upper)
    case("onehot", "OneHot", [arr([1, -2, 3, 0], I64), arr(4, I64), arr([2.0, 5.0])], axis=0)
    case("onehot_default", "OneHot", [arr([[1, 0]], I64), arr([3], I64), arr([0, 1], I64)])
    case("nonzero", "NonZero", [arr([[1, 0, 2], [0, 0, 3]])])
    case("where", "Where", [rnd(3, 1, dtype=B), rnd(3, 4), rnd(4)])
    case("compress", "Compress", [rnd(3, 4), arr([1, 0, 1], B)], axis=0)
    case("unique", "Unique", [arr([3, 1, 3, 2])], outputs=4)
    case("reversesequence", "ReverseSequence", [rnd(4, 3, 2), arr([1, 4, 2], I64)])


def indexing():
    x = rnd(3, 4, 5)
    case("gather_negative", "Gather", [x, arr([[-1, 0], [2, -2]], I64)], axis=1)
    case("gather_i32", "Gather", [x, arr([2, 0], I32)], axis=-1)
    case("gather_scalar", "Gather", [x, arr(1, I64)], axis=2)
    case("gatherelements", "GatherElements", [x, RNG.integers(-4, 4, (3, 2, 5))], axis=1)
    case("gathernd", "GatherND", [x, arr([[0, 1], [-1, -2]], I64)])
    case("gathernd_batch", "GatherND", [x, arr([[1], [0], [-1]], I64)], batch_dims=1)
    case("scatternd", "ScatterND", [rnd(4, 3), arr([[1], [-1]], I64), rnd(2, 3)])
    for reduction in ("add", "mul", "max", "min"):
        case(f"scatternd_{reduction}", "ScatterND", [rnd(4, 3), arr([[1], [1], [0]], I64), rnd(3, 3)], opset=18, reduction=reduction)
        case(f"scatterelements_{reduction}", "ScatterElements", [rnd(3, 4), arr([[0, 1, 1, 2], [2, 2, 0, -1]], I64), rnd(2, 4)], opset=18, reduction=reduction, axis=0)
    case("scatterelements", "ScatterElements", [rnd(3, 4), arr([[0, 3], [1, -1], [2, 0]], I64), rnd(3, 2)], axis=1)
    case("scatter_o9", "Scatter", [rnd(3, 4), arr([[0, 3], [1, 2], [2, 0]], I64), rnd(3, 2)], axis=1, opset=9)
    boxes = arr([[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [0, 10, 1, 11], [0, 10.1, 1, 11.1], [1, 101, 0, 100]]])
    scores = arr([[[0.9, 0.75, 0.6, 0.95, 0.5, 0.3], [0.1, 0.2, 0.9, 0.4, 0.8, 0.7]]])
    for center in (0, 1):
        for most in (1, 3):
            case(f"nms_{center}_{most}", "NonMaxSuppression", [boxes, scores, arr([most], I64), arr([0.5]), arr([0.35])], center_point_box=center)
    case("nms_no_score", "NonMaxSuppression", [boxes, scores, arr([9], I64), arr([0.5])])
    case("nms_defaults", "NonMaxSuppression", [boxes, scores])
    case("nms_nothing", "NonMaxSuppression", [boxes, scores, arr([9], I64), arr([0.5]), arr([0.99])])
    case("nms_all", "NonMaxSuppression", [np.concatenate([boxes, boxes]), np.concatenate([scores, scores[:, ::-1]]), arr([9], I64), arr([1.0])])
    roi = arr([[0, 0, 4, 3], [1, 1, 5, 5]])
    for mode in ("avg", "max"):
        case(f"roialign_{mode}", "RoiAlign", [rnd(1, 2, 6, 6), roi, arr([0, 0], I64)], opset=16, mode=mode, output_height=2, output_width=3, sampling_ratio=2, spatial_scale=0.8)
    grid = rnd(1, 3, 4, 2, low=-1.3, high=1.3)
    for mode in ("bilinear", "nearest", "bicubic"):
        for pad in ("zeros", "border", "reflection"):
            for align in (0, 1):
                case(f"gridsample_{mode}_{pad}_{align}", "GridSample", [rnd(1, 2, 5, 6), grid], opset=16, mode=mode, padding_mode=pad, align_corners=align)


def resizes():
    x = rnd(1, 2, 4, 5)
    sizes = {"up": [1, 2, 7, 11], "down": [1, 2, 3, 2]}
    for mode in ("nearest", "linear", "cubic"):
        for where in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"):
            for label, size in sizes.items():
                nearest = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil") if mode == "nearest" else ("round_prefer_floor",)
                for near in nearest:
                    opset = 19 if where == "half_pixel_symmetric" else 13
                    attributes = {"nearest_mode": near} if mode == "nearest" else {}
                    case(f"resize_{mode}_{where}_{label}_{near}", "Resize", [x, None, None, arr(size, I64)], opset=opset, mode=mode, coordinate_transformation_mode=where, **attributes)
                    scales = arr([1, 1, 1.75, 2.2] if label == "up" else [1, 1, 0.75, 0.4])
                    case(f"resize_scales_{mode}_{where}_{label}_{near}", "Resize", [x, None, scales], opset=opset, mode=mode, coordinate_transformation_mode=where, **attributes)
    case("resize_cubic_a", "Resize", [x, None, arr([1, 1, 2, 2])], mode="cubic", cubic_coeff_a=-0.5)
    case("resize_cubic_outside", "Resize", [x, None, arr([1, 1, 2, 2])], mode="cubic", exclude_outside=1)
    case("resize_tf_crop", "Resize", [x, arr([0, 0, 0.1, 0.2, 1, 1, 0.9, 1.4]), None, arr([1, 2, 6, 6], I64)], mode="linear", coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=3.0)
    case("resize_antialias", "Resize", [x, None, None, arr([1, 2, 2, 3], I64)], opset=18, mode="linear", antialias=1)
    case("resize_axes", "Resize", [x, None, None, arr([8, 10], I64)], opset=18, mode="linear", axes=[2, 3])
    for policy in ("not_larger", "not_smaller"):
        case(f"resize_{policy}", "Resize", [x, None, None, arr([7, 7], I64)], opset=18, axes=[2, 3], keep_aspect_ratio_policy=policy)
    for mode in ("nearest", "linear"):
        case(f"resize_o10_{mode}", "Resize", [x, arr([1, 1, 2, 2])], opset=10, mode=mode)
        case(f"resize_o10_odd_{mode}", "Resize", [x, arr([1, 1, 1.5, 2.5])], opset=10, mode=mode)
        case(f"upsample_o9_{mode}", "Upsample", [x, arr([1, 1, 2, 3])], opset=9, mode=mode)
        case(f"upsample_o7_{mode}", "Upsample", [x], opset=7, mode=mode, scales=[1.0, 1.0, 2.0, 3.0])


def arithmetic():
    for dtype in (I8, U8, I16, I32, I64, "uint16", "uint32", "uint64", H, D):
        a, b = rnd(3, 4, dtype=dtype), np.maximum(rnd(4, dtype=dtype), 1).astype(dtype)
        for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Less", "Greater", "Equal", "LessOrEqual", "GreaterOrEqual"):
            case(f"{op.lower()}_{dtype}", op, [a, b], opset=17)
        for op in ("Abs", "Neg", "Sign", "Relu"):
            if not (dtype.startswith("uint") and op == "Neg"):
                case(f"{op.lower()}_{dtype}", op, [a])
        case(f"clip_{dtype}", "Clip", [a, arr(2, dtype), arr(9, dtype)])
        case(f"clip_min_{dtype}", "Clip", [a, arr(2, dtype)])
        case(f"clip_max_{dtype}", "Clip", [a, None, arr(9, dtype)])
        case(f"clip_crossed_{dtype}", "Clip", [a, arr(9, dtype), arr(2, dtype)])
        if np.dtype(dtype).kind != "f":
            case(f"mod_{dtype}", "Mod", [a, b])
            case(f"overflow_{dtype}", "Add", [arr([np.iinfo(dtype).max], dtype), arr([1], dtype)])
        case(f"fmod_{dtype}", "Mod", [a, b], fmod=1)
        case(f"matmul_{dtype}", "MatMul", [rnd(2, 3, dtype=dtype), rnd(3, 4, dtype=dtype)])
        for other in (I8, U8, I32, I64, F, H, D, B):
            # What a negative float becomes as an unsigned integer is nobody's business.
            source = np.abs(a) if np.dtype(dtype).kind == "f" and other == U8 else a
            case(f"cast_{dtype}_{other}", "Cast", [source], to=helper.np_dtype_to_tensor_dtype(np.dtype(other)))
        for op in ("Sum", "Mean"):
            case(f"{op.lower()}_{dtype}", op, [a, b, a])
        case(f"gather_{dtype}", "Gather", [a, arr([1, 0], I64)])
        case(f"concat_{dtype}", "Concat", [a, a], axis=0)
        case(f"where_{dtype}", "Where", [rnd(3, 4, dtype=B), a, b])
    case("div_negative", "Div", [arr([-7, 7, -7, 7], I32), arr([2, -2, -2, 2], I32)])
    case("mod_negative", "Mod", [arr([-7, 7, -7, 7], I32), arr([2, -3, -3, 3], I32)])
    case("mod_fmod_negative", "Mod", [arr([-7, 7, -7.5, 7]), arr([2, -3, -3, 3])], fmod=1)
    case("cast_float_to_int", "Cast", [arr([-2.7, -0.5, 0.5, 2.7, 99.9])], to=TensorProto.INT32)
    case("cast_float_to_uint8", "Cast", [arr([0.9, 254.9, 3.5])], to=TensorProto.UINT8)
    case("cast_i64_i32_wraps", "Cast", [arr([2**40 + 5, -1, 2**31], I64)], to=TensorProto.INT32)
    case("cast_i32_i8_wraps", "Cast", [arr([300, -129, 127], I32)], to=TensorProto.INT8)
    case("cast_float_bool", "Cast", [arr([0.0, 0.5, -2, np.nan])], to=TensorProto.BOOL)
    case("pow_int_float", "Pow", [arr([2, 3, 4], I32), arr([2.0, 0.5, 1.5])])
    case("pow_float_int", "Pow", [arr([2.0, -3, 4]), arr([2, 3, -1], I64)])
    case("pow_int", "Pow", [arr([2, -3, 4], I64), arr([5, 3, 2], I64)])
    case("pow_negative", "Pow", [arr([-2.0, -8.0, 0.0]), arr([3.0, 2.0, 0.0])])
    for direction in ("LEFT", "RIGHT"):
        for dtype in (U8, "uint32", "uint64"):
            case(f"bitshift_{direction.lower()}_{dtype}", "BitShift", [arr([16, 4, 200], dtype), arr([1, 2, 3], dtype)], direction=direction)
    case("round", "Round", [arr([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 2.3])])
    case("sign_nan", "Sign", [arr([0.0, -0.0, -3, 5])])
    case("equal_bool", "Equal", [rnd(6, dtype=B), rnd(6, dtype=B)])
    case("equal_large", "Equal", [arr([2**53 + 1, 2**53], I64), arr([2**53, 2**53], I64)])
    case("less_large", "Less", [arr([2**53], I64), arr([2**53 + 1], I64)])
    case("add_o6_broadcast", "Add", [rnd(2, 3, 4), rnd(3, 1)], opset=7)
    case("clip_o6", "Clip", [rnd(3, 4)], opset=7, min=-0.5, max=0.7)
    case("clip_o6_min", "Clip", [rnd(3, 4)], opset=7, min=-0.5)
    for op in ("And", "Or", "Xor"):
        case(f"{op.lower()}_broadcast", op, [rnd(3, 1, dtype=B), rnd(4, dtype=B)])
    case("dropout_o7", "Dropout", [rnd(3, 4)], opset=7, ratio=0.7)
    case("dropout_o12_mask", "Dropout", [rnd(3, 4), arr(0.7)], opset=12, outputs=2)
    for op in ("Exp", "Tanh", "Sigmoid", "Erf", "Softplus", "Softsign", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh", "Gelu", "Mish", "HardSwish", "HardSigmoid", "Elu",
               "Selu", "Celu", "LeakyRelu", "ThresholdedRelu", "Shrink", "Reciprocal", "Floor", "Ceil", "Sqrt", "Log", "Acosh"):
        low = 1 if op in ("Sqrt", "Log", "Acosh", "Reciprocal") else -20
        opset = 20 if op == "Gelu" else 18
        case(f"range_{op.lower()}", op, [np.linspace(low, 20, 401, dtype=F)], opset=opset)
        case(f"range_{op.lower()}_f16", op, [np.linspace(max(low, -8), 8, 201, dtype=H)], opset=opset)
        case(f"range_{op.lower()}_f64", op, [np.linspace(low, 20, 101, dtype=D)], opset=opset)
    case("gelu_tanh", "Gelu", [np.linspace(-9, 9, 201, dtype=F)], opset=20, approximate="tanh")
    case("leakyrelu_alpha", "LeakyRelu", [rnd(9)], alpha=0.3)
    case("hardsigmoid_alpha", "HardSigmoid", [rnd(9)], alpha=0.3, beta=0.4)
    case("selu_alpha", "Selu", [rnd(9)], alpha=2.0, gamma=3.0)
    case("celu_alpha", "Celu", [rnd(9)], alpha=2.0)
    case("elu_alpha", "Elu", [rnd(9)], alpha=2.0)
    case("shrink_bias", "Shrink", [rnd(9)], bias=0.3, lambd=0.7)
    for slope in ((), (1,), (3, 1, 1), (4,), (2, 3, 5, 4)):
        case(f"prelu_{len(slope)}_{'_'.join(map(str, slope))}", "PRelu", [rnd(2, 3, 5, 4), rnd(*slope)])
    case("infinities", "Add", [arr([np.inf, -np.inf, np.nan]), arr([1, np.inf, 2])])
    case("isinf", "IsInf", [arr([np.inf, -np.inf, 1])], detect_negative=0)


def products():
    for ta in (0, 1):
        for tb in (0, 1):
            a, b = rnd(*((5, 3) if ta else (3, 5))), rnd(*((4, 5) if tb else (5, 4)))
            for c in ((), (1,), (4,), (3, 1), (3, 4), (1, 4)):
                case(f"gemm_{ta}{tb}_{'x'.join(map(str, c))}_{len(c)}", "Gemm", [a, b, rnd(*c)], transA=ta, transB=tb, alpha=0.5, beta=2.0)
            case(f"gemm_{ta}{tb}_no_c", "Gemm", [a, b], transA=ta, transB=tb, alpha=0.5, beta=2.0)
    case("gemm_o7", "Gemm", [rnd(3, 5), rnd(5, 4), rnd(4)], opset=7)
    case("gemm_f16", "Gemm", [rnd(3, 5, dtype=H), rnd(5, 4, dtype=H), rnd(4, dtype=H)])
    for left, right in (((3,), (3, 4)), ((2, 3), (3,)), ((3,), (3,)), ((2, 1, 3, 4), (5, 4, 2)), ((4,), (2, 4, 3)), ((2, 3, 4), (4,)), ((1, 2, 3), (4, 3, 5))):
        case(f"matmul_{'x'.join(map(str, left))}_{'x'.join(map(str, right))}", "MatMul", [rnd(*left), rnd(*right)])
    for label, expression, operands in (
        ("implicit", "ij,jk", [rnd(2, 3), rnd(3, 4)]), ("ellipsis", "...ij,...jk->...ik", [rnd(2, 5, 2, 3), rnd(2, 5, 3, 4)]), ("broadcast", "...ij,jk->...ik", [rnd(2, 2, 3), rnd(3, 4)]),
        ("diagonal", "ii->i", [rnd(4, 4)]), ("trace", "ii", [rnd(4, 4)]), ("sum", "ij->", [rnd(3, 4)]), ("outer", "i,j->ij", [rnd(3), rnd(4)]), ("three", "ij,jk,kl->il", [rnd(2, 3), rnd(3, 4), rnd(4, 2)]),
        ("transpose", "ijk->kij", [rnd(2, 3, 4)]), ("attention", "bhid,bhjd->bhij", [rnd(1, 2, 3, 4), rnd(1, 2, 5, 4)]), ("spaces", "b i , i j -> b j", [rnd(2, 3), rnd(3, 4)]), ("batch_diagonal", "bii->bi", [rnd(2, 3, 3)])):
        case(f"einsum_{label}", "Einsum", operands, equation=expression)


def control():
    then = helper.make_graph([helper.make_node("Add", ["x", "x"], ["t"])], "then", [], [onnx.ValueInfoProto(name="t")])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["e"])], "else", [], [onnx.ValueInfoProto(name="e")])
    for value in (True, False):
        graph(f"if_{value}", [helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)], {"x": rnd(2, 3), "c": arr(value, B)}, ["y"])
        graph(f"if_constant_{value}", [helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)], {"x": rnd(2, 3)}, ["y"], 17, {"c": arr(value, B)})
    infos = lambda *names: [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in names]
    body = helper.make_graph([helper.make_node("Add", ["s", "v"], ["s2"]), helper.make_node("Identity", ["s2"], ["o"])], "body", infos(("s", [3]), ("v", [3])), infos(("s2", [3]), ("o", [3])))
    for reverse in (0, 1):
        for back in (0, 1):
            case(f"scan_{reverse}{back}", "Scan", [rnd(3), rnd(5, 3)], outputs=2, body=body, num_scan_inputs=1, scan_input_directions=[reverse], scan_output_directions=[back])
    case("scan_axes", "Scan", [rnd(3), rnd(3, 5)], outputs=2, body=body, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1])
    loop = helper.make_graph([helper.make_node("Add", ["s", "s"], ["s2"]), helper.make_node("Identity", ["c"], ["c2"])], "loop",
                             [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("c", TensorProto.BOOL, []), *infos(("s", [3]))],
                             [helper.make_tensor_value_info("c2", TensorProto.BOOL, []), *infos(("s2", [3]))])
    graph("loop", [helper.make_node("Loop", ["n", "k", "s0"], ["y"], body=loop)], {"s0": rnd(3)}, ["y"], 17, {"n": arr(4, I64), "k": arr(True, B)})


def classical():
    ml = {"domain": "ai.onnx.ml"}
    x = rnd(4, 3)
    for transform in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
        case(f"linearclassifier_{transform.lower()}", "LinearClassifier", [x], outputs=2, coefficients=rnd(9).tolist(), intercepts=rnd(3).tolist(), classlabels_ints=[5, 6, 9], post_transform=transform, multi_class=1, **ml)
        case(f"linearclassifier_two_{transform.lower()}", "LinearClassifier", [x], outputs=2, coefficients=rnd(6).tolist(), intercepts=rnd(2).tolist(), classlabels_ints=[0, 1], post_transform=transform, **ml)
        case(f"linearclassifier_binary_{transform.lower()}", "LinearClassifier", [x], outputs=2, coefficients=rnd(3).tolist(), intercepts=rnd(1).tolist(), classlabels_ints=[0, 1], post_transform=transform, **ml)
        tree = dict(nodes_treeids=[0, 0, 0, 1, 1, 1], nodes_nodeids=[0, 1, 2, 0, 1, 2], nodes_featureids=[0, 0, 0, 2, 0, 0], nodes_values=[0.1, 0, 0, -0.2, 0, 0],
                    nodes_truenodeids=[1, 0, 0, 1, 0, 0], nodes_falsenodeids=[2, 0, 0, 2, 0, 0])
        for mode in ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"):
            modes = [mode, "LEAF", "LEAF"] * 2
            case(f"trees_{transform.lower()}_{mode.lower()}", "TreeEnsembleClassifier", [x], outputs=2, class_treeids=[0, 0, 1, 1], class_nodeids=[1, 2, 1, 2], class_ids=[0, 1, 2, 1], class_weights=[0.3, 0.9, 0.6, 0.2],
                 classlabels_int64s=[3, 4, 8], nodes_modes=modes, post_transform=transform, **tree, **ml)
        case(f"trees_binary_{transform.lower()}", "TreeEnsembleClassifier", [x], outputs=2, class_treeids=[0, 0, 1, 1], class_nodeids=[1, 2, 1, 2], class_ids=[1, 1, 1, 1], class_weights=[0.3, -0.9, 0.6, -0.2],
             classlabels_int64s=[0, 1], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * 2, post_transform=transform, **tree, **ml)
        case(f"trees_base_{transform.lower()}", "TreeEnsembleClassifier", [x], outputs=2, class_treeids=[0, 0, 1, 1], class_nodeids=[1, 2, 1, 2], class_ids=[0, 1, 2, 1], class_weights=[0.3, 0.9, 0.6, 0.2],
             classlabels_int64s=[3, 4, 8], base_values=[0.1, 0.2, -0.4], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * 2, post_transform=transform, **tree, **ml)
        case(f"linearregressor_{transform.lower()}", "LinearRegressor", [x], coefficients=rnd(6).tolist(), intercepts=rnd(2).tolist(), targets=2, post_transform=transform, **ml)
    for norm in ("MAX", "L1", "L2"):
        case(f"normalizer_{norm.lower()}", "Normalizer", [x], norm=norm, **ml)


def contrib():
    ms = {"domain": "com.microsoft"}
    x, w = rnd(2, 3, 8), rnd(8)
    case("ms_gelu", "Gelu", [x], **ms)
    case("ms_fastgelu", "FastGelu", [x, w], **ms)
    case("ms_biasgelu", "BiasGelu", [x, w], **ms)
    case("ms_quickgelu", "QuickGelu", [x], alpha=1.3, **ms)
    case("ms_skiplayernorm", "SkipLayerNormalization", [x, rnd(2, 3, 8), w, rnd(8), rnd(8)], epsilon=0.01, **ms)
    case("ms_simplified", "SimplifiedLayerNormalization", [x, w], axis=-1, epsilon=0.01)
    case("ms_skipsimplified", "SkipSimplifiedLayerNormalization", [x, rnd(2, 3, 8), w], epsilon=0.01, **ms)
    case("ms_pad", "Pad", [rnd(2, 3), arr([0, 1, 1, 0], I64), arr(1.5)], **ms)
    case("ms_range", "Range", [arr(1.0), arr(9.0), arr(2.0)], **ms)
    case("ms_unique", "Unique", [arr([2.0, 1, 1, 3])], outputs=3, **ms)
    case("ms_inverse", "Inverse", [rnd(3, 3)], **ms)
    case("ms_quantize", "QuantizeLinear", [rnd(2, 3), arr(0.1), arr(3, U8)], **ms)
    case("ms_dequantize", "DequantizeLinear", [rnd(2, 3, dtype=U8), arr(0.1), arr(3, U8)], **ms)
    case("ms_mha", "MultiHeadAttention", [rnd(1, 3, 8), rnd(1, 4, 8), rnd(1, 4, 8)], num_heads=2, **ms)
    case("ms_attention", "Attention", [rnd(1, 3, 8), rnd(8, 24), rnd(24)], num_heads=2, **ms)
    cos, sin = rnd(6, 4), rnd(6, 4)
    case("ms_rotary", "RotaryEmbedding", [rnd(1, 2, 3, 8), arr([0], I64), cos, sin], **ms)
    case("ms_fusedconv", "FusedConv", [rnd(1, 2, 5, 5), rnd(3, 2, 3, 3)], activation="Relu", **ms)
    case("ms_fusedmatmul", "FusedMatMul", [rnd(2, 3), rnd(4, 3)], transB=1, alpha=0.5, **ms)
    case("ms_fusedgemm", "FusedGemm", [rnd(2, 3), rnd(3, 4), rnd(4)], activation="Relu", **ms)
    case("ms_qlinearadd", "QLinearAdd", [rnd(3, dtype=U8), arr(0.1), arr(2, U8), rnd(3, dtype=U8), arr(0.2), arr(3, U8), arr(0.3), arr(1, U8)], **ms)


class Net:
    """A graph in the making: `net.Op(inputs…, attributes…)` gives the name of its output; arrays become constants."""

    def __init__(self, **inputs):
        self.inputs, self.nodes, self.constants = inputs, [], {}

    def __getattr__(self, op):
        def add(*values, outs=1, **attributes):
            names = []
            for value in values:
                if not isinstance(value, str):
                    name = f"c{len(self.constants)}"
                    self.constants[name] = np.asarray(value) if not isinstance(value, float) else arr(value)
                    value = name
                names.append(value)
            outputs = [f"v{len(self.nodes)}_{index}" for index in range(outs)]
            self.nodes.append(helper.make_node(op, names, outputs, name=f"n{len(self.nodes)}", **attributes))
            return outputs[0] if outs == 1 else outputs
        return add

    def done(self, name, *outputs, opset=17):
        graph(f"pattern_{name}", self.nodes, self.inputs, list(outputs), opset, self.constants)


def patterns():
    """What exporters write in many nodes, and engines find again and fuse."""
    x = rnd(2, 5, 8)
    net = Net(x=x)
    half = net.Mul("x", 0.5)
    net.done("gelu_erf", net.Mul(half, net.Add(net.Erf(net.Div("x", float(np.sqrt(2)))), 1.0)))
    for cube in ("pow", "mul"):
        net = Net(x=x)
        third = net.Pow("x", 3.0) if cube == "pow" else net.Mul(net.Mul("x", "x"), "x")
        inner = net.Mul(net.Add("x", net.Mul(third, 0.044715)), float(np.sqrt(2 / np.pi)))
        net.done(f"gelu_tanh_{cube}", net.Mul(net.Mul("x", 0.5), net.Add(net.Tanh(inner), 1.0)))
    net = Net(x=x)
    net.done("silu", net.Mul("x", net.Sigmoid("x")))
    net = Net(x=x)
    net.done("silu_scaled", net.Mul("x", net.Sigmoid(net.Mul("x", 1.702))))
    net = Net(x=x, z=rnd(2, 5, 8))
    net.done("gated", net.Mul("z", net.Sigmoid("x")))
    net = Net(x=x)
    net.done("hardswish", net.Div(net.Mul("x", net.Clip(net.Add("x", 3.0), 0.0, 6.0)), 6.0))
    net = Net(x=x)
    net.done("mish", net.Mul("x", net.Tanh(net.Softplus("x"))))
    for axes in ([-1], [1, 2], [1]):
        for square in ("pow", "mul"):
            label = f"{square}_{'_'.join(str(a) for a in axes)}"
            net = Net(x=x)
            centred = net.Sub("x", net.ReduceMean("x", axes=axes))
            squared = net.Pow(centred, 2.0) if square == "pow" else net.Mul(centred, centred)
            root = net.Sqrt(net.Add(net.ReduceMean(squared, axes=axes), 1e-3))
            net.done(f"layernorm_{label}", net.Add(net.Mul(net.Div(centred, root), rnd(8)), rnd(8)))
            net = Net(x=x)
            squared = net.Pow("x", 2.0) if square == "pow" else net.Mul("x", "x")
            root = net.Sqrt(net.Add(net.ReduceMean(squared, axes=axes), 1e-3))
            net.done(f"rmsnorm_{label}", net.Mul(net.Mul("x", net.Reciprocal(root)), rnd(8)))
            net = Net(x=x)
            squared = net.Pow("x", 2.0) if square == "pow" else net.Mul("x", "x")
            net.done(f"l2norm_{label}", net.Div("x", net.Clip(net.Sqrt(net.ReduceSum(squared, arr(axes, I64))), 1e-6)))
    for axis in (-1, 1):
        net = Net(x=x)
        power = net.Exp(net.Sub("x", net.ReduceMax("x", axes=[axis])))
        net.done(f"softmax_{axis}", net.Div(power, net.ReduceSum(power, arr([axis], I64))))
    # Attention, with masks added and chosen, scaled before and after, grouped keys.
    for mask in ("none", "add", "where", "bool_input", "before"):
        for swapped in (0, 1):
            inputs = {"q": rnd(1, 2, 5, 4), "k": rnd(1, 2, 4, 6) if swapped else rnd(1, 2, 6, 4), "v": rnd(1, 2, 6, 4)}
            allowed = RNG.integers(0, 2, (1, 1, 5, 6)).astype(bool)
            allowed[..., 0] = True
            if mask == "bool_input":
                inputs["m"] = allowed
            net = Net(**inputs)
            keys = "k" if swapped else net.Transpose("k", perm=[0, 1, 3, 2])
            scores = net.MatMul(net.Mul("q", 0.5), keys) if mask == "before" else net.Div(net.MatMul("q", keys), 2.0)
            if mask == "add":
                scores = net.Add(scores, np.where(allowed, 0, -1e9).astype(F))
            elif mask == "where":
                scores = net.Where(allowed, scores, arr(-np.inf))
            elif mask == "bool_input":
                scores = net.Where("m", scores, arr(-3e38))
            net.done(f"attention_{mask}_{swapped}", net.MatMul(net.Softmax(scores, axis=-1), "v"))
    net = Net(q=rnd(1, 4, 5, 4), k=rnd(1, 2, 6, 4), v=rnd(1, 2, 6, 4))
    repeat = lambda name: net.Reshape(net.Expand(net.Unsqueeze(name, arr([2], I64)), arr([1, 2, 2, 6, 4], I64)), arr([1, 4, 6, 4], I64))
    keys, values = repeat("k"), repeat("v")
    net.done("attention_grouped", net.MatMul(net.Softmax(net.Mul(net.MatMul("q", net.Transpose(keys, perm=[0, 1, 3, 2])), 0.5), axis=-1), values))
    net = Net(x=rnd(1, 2, 5, 8))
    left, right = net.Split("x", outs=2, axis=-1)
    cos, sin = rnd(5, 8), rnd(5, 8)
    net.done("rotary", net.Add(net.Mul("x", cos), net.Mul(net.Concat(net.Neg(right), left, axis=-1), sin)))
    net = Net(x=rnd(2, 6, 16))
    heads = net.Transpose(net.Reshape(net.MatMul("x", rnd(16, 24)), arr([2, 6, 3, 2, 4], I64)), perm=[2, 0, 3, 1, 4])
    q, k, v = (net.Squeeze(part, arr([0], I64)) for part in net.Split(heads, outs=3, axis=0))
    net.done("attention_packed", net.Reshape(net.Transpose(net.MatMul(net.Softmax(net.MatMul(q, net.Transpose(k, perm=[0, 1, 3, 2])), axis=-1), v), perm=[0, 2, 1, 3]), arr([2, 6, 8], I64)))
    # Convolutional blocks.
    image = rnd(1, 4, 8, 8)
    norm = lambda n: (rnd(n), rnd(n), rnd(n), rnd(n, low=0.2, high=2))
    for act in ("Relu", "Sigmoid", "HardSwish", "LeakyRelu", "Tanh", "Elu"):
        net = Net(x=image)
        y = net.BatchNormalization(net.Conv("x", rnd(6, 4, 3, 3), pads=[1, 1, 1, 1]), *norm(6))
        net.done(f"conv_norm_{act.lower()}", getattr(net, act)(y))
    net = Net(x=image)
    y = net.BatchNormalization("x", *norm(4))
    net.done("norm_before_padded_conv", net.Conv(y, rnd(6, 4, 3, 3), pads=[1, 1, 1, 1]))
    net = Net(x=image)
    net.done("scale_before_padded_conv", net.Conv(net.Add(net.Mul("x", rnd(4, 1, 1)), rnd(4, 1, 1)), rnd(6, 4, 3, 3), pads=[1, 1, 1, 1]))
    net = Net(x=image)
    net.done("scale_after_conv", net.Add(net.Mul(net.Conv("x", rnd(6, 4, 3, 3)), rnd(1, 6, 1, 1)), rnd(6, 1, 1)))
    for mode in ("constant", "reflect", "edge"):
        net = Net(x=image)
        net.done(f"pad_conv_{mode}", net.Conv(net.Pad("x", arr([0, 0, 1, 2, 0, 0, 2, 1], I64), mode=mode), rnd(6, 4, 3, 3)))
        net = Net(x=image)
        net.done(f"pad_pool_{mode}", net.AveragePool(net.Pad("x", arr([0, 0, 1, 2, 0, 0, 2, 1], I64), mode=mode), kernel_shape=[2, 2]))
        net = Net(x=image)
        net.done(f"pad_maxpool_{mode}", net.MaxPool(net.Pad("x", arr([0, 0, 1, 2, 0, 0, 2, 1], I64), mode=mode), kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
    net = Net(x=image)
    squeezed = net.Relu(net.Conv(net.GlobalAveragePool("x"), rnd(2, 4, 1, 1), rnd(2)))
    net.done("squeeze_excite", net.Mul("x", net.HardSigmoid(net.Conv(squeezed, rnd(4, 2, 1, 1), rnd(4)))))
    net = Net(x=image)
    net.done("shuffle", net.Reshape(net.Transpose(net.Reshape("x", arr([1, 2, 2, 8, 8], I64)), perm=[0, 2, 1, 3, 4]), arr([0, 4, 8, 8], I64)))
    net = Net(x=image)
    parts = [net.Slice("x", arr([a, b], I64), arr([99, 99], I64), arr([2, 3], I64), arr([2, 2], I64)) for b in (0, 1) for a in (0, 1)]
    net.done("focus", net.Conv(net.Concat(*parts, axis=1), rnd(3, 16, 3, 3), pads=[1, 1, 1, 1]))
    net = Net(x=image)
    pooled = ["x"]
    for _ in range(3):
        pooled.append(net.MaxPool(pooled[-1], kernel_shape=[5, 5], pads=[2, 2, 2, 2]))
    net.done("pyramid", net.Concat(*pooled, axis=1))
    net = Net(x=image)
    up = net.Resize(net.Conv("x", rnd(4, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]), "", arr([1, 1, 2, 2]), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    net.done("upsample_add", net.Add(up, "x"))
    net = Net(x=image)
    shape = net.Shape("x")
    net.done("flatten_by_shape", net.Reshape("x", net.Concat(net.Gather(shape, arr([0], I64)), arr([-1], I64), axis=0)))
    net = Net(x=image)
    net.done("nhwc", net.Transpose(net.Relu(net.Conv(net.Transpose("x", perm=[0, 3, 1, 2]), rnd(5, 8, 3, 3), pads=[1, 1, 1, 1])), perm=[0, 2, 3, 1]))
    net = Net(x=rnd(1, 4, 20))
    net.done("causal_conv", net.Slice(net.Conv("x", rnd(6, 4, 3), pads=[4, 4], dilations=[2]), arr([0], I64), arr([-4], I64), arr([2], I64)))
    net = Net(x=rnd(1, 4, 20))
    net.done("glu", net.Mul(*[part if index == 0 else net.Sigmoid(part) for index, part in enumerate(net.Split("x", outs=2, axis=1))]))
    # Heads of detectors, embeddings, positions.
    net = Net(x=rnd(1, 6, 85))
    centre, size, rest = net.Split("x", arr([2, 2, 81], I64), outs=3, axis=-1)
    corner = net.Sub(centre, net.Div(size, 2.0))
    scores = net.Mul(net.Slice(rest, arr([0], I64), arr([1], I64), arr([2], I64)), net.Slice(rest, arr([1], I64), arr([81], I64), arr([2], I64)))
    best, label = net.TopK(net.ReduceMax(scores, axes=[-1], keepdims=0), arr([3], I64), outs=2)
    net.done("detector", net.Concat(corner, net.Add(corner, size), axis=-1), best, label, net.ArgMax(scores, axis=-1, keepdims=0))
    net = Net(i=RNG.integers(0, 9, (2, 5)))
    net.done("embedding", net.Add(net.Gather(rnd(9, 4), "i"), net.Gather(rnd(9, 4), net.Add(net.CumSum(net.Cast(net.Not(net.Equal("i", arr(0, I64))), to=TensorProto.INT64), arr(1, I64)), arr(1, I64)))))
    net = Net(x=rnd(2, 5, 4), m=RNG.integers(0, 2, (2, 5)))
    weight = net.Unsqueeze(net.Cast("m", to=TensorProto.FLOAT), arr([-1], I64))
    net.done("mean_pooling", net.Div(net.ReduceSum(net.Mul("x", weight), arr([1], I64), keepdims=0), net.Clip(net.ReduceSum(weight, arr([1], I64), keepdims=0), 1e-9)))
    net = Net(x=rnd(3, 8))
    net.done("normalise_similarity", net.MatMul(net.Div("x", net.ReduceL2("x", axes=[1])), net.Transpose(net.Div("x", net.ReduceL2("x", axes=[1])), perm=[1, 0])))
    for op in ("Greater", "Less", "Equal", "GreaterOrEqual"):
        net = Net(x=rnd(3, 8, dtype=I32), z=rnd(8, dtype=I32))
        net.done(f"choose_{op.lower()}", net.Where(getattr(net, op)("x", "z"), net.Mul("x", arr(2, I32)), "z"))
    net = Net(x=rnd(2, 3))
    net.done("same_twice", net.Add("x", "x"), net.Mul("x", "x"), net.Sub("x", "x"), net.Concat("x", "x", axis=0))
    net = Net(x=rnd(2, 3))
    net.done("untouched", "x", net.Identity("x"), net.Relu("x"))
    net = Net(x=rnd(2, 3, 4))
    net.done("transposes", net.Transpose(net.Add(net.Transpose("x", perm=[2, 0, 1]), rnd(4, 1, 3)), perm=[1, 2, 0]), net.ReduceSum(net.Transpose("x", perm=[1, 0, 2]), arr([0], I64)))
    net = Net(x=rnd(2, 3, 4))
    net.done("reshapes", net.Squeeze(net.Unsqueeze(net.Reshape("x", arr([6, 4], I64)), arr([0, 2], I64)), arr([0], I64)), net.Reshape(net.Transpose("x"), arr([2, -1], I64)))


def after_cast():
    """Integers that come from a cast to INT64, which tract takes for dimensions."""
    z = np.array([[3, -1, 2], [5, 7, 4]], dtype=I64)
    two = lambda op, **more: lambda net, v: getattr(net, op)(v, z, **more)
    one = lambda op, **more: lambda net, v: getattr(net, op)(v, **more)
    rows = {op.lower(): two(op) for op in ("Add", "Sub", "Mul", "Max", "Min", "Equal", "Less", "Greater", "Div", "Mod")}
    rows |= {op.lower(): one(op) for op in ("Abs", "Neg", "Sign", "ReduceSum", "NonZero", "Transpose", "Identity", "Relu")}
    rows |= {op.lower(): one(op, axes=[1]) for op in ("ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd")}
    rows |= {
        "argmax": one("ArgMax", axis=1), "cumsum": lambda net, v: net.CumSum(v, arr(1, I64)), "clip": lambda net, v: net.Clip(v, arr(0, I64), arr(3, I64)),
        "topk": lambda net, v: net.TopK(v, arr([2], I64), outs=2)[0], "where": lambda net, v: net.Where(net.Greater(v, z), v, z), "concat": lambda net, v: net.Concat(v, z, axis=0),
        "gather": lambda net, v: net.Gather(rnd(9, 2), net.Abs(v)), "gather_from": lambda net, v: net.Gather(v, arr([1, 0], I64)), "gathernd": lambda net, v: net.GatherND(v, arr([[1, 2]], I64)),
        "onehot": lambda net, v: net.OneHot(v, arr(9, I64), arr([0.0, 1.0])), "cast": lambda net, v: net.Cast(v, to=TensorProto.FLOAT), "cast_i32": lambda net, v: net.Cast(v, to=TensorProto.INT32),
        "cast_bool": lambda net, v: net.Cast(v, to=TensorProto.BOOL), "expand": lambda net, v: net.Expand(v, arr([2, 2, 3], I64)), "tile": lambda net, v: net.Tile(v, arr([2, 1], I64)),
        "pow": lambda net, v: net.Pow(v, arr(2, I64)), "pad": lambda net, v: net.Pad(v, arr([0, 1, 0, 1], I64)), "scatter": lambda net, v: net.ScatterElements(v, arr([[1, 0, 1]], I64), arr([[9, 8, 7]], I64)),
        "scatternd": lambda net, v: net.ScatterND(v, arr([[1, 2]], I64), arr([9], I64)), "slice": lambda net, v: net.Slice(v, arr([1], I64), arr([3], I64), arr([1], I64)), "split": lambda net, v: net.Split(v, arr([1, 2], I64), outs=2, axis=1)[1],
        "matmul": lambda net, v: net.MatMul(net.Cast(v, to=TensorProto.FLOAT), rnd(3, 2)), "gatherelements": lambda net, v: net.GatherElements(v, arr([[0, 1, 0]], I64)), "flatten": one("Flatten"), "unsqueeze": lambda net, v: net.Unsqueeze(v, arr([0], I64)),
        "embedding_positions": lambda net, v: net.Add(net.Mul(net.Cast(net.CumSum(net.Cast(net.Not(net.Equal(v, arr(1, I64))), to=TensorProto.INT32), arr(1, I64)), to=TensorProto.INT64), v), arr(1, I64)),
    }
    for name, row in rows.items():
        for source in (I32, B, F):
            x = arr([[1, 0, 2], [4, 1, 3]], source)
            net = Net(x=x)
            net.done(f"i64_{name}_of_{source}", row(net, net.Cast("x", to=TensorProto.INT64)))


def quantised_layers():
    """Layers as quantisers write them: everything between DequantizeLinear and QuantizeLinear, weights and bias as codes."""
    def layer(name, op, x, w, out=(0.173, 111), channels=True, bias=True, act=None, zero=None, **attributes):
        dtype = x.dtype
        zero = {"uint8": 101, "int8": -7}[str(dtype)] if zero is None else zero
        count = w.shape[0] if op == "Conv" else w.shape[-1]
        scales = rnd(count, low=0.01, high=0.04) if channels else arr(0.023)
        axis = 0 if op == "Conv" else w.ndim - 1
        outs = out[1] if dtype == U8 else out[1] - 128
        net = Net(x=x)
        d = net.DequantizeLinear("x", arr(0.031), arr(zero, dtype))
        v = net.DequantizeLinear(w, scales, np.zeros(scales.shape, I8), **({"axis": axis} if channels else {}))
        inputs = [d, v]
        if bias and op != "MatMul":
            inputs.append(net.DequantizeLinear(rnd(count, dtype=I32) * 9, (scales * np.float32(0.031)).astype(F), np.zeros(scales.shape, I32), **({"axis": 0} if channels else {})))
        y = getattr(net, op)(*inputs, **attributes)
        if act == "Relu":
            y = net.Relu(y)
        elif act == "Clip":
            y = net.Clip(y, 0.0, 6.0)
        elif act:
            y = getattr(net, act)(net.DequantizeLinear(net.QuantizeLinear(y, arr(0.17), arr(outs, dtype)), arr(0.17), arr(outs, dtype)))
        net.done(f"int8_{name}_{dtype}", net.QuantizeLinear(y, arr(out[0]), arr(outs, dtype)))

    full = lambda *shape: RNG.integers(-127, 128, shape).astype(I8)
    codes = lambda dtype, *shape: RNG.integers(0, 256, shape).astype(U8).view(dtype)
    for dtype in (U8, I8):
        for cin, cout, kernel, size in ((3, 8, 3, 9), (4, 33, 1, 7), (16, 16, 3, 8), (17, 5, 3, 6), (8, 8, 5, 11), (64, 12, 1, 4), (1, 1, 3, 5)):
            for stride in (1, 2):
                layer(f"conv_{cin}_{cout}_{kernel}_{stride}", "Conv", codes(dtype, 1, cin, size, size), full(cout, cin, kernel, kernel), pads=[kernel // 2] * 4, strides=[stride] * 2)
        for channels in (5, 8, 16, 33):
            for kernel, stride, pads in ((3, 1, [1, 1, 1, 1]), (3, 2, [0, 0, 1, 1]), (5, 1, [2, 2, 2, 2]), (3, 2, [1, 1, 1, 1])):
                layer(f"depthwise_{channels}_{kernel}_{stride}_{sum(pads)}", "Conv", codes(dtype, 1, channels, 9, 7), full(channels, 1, kernel, kernel), pads=pads, strides=[stride] * 2, group=channels)
        x = codes(dtype, 1, 8, 9, 7)
        layer("conv_group", "Conv", x, full(8, 4, 3, 3), group=2, pads=[1, 1, 1, 1])
        layer("conv_dilated", "Conv", x, full(8, 8, 3, 3), dilations=[2, 2], pads=[2, 2, 2, 2])
        layer("conv_whole", "Conv", x, full(8, 8, 3, 3), channels=False)
        layer("conv_no_bias", "Conv", x, full(8, 8, 3, 3), bias=False)
        layer("conv_uneven", "Conv", x, full(8, 8, 3, 2), pads=[1, 0, 0, 1], strides=[2, 1])
        layer("conv_same", "Conv", x, full(8, 8, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
        layer("conv_same_lower", "Conv", x, full(8, 8, 3, 3), auto_pad="SAME_LOWER", strides=[2, 2])
        layer("conv_batch", "Conv", codes(dtype, 3, 8, 5, 5), full(8, 8, 3, 3), pads=[1, 1, 1, 1])
        layer("conv_1d", "Conv", codes(dtype, 1, 8, 15), full(6, 8, 3), pads=[1, 1])
        layer("conv_zero_point_0", "Conv", x, full(8, 8, 3, 3), zero=0, pads=[1, 1, 1, 1])
        for act in ("Relu", "Clip", "Sigmoid", "HardSwish", "LeakyRelu"):
            layer(f"conv_{act.lower()}", "Conv", x, full(8, 8, 3, 3), act=act, pads=[1, 1, 1, 1])
        layer("matmul", "MatMul", codes(dtype, 5, 19), full(19, 7))
        layer("matmul_batch", "MatMul", codes(dtype, 2, 5, 19), full(19, 7))
        layer("matmul_whole", "MatMul", codes(dtype, 5, 64), full(64, 33), channels=False)
        layer("gemm", "Gemm", codes(dtype, 1, 40), full(40, 10))
        layer("gemm_rows", "Gemm", codes(dtype, 4, 40), full(40, 10), act="Relu")
        for op in ("Add", "Sub", "Mul"):
            for shape in ((1, 8, 5, 5), (1, 8, 1, 1), (8, 1, 1)):
                net = Net(x=codes(dtype, 1, 8, 5, 5), z=codes(dtype, *shape))
                left, right = net.DequantizeLinear("x", arr(0.031), arr(3, dtype)), net.DequantizeLinear("z", arr(0.047), arr(9, dtype))
                net.done(f"int8_{op.lower()}_{len(shape)}{shape[-1]}_{dtype}", net.QuantizeLinear(getattr(net, op)(left, right), arr(0.0613), arr(17, dtype)))
        net = Net(x=codes(dtype, 1, 3, 4, 4), z=codes(dtype, 1, 2, 4, 4))
        net.done(f"int8_concat_{dtype}", net.QuantizeLinear(net.Concat(net.DequantizeLinear("x", arr(0.031), arr(3, dtype)), net.DequantizeLinear("z", arr(0.047), arr(9, dtype)), axis=1), arr(0.0413), arr(17, dtype)))
        for op, attributes in (("GlobalAveragePool", {}), ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}), ("MaxPool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}), ("ReduceMean", {"axes": [2, 3]})):
            net = Net(x=codes(dtype, 1, 8, 5, 5))
            net.done(f"int8_{op.lower()}_{dtype}", net.QuantizeLinear(getattr(net, op)(net.DequantizeLinear("x", arr(0.031), arr(3, dtype)), **attributes), arr(0.0413), arr(17, dtype)))
        # Two blocks behind each other, with what goes around them.
        net = Net(x=codes(dtype, 1, 8, 6, 6))
        q = lambda v, s: net.DequantizeLinear(net.QuantizeLinear(v, arr(s), arr(9, dtype)), arr(s), arr(9, dtype))
        w = lambda n, m, k: net.DequantizeLinear(full(n, m, k, k), rnd(n, low=0.01, high=0.04), np.zeros(n, I8), axis=0)
        start = net.DequantizeLinear("x", arr(0.031), arr(3, dtype))
        deep = q(net.Relu(net.Conv(start, w(16, 8, 1))), 0.041)
        deep = q(net.Relu(net.Conv(deep, w(16, 1, 3), pads=[1, 1, 1, 1], group=16)), 0.053)
        deep = q(net.Conv(deep, w(8, 16, 1)), 0.067)
        net.done(f"int8_residual_{dtype}", net.QuantizeLinear(net.Add(deep, start), arr(0.071), arr(5, dtype)))


# === The archive ===

def answered(model, inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def main(archive):
    for make in (convolutions, quantised, between_quantisers, recurrent, norms, reductions, pools, signals, shapes, indexing, resizes, arithmetic, products, control, classical, contrib, patterns, after_cast, quantised_layers):
        make()
    left_out = []
    with tarfile.open(archive, "w:gz") as tar:
        def write(path, data):
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, (model, inputs) in sorted(CASES.items()):
            try:
                outputs = answered(model, inputs)
            except Exception as error:  # whatever ONNX Runtime says of a case that it does not take
                left_out.append((name, str(error).replace("\n", " ")[:150]))
                continue
            for info, value in zip(model.graph.output, outputs):
                info.CopyFrom(helper.make_tensor_value_info(info.name, helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim))
            write(f"node/{name}/model.onnx", model.SerializeToString())
            for kind, values in (("input", inputs.values()), ("output", outputs)):
                for index, value in enumerate(values):
                    write(f"node/{name}/test_data_set_0/{kind}_{index}.pb", numpy_helper.from_array(np.asarray(value)).SerializeToString())
    for name, why in left_out:
        print(f"ONNX Runtime does not take {name}: {why}", file=sys.stderr)
    print(f"{len(CASES) - len(left_out)} cases, {len(left_out)} left out", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
