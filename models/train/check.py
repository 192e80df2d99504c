"""Check the committed bundles from their files alone: checksums, golden vectors, test accuracy.

Knows nothing of the training: it reads what the daemon reads. The hydraulic
accuracy needs the data, so only `train_hydraulic.py` can measure it again.
"""

import hashlib
import sys
import tomllib
from pathlib import Path

import numpy as np

from bundle import apply_prepare, run_jobs, session
from decision import measure

MODELS = Path(__file__).resolve().parents[1]


def check_bundle(folder):
    """Load one bundle, compare checksum, shapes and golden vectors; return (manifest, model)."""
    manifest = tomllib.loads((folder / "bundle.toml").read_text(encoding="utf-8"))
    model = (folder / manifest["model"]["file"]).read_bytes()
    if hashlib.sha256(model).hexdigest() != manifest["model"]["sha256"]:
        sys.exit(f"{folder.name}: model.onnx is not the file of bundle.toml")

    runtime = session(model)
    job = np.zeros(manifest["input"][0]["shape"], np.float32)
    name = runtime.get_inputs()[0].name
    answer = runtime.run(None, {name: apply_prepare(manifest["prepare"], job)})[0]
    if list(answer.shape) != manifest["output"][0]["shape"]:
        sys.exit(f"{folder.name}: output shape {answer.shape} is not the one of bundle.toml")

    worst = 0.0
    for golden in manifest["golden"]:
        arrays = np.load(folder / golden["file"])
        expected = arrays["out0"]
        error = np.abs(runtime.run(None, {name: arrays["in0"]})[0] - expected).max() / np.ptp(expected)
        if error > golden["tolerance"]:
            sys.exit(f"{folder.name}: {golden['file']} is off by {error:.2e}")
        worst = max(worst, error)
    print(f"{folder.name}: {len(manifest['golden'])} golden vectors, worst error {worst:.1e}")
    return manifest, model


def main():
    table = np.loadtxt(MODELS / "digits" / "test.csv", delimiter=",", skiprows=4, dtype=int)
    labels, jobs = table[:, 0], table[:, 1:].astype(np.float32)
    for folder in sorted(path.parent for path in MODELS.glob("*/bundle.toml")):
        manifest, model = check_bundle(folder)
        if folder.name.startswith("digits"):
            logits = run_jobs(model, manifest["prepare"], jobs)
            measured = measure(logits, labels, **manifest["decision"])
            print(f"{folder.name}: {measured.sentence()}")
            if not manifest["card"]["measured"].startswith(measured.sentence()):
                sys.exit(f"{folder.name}: the card says something else")


if __name__ == "__main__":
    main()
