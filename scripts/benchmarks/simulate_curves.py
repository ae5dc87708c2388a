"""Fit simulated results of known slope, many times over: bias and coverage of the intervals.

    python scripts/benchmarks/simulate_curves.py --repetitions 500

Each row is one world: number of datasets, with or without error in the counts. `bias` is the mean
estimate over the true slope, minus 1; `coverage` the share of 90 % intervals that hold the true
slope, with its Monte-Carlo standard error. Prints a table and one JSON line; the same arguments
give the same numbers.
"""

import argparse
import json
from dataclasses import replace

import numpy as np

from conceptaudit.curves.count_errors import calibrated
from conceptaudit.curves.families import Estimator, family_named
from conceptaudit.curves.fit_data import fit_data_of
from conceptaudit.curves.intervals import line_fit
from conceptaudit.curves.pooling import within_interval
from conceptaudit.curves.simulated import World, simulate
from conceptaudit.curves.statistics import within_slope

ESTIMATES = ("corrected", "naive", "loglinear", "within", "bootstrap")


def one(
    world: World, family: str, level: float, seed: int
) -> dict[str, tuple[float, float, float]]:
    """Estimate, low and high of each estimator in one simulated set of results."""
    table = simulate(world, seed=seed)
    rows = fit_data_of(table, "log1p")
    found = {}
    corrected, _ = calibrated(rows)
    rng = np.random.default_rng(seed)
    for name, chosen, kind in (
        ("corrected", corrected, family),
        ("naive", rows, family),
        ("loglinear", corrected, "loglinear"),
    ):
        estimator = Estimator(family=family_named(kind), seed=seed)
        line, _ = line_fit(chosen, estimator.fit(chosen), estimator, level, rng)
        found[name] = (line.slope, line.slope_low, line.slope_high)
        if name == "corrected":
            found["bootstrap"] = (line.slope, line.boot_low, line.boot_high)
    n = len(corrected.datasets)
    within = within_slope(corrected.x, corrected.y, corrected.dataset, n)
    found["within"] = (within, *within_interval(corrected, level))
    return found


def summary(world: World, family: str, repetitions: int, level: float) -> dict[str, object]:
    """Bias and coverage of each estimator in one world."""
    runs = [one(world, family, level, seed) for seed in range(repetitions)]
    result: dict[str, object] = {"n_datasets": world.n_datasets, "count_error": world.count_error}
    for name in ESTIMATES:
        values = np.array([run[name] for run in runs])
        held = (values[:, 1] <= world.slope) & (world.slope <= values[:, 2])
        share = float(held.mean())
        result[name] = {
            "bias": float(values[:, 0].mean() / world.slope - 1),
            "bias_se": float(values[:, 0].std(ddof=1) / np.sqrt(repetitions) / world.slope),
            "coverage": share,
            "coverage_se": float(np.sqrt(share * (1 - share) / repetitions)),
            "width": float(np.mean(values[:, 2] - values[:, 1])),
        }
    return result


def main() -> None:
    """Run all worlds and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--family", default="partial-pooling")
    parser.add_argument("--datasets", type=int, nargs="*", default=[4, 8, 14, 18])
    parser.add_argument("--level", type=float, default=0.9)
    arguments = parser.parse_args()
    base = World()
    worlds = [replace(base, n_datasets=n) for n in arguments.datasets]
    worlds.append(replace(base, n_datasets=16, count_error=0.0))
    results = []
    print(
        f"{'datasets':>8} {'error':>6}  {'estimate':<10} {'bias':>14} {'coverage':>15} {'width':>7}"
    )
    for world in worlds:
        found = summary(world, arguments.family, arguments.repetitions, arguments.level)
        results.append(found)
        for name in ESTIMATES:
            v = found[name]
            print(
                f"{world.n_datasets:>8} {world.count_error:>6.2f}  {name:<10} "
                f"{v['bias']:>+7.1%} ±{v['bias_se']:.1%} {v['coverage']:>8.1%} "
                f"±{v['coverage_se']:.1%} {v['width']:>7.4f}",
                flush=True,
            )
    print(json.dumps({"repetitions": arguments.repetitions, "worlds": results}))


if __name__ == "__main__":
    main()
