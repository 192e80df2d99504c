"""ONNX Runtime's side of tests/bench/models/run and arm: the same as main.rs, one thread.  peer.py SHARED MODEL [N]"""
import json, pathlib, sys, time


def first(shared, model):
    # The input's formula and the session's options are those of tools/ort_bench.py.
    import numpy as np, onnxruntime as ort
    ort.set_default_logger_severity(4)
    entry = next(e for e in json.load(open(shared / "golden/spec.json")) if e["model"] == model)
    feeds = {i["name"]: tensor(np, i) for i in entry["inputs"]}
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    start = time.perf_counter()
    session = ort.InferenceSession(str(shared / model), options, providers=["CPUExecutionProvider"])
    load = time.perf_counter() - start
    start = time.perf_counter()
    session.run(None, feeds)
    ran = time.perf_counter() - start
    print(json.dumps({"load_ms": round(1e3 * load, 2), "first_ms": round(1e3 * ran, 2), "rss_kib": peak_rss_kib(),
                      "version": ort.__version__}), flush=True)
    return session, feeds


def tensor(np, spec):
    shape, dtype = spec["shape"], spec["dtype"]
    n = int(np.prod(shape)) if shape else 1
    if spec.get("value") == "arange":
        return np.arange(n).astype(dtype).reshape(shape)
    if "value" in spec:
        return np.full(shape, spec["value"], dtype)
    u = (np.arange(n, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(1 << 32)) / float(1 << 32)
    if dtype.startswith("float"):
        return (u - 0.5).astype(dtype).reshape(shape)
    if dtype in ("uint8", "int8"):
        return (np.floor(256 * u) - (128 if dtype == "int8" else 0)).astype(dtype).reshape(shape)
    if dtype == "bool":
        return np.zeros(shape, bool)
    return np.floor(spec.get("N", 2) * u).astype(dtype).reshape(shape)


def peak_rss_kib():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main():
    session, feeds = first(pathlib.Path(sys.argv[1]), sys.argv[2])
    if len(sys.argv) > 3:
        for _ in range(int(sys.argv[3])):
            session.run(None, feeds)
        return
    for line in sys.stdin:
        end = time.perf_counter() + int(line) / 1e3
        times = []
        while time.perf_counter() < end:
            start = time.perf_counter()
            session.run(None, feeds)
            times.append(round(1e6 * (time.perf_counter() - start), 1))
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
