"""Train `digits` and `digits-large` on scikit-learn's handwritten digits.

Two models of one task, so that a demo can show escalation: the small one
answers what it is sure of and sends the rest to the large one. Both are judged
on the same test split, which is also written out as `digits/test.csv`. The split
that `picket calibrate` certifies them with is `digits/certify.csv`.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from bundle import Bundle, Tensor, graph_model, run_jobs, write_bundle
from decision import fit_temperature, fit_threshold, measure

MODELS = Path(__file__).resolve().parents[1]
PIXELS = Tensor("pixels", (1, 64))
LOGITS = Tensor("logits", (1, 10))
PREPARE = [{"step": "scale", "factor": 0.0625}]

# Neighbouring digits may be by the same writer, so runs of them stay together.
SPLIT_SEED = 7
BLOCK_LENGTH = 30
TEST_BLOCKS = 10
CERTIFY_BLOCKS = 10
CALIBRATION_BLOCKS = 8

# 4-fold cross-validation over the blocks of the training split puts this one at 92 %:
# not the best small network, but one that leaves something to escalate.
SMALL_HIDDEN = 12
SMALL_EPOCHS = 40
# Width and ridge by the same cross-validation; the number of centres keeps the file near 0.5 MB.
LARGE_CENTRES = 1800
LARGE_GAMMA = 0.2
LARGE_RIDGE = 0.3
LARGE_VARIANTS = 10
# Target of the right class: puts the fitted temperature near 1.
LARGE_TARGET = 10.0

ATTRIBUTION = (
    "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning "
    "Repository, doi 10.24432/C50P49; as shipped with scikit-learn (load_digits)"
)
LICENCE = "CC BY 4.0"


def split_blocks(count):
    """Boolean masks (train, calibration, certify, test) that never cut a block of neighbours."""
    block = np.arange(count) // BLOCK_LENGTH
    order = np.random.default_rng(SPLIT_SEED).permutation(block.max() + 1)
    ends = np.cumsum([TEST_BLOCKS, CERTIFY_BLOCKS, CALIBRATION_BLOCKS])
    test, certify, calibration, train = (np.isin(block, part) for part in np.split(order, ends))
    return train, calibration, certify, test


def distorted(images, variants, rng):
    """Every image `variants` times, slightly turned, sheared, scaled and shifted."""
    centre = np.array([3.5, 3.5])
    result = []
    for image in np.repeat(images.reshape(-1, 8, 8), variants, axis=0):
        angle = rng.uniform(-0.26, 0.26)
        scale = rng.uniform(0.88, 1.14, 2)
        shear = rng.uniform(-0.2, 0.2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(1 / scale)
        offset = centre - matrix @ centre + rng.uniform(-0.8, 0.8, 2)
        result.append(affine_transform(image, matrix, offset=offset, order=1).ravel())
    return np.array(result)


def train_small(images, labels):
    """One hidden layer, stopped early on purpose: a local model with something left to ask."""
    network = MLPClassifier(
        (SMALL_HIDDEN,), learning_rate_init=3e-3, max_iter=SMALL_EPOCHS, random_state=1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(images, labels)
    nodes = [
        ("Gemm", ["pixels", "w1", "b1"], ["hidden"], {}),
        ("Relu", ["hidden"], ["active"], {}),
        ("Gemm", ["active", "w2", "b2"], ["logits"], {}),
    ]
    weights = dict(zip(["w1", "w2"], network.coefs_)) | dict(zip(["b1", "b2"], network.intercepts_))
    return graph_model("digits", nodes, weights, PIXELS, LOGITS)


def train_large(images, labels):
    """Kernel least squares: Gaussian bumps on real and distorted digits, one ridge fit.

    exp(-gamma |x - c|^2) is exported with the square multiplied out, so that the
    distance to all centres is one MatMul.
    """
    rng = np.random.default_rng(3)
    variants = distorted(images, LARGE_VARIANTS, rng)
    cases = np.concatenate([images, variants])
    targets = LARGE_TARGET * np.eye(10)[np.concatenate([labels, labels.repeat(LARGE_VARIANTS)])]
    chosen = rng.permutation(len(variants))[: LARGE_CENTRES - len(images)]
    centres = np.concatenate([images, variants[chosen]])
    centre_norms = (centres**2).sum(axis=1)

    def bumps(x):
        squared = (x**2).sum(axis=1)[:, None] + centre_norms - 2 * x @ centres.T
        return np.exp(-LARGE_GAMMA * squared)

    response = bumps(cases)
    normal = response.T @ response + LARGE_RIDGE * bumps(centres) + 1e-6 * np.eye(len(centres))
    weights = {
        "centres": 2 * LARGE_GAMMA * centres.T,
        "centre_norms": LARGE_GAMMA * centre_norms[None],
        "gamma": np.array([LARGE_GAMMA]),
        "pixel_axis": np.array([1]),
        "bump_weights": np.linalg.solve(normal, response.T @ targets),
    }
    nodes = [
        ("MatMul", ["pixels", "centres"], ["overlap"], {}),
        ("Mul", ["pixels", "pixels"], ["squares"], {}),
        ("ReduceSum", ["squares", "pixel_axis"], ["norm"], {"keepdims": 1}),
        ("Mul", ["norm", "gamma"], ["scaled_norm"], {}),
        ("Sub", ["overlap", "centre_norms"], ["overlap_less_centres"], {}),
        ("Sub", ["overlap_less_centres", "scaled_norm"], ["exponent"], {}),
        ("Exp", ["exponent"], ["bumps"], {}),
        ("MatMul", ["bumps", "bump_weights"], ["logits"], {}),
    ]
    return graph_model("digits-large", nodes, weights, PIXELS, LOGITS)


def finish(name, model, local_share, training, known_limits, jobs, labels, masks):
    """Calibrate, measure on the test split and write the bundle."""
    _, calibration, _, test = masks
    logits = run_jobs(model, PREPARE, jobs[calibration])
    temperature = fit_temperature(logits, labels[calibration])
    threshold = fit_threshold(logits, temperature, local_share)
    test_logits = run_jobs(model, PREPARE, jobs[test])
    measured = measure(test_logits, labels[test], temperature, threshold)
    card = {
        "intended_use": "Demonstration and tests of Picket: tell the digit of one 8x8 image with pixel values 0 to 16.",
        "training_data": training,
        "data_licence": LICENCE,
        "attribution": ATTRIBUTION,
        "known_limits": known_limits,
        "measured": f"{measured.sentence()}. Split by blocks of {BLOCK_LENGTH} neighbours, seed {SPLIT_SEED}. "
        f"The threshold is the top probability that {local_share:.0%} of the {calibration.sum()} calibration cases reach; "
        "temperature by cross-entropy on the same cases.",
        "risk_class": "minimal",
        "responsible": "The Picket developers",
    }
    bundle = Bundle(
        name, 1, [str(digit) for digit in range(10)], PIXELS, LOGITS, PREPARE, temperature, threshold, card
    )
    golden = jobs[test][np.linspace(0, test.sum() - 1, 5).astype(int)]
    write_bundle(MODELS / name, bundle, model, golden)
    print(f"{name}: {len(model)} bytes, T {temperature}, threshold {threshold}; {measured.sentence()}")


def write_csv(path, split, jobs, labels):
    """A split as the demo sends it and as `picket calibrate` reads it: one raw digit a row."""
    lines = [
        f"# {split} split of models/digits and models/digits-large: {len(labels)} digits that had no part in the training.",
        f"# Data: {ATTRIBUTION}.",
        f"# Licence: {LICENCE}, https://creativecommons.org/licenses/by/4.0/. Changes: a selection of the rows, label first.",
        ",".join(["label", *(f"p{pixel}" for pixel in range(64))]),
        *(",".join(map(str, [label, *row])) for label, row in zip(labels, jobs.astype(int))),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    digits = load_digits()
    jobs, labels = digits.data.astype(np.float32), digits.target
    masks = split_blocks(len(jobs))
    train, calibration, certify, test = masks
    print(f"train {train.sum()}, calibration {calibration.sum()}, certify {certify.sum()}, test {test.sum()}")
    images = jobs[train].astype(np.float64) * PREPARE[0]["factor"]
    limits = (
        "8x8 images of one collection of 1990s pen strokes; no other source was tried. Blocks of neighbours are held "
        "together, but a writer fills more than one block, so new writers are likely harder than the measured figure. "
        "Anything that is not a digit still gets a digit."
    )
    with threadpool_limits(1):  # more threads may sum in another order: other bytes
        small = train_small(images, labels[train])
        large = train_large(images, labels[train])
    finish(
        "digits", small, 0.75,
        f"{train.sum()} digits of the training split, {SMALL_EPOCHS} epochs: few on purpose, so that the local model leaves cases to escalate.",
        limits, jobs, labels, masks,
    )
    finish(
        "digits-large", large, 0.95,
        f"{train.sum()} digits of the training split and {LARGE_VARIANTS} distorted variants of each (turned, sheared, scaled, shifted).",
        limits, jobs, labels, masks,
    )
    write_csv(MODELS / "digits" / "certify.csv", "Certify", jobs[certify], labels[certify])
    write_csv(MODELS / "digits" / "test.csv", "Test", jobs[test], labels[test])


if __name__ == "__main__":
    main()
