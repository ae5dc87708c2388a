"""Per-concept results with a known slope: what a fit is checked against.

Everything that makes real results hard is in them: datasets with a level and a slope of their own,
concepts that differ for reasons other than frequency, few test images, counts of zero, and counts
with an error.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.curves.fit_data import Z90
from conceptaudit.curves.statistics import FloatArray
from conceptaudit.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How simulated results come about."""

    n_datasets: int = 16
    slope: float = 0.06  # accuracy per decade of log10(1 + count), in the mean over datasets
    intercept: float = 0.3  # accuracy of a concept with a count of zero, likewise
    level_sd: float = 0.08  # how much datasets differ in level and in slope
    slope_sd: float = 0.02
    # of two concepts' images within a concept (beta-binomial), in [0, 1): 0 leaves the number of
    # test images as the only noise
    correlation: float = 0.15
    # decades: mean log frequency, its spread within and between datasets; what falls below zero is
    # a count of zero
    x_mean: float = 2.0
    x_sd: float = 1.3
    x_between: float = 0.6
    absent: float = 0.0  # share of concepts that do not occur, whatever the others do
    # standard deviation of the error of a count, in decades; 0 for exact counts
    count_error: float = 0.3

    def __post_init__(self) -> None:
        if self.n_datasets < 1 or not 0 <= self.correlation < 1:
            raise ConfigError(
                "A simulated world needs at least one dataset and a correlation in [0, 1). "
                f"Got {self.n_datasets} and {self.correlation} instead."
            )


def simulate(world: World, *, seed: int) -> pd.DataFrame:
    """Draw the results of one model.

    ``dataset, concept, true_count, true_accuracy, true_slope`` (of its dataset), ``count,
    count_low, count_high, n_images, n_correct, accuracy``: 15 to 250 concepts per dataset with 10
    to 200 images each. `count` carries the error that the ends of its 90 % interval tell of.
    """
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.uniform(np.log(15), np.log(250), world.n_datasets)).astype(int)
    dataset = np.repeat(np.arange(world.n_datasets), sizes)
    n = len(dataset)
    centre = rng.normal(world.x_mean, world.x_between, world.n_datasets)[dataset]
    true = np.floor(10.0 ** np.maximum(rng.normal(centre, world.x_sd), 0.0) - 1.0 + 1e-9)
    if world.absent:
        true = np.where(rng.random(n) < world.absent, 0.0, true)
    level = rng.normal(world.intercept, world.level_sd, world.n_datasets)[dataset]
    slope = rng.normal(world.slope, world.slope_sd, world.n_datasets)[dataset]
    expected = np.clip(level + slope * np.log10(1.0 + true), 0.001, 0.999)
    n_images = np.round(np.exp(rng.uniform(np.log(10), np.log(200), n))).astype(int)
    rate = _concept_rates(expected, world.correlation, rng)
    n_correct = rng.binomial(n_images, rate)
    count = np.round(true * 10.0 ** rng.normal(0.0, world.count_error, n))
    reach = 10.0 ** (Z90 * world.count_error)
    return pd.DataFrame(
        {
            "dataset": [f"set {index:02}" for index in dataset],
            "concept": [f"concept {index}" for index in range(n)],
            "true_count": true,
            "true_accuracy": rate,
            "true_slope": slope,
            "count": count,
            "count_low": count / reach if world.count_error else np.nan,
            "count_high": count * reach if world.count_error else np.nan,
            "n_images": n_images,
            "n_correct": n_correct,
            "accuracy": n_correct / n_images,
        }
    )


def _concept_rates(
    expected: FloatArray, correlation: float, rng: np.random.Generator
) -> FloatArray:
    """Rates of single concepts about what is expected of them, never biased."""
    if correlation == 0:
        return expected
    size = (1 - correlation) / correlation
    return rng.beta(expected * size, (1 - expected) * size)
