"""From logits to "answer here or ask upstream": temperature, threshold and their measurement.

Temperature and threshold are fitted on the calibration split, which neither
the training nor the final measurement has seen.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measured:
    """What a model does on held-out cases, in counts."""

    cases: int
    correct: int
    local: int
    local_wrong: int

    @property
    def accuracy(self):
        return self.correct / self.cases

    def sentence(self):
        """The words of `measured` in the card."""
        share = self.local / self.cases
        wrong = self.local_wrong / self.local if self.local else 0.0
        return (
            f"accuracy {self.accuracy:.3f} ({self.correct} of {self.cases} held-out cases); "
            f"at the threshold: share answered locally {share:.3f} ({self.local}), "
            f"wrong among them {wrong:.4f} ({self.local_wrong})"
        )


def softmax(logits, temperature):
    """Row-wise softmax(logits / temperature)."""
    scaled = np.asarray(logits, np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def fit_temperature(logits, labels):
    """The temperature with the least cross-entropy, from a fixed grid.

    The targets are smoothed to (n + 1) / (n + classes) as Platt did for two
    classes: without it, a calibration split without an error asks for zero.
    """
    cases, classes = logits.shape
    targets = np.full((cases, classes), 1 / (cases + classes))
    targets[np.arange(cases), labels] = (cases + 1) / (cases + classes)

    def loss(temperature):
        return -(targets * np.log(softmax(logits, temperature) + 1e-300)).sum()

    grid = np.round(np.geomspace(0.05, 20, 1200), 3)
    return float(min(grid, key=loss))


def fit_threshold(logits, temperature, local_share):
    """The top probability that `local_share` of the cases reach, rounded down to 4 digits."""
    top = softmax(logits, temperature).max(axis=1)
    return float(np.floor(np.quantile(top, 1 - local_share) * 1e4) / 1e4)


def measure(logits, labels, temperature, threshold):
    """Count right answers, local answers, and wrong ones among the local."""
    wrong = logits.argmax(axis=1) != labels
    local = softmax(logits, temperature).max(axis=1) >= threshold
    return Measured(
        len(labels), int((~wrong).sum()), int(local.sum()), int((wrong & local).sum())
    )
