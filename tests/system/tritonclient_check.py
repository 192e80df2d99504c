"""Asks a Picket about the test digits by tritonclient: JSON and binary, in and out.

  python tritonclient_check.py HOST:PORT TEST_CSV     prints "all right", or raises
"""
import sys
import time

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

address, path = sys.argv[1:]
rows = [line for line in open(path) if not line.startswith("#")][1:]
table = np.array([[int(n) for n in row.split(",")] for row in rows])
labels, pixels = table[:, 0], table[:, 1:].astype(np.float32)

client = triton.InferenceServerClient(address)
limit = time.monotonic() + 20
while True:
    try:
        if client.is_server_ready():
            break
    except OSError:
        pass
    assert time.monotonic() < limit, "the server is not ready in time"
assert client.is_server_live() and client.is_model_ready("digits")
metadata = client.get_model_metadata("digits")
assert [i["name"] for i in metadata["inputs"]] == ["pixels"], metadata
assert metadata["inputs"][0]["datatype"] == "FP32" and metadata["inputs"][0]["shape"] == [1, 64], metadata


def ask(values, binary_in, binary_out, model="digits"):
    tensor = triton.InferInput("pixels", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values, binary_data=binary_in)
    wanted = triton.InferRequestedOutput("logits", binary_data=binary_out)
    return client.infer(model, [tensor], outputs=[wanted])


for binary_in in (False, True):
    for binary_out in (False, True):
        right = 0
        for label, values in zip(labels[:100], pixels[:100]):
            answer = ask(values.reshape(1, 64), binary_in, binary_out)
            logits = answer.as_numpy("logits")
            assert logits.shape == (1, 10) and logits.dtype == np.float32
            parameters = answer.get_response()["parameters"]
            assert parameters["label"] == str(int(logits.argmax())), parameters
            covered = parameters["s"] >= parameters["lambda"]
            # Below the threshold there is nobody to ask here.
            reason = "LOCAL_CERTIFIED" if covered else "LOCAL_POLICY_NO_EGRESS"
            assert (parameters["certified"], parameters["reason"]) == (covered, reason), parameters
            right += int(logits.argmax()) == label
        assert right >= 85, f"{right} of 100 right (binary in {binary_in}, out {binary_out})"

for values, model, code in ((np.zeros((1, 63), np.float32), "digits", "input/shape-mismatch"), (pixels[:1], "nothing", "model/unknown")):
    try:
        ask(values, True, True, model)
        raise SystemExit(f"no error for {code}")
    except InferenceServerException as error:
        assert code in str(error), error
print("all right")
