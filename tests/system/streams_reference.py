"""What ONNX Runtime and numpy make of the streams of tests/system/streams.rs. Writes JSON to standard output.

silero MODEL WAV FRESH...   probabilities of a stream of 512-sample chunks that begins anew at these chunks (`a:b` ends before b)
dtln MODEL1 MODEL2 WAV N OUT.npz   inputs and outputs of both networks for N steps of 128 samples
autoencoder MODEL FRAMES    mean squared errors over windows of 5 frames; SCALES (4 numbers) for a quantised model
"""

import json
import sys
import wave

import numpy as np
import onnxruntime


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def samples(path):
    with wave.open(path) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


def silero(model, wav, *parts):
    run, sound, found = session(model), samples(wav), []
    for part in parts:
        first, end = (int(number) for number in part.split(":"))
        context, state = np.zeros(64, np.float32), np.zeros((2, 1, 128), np.float32)
        for chunk in range(first, end):
            new = sound[chunk * 512 : (chunk + 1) * 512]
            x = np.concatenate([context, new])[None]
            probability, state = run.run(None, {"input": x, "state": state, "sr": np.array(16000, np.int64)})
            context = new[-64:]
            found.append(float(probability[0, 0]))
    return found


def dtln(first, second, wav, steps, out):
    first, second, sound, steps = session(first), session(second), samples(wav), int(steps)
    states = [np.zeros((1, 2, 128, 2), np.float32) for _ in range(2)]
    block = np.zeros(512, np.float32)
    rows = {"magnitude": [], "mask": [], "estimate": [], "block": []}
    for step in range(steps):
        block = np.concatenate([block[128:], sound[step * 128 : (step + 1) * 128]])
        spectrum = np.fft.rfft(block)
        magnitude = np.abs(spectrum).astype(np.float32).reshape(1, 1, -1)
        mask, states[0] = first.run(None, {"input_2": magnitude, "input_3": states[0]})
        estimate = np.fft.irfft(magnitude * mask * np.exp(1j * np.angle(spectrum))).astype(np.float32).reshape(1, 1, -1)
        clean, states[1] = second.run(None, {"input_4": estimate, "input_5": states[1]})
        for name, row in zip(rows, (magnitude, mask, estimate, clean)):
            rows[name].append(row.reshape(-1))
    np.savez(out, **{name: np.stack(row) for name, row in rows.items()})
    return steps


def autoencoder(model, frames, *scales):
    run, frames = session(model), np.fromfile(frames, np.float32).reshape(-1, 128)
    errors = []
    for start in range(len(frames) - 4):
        x = frames[start : start + 5].reshape(1, 640)
        if not scales:
            y = run.run(None, {"input_1": x})[0]
            errors.append(np.mean((x.astype(np.float64) - y) ** 2))
            continue
        a, b, c, d = (float(number) for number in scales)
        code = np.clip(np.round(x / np.float32(a)) + b, -128, 127).astype(np.int8)
        y = run.run(None, {"input_1": code})[0]
        errors.append(np.mean(((code.astype(np.float64) - b) * a - (y.astype(np.float64) - d) * c) ** 2))
    return [float(np.mean(errors)), len(errors)]


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print(json.dumps({"silero": silero, "dtln": dtln, "autoencoder": autoencoder}[what](*arguments)))
