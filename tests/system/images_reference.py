"""What the steps of models/templates give with ONNX Runtime, NumPy and Pillow.

    images_reference.py SHARED TEMPLATE FOLDER PHOTO...

One JSON object: photo -> {index, second, ahead} or a list of boxes. The decoded photos go into FOLDER as PNG: who reads these has the same
pixels. TEMPLATE may be `pixels`: then it is photo -> name of a resize -> the values of the 40 x 24 pixels.
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

MODELS = {
    "mobilenet-v2": "coral-quant/mobilenet_v2_1.0_224_qdq.onnx",
    "ultraface": "ultraface/version-RFB-320.onnx",
    "yunet": "yunet/yunet_n_320_320.onnx",
    "fastestdet": "fastestdet/FastestDet.onnx",
}


def nms(boxes, most):
    """Greedy, within a class; boxes are (class, score, left, top, right, bottom)."""
    kept = []
    for box in sorted(boxes, key=lambda box: -box[1]):
        if all(box[0] != other[0] or iou(box[2:], other[2:]) <= most for other in kept):
            kept.append(box)
    return kept


def iou(a, b):
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    common = max(across, 0) * max(down, 0)
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    union = area(a) + area(b) - common
    return common / union if union > 0 else 0.0


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mobilenet(session, image):
    pixels = np.asarray(image.resize((224, 224), Image.BILINEAR))
    scores = session.run(None, {"input": pixels[None]})[0][0].astype(float)
    best, second = scores.argsort(kind="stable")[::-1][:2].tolist()
    return {"index": best, "second": second, "ahead": (scores[best] - scores[second]) / scores.sum()}


def ultraface(session, image):
    width, height = image.size
    pixels = np.asarray(image.resize((320, 240), Image.BILINEAR), dtype=np.float32)
    pixels = ((pixels - 127) / 128).transpose(2, 0, 1)[None]
    scores, boxes = session.run(None, {"input": pixels})
    edges = boxes[0].astype(float) * [width, height, width, height]
    found = [(0, float(s), *b) for s, b in zip(scores[0, :, 1], edges) if s >= 0.2]
    return shown(nms(found, 0.3), 0.7, image)


def yunet(session, image):
    scale = min(320 / image.width, 320 / image.height)
    size = (max(1, int(image.width * scale + 0.5)), max(1, int(image.height * scale + 0.5)))
    canvas = np.zeros((320, 320, 3), np.float32)
    canvas[: size[1], : size[0]] = np.asarray(image.resize(size, Image.BILINEAR))
    pixels = canvas[:, :, ::-1].transpose(2, 0, 1)[None]
    names = [output.name for output in session.get_outputs()]
    out = dict(zip(names, session.run(None, {"input": np.ascontiguousarray(pixels)})))
    found = []
    for stride in (8, 16, 32):
        columns = 320 // stride
        cls, obj, bbox = (out[f"{kind}_{stride}"][0].astype(float) for kind in ("cls", "obj", "bbox"))
        score = np.sqrt(cls.clip(0, 1) * obj.clip(0, 1))[:, 0]
        for cell in np.nonzero(score >= 0.05)[0]:
            row, column = divmod(int(cell), columns)
            dx, dy, dw, dh = bbox[cell]
            x, y = (column + dx) * stride, (row + dy) * stride
            w, h = np.exp(dw) * stride, np.exp(dh) * stride
            edges = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
            back = [image.width / size[0], image.height / size[1]] * 2
            found.append((0, float(score[cell]), *(edges * back)))
    return shown(nms(found, 0.3), 0.6, image)


def fastestdet(session, image):
    pixels = np.asarray(image.resize((352, 352), Image.BOX), dtype=np.float32)[:, :, ::-1]
    pixels = (pixels * np.float32(0.003921569)).transpose(2, 0, 1)[None]
    output = session.run(None, {"input.1": np.ascontiguousarray(pixels)})[0][0].astype(float)
    channels, rows, columns = output.shape
    found = []
    for row in range(rows):
        for column in range(columns):
            cell = output[:, row, column]
            best = int(cell[5:].argmax())
            score = cell[0] * cell[5 + best]
            if score < 0.05:
                continue
            x, y = (column + np.tanh(cell[1])) / columns, (row + np.tanh(cell[2])) / rows
            w, h = sigmoid(cell[3]), sigmoid(cell[4])
            edges = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * ([image.width, image.height] * 2)
            found.append((best, float(score), *edges))
    return shown(nms(found, 0.45), 0.4, image)


def shown(boxes, least, image):
    """As Picket shows them; those near the threshold too, for whoever compares."""
    out = []
    for index, score, left, top, right, bottom in boxes:
        left, right = np.clip([left, right], 0, image.width)
        top, bottom = np.clip([top, bottom], 0, image.height)
        if right > left and bottom > top and score >= least - 0.1:
            out.append({"index": index, "confidence": score, "x": left, "y": top, "w": right - left, "h": bottom - top})
    return out


def nearest(image, size):
    """The pixel that holds the middle. Pillow sums up rounded steps, and where the middle falls on an edge it may take the one before."""
    columns, rows = ((2 * np.arange(to) + 1) * of // (2 * to) for of, to in zip(image.size, size))
    return np.asarray(image)[rows][:, columns]


def pixels(_session, image):
    size = (40, 24)
    scale = min(size[0] / image.width, size[1] / image.height)
    inner = tuple(max(1, int(side * scale + 0.5)) for side in image.size)
    boxed = Image.new("RGB", size, (114, 0, 200))
    boxed.paste(image.resize(inner, Image.BILINEAR), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    ways = {
        "stretch": image.resize(size, Image.BILINEAR),
        "area": image.resize(size, Image.BOX),
        "nearest": nearest(image, size),
        "fit": boxed,
        "fill": ImageOps.fit(image, size, Image.BILINEAR),
    }
    return {name: np.asarray(way).flatten().tolist() for name, way in ways.items()}


def main(shared, template, folder, photos):
    onnxruntime.set_default_logger_severity(3)
    steps = {"mobilenet-v2": mobilenet, "ultraface": ultraface, "yunet": yunet, "fastestdet": fastestdet, "pixels": pixels}
    session = None
    if template in MODELS:
        model = f"{shared}/models/{MODELS[template]}"
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    answers = {}
    for photo in photos:
        image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
        image.save(pathlib.Path(folder) / f"{pathlib.Path(photo).name}.png", compress_level=1)
        answers[photo] = steps[template](session, image)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
