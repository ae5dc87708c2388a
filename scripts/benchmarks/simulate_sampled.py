"""Slopes from the counts of a sample, simulated: their bias and how often intervals hold.

    python scripts/benchmarks/simulate_sampled.py [--repetitions 250] [--ways sampled]

Accuracy is linear in log10(1 + count in the whole); counts are those of a sample of 0.1 %, 1 % or
10 % of it (binomial), zeros included. *raw* takes them as they are, *whole* is the fit to the full
counts, *sampled* what `fit --share` does; every line draws worlds of its own. Bias is in
per cent of the true slope, coverage that of 90 % intervals, ± one Monte-Carlo standard error.
"""

import argparse
import json

import numpy as np
import pandas as pd

from conceptaudit.curves import intervals
from conceptaudit.curves.count_errors import expected_counts
from conceptaudit.curves.families import Estimator, family_named
from conceptaudit.curves.fit_data import fit_data_of
from conceptaudit.curves.intervals import line_fit
from conceptaudit.curves.simulated import World, simulate

SHARES = (0.001, 0.01, 0.1)
WORLDS = {
    "default": World(count_error=0.0),
    "frequent": World(count_error=0.0, x_mean=4.0, intercept=0.2),
    "40 % absent": World(count_error=0.0, x_mean=3.5, absent=0.4),
    "wide": World(count_error=0.0, x_mean=3.0, x_sd=2.0),
}


def slopes(
    world: World, share: float, seed: int, chosen: list[str]
) -> dict[str, tuple[float, float, float]]:
    """Fit one simulated model in the ways chosen: slope and the ends of its interval."""
    table = simulate(world, seed=seed)
    rng = np.random.default_rng(seed)
    counted = rng.binomial(table["true_count"].astype(np.int64), share).astype(np.float64)
    dataset = pd.factorize(table["dataset"], sort=True)[0]
    expected = expected_counts(counted, dataset, share)
    ways = {
        "whole": (table["true_count"].to_numpy(), "log1p"),
        "raw": (counted, "log1p"),
        "sampled": (expected.count, "hurdle"),
    }
    found = {}
    for name in chosen:
        counts, policy = ways[name]
        rows = fit_data_of(
            table.assign(
                count=counts,
                count_low=np.nan,
                count_high=np.nan,
                counted=counts if name == "whole" else counted,
            ),
            policy,
        )
        estimator = Estimator(family=family_named("partial-pooling"))
        line, _ = line_fit(rows, estimator.fit(rows), estimator, 0.9, rng)
        found[name] = (line.slope, line.slope_low, line.slope_high)
    return found


def main() -> None:
    """Print one line per world and share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=250)
    parser.add_argument("--ways", nargs="+", default=["whole", "raw", "sampled"])
    given = parser.parse_args()
    repetitions = given.repetitions
    # the bootstrap of the slope plays no part here
    intervals.N_RESAMPLES = 10
    for position, (title, world) in enumerate(WORLDS.items()):
        for share in SHARES:
            # seeds of their own: with the same ones an unlucky draw would stand in every line
            seeds = np.random.SeedSequence([position, int(1 / share)]).generate_state(repetitions)
            runs = [slopes(world, share, int(seed), given.ways) for seed in seeds]
            row: dict[str, object] = {"world": title, "share": share}
            for way in runs[0]:
                value, low, high = np.array([run[way] for run in runs]).T
                bias = 100 * (value / world.slope - 1)
                held = (low <= world.slope) & (world.slope <= high)
                error = bias.std() / np.sqrt(repetitions)
                row[way] = f"{bias.mean():+.1f}% ± {error:.1f}, {held.mean():.3f}"
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
