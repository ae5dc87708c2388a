"""Coverage of every interval that the tool prints, over repetitions of a law that is known.

Used by bench_truth.py. Counts are drawn from the lab's exact law of presence, shares from their
binomial law, accuracies from a line with known slope and binomial noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.curves import Curve, fit_curve, predict
from conceptaudit.frequency.intervals import poisson_interval, wilson_interval
from conceptaudit.lab import LabConfig, presence_probabilities
from conceptaudit.records import ACCURACY_COLUMNS, ConceptAccuracies, ConceptFrequencies

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BANDS = (
    ("below 3", 0.0, 3.0),
    ("3 to 30", 3.0, 30.0),
    ("30 to 300", 30.0, 300.0),
    ("300 or more", 300.0, np.inf),
)
"""Expected counts that are shown apart: a discrete interval is conservative where they are few."""

SLOPE, SPREAD = 0.11, 0.12
"""Accuracy per decade, and half the width of the uniform scatter of concepts and of test sets."""

DECADES, MIDDLE = (0.5, 5.0), 0.5
"""Range of log10 counts, and accuracy half way: no accuracy leaves [0, 1], the line stays one."""

FRACTION_COUNTED = 0.02
"""Share of the training data that is audited where frequencies come from a sample."""


def multiplicities(n: int, copied: float, rng: np.random.Generator) -> IntArray:
    """Draw how many originals occur once, twice, …: each copy repeats some earlier sample."""
    index = np.arange(n)
    is_copy = (rng.random(n) < copied) & (index > 0)
    root = np.where(is_copy, (rng.random(n) * index).astype(np.int64), index)
    while not np.array_equal(root, root[root]):
        root = root[root]
    return np.bincount(np.bincount(root, minlength=n)[root == index])[1:].astype(np.int64)


def draw_counts(p: FloatArray, n: int, copied: float, rng: np.random.Generator) -> IntArray:
    """Draw in how many of `n` samples each concept is, copies included."""
    groups = multiplicities(n, copied, rng)
    return sum(
        (times * rng.binomial(size, p) for times, size in enumerate(groups, start=1)),
        start=np.zeros(len(p), dtype=np.int64),
    )


def poisson_coverage(
    config: LabConfig, copied: float, repetitions: int, seed: int
) -> dict[str, float]:
    """Count how often the interval of a count holds the expected count, by expected count."""
    rng = np.random.default_rng(seed)
    p = presence_probabilities(config)
    p = p[p > 0]
    expected = config.n_samples * p
    inside = np.zeros(len(p))
    for _ in range(repetitions):
        low, high = poisson_interval(draw_counts(p, config.n_samples, copied, rng))
        inside += (low <= expected) & (expected <= high)
    shares = {
        name: inside[(expected >= low) & (expected < high)] / repetitions
        for name, low, high in BANDS
    }
    return {name: float(share.mean()) for name, share in shares.items() if len(share)}


def wilson_coverage(share: float, n: int, copied: float, repetitions: int, seed: int) -> float:
    """Count how often the interval of a share holds it, `n` samples with copies among them."""
    rng = np.random.default_rng(seed)
    inside = 0
    for _ in range(repetitions):
        found = int(draw_counts(np.array([share]), n, copied, rng)[0])
        low, high = wilson_interval(found, n)
        inside += low <= share <= high
    return inside / repetitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """How simulated accuracies come about.

    Parameters
    ----------
    title : str
    n_concepts, n_images : int
        Per evaluation set; test images per concept.
    n_datasets : int
        Evaluation sets; each has a level of its own if there are several.
    slope : float
        Accuracy per decade of frequency.
    counted : float
        Share of the training data that the frequencies are counted in.
    """

    title: str
    n_concepts: int = 320
    n_images: int = 50
    n_datasets: int = 1
    slope: float = SLOPE
    counted: float = 1.0

    def line(self, x: FloatArray) -> FloatArray:
        """Return the accuracy that the law expects at log10(1 + count)."""
        return MIDDLE + self.slope * (x - sum(DECADES) / 2)

    def tables(self, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Draw frequencies and accuracies."""
        n = self.n_concepts * self.n_datasets
        expected = 10 ** rng.uniform(*DECADES, n)
        dataset = np.repeat(np.arange(self.n_datasets), self.n_concepts)
        level = rng.uniform(-1, 1, self.n_datasets)[dataset] if self.n_datasets > 1 else 0.0
        scatter = SPREAD * (level + rng.uniform(-1, 1, n))
        correct = rng.binomial(self.n_images, self.line(np.log10(1 + expected)) + scatter)
        frequencies = pd.DataFrame(
            {
                "concept": [f"c{i}" for i in range(n)],
                "dataset": [f"set {d}" for d in dataset],
                "n_text": expected if self.counted == 1 else rng.poisson(expected * self.counted),
            }
        )
        accuracies = frequencies[["concept", "dataset"]].assign(
            model="m", pretraining="", metric="acc1", n_correct=correct, n_images=self.n_images
        )
        accuracies["accuracy"] = correct / self.n_images
        return frequencies, accuracies[list(ACCURACY_COLUMNS)]

    @property
    def correlation(self) -> float:
        """Pearson correlation of accuracy and log10(1 + count), from the law's moments."""
        x = np.log10(1 + 10 ** np.linspace(*DECADES, 20_001))
        scatter = SPREAD**2 / 3 * (1 if self.n_datasets == 1 else 2)
        noise = float((self.line(x) * (1 - self.line(x))).mean() - scatter) / self.n_images
        explained = self.slope**2 * float(x.var())
        return float(np.sqrt(explained / (explained + scatter + noise)))


LAWS = (
    Law(title="320 classes, one test set"),
    Law(title="40 classes, one test set", n_concepts=40),
    Law(title="20 test sets of 30 classes", n_concepts=30, n_datasets=20),
    Law(title="5 test sets of 60 classes", n_concepts=60, n_datasets=5),
    Law(title="320 classes, counted in a 2 % sample", counted=FRACTION_COUNTED),
    Law(title="320 classes, no effect of frequency", slope=0.0),
)


def fit_coverage(law: Law, repetitions: int, seed: int) -> dict[str, float]:
    """Count how often each interval of a fit and of its predictions holds what is true."""
    held: dict[str, list[float]] = {}
    for repetition in range(repetitions):
        rng = np.random.default_rng([seed, repetition])
        for name, inside in _one_fit(law, rng, repetition):
            held.setdefault(name, []).append(inside)
    return {name: float(np.nanmean(values)) for name, values in held.items()}


def _one_fit(law: Law, rng: np.random.Generator, seed: int) -> Iterator[tuple[str, float]]:
    frequencies, accuracies = law.tables(rng)
    n = len(accuracies)
    asked = np.isin(np.arange(n), rng.choice(n, n // 4, replace=False))
    curve = _fit(frequencies, accuracies[~asked], seed)
    line, binned = curve.fits[0].line, curve.fits[0].binned
    yield "slope", float(line.slope_low <= law.slope <= line.slope_high)
    yield "correlation r", float(line.r_low <= law.correlation <= line.r_high)
    if law.counted == 1:
        true = law.line(np.array(line.band_x))
        inside = (np.array(line.band_low) <= true) & (true <= np.array(line.band_high))
        yield "band of the line, per point", float(inside.mean())
    yield "prediction, held-out classes", _predicted(curve, frequencies[asked], accuracies[asked])
    if law.n_datasets > 1:
        last = (frequencies["dataset"] == f"set {law.n_datasets - 1}").to_numpy()
        curve = _fit(frequencies, accuracies[~last], seed)
        yield "prediction, new test set", _predicted(curve, frequencies[last], accuracies[last])
    if law.slope == 0 and np.isfinite(binned.r):
        inside = binned.r_shuffled_low <= binned.r <= binned.r_shuffled_high
        yield "r of bins within shuffled r", float(inside)


def _fit(frequencies: pd.DataFrame, accuracies: pd.DataFrame, seed: int) -> Curve:
    return fit_curve(
        ConceptFrequencies(frequencies),
        ConceptAccuracies(accuracies.reset_index(drop=True)),
        seed=seed,
    )


def _predicted(curve: Curve, frequencies: pd.DataFrame, accuracies: pd.DataFrame) -> float:
    """Return the share of concepts whose accuracy lies in its predicted interval."""
    rows = predict(curve, ConceptFrequencies(frequencies.reset_index(drop=True)))
    inside = accuracies["accuracy"].reset_index(drop=True).between(rows["low"], rows["high"])
    return float(inside.mean())
