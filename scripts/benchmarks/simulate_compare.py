"""Comparisons of two samples of one source, simulated: how often a difference is seen.

    python scripts/benchmarks/simulate_compare.py [--repetitions 20]

Rates of 2,000 concepts fall by Zipf's law from one in ten samples to one in a million. *Clustered*
samples come in clusters of five (captions of one image) that share each hit with probability 0.7,
and the dispersion of counts is estimated from the drawn samples, as `compare` does. Printed per
size of the two samples: the share of concepts with q of at most 0.05 (aim: 0.06), with p below 0.1
(0.1), the coverage of 90 % intervals, and whether p is below 0.1 exactly where the interval leaves
out 1.
"""

import argparse
import json

import numpy as np

from conceptaudit.frequency.intervals import poisson_interval
from conceptaudit.frequency.rate_ratios import (
    Counted,
    difference_p,
    false_discovery_rate,
    rate_ratio,
)
from conceptaudit.frequency.sides import dispersion_of

N_CONCEPTS = 2_000
CLUSTER, SHARED = 5, 0.7
SIZES = ((30_000, 30_000), (30_000, 3_000_000), (1_000, 10_000_000))
LEVEL = 0.9


def draw(
    rates: np.ndarray, n_samples: int, *, clustered: bool, rng: np.random.Generator
) -> Counted:
    """Draw the counts of one sample of the source, as an audit would hand them on."""
    if clustered:
        # Cluster of five: a hit is in each of its captions with probability SHARED, at least one.
        sizes = np.arange(1, CLUSTER + 1)
        weights = (
            np.array(
                [
                    np.prod(range(CLUSTER - k + 1, CLUSTER + 1)) / np.prod(range(1, k + 1))
                    for k in sizes
                ]
            )
            * SHARED**sizes
            * (1 - SHARED) ** (CLUSTER - sizes)
        )
        weights /= weights.sum()
        per_hit = float(weights @ sizes)
        clusters = rng.poisson(
            rates[:, None] * (n_samples / per_hit) * weights, (len(rates), CLUSTER)
        )
        count = (clusters @ sizes).astype(np.float64)
        dispersion = dispersion_of((clusters @ sizes**2).astype(np.float64), count)
    else:
        count = rng.poisson(rates * n_samples).astype(np.float64)
        dispersion = np.ones(len(rates))
    low, high = poisson_interval(count, LEVEL)
    return Counted(
        count=count, low=low, high=high, n_samples=n_samples, level=LEVEL, dispersion=dispersion
    )


def compare(sizes: tuple[int, int], *, clustered: bool, seed: int) -> dict[str, float]:
    """Compare two samples of one source once."""
    rng = np.random.default_rng(seed)
    rates = 0.1 * np.arange(1, N_CONCEPTS + 1) ** -1.5
    over, under = (draw(rates, n, clustered=clustered, rng=rng) for n in sizes)
    p = difference_p(over, under)
    _, low, high = rate_ratio(over, under)
    outside = (low > 1) | (high < 1)
    return {
        "share_q": float((false_discovery_rate(p) <= 0.05).mean()),
        "share_p": float((p < 1 - LEVEL).mean()),
        "coverage": float(1 - outside.mean()),
        "disagree": float(((p < 1 - LEVEL) != outside).mean()),
        "both_zero_different": float((p[(over.count == 0) & (under.count == 0)] < 1).sum()),
    }


def main() -> None:
    """Print one line per setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=20)
    repetitions = parser.parse_args().repetitions
    for sizes in SIZES:
        for clustered in (False, True):
            runs = [compare(sizes, clustered=clustered, seed=s) for s in range(repetitions)]
            means = {name: round(float(np.mean([r[name] for r in runs])), 4) for name in runs[0]}
            worst = round(max(r["share_q"] for r in runs), 4)
            print(json.dumps({"sizes": sizes, "clustered": clustered, **means, "worst_q": worst}))


if __name__ == "__main__":
    main()
