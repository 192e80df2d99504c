"""Trains a digits model for MLServer and writes its folder: FOLDER PORT GRPC_PORT METRICS_PORT TEST_CSV.

The digits of the test split have no part in the training.
"""

import json
import pathlib
import sys

import joblib
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier

folder, ports, test = pathlib.Path(sys.argv[1]), [int(port) for port in sys.argv[2:5]], pathlib.Path(sys.argv[5])

rows = [line for line in test.read_text().splitlines() if not line.startswith("#")][1:]
held_out = {tuple(float(pixel) for pixel in row.split(",")[1:]) for row in rows}
digits = load_digits()
kept = [place for place, pixels in enumerate(digits.data) if tuple(pixels) not in held_out]
assert len(kept) + len(held_out) == len(digits.data), "the test split is a part of the digits"

for name, labels in [("digits-trees", digits.target), ("digits-words", digits.target.astype(str))]:
    # One thread, so that the seed decides everything.
    model = ExtraTreesClassifier(n_estimators=100, random_state=7, n_jobs=1).fit(digits.data[kept], labels[kept])
    (folder / name).mkdir()
    joblib.dump(model, folder / name / "model.joblib")
    settings = {
        "name": name,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": "v1"},
    }
    (folder / name / "model-settings.json").write_text(json.dumps(settings))

settings = {
    "host": "127.0.0.1",
    "http_port": ports[0],
    "grpc_port": ports[1],
    "metrics_port": ports[2],
    # In this one process, which the test can end.
    "parallel_workers": 0,
    "debug": False,
}
(folder / "settings.json").write_text(json.dumps(settings))
